"""Memories as an agent fills them that plays text games: made-up games, and walks in them.

A game has 40 rooms on a grid, things to carry and things to open, made of words drawn by Zipf's
law. Its states are those of `jitrl.worlds.text_state`. An episode is a noisy walk of 50 steps along
the game's own route, so that early states are met again and again and late ones seldom.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jitrl.records import Episode, State, Step
from jitrl.worlds.text_state import TextGameState

STEPS = 50
CANDIDATES = 20
_WIDTH, _HEIGHT = 8, 5
_ROOMS = _WIDTH * _HEIGHT
_NOISE = 0.3
_STEPS_PER_GAME = 10_000
_START = "You are empty-handed."


@dataclass(frozen=True, slots=True)
class Data:
    """Which memory is made.

    seed      >= 0: fixes every text and every walk
    one_game  everything happens in one game, else a new one begins every 10,000 steps
    distinct  one to three words of a room's text differ at every step
    """

    seed: int = 0
    one_game: bool = False
    distinct: bool = False

    @property
    def name(self) -> str:
        """Names the memory in paths and tables."""
        return "-".join(
            ["one-game" if self.one_game else "many-games"]
            + ["distinct"] * self.distinct
            + [f"seed-{self.seed}"] * (self.seed != 0)
        )

    def game(self, episode: int) -> int:
        """Return the number of the game that an episode plays."""
        return 0 if self.one_game else episode * STEPS // _STEPS_PER_GAME


class Words:
    """Draws words by Zipf's law: 150 that every game shares, and 1,500 of the game's own."""

    def __init__(self, seed: int, game: int) -> None:
        every = _vocabulary(seed)
        own = np.random.default_rng((seed, 1, game)).permutation(len(every) - 150)[:1500] + 150
        self._words = [every[i] for i in [*range(150), *own]]
        weights = 1.0 / (np.arange(len(self._words)) + 2.7)
        self._edges = np.cumsum(weights / weights.sum())

    def some(self, rng: np.random.Generator, n: int) -> list[str]:
        """Return n words."""
        places = np.searchsorted(self._edges, rng.random(n), side="right")
        return [self._words[min(i, len(self._words) - 1)] for i in places.tolist()]

    def rare(self, rng: np.random.Generator, n: int) -> list[str]:
        """Return n different words of the game's own."""
        return [self._words[150 + i] for i in rng.permutation(1500)[:n].tolist()]

    def sentence(self, rng: np.random.Generator, n: int) -> str:
        """Return a sentence of n words, with a comma if it is long."""
        words = self.some(rng, n)
        if n > 8:
            words[n // 2] += ","
        return f"{' '.join(words).capitalize()}."


@lru_cache(maxsize=4)
def _vocabulary(seed: int) -> list[str]:
    """Return 6,000 made-up words, short ones first, as frequent words are."""
    rng = np.random.default_rng((seed, 0))
    found: dict[str, None] = {}
    while len(found) < 6000:
        syllables = 1 + min(len(found) // 60, 1) + int(rng.integers(0, 2)) * (len(found) > 400)
        parts = rng.integers(0, (16, 6, 8), size=(syllables, 3)).tolist()
        word = "".join("bdfghklmnprstvwz"[a] + "aeiouy"[b] + " nrslmtd"[c] for a, b, c in parts)
        found[word.replace(" ", "")] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Thing:
    """Something to carry: its name, how it lies about, what it earns when it is first taken."""

    name: str
    lying: str
    reward: float


class Game:
    """What does not change: rooms, exits, things, and the route that the walks follow."""

    def __init__(self, data: Data, number: int) -> None:
        rng = np.random.default_rng((data.seed, 2, number))
        self.words = words = Words(data.seed, number)
        self.name = f"game-{number}"
        self.texts = [
            " ".join(
                [" ".join(words.rare(rng, 2)).title() + "\n"]
                + [words.sentence(rng, int(rng.integers(6, 22))) for _ in range(count)]
            )
            for count in rng.integers(7, 17, size=_ROOMS).tolist()
        ]
        self.doors = [words.rare(rng, 2) for _ in range(_ROOMS)]
        self.scenery = [words.rare(rng, CANDIDATES) for _ in range(_ROOMS)]
        self.things = [
            Thing(
                name := " ".join(words.rare(rng, 2)),
                f"There is a {name} here. {words.sentence(rng, int(rng.integers(5, 12)))}",
                float(reward),
            )
            for reward in rng.choice([0, 0, 0, 5, 10], size=30)
        ]
        self.homes = rng.integers(0, _ROOMS, size=len(self.things)).tolist()
        self.strangers = [
            f"A {name} {words.sentence(rng, 9).lower()}" for name in words.rare(rng, 4)
        ]
        self.exits = [self._exits(room, rng) for room in range(_ROOMS)]

    @staticmethod
    def _exits(room: int, rng: np.random.Generator) -> dict[str, int]:
        """Return direction -> room: the next one on the route first, then some of the others."""
        x, y = room % _WIDTH, room // _WIDTH
        near = {"go east": (x + 1, y), "go west": (x - 1, y), "go south": (x, y + 1)}
        near["go north"] = (x, y - 1)
        rooms = {
            direction: b * _WIDTH + a
            for direction, (a, b) in near.items()
            if 0 <= a < _WIDTH and 0 <= b < _HEIGHT
        }
        ahead = _after(room)
        found = {direction: to for direction, to in rooms.items() if to == ahead}
        for direction, to in rooms.items():
            if to != ahead and (_after(to) == room or rng.random() < 0.4):
                found[direction] = to
        return found


def _after(room: int) -> int:
    """Return the next room of the route, which winds through the grid; the last leads back."""
    x, y = room % _WIDTH, room // _WIDTH
    step = 1 if y % 2 == 0 else -1
    if 0 <= x + step < _WIDTH:
        return room + step
    return room + _WIDTH if y + 1 < _HEIGHT else room - _WIDTH


class Walk:
    """One episode of a game under way. It draws from `rng` alone."""

    def __init__(self, game: Game, rng: np.random.Generator, distinct: bool = False) -> None:
        self.game = game
        self._rng = rng
        self._distinct = distinct
        self._room = 0
        self._places = list(game.homes)  # of each thing, -1 while it is carried
        self._open: set[str] = set()
        self._earned: set[int] = set()
        self._text = TextGameState(self._room_text(), _START)

    @property
    def state(self) -> State:
        """The state at hand."""
        return self._text.state

    def actions(self) -> list[str]:
        """Return the 20 candidates here: ways out, things, doors, and scenery to look at."""
        game, room = self.game, self._room
        found = [*game.exits[room]]
        found += [f"take {game.things[i].name}" for i in self._things(room)]
        found += [f"drop {game.things[i].name}" for i in self._things(-1)][:6]
        found += [
            f"{'close' if name in self._open else 'open'} {name}" for name in game.doors[room]
        ]
        found += [f"examine {name}" for name in game.scenery[room]]
        return found[:CANDIDATES]

    def wander(self) -> str:
        """Return an action of a player who knows the route, and strays from it."""
        actions = self.actions()
        takes = [action for action in actions if action.startswith("take ")]
        if takes and self._rng.random() < 0.5:
            return takes[0]
        if self._rng.random() < _NOISE:
            return actions[int(self._rng.integers(len(actions)))]
        return actions[0]

    def step(self, action: str) -> float:
        """Take an action; return its reward."""
        verb, _, what = action.partition(" ")
        reward = 0.0
        if verb == "go":
            self._room = self.game.exits[self._room][action]
        elif verb in ("open", "close"):
            self._open ^= {what}
        elif verb in ("take", "drop"):
            number = next(i for i, thing in enumerate(self.game.things) if thing.name == what)
            self._places[number] = -1 if verb == "take" else self._room
            if verb == "take" and number not in self._earned:
                self._earned.add(number)
                reward = self.game.things[number].reward
        self._text.add(action, self._room_text(), self._inventory(), reward)
        return reward

    def _things(self, place: int) -> list[int]:
        return [i for i, at in enumerate(self._places) if at == place]

    def _inventory(self) -> str:
        carried = [f"a {self.game.things[i].name}" for i in self._things(-1)]
        return f"You are carrying: {', '.join(carried)}." if carried else _START

    def _room_text(self) -> str:
        game, rng = self.game, self._rng
        lines = [game.texts[self._room]]
        lines += [f"The {name} is open." for name in game.doors[self._room] if name in self._open]
        lines += [game.things[i].lying for i in self._things(self._room)]
        if rng.random() < 0.1:
            lines.append(game.strangers[int(rng.integers(len(game.strangers)))])
        text = "\n".join(lines)
        return perturbed(text, game.words, rng, int(rng.integers(1, 4))) if self._distinct else text


def perturbed(text: str, words: Words, rng: np.random.Generator, n: int) -> str:
    """Return the text with n of its words replaced."""
    found = text.split(" ")
    for place, word in zip(rng.integers(0, len(found), size=n), words.some(rng, n), strict=True):
        found[place] = word
    return " ".join(found)


@lru_cache(maxsize=16)
def game(data: Data, number: int) -> Game:
    """Return a game."""
    return Game(data, number)


def walk(data: Data, episode: int, purpose: int = 3) -> Walk:
    """Return the walk of an episode at its beginning; another purpose gives another walk."""
    rng = np.random.default_rng((data.seed, purpose, episode))
    return Walk(game(data, data.game(episode)), rng, data.distinct)


def states(data: Data, episode: int, purpose: int = 3) -> list[State]:
    """Return the states in which the steps of an episode are taken, shape (50,)."""
    walking, found = walk(data, episode, purpose), []
    for _ in range(STEPS):
        found.append(walking.state)
        walking.step(walking.wander())
    return found


def episodes(data: Data, start: int, end: int) -> Iterator[Episode]:
    """Make the episodes start, start + 1, ..., end - 1."""
    for number in range(start, end):
        walking = walk(data, number)
        steps = []
        for _ in range(STEPS):
            state, actions = walking.state, walking.actions()
            action = walking.wander()
            policy = dict.fromkeys(actions, 1.0 / len(actions))
            steps.append(
                Step(
                    state=state,
                    action=action,
                    reward=walking.step(action),
                    behaviour_logprob=-float(np.log(len(actions))),
                    before=policy,
                    after=policy,
                    changed=False,
                    preset="paper",
                    seed=data.seed,
                )
            )
        world = walking.game.name
        provenance = {"run": f"run of {world}", "world": world, "model": "none"}
        yield Episode(
            f"{data.name}-{number:06d}",
            world,
            tuple(steps),
            final_state=walking.state,
            provenance=provenance,
        )


def queries(data: Data, stored: int, n: int) -> dict[str, list[State]]:
    """Return kind of query -> n states, for a memory of so many stored episodes.

    revisit  a stored state with small changes
    new      a state of an episode that was never stored, from its tenth step on
    self     the states of such episodes as a learner meets them, one after the other

    Those of a smaller n are the first ones of a larger.
    """
    found: dict[str, list[State]] = {"revisit": [], "new": [], "self": []}
    for i in range(n):
        rng = np.random.default_rng((data.seed, 4, i))
        old, fresh, following = rng.integers(stored, size=3).tolist()
        state = states(data, old)[int(rng.integers(STEPS))]
        found["revisit"].append(revisited(data, old, state, rng))
        found["new"].append(states(data, fresh, 5)[int(rng.integers(10, STEPS))])
        if i % STEPS == 0:
            found["self"] += states(data, following, 6)
    return {kind: asked[:n] for kind, asked in found.items()}


def revisited(data: Data, episode: int, state: State, rng: np.random.Generator) -> State:
    """Return a stored state with small changes: what lies about, what is carried, how one came."""
    here = game(data, data.game(episode))
    room, inventory, history = state["room"], state["inventory"], state["history"]
    change = rng.random(4)
    thing = here.things[int(rng.integers(len(here.things)))]
    if change[0] < 0.3:
        room += f"\n{thing.lying}"
    elif change[0] < 0.6:
        room = perturbed(room, here.words, rng, int(rng.integers(1, 3)))
    if change[1] < 0.3:
        inventory = f"{inventory.rstrip('.')}, a {thing.name}."
    if change[2] < 0.6:
        history += "; go north" if change[3] < 0.5 else f"; examine {thing.name}"
    return State(room=room, inventory=inventory, history=history)
