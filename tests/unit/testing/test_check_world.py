"""Small worlds that break one rule each: the kit must name every one of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from jitrl.errors import InvalidValue, WorldError
from jitrl.records import Observation, State
from jitrl.testing import check_world
from jitrl.worlds import World


class Well:
    """An honest world: three steps down to the water, a point each, and a seed for the weather."""

    name = "well:3"
    max_score: float | None = 3.0
    reward_range: tuple[float, float] | None = (-1.0, 1.0)
    version: Mapping[str, str]
    depth: int | None = None

    def __init__(self) -> None:
        self.version = {"well": "1.0"}
        self._spent = 0.0
        self._seed = 0

    @property
    def seconds(self) -> Mapping[str, float]:
        return {"total": self._spent, "actions": self._spent / 2}

    def reset(self, seed: int) -> Observation:
        if seed < 1:
            raise InvalidValue("seed", seed, "must be at least 1")
        self._seed = seed
        return self.show(0, 0.0)

    def step(self, action: str) -> Observation:
        if self.depth is None or self.depth == 3:
            raise WorldError("no episode to step: call reset(seed)")
        change = {"down": 1, "up": -1 if self.depth else 0}.get(action, 0)
        return self.show(self.depth + change, float(change))

    def show(self, depth: int, reward: float) -> Observation:
        self._spent += 0.001
        self.depth = depth
        weather = "rain" if self._seed % 2 else "sun"
        return Observation(
            state=State(room=f"{depth} steps down"),
            text=f"{weather} above",
            actions=() if depth == 3 else ("down", "up", "wait"),
            reward=reward,
            score=float(depth),
            terminated=depth == 3,
        )

    def close(self) -> None:
        self.depth = None


def test_an_honest_world_passes() -> None:
    check_world(Well, steps=60)


def test_an_honest_world_passes_with_any_seed() -> None:
    for seed in range(1, 10):
        check_world(Well, seed=seed)


def test_a_world_without_bounds_passes() -> None:
    class Unbounded(Well):
        max_score = None
        reward_range = None

    check_world(Unbounded)


def test_an_episode_may_be_cut_off_by_the_world() -> None:
    class Impatient(Well):
        def show(self, depth: int, reward: float) -> Observation:
            shown = super().show(depth, reward)
            return replace(shown, actions=(), truncated=True) if depth == 2 else shown

    check_world(Impatient, steps=60)


def test_both_worlds_are_closed_whatever_happens() -> None:
    closed = []

    class Broken(Well):
        def step(self, action: str) -> Observation:
            raise MemoryError

        def close(self) -> None:
            closed.append(self)

    with pytest.raises(AssertionError):
        check_world(Broken)
    assert len(closed) == 2 and closed[0] is not closed[1]


@pytest.mark.parametrize("argument", ["steps", "seed"])
def test_arguments_are_checked(argument: str) -> None:
    with pytest.raises(InvalidValue, match=argument):
        check_world(Well, **{argument: 0})


class NoName(Well):
    name = ""


class HighMaximum(Well):
    max_score = float("inf")


class ReversedRange(Well):
    reward_range = (1.0, -1.0)


class NumberedVersion(Well):
    def __init__(self) -> None:
        super().__init__()
        self.version = {"well": 1}  # type: ignore[dict-item]


class MoreActionsThanTotal(Well):
    @property
    def seconds(self) -> Mapping[str, float]:
        return {"total": self._spent, "actions": self._spent + 1}


class NoSecondsOfActions(Well):
    @property
    def seconds(self) -> Mapping[str, float]:
        return {"total": self._spent}


class StoppedClock(Well):
    @property
    def seconds(self) -> Mapping[str, float]:
        return {"total": 1.0, "actions": 0.0}


class BackwardClock(Well):
    @property
    def seconds(self) -> Mapping[str, float]:
        return {"total": 1.0 - self._spent, "actions": 0.0}


class StepsBeforeReset(Well):
    def step(self, action: str) -> Observation:
        return self.show(0, 0.0) if self.depth is None else super().step(action)


class OtherErrorBeforeReset(Well):
    def step(self, action: str) -> Observation:
        if self.depth is None:
            raise AttributeError("depth")
        return super().step(action)


class StepsAfterTheEnd(Well):
    def step(self, action: str) -> Observation:
        return self.show(3, 0.0) if self.depth == 3 else super().step(action)


class TakesAnySeed(Well):
    def reset(self, seed: int) -> Observation:
        return super().reset(max(seed, 1))


class OtherErrorForASeed(Well):
    def reset(self, seed: int) -> Observation:
        assert seed >= 1, "a bare assertion"
        return super().reset(seed)


class ReturnsATuple(Well):
    def reset(self, seed: int) -> Observation:
        return (super().reset(seed), {})  # type: ignore[return-value]


class BeginsWithAReward(Well):
    def reset(self, seed: int) -> Observation:
        return replace(super().reset(seed), reward=1.0)


class BeginsAtItsEnd(Well):
    def reset(self, seed: int) -> Observation:
        return replace(super().reset(seed), actions=(), terminated=True)


class CountsItsResets(Well):
    resets = 0

    def reset(self, seed: int) -> Observation:
        self.resets += 1
        return replace(super().reset(seed), text=f"game {self.resets}")


class EachWorldIsAnother(Well):
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.numbers)

    def reset(self, seed: int) -> Observation:
        return replace(super().reset(seed), text=f"world {self.number}")


class RemembersTheLastEpisode(Well):
    steps = 0

    def step(self, action: str) -> Observation:
        shown = super().step(action)
        self.steps += 1
        return shown

    def reset(self, seed: int) -> Observation:
        return replace(super().reset(seed), text="played" if self.steps else "new")


def showing(**changes: object) -> type[Well]:
    """A world whose observations, but for the last, say something wrong."""

    class Showing(Well):
        def show(self, depth: int, reward: float) -> Observation:
            shown = super().show(depth, reward)
            return shown if shown.terminated else replace(shown, **changes)

    return Showing


class ActionsAfterTheEnd(Well):
    def show(self, depth: int, reward: float) -> Observation:
        return replace(super().show(depth, reward), actions=("down", "up"))


class PaysTheScore(Well):
    reward_range = None

    def show(self, depth: int, reward: float) -> Observation:
        return replace(super().show(depth, reward), reward=float(depth))


class PaysTooMuch(Well):
    reward_range = (-1.0, 0.5)


class ScoresTooHigh(Well):
    max_score = 2.0


class BreaksOnUnknownText(Well):
    def step(self, action: str) -> Observation:
        if self.depth is not None and action not in ("down", "up", "wait"):
            raise KeyError(action)
        return super().step(action)


class RefusesUnknownText(Well):
    def step(self, action: str) -> Observation:
        if self.depth is not None and action not in ("down", "up", "wait"):
            raise WorldError("no such action")
        return super().step(action)


class ClosesOnce(Well):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise OSError("closed already")
        self.closed = True


def sharing_a_counter() -> Callable[[], World]:
    count = itertools.count()

    class Sharing(Well):
        def step(self, action: str) -> Observation:
            return replace(super().step(action), state=State(room=f"step {next(count)}"))

    return Sharing


def one_and_the_same() -> Callable[[], World]:
    world = Well()
    return lambda: world


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (NoName, "^name must be a nonempty string"),
        (HighMaximum, "^max_score must be a finite number or None, it is inf"),
        (ReversedRange, r"^reward_range must be \(lowest, highest\) or None"),
        (NumberedVersion, "^version must map strings to strings"),
        (MoreActionsThanTotal, '^seconds must hold "total" >= "actions" >= 0'),
        (NoSecondsOfActions, '^seconds must hold "total" >= "actions" >= 0'),
        (StoppedClock, r'^seconds\["total"\] must grow'),
        (BackwardClock, "^seconds shrank at step 0"),
        (one_and_the_same(), "^make returned the same world twice"),
        (StepsBeforeReset, "^step before the first reset must raise WorldError, it raised nothing"),
        (
            OtherErrorBeforeReset,
            "^step before the first reset must raise WorldError, it raised Attr",
        ),
        (StepsAfterTheEnd, "^step after the end of an episode must raise WorldError"),
        (TakesAnySeed, r"^reset\(0\) must raise InvalidValue: seeds begin at 1"),
        (OtherErrorForASeed, r"^reset\(0\) must raise InvalidValue, it raised AssertionError"),
        (ReturnsATuple, "^reset must return an Observation, it returned tuple"),
        (BeginsWithAReward, "^reset: reward must be 0.0, it is 1.0"),
        (BeginsAtItsEnd, "^reset: an episode must not begin at its end"),
        (CountsItsResets, r"^reset\(1\) called twice: text must be equal"),
        (EachWorldIsAnother, r"^reset\(1\) of two worlds: text must be equal"),
        (sharing_a_counter(), r"^step 0 \('\w+'\) of two worlds: state must be equal"),
        (
            RemembersTheLastEpisode,
            r"^reset\(1\) before and after an episode: text must be equal, it is 'new' and",
        ),
        (showing(state={"room": "well"}), "^reset: state must be a State"),
        (showing(state=State(room=3)), "^reset: the fields of state must be strings"),  # type: ignore[arg-type]
        (showing(text=None), "^reset: text must be a string"),
        (showing(terminated=0), "^reset: terminated must be a bool"),
        (showing(truncated="no"), "^reset: truncated must be a bool"),
        (showing(actions=["down", "up"]), "^reset: actions must be a tuple of nonempty strings"),
        (showing(actions=("down", " ")), "^reset: actions must be a tuple of nonempty strings"),
        (showing(actions=("down", 2)), "^reset: actions must be a tuple of nonempty strings"),
        (showing(actions=("up", "up")), r"actions must be distinct, these are repeated: \['up'\]"),
        (showing(actions=()), "^reset: actions must not be empty before the episode's end"),
        (showing(reward=float("nan")), "^reset: reward must be a finite number, it is nan"),
        (showing(score=None), "^reset: score must be a finite number, it is None"),
        (ActionsAfterTheEnd, "a terminated observation must have no actions"),
        (PaysTheScore, "reward must be the change of the score, it is"),
        (PaysTooMuch, "reward must lie in reward_range"),
        (ScoresTooHigh, "score must be at most max_score 2.0, it is 3.0"),
        (BreaksOnUnknownText, "^step must take any text, 'flurble.*KeyError"),
        (RefusesUnknownText, "^step must take any text, 'flurble.*WorldError"),
        (ClosesOnce, "^close: a second call must be harmless, it raised OSError"),
    ],
)
def test_the_broken_rule_is_named(make: Callable[[], World], names: str) -> None:
    with pytest.raises(AssertionError, match=names):
        check_world(make, steps=60)
