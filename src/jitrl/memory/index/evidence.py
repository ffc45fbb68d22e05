"""The steps of all episodes as columns: what a row was followed by.

The live steps of a row are linked, newest first: `last[row]`, then `previous[step]`. A view keeps
the arrays of its moment: what only adds to the end writes behind what it looks at, and what
changes something that it can see writes to copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jitrl.memory.contract import Trail
from jitrl.memory.index.growing import Growing
from jitrl.memory.index.kernels import Bytes, Ints32, Kernels, ranges
from jitrl.update import Floats, Ints

ReturnsRule = Callable[[Floats, Floats], Floats]
"""An episode's rewards and judged scores (nan for none) -> its returns; nan for a step that is no
evidence. All have shape (T,)."""


class Stale(Exception):
    """What the memory tells does not fit to what was read before: begin anew."""


Array = NDArray[Any]
_COLUMNS = ("numbers", "lengths", "status", "judged", "rows", "actions", "rewards")
OUT, IN, GONE = 0, 1, 2  # what an episode is: takes no part, present, deleted for good
_SLOW = 1000  # dead links that are harmless


@dataclass(frozen=True, slots=True)
class Moment:
    """What there was at one moment: all that a view needs of the steps.

    upto      number of steps
    evidence  how many of them are evidence
    live      1 for a step that is, 0 for one that is not
    """

    upto: int
    evidence: int
    rows: int
    value: Floats
    live: Bytes
    previous: Ints32
    last: Ints32


@dataclass(frozen=True, slots=True)
class Columns:
    """The steps of some episodes, as they are saved. Of changes: numbers, lengths, status, judged.

    names  of the actions
    """

    numbers: Ints
    lengths: Ints
    status: Bytes
    judged: Floats
    rows: Ints32
    actions: Ints32
    rewards: Floats
    names: list[str]

    def arrays(self) -> dict[str, Array]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @classmethod
    def of(cls, arrays: Mapping[str, Array], names: list[str]) -> Self:
        """Return columns from arrays by name; raises KeyError where one is missing."""
        return cls(**{name: arrays[name] for name in _COLUMNS}, names=names)


class Evidence:
    """The steps of the episodes, in the order of the episodes' numbers.

    numbers  of the episodes, rising
    starts   first step of each episode
    status   OUT, IN or GONE
    dirty    1 where something changed since the episode was last written to a file
    rows, actions, rewards, judged, value   of each step; value is its return
    names    the distinct actions
    """

    def __init__(self, returns: ReturnsRule) -> None:
        self._returns = returns
        self.numbers = Growing(np.int64)
        self.starts = Growing(np.int64)
        self.status = Growing(np.uint8)
        self.dirty = Growing(np.uint8)
        self.rows = Growing(np.int32)
        self.actions = Growing(np.int32)
        self.rewards = Growing(np.float64)
        self.judged = Growing(np.float64)
        self.value = Growing(np.float64)
        self.live = Growing(np.uint8)
        self.names: list[str] = []
        self._places: dict[str, int] = {}
        self._chained = Growing(np.uint8)  # 1: linked, live or not
        self._previous = Growing(np.int32)
        self._last = Growing(np.int32)
        self._evidence = 0
        self._linked = 0
        self._gone = 0
        self._gone_steps = 0
        self._relink = False
        self._copied = False

    @property
    def known(self) -> int:
        """How many episodes are known, but for those that are gone."""
        return len(self.numbers) - self._gone

    @property
    def wasted(self) -> float:
        """Share of the steps whose episodes are gone."""
        return self._gone_steps / max(len(self.rows), 1)

    def find(self, number: int) -> int:
        """Return the place of an episode, -1 if it is not known."""
        numbers = self.numbers.items
        if not len(numbers) or number > numbers[-1]:
            return -1
        place = int(np.searchsorted(numbers, number))
        return place if numbers[place] == number else -1

    def follows(self, number: int) -> bool:
        """Say whether an episode of this number comes after all that are known."""
        return not len(self.numbers) or number > self.numbers.items[-1]

    def action(self, name: str) -> int:
        """Return the number of an action."""
        place = self._places.setdefault(name, len(self.names))
        if place == len(self.names):
            self.names.append(name)
        return place

    def add(self, trail: Trail, rows: Ints) -> None:
        """Append an episode, whose steps' states have these rows."""
        self.append(
            trail.number,
            IN if trail.present else OUT,
            rows,
            np.array([self.action(name) for name in trail.actions], dtype=np.int32),
            np.array(trail.rewards, dtype=np.float64),
            _scores(trail),
        )

    def append(
        self, number: int, status: int, rows: Ints, actions: Ints32, rewards: Floats, judged: Floats
    ) -> None:
        """Append an episode by its columns."""
        value = self._value(status, rewards, judged)
        live = ~np.isnan(value)
        self.numbers.extend([number])
        self.starts.extend([len(self.rows)])
        self.status.extend([status])
        self.dirty.extend([0])
        self._gone += status == GONE
        self._gone_steps += len(rows) * (status == GONE)
        self._evidence += int(live.sum())
        self._linked += len(rows)
        if any(array.full(len(rows)) for array in (self.value, self.live, self._previous)):
            self._last.own()  # who holds the old ones must not be led beyond their ends
        self.actions.extend(actions)
        self.rewards.extend(rewards)
        self.judged.extend(judged)
        self.value.extend(value)
        self.live.extend(live)
        self._chained.grow(len(rows), 1)
        self._link(rows)

    def _link(self, rows: Ints) -> None:
        """Link the steps that were appended just now."""
        if not len(rows):
            return
        self._last.grow(max(0, int(rows.max()) + 1 - len(self._last)), -1)
        last, first = self._last.items, len(self.rows)
        previous = last[rows]
        visited = rows.tolist()
        if len(set(visited)) < len(visited):
            before: dict[int, int] = {}
            for t, row in enumerate(visited):
                previous[t] = before.get(row, previous[t])
                before[row] = first + t
        self._previous.extend(previous)
        self.rows.extend(rows)
        last[rows] = np.arange(first, first + len(rows))  # of equal rows, the last one stays

    def change(self, trail: Trail, gone: bool = False) -> bool:
        """Take over what changed in an episode that is known; say whether anything did."""
        place = self.find(trail.number)
        steps = slice(*self.span(place))
        status = GONE if gone else IN if trail.present else OUT
        judged = self.judged.items[steps] if gone else _scores(trail)
        old, count = int(self.status.items[place]), steps.stop - steps.start
        if len(judged) != count:
            raise Stale(f"episode {trail.number} had {count} steps, and has {len(judged)}")
        same = np.array_equal(judged, self.judged.items[steps], equal_nan=True)
        if old == status and same:
            return False
        self._gone += (status == GONE) - (old == GONE)
        self._gone_steps += count * ((status == GONE) - (old == GONE))
        self.status.items[place] = status
        self.dirty.items[place] = 1
        self.judged.items[steps] = judged
        self._replace(steps, self._value(status, self.rewards.items[steps], judged))
        return True

    def load(self, steps: Sequence[Columns], changes: Columns | None, rows: int) -> None:
        """Begin with what was saved of episodes and their steps, whose rows are below `rows`."""
        for columns in steps:
            names = np.array([self.action(name) for name in columns.names], dtype=np.int32)
            ends = len(self.rows) + np.cumsum(columns.lengths)
            self.numbers.extend(columns.numbers)
            self.starts.extend(ends - columns.lengths)
            self.status.extend(columns.status)
            self.rows.extend(columns.rows)
            self.actions.extend(names[columns.actions])
            self.rewards.extend(columns.rewards)
            self.judged.extend(columns.judged)
        self.dirty.grow(len(self.numbers), 0)
        if changes is not None:
            at = 0
            for number, length, status in zip(
                changes.numbers.tolist(), changes.lengths.tolist(), changes.status, strict=True
            ):
                place = self.find(number)
                self.status.items[place], self.dirty.items[place] = status, 1
                self.judged.items[slice(*self.span(place))] = changes.judged[at : at + length]
                at += length
        for place, status in enumerate(self.status.items.tolist()):
            span = slice(*self.span(place))
            self.value.extend(
                self._value(status, self.rewards.items[span], self.judged.items[span])
            )
            self._gone += status == GONE
            self._gone_steps += (span.stop - span.start) * (status == GONE)
        self.live.extend(~np.isnan(self.value.items))
        self._evidence = self._linked = int(np.count_nonzero(self.live.items))
        self._chained.extend(self.live.items)
        self._previous.grow(len(self.rows), -1)
        self._last.grow(rows, -1)
        self._relink = True

    def columns(self, episodes: range) -> Columns:
        """Return the steps of some episodes to be saved, and take them for saved."""
        self.dirty.items[episodes.start : episodes.stop] = 0
        return self._columns(np.arange(episodes.start, episodes.stop))

    def changed(self, upto: int) -> Columns | None:
        """Return what changed in the first `upto` episodes since they were saved, if anything."""
        places = np.flatnonzero(self.dirty.items[:upto])
        if not len(places):
            return None
        columns = self._columns(places)
        nothing = np.zeros(0, dtype=np.int32)
        return replace(columns, rows=nothing, actions=nothing, rewards=np.zeros(0), names=[])

    def soil(self, episodes: range) -> None:
        """Take episodes for unsaved after all."""
        self.dirty.items[episodes.start : episodes.stop] = 1

    def _columns(self, places: Ints) -> Columns:
        ends = np.append(self.starts.items, len(self.rows))
        lengths = ends[places + 1] - ends[places]
        steps = ranges(ends[places], lengths)
        actions, named = np.unique(self.actions.items[steps], return_inverse=True)
        return Columns(
            numbers=self.numbers.items[places],
            lengths=lengths,
            status=self.status.items[places],
            judged=self.judged.items[steps],
            rows=self.rows.items[steps],
            actions=named.astype(np.int32),
            rewards=self.rewards.items[steps],
            names=[self.names[i] for i in actions.tolist()],
        )

    def moment(self, kernels: Kernels, rows: int) -> Moment:
        """Return what there is now, linked anew if it has to be."""
        live, upto = self.live.items, len(self.rows)
        if self._relink or self._linked - self._evidence > max(_SLOW, upto >> 3):
            previous, last = kernels.chain(self.rows.items, live, rows)
            self._previous, self._last = Growing(np.int32), Growing(np.int32)
            self._previous.extend(previous)
            self._last.extend(last)
            self._chained = Growing(np.uint8)
            self._chained.extend(live)
            self._linked = self._evidence
        self._relink = self._copied = False
        return Moment(
            upto,
            self._evidence,
            len(self._last),
            self.value.data,
            self.live.data,
            self._previous.data,
            self._last.data,
        )

    def span(self, place: int) -> tuple[int, int]:
        """Return the first step of the episode at a place, and the step after its last one."""
        starts = self.starts.items
        return int(starts[place]), int(starts[place + 1]) if place + 1 < len(starts) else len(
            self.rows
        )

    def episodes_of(self, steps: Ints32) -> tuple[Ints, Ints]:
        """Return the number of each step's episode, and the step's place in it."""
        starts = self.starts.items
        place = np.searchsorted(starts, steps, side="right") - 1
        return self.numbers.items[place], steps - starts[place]

    def _value(self, status: int, rewards: Floats, judged: Floats) -> Floats:
        if status != IN:
            return np.full(len(rewards), np.nan)
        return np.asarray(self._returns(rewards, judged), dtype=np.float64)

    def _replace(self, steps: slice, value: Floats) -> None:
        if not self._copied:
            self.value.own()
            self.live.own()
            self._copied = True
        live = ~np.isnan(value)
        self._evidence += int(live.sum()) - int(self.live.items[steps].sum())
        self._relink |= bool((live & (self._chained.items[steps] == 0)).any())
        self.value.items[steps] = value
        self.live.items[steps] = live


def _scores(trail: Trail) -> Floats:
    scores = (np.nan if score is None else score for score in trail.judged)
    return np.fromiter(scores, np.float64, len(trail.judged))
