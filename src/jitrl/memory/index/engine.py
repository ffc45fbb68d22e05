"""What an index holds of one epoch of a memory: parts, tail and steps, and how they grow."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from jitrl.memory.contract import Head, Memory, Pulse, Trail
from jitrl.memory.index.evidence import Columns, Evidence, Moment, ReturnsRule, Stale
from jitrl.memory.index.features import Features, Recent
from jitrl.memory.index.kernels import Ints32, Kernels
from jitrl.memory.index.search import Asked, Floor, Found, Searched, search
from jitrl.memory.index.segment import Part, seal
from jitrl.memory.index.tail import Tail
from jitrl.records import State
from jitrl.similarity import Field
from jitrl.update import Ints

log = logging.getLogger(__name__)

SEALED = 200_000
"""A tail that weighs more is closed: features, rows and cells."""

_BATCH = 1024  # states that are read at a time
_STATES, _HEADS = 4096, 4096
_ALL = 2**31 - 1


class Moved(Exception):
    """Something was deleted between two calls: ask again."""


class Engine:
    """The distinct states and the steps of a memory, as far as they were read.

    epoch, revision  of the memory, up to which it was read
    mark             of that revision
    parts, tail      the rows, in order
    lock             held while any of it changes or is searched
    """

    def __init__(
        self,
        memory: Memory,
        epoch: str,
        fields: Sequence[Field],
        returns: ReturnsRule,
        features: Features,
        kernels: Kernels,
    ) -> None:
        self.memory = memory
        self.epoch = epoch
        self.fields = fields
        self.features = features
        self.kernels = kernels
        self.revision = 0
        self.mark = ""
        self.parts: list[Part] = []
        self.tail = Tail(0)
        self.evidence = Evidence(returns)
        self.lock = threading.RLock()
        self._states: Recent[int, State] = Recent(_STATES)
        self._heads: Recent[int, Head] = Recent(_HEADS)
        self._counts = np.zeros(0, dtype=np.int32)
        self._retired = False

    # --- reading

    def load(
        self, parts: Sequence[Part], steps: Sequence[Columns], changes: Columns | None
    ) -> None:
        """Begin with what was saved. Raises ValueError or IndexError where it does not fit."""
        self.parts = list(parts)
        self.tail = Tail(parts[-1].end if parts else 0)
        self.evidence.load(steps, changes, self.tail.base)

    def read(self, trails: Iterable[Trail], revision: int, mark: str) -> None:
        """Take over what changed up to a revision of that mark. Raises Stale or Moved."""
        waiting: list[Trail] = []
        numbers: set[int] = set()
        for trail in trails:
            waiting.append(trail)
            numbers.update(trail.states)
            if len(numbers) >= _BATCH:
                self._take(waiting, numbers)
                waiting, numbers = [], set()
        self._take(waiting, numbers)
        with self.lock:
            self.revision, self.mark = revision, mark

    def current(self, pulse: Pulse) -> bool:
        """Say whether the memory of this pulse is still the one that was read, grown or not."""
        with self.lock:
            revision, mark = self.revision, self.mark
        return pulse.epoch == self.epoch and self.memory.mark(revision) == mark

    def _take(self, trails: Sequence[Trail], states: set[int]) -> None:
        empty = [trail.number for trail in trails if not (trail.present or trail.states)]
        gone = set(empty) - self.memory.heads(empty).keys() if empty else set()
        numbers = np.array(sorted(states), dtype=np.int64)
        with self.lock:
            rows = self._rows(numbers)
        new = self.memory.states(numbers[rows < 0].tolist()) if (rows < 0).any() else {}
        if len(new) < int((rows < 0).sum()):
            raise Moved
        with self.lock:
            self.close_tail(SEALED)
            if new:
                self.tail.add(dict(sorted(new.items())), self.fields, self.features, self.kernels)
                rows = self._rows(numbers)
            row_of = dict(zip(numbers.tolist(), rows.tolist(), strict=True))
            for trail in trails:
                self._apply(trail, row_of, trail.number in gone)

    def _apply(self, trail: Trail, row_of: Mapping[int, int], gone: bool) -> None:
        self._heads.pop(trail.number, None)
        if self.evidence.find(trail.number) >= 0:
            self.evidence.change(trail, gone)
        elif not gone:
            if not self.evidence.follows(trail.number):
                raise Stale(f"episode {trail.number} comes late")
            rows = np.array([row_of[number] for number in trail.states], dtype=np.int64)
            self.evidence.add(trail, rows)

    def _rows(self, numbers: Ints) -> Ints:
        """Return the row of each state number, -1 where it is new."""
        rows = self.tail.rows(numbers)
        for part in self.parts:
            if (rows >= 0).all():
                break
            rows = np.maximum(rows, part.rows(numbers))
        return rows

    def close_tail(self, weight: int) -> None:
        """Make the tail a part if it weighs more than that."""
        first = self.parts[-1].episodes.stop if self.parts else 0
        if self.tail.weight > weight or (not weight and len(self.evidence.numbers) > first):
            episodes = range(first, len(self.evidence.numbers))
            self.parts.append(self.tail.part(episodes, self.revision))
            self.tail = Tail(self.tail.end)

    def seal_tail(self) -> None:
        """Make a sealed part of the tail, and of what else is not sealed yet."""
        with self.lock:
            self.close_tail(0)
            self.parts = [p if p.sealed else seal(p, self.kernels) for p in self.parts]

    # --- asking

    def moment(self) -> Moment:
        """Return what there is now."""
        with self.lock:
            return self.evidence.moment(self.kernels, self.tail.end)

    def search(self, state: State, floor: Floor, moment: Moment) -> Found:
        """Return the rows that had steps at that moment and reach the floor, in no order."""
        asked = Asked(state, self.fields, self.features, self.kernels)
        alive = _Alive(moment, self.kernels)
        found: list[Found] = []
        parts: list[Searched] = [*self.parts, self.tail]
        for part in parts:
            found += search(part, asked, floor, alive)
        if not found:
            return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int32)
        rows, similarities, newest = (np.concatenate(column) for column in zip(*found, strict=True))
        near = similarities >= floor.value
        return rows[near], similarities[near], newest[near]

    def steps(self, newest: int, per_action: int | None, most: int | None, at: Moment) -> Ints32:
        """Return the steps of a row at that moment, newest first.

        newest            the newest of them
        per_action, most  at most so many of one action, and in all; None for no limit
        """
        if len(self._counts) < len(self.evidence.names):
            self._counts = np.zeros(2 * len(self.evidence.names), dtype=np.int32)
        return self.kernels.walk(
            newest,
            at.upto,
            at.previous,
            at.live,
            self.evidence.actions.data,
            _ALL if per_action is None else per_action,
            _ALL if most is None else most,
            self._counts,
        )

    def states(self, rows: Iterable[int]) -> dict[int, State]:
        """Return the states of rows; what is gone from the memory is missing."""
        with self.lock:
            numbers = {row: self._number(row) for row in rows}
        held = {n: self._states[n] for n in numbers.values() if n in self._states}
        missing = {n for n in numbers.values() if n not in held}
        if missing:
            for number, state in self.memory.states(missing).items():
                held[number] = self._states[number] = state
        found = {row: held[number] for row, number in numbers.items() if number in held}
        if self._retired:  # numbers may have been used again
            found = {row: state for row, state in found.items() if self._has(row, state)}
        return found

    def heads(self, numbers: Iterable[int]) -> dict[int, Head]:
        """Return where episodes come from; what is gone from the memory is missing."""
        wanted = set(numbers)
        held = {n: self._heads[n] for n in wanted if n in self._heads}
        if len(held) < len(wanted):
            for number, head in self.memory.heads(wanted - held.keys()).items():
                held[number] = self._heads[number] = head
        return held

    def retire(self) -> None:
        """Something was deleted from the memory: serve old views, with what is still there."""
        with self.lock:
            self._retired = True
            self._states.clear()
            self._heads.clear()

    def _number(self, row: int) -> int:
        """Return the memory's number of a row's state."""
        for part in self.parts:
            if row < part.end:
                return int(part.numbers[row - part.base])
        return self.tail.number(row)

    def _has(self, row: int, state: State) -> bool:
        """Say whether a row was made of this state."""
        with self.lock:
            parts: list[Searched] = [*self.parts, self.tail]
            part = next(part for part in parts if row < part.end)
            held = {
                name: int(texts.digests[texts.column[row - part.base]])
                for name, texts in part.fields.items()
                if texts.column[row - part.base] >= 0
            }
        return held == {name: self.features.digest(text) for name, text in state.items()}


class _Alive:
    def __init__(self, moment: Moment, kernels: Kernels) -> None:
        self._moment = moment
        self._kernels = kernels

    def newest(self, rows: Ints) -> Ints32:
        """Return the newest step of each row at the moment, -1 where there is none."""
        moment = self._moment
        known = rows < moment.rows
        if not known.all():
            result = np.full(len(rows), -1, dtype=np.int32)
            result[known] = self.newest(rows[known])
            return result
        return self._kernels.newest(
            rows.astype(np.int32), moment.upto, moment.last, moment.previous, moment.live
        )
