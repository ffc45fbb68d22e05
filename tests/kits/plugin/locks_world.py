"""A small suite as another package would bring it: number locks, to be opened one after another.

"locks:4" has four locks, two by the front door and two by the back, red and blue ones; "locks:1"
has one. A lock opens when its two digits are pressed in order: that ends the attempt with a score
of 1. A wrong digit locks it for good. Any digit can be pressed, though only three are on offer. The
last lock of "locks:jammed-4" is "locks:jam": attempts at it end with a reason at the first step,
one for even seeds, another for odd ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jitrl.errors import InvalidValue, WorldError
from jitrl.records import Observation, State
from jitrl.worlds import Defaults, Task

DEFAULTS = Defaults(steps=7)
OFFERED = ("press 1", "press 2", "press 3")


def make(
    name: str,
    *,
    slow: float = 0.0,
    log: str = "",
    hard: bool = False,
    closed: bool = False,
    down: str = "",
    silent: bool = False,
) -> Locks:
    """slow: seconds that a step takes; log: a file that the names of tasks are added to; hard:
    three digits, one of which is not on offer; closed: what is on offer is all that can be done;
    down: a file with the names of tasks whose attempts cannot begin, for as long as they are there;
    silent: nobody says whether a lock has opened.
    """
    kind, _, count = name.rpartition("-")
    if not count.isdecimal() or kind not in ("", "jammed"):
        raise WorldError(f"locks {name!r} have no number: write locks:4")
    world = Locks(name, int(count), kind == "jammed", slow, log, hard, down)
    world.tasks = tuple(replace(task, verdict=not silent) for task in world.tasks)
    world.reader = None if closed else Dial()
    return world


class Dial:
    """Reads "push 2" as "press 2"; every digit can be pressed."""

    guide = "press DIGIT"

    def read(self, written: str) -> str:
        action = written.replace("push", "press")
        if not self.executable(action):
            raise InvalidValue("action", written, "must be press DIGIT")
        return action

    def executable(self, action: str) -> bool:
        return action.startswith("press ") and action[6:].isdecimal()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dial)

    def __hash__(self) -> int:
        return 0


class Locks:
    max_score: float | None = 1.0
    reward_range = (0.0, 1.0)
    reader: Dial | None

    def __init__(
        self, name: str, count: int, jammed: bool, slow: float, log: str, hard: bool, down: str
    ) -> None:
        self.name = f"locks:{name}"
        self.tasks = tuple(
            Task(
                f"locks:{'jam' if jammed and i == count - 1 else i}",
                ("front" if i < count / 2 else "back",),
                ("red", "blue")[i % 2],
            )
            for i in range(count)
        )
        self.version: Mapping[str, str] = {"locks": "1.0", "kind": "hard" if hard else "easy"}
        self.seconds = {"total": 0.0, "actions": 0.0}
        self._slow, self._log, self._hard, self._down = slow, log, hard, down
        self._over = True

    def reset(self, seed: int, task: str | None = None, limit: int | None = None) -> Observation:
        if seed < 1:
            raise InvalidValue("seed", seed, "must be at least 1")
        self._task = task or self.tasks[0].name
        self._code = self._code_of([t.name for t in self.tasks].index(self._task))
        self._limit, self._taken, self._pressed = limit, 0, ""
        self._over = False
        if self._log:
            with Path(self._log).open("a") as log:
                log.write(f"{self._task}\n")
        self._bricked = seed % 2 == 0
        if self._down and self._task in Path(self._down).read_text().split():
            return self._observe(reason=f"could not begin: no way to {self._task}")
        return self._observe()

    def step(self, action: str) -> Observation:
        if self._over:
            raise WorldError("no attempt is under way: call reset(seed)")
        time.sleep(self._slow)
        self._taken += 1
        if self._task.endswith("jam") and self._bricked:
            return self._observe(reason="no such door: it was bricked up")
        if self._task.endswith("jam"):
            return self._observe(reason="time-out: the dial did not turn in 30 s")
        if not Dial().executable(action):
            return self._observe()
        self._pressed += action[6:]
        return self._observe(1.0 if self._pressed == self._code else 0.0)

    def close(self) -> None:
        self._over = True

    def _code_of(self, index: int) -> str:
        """The code of a lock: all of one colour open alike."""
        code = ("12", "31")[index % 2]
        return code + "7" if self._hard else code

    def _observe(self, reward: float = 0.0, reason: str = "") -> Observation:
        wrong = not self._code.startswith(self._pressed)
        truncated = bool(reason) or self._taken == self._limit
        ended = reward == 1.0 or wrong
        self._over = ended or truncated
        self.seconds = self.seconds | {"total": self.seconds["total"] + 1e-6}
        task = [t.name for t in self.tasks].index(self._task)
        colour, score = ("red", "blue")[task % 2], reward if self.tasks[task].verdict else 0.0
        return Observation(
            state=State(room=f"a {colour} lock, pressed: {self._pressed!r}"),
            text=f"a {colour} lock",
            actions=() if self._over else OFFERED,
            reward=score,
            score=score,
            terminated=ended,
            truncated=truncated and not ended,
            reason=reason,
            reader=self.reader,
        )
