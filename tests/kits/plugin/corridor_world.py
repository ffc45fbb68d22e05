"""A small text world as another package would bring it: a corridor with coins, and an end.

"corridor:5" has five rooms. Taking the coin of a room earns 1, reaching the end 3; turning back is
possible, waiting useless. The score begins at a number that depends on the seed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from jitrl.errors import InvalidValue, WorldError
from jitrl.records import Observation, State


def make(name: str, **options: object) -> Corridor:
    if not name.isdecimal():
        raise WorldError(f"corridor {name!r} has no length: write corridor:5")
    if options:
        raise InvalidValue("options", options, "must be left out: a corridor has none")
    return Corridor(int(name))


class Corridor:
    max_score: float | None
    reward_range = (0.0, 3.0)

    def __init__(self, length: int) -> None:
        self.name = f"corridor:{length}"
        self.length = length
        self.max_score = length + 3.0 + 2.0
        self.version: Mapping[str, str] = {"corridor": "1.0"}
        self._seconds = {"total": 0.0, "actions": 0.0}

    @property
    def seconds(self) -> Mapping[str, float]:
        return dict(self._seconds)

    def reset(self, seed: int) -> Observation:
        started = time.perf_counter()
        self.place, self.coins = 0, set(range(self.length))
        self.score = float(seed % 3)
        self._seconds["total"] += time.perf_counter() - started
        return self._observe(0.0)

    def step(self, action: str) -> Observation:
        started = time.perf_counter()
        reward = 0.0
        if action == "go east":
            self.place += 1
            reward = 3.0 if self.place == self.length else 0.0
        elif action == "go west":
            self.place = max(self.place - 1, 0)
        elif action == "take the coin" and self.place in self.coins:
            self.coins.remove(self.place)
            reward = 1.0
        self.score += reward
        self._seconds["total"] += time.perf_counter() - started
        return self._observe(reward)

    def close(self) -> None:
        pass

    def _observe(self, reward: float) -> Observation:
        ended = self.place == self.length
        state = State(
            room=f"You stand in room {self.place} of a corridor. <b>It is “dark”</b>\u2028here.",
            inventory=f"{self.length - len(self.coins)} coins",
        )
        actions = ["go east", "go west", "wait", "look", "take the coin"]
        return Observation(
            state=state,
            text=state["room"],
            actions=() if ended else tuple(actions),
            reward=reward,
            score=self.score,
            terminated=ended,
        )
