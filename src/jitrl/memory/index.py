"""The exact index of a memory: the neighbours of a state, as `jitrl.similarity` defines them.

Occurrences of an n-gram within a text are numbered (g, g#1, g#2 ...), so that the Jaccard
similarity of multisets becomes that of plain sets. An inverted list per n-gram gives the sizes of
all intersections in one pass; the rest is arithmetic on whole arrays, in the order of the
definition, so that the similarities agree with it to the last bit. Each distinct state is indexed
once.
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from jitrl.errors import InvalidValue, NotAMemory
from jitrl.memory.contract import Head, Memory, Pulse, Trail
from jitrl.records import Experience, State
from jitrl.similarity import Field, Gram, grams, specification
from jitrl.update import Floats, Ints

ReturnsRule = Callable[[Floats, Floats], Floats]
"""An episode's rewards and judged scores (nan for none) -> its returns; nan for a step that is no
evidence. All have shape (T,)."""

Backend = Literal["auto", "numpy", "numba"]
_ABSENT = -1
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """Which states of a ranking are neighbours.

    threshold   in [0, 1]: least similarity; similarity 0 is never enough
    k           at most so many, None for no limit
    counts      what k counts: distinct "states" (each with all its steps), or "steps"
    keep_above  neighbours at least this similar are kept beyond k, None for none
    per_action  of one state at most so many steps of each action exist, the newest; None for all
    """

    threshold: float
    k: int | None
    counts: str
    keep_above: float | None = None
    per_action: int | None = None


class _Postings:
    """One field: for each numbered n-gram the states that hold it, and each state's size."""

    def __init__(self, field: Field, states: int) -> None:
        self.field = field
        self.sizes = array("l", [_ABSENT] * states)
        self._lists: dict[tuple[Gram, int], array[int]] = {}

    def add(self, text: str | None) -> None:
        """Append the next state's text, None where it has no such field."""
        if text is None:
            self.sizes.append(_ABSENT)
            return
        state = len(self.sizes)
        features = self._features(text)
        for feature in features:
            self._lists.setdefault(feature, array("l")).append(state)
        self.sizes.append(len(features))

    def jaccard(self, text: str) -> Floats:
        """Return the similarity of `text` to every state; 0 for a state without this field."""
        features = self._features(text)
        sizes = np.array(self.sizes, dtype=np.int64)
        lists = [found for feature in features if (found := self._lists.get(feature))]
        common = np.zeros(len(sizes), dtype=np.int64)
        if lists:
            hits = np.concatenate([np.array(found, dtype=np.int64) for found in lists])
            common = np.bincount(hits, minlength=len(sizes))
        union = sizes + len(features) - common
        result = np.ones(len(sizes))
        np.divide(common, union, out=result, where=union > 0)
        result[sizes == _ABSENT] = 0.0
        return result

    def _features(self, text: str) -> list[tuple[Gram, int]]:
        counted = grams(text, self.field.n).items()
        if not self.field.multiset:
            return [(gram, 0) for gram, _ in counted]
        return [(gram, i) for gram, count in counted for i in range(count)]


class Index:
    """Finds the neighbours of a state among the steps of a memory.

    memory   whose episodes are read
    fields   how states are compared
    returns  turns rewards and judged scores (nan for none) of an episode, shape (T,) each, into
             returns, shape (T,); nan for a step that is no evidence: it is left out
    backend  "numpy", "numba", or "auto": numba where it is installed and repays its import

    Safe for use from several threads, not across a fork.
    """

    def __init__(
        self,
        memory: Memory,
        fields: Sequence[Field],
        returns: ReturnsRule,
        *,
        backend: Backend = "auto",
    ) -> None:
        if backend not in get_args(Backend):
            raise InvalidValue("backend", backend, f"must be one of {get_args(Backend)}")
        self._memory = memory
        self._fields = tuple(fields)
        self._returns = returns
        self._lock = threading.RLock()
        self._core = _Core(memory, self._fields, returns)

    def refresh(self) -> View:
        """Read what has changed in the memory, and return what is there now.

        Raises what the memory raises, and NotAMemory where its parts contradict each other.
        """
        with self._lock:
            for _ in range(_TRIES):
                before = self._memory.pulse()
                self._read(before)
                after = self._memory.pulse()
                if (before.epoch, before.revision) == (after.epoch, after.revision):
                    if self._core.known != after.episodes:
                        raise NotAMemory(
                            f"the memory counts {after.episodes} episodes and tells of "
                            f"{self._core.known}: it is damaged, repair it or restore a copy"
                        )
                    break
            return View(self._core, len(self._core.actions), self._core.evidence)

    @property
    def episodes(self) -> int:
        """How many episodes were stored at the last refresh, present or not."""
        return self._core.known

    def close(self) -> None:
        """Free what the index holds; calling it twice is harmless."""

    def _read(self, pulse: Pulse) -> None:
        core = self._core
        if core.epoch == pulse.epoch and core.revision == pulse.revision:
            return
        trails = [] if core.epoch != pulse.epoch else list(self._memory.changes(core.revision))
        if core.epoch != pulse.epoch or any(t.number <= core.newest for t in trails):
            core = _Core(self._memory, self._fields, self._returns)
            trails = list(self._memory.changes(0))
        core.add(trails)
        core.epoch, core.revision = pulse.epoch, pulse.revision
        self._core = core


class View:
    """What an index held at one moment: later steps do not show in it.

    `len(view)` counts the steps that are evidence.
    """

    def __init__(self, core: _Core, upto: int, evidence: int) -> None:
        self._core = core
        self._upto = upto
        self._evidence = evidence

    def __len__(self) -> int:
        return self._evidence

    def neighbours(self, state: State, cut: Cut) -> list[Experience]:
        """Return the remembered steps nearest to `state`, most similar first, ties newest first.

        The steps of one distinct state stay together where k counts states; where it counts steps,
        steps of equal similarity are ordered by age. What is gone from the memory is left out.
        """
        return self._core.neighbours(state, cut, self._upto)


class _Core:
    """The index of one epoch of a memory; only ever appended to."""

    def __init__(self, memory: Memory, fields: Sequence[Field], returns: ReturnsRule) -> None:
        self.epoch = ""
        self.revision = 0
        self.newest = 0
        self.known = 0
        self.evidence = 0
        self.actions: list[str] = []
        self._memory = memory
        self._fields = fields
        self._returns = returns
        self._lock = threading.RLock()
        self._states: list[State] = []
        self._number: dict[int, int] = {}
        self._numbers: list[int] = []
        self._postings: dict[str, _Postings] = {}
        self._steps_of: list[array[int]] = []
        self._values = array("d")
        self._places: list[tuple[int, int]] = []  # episode's number, t

    def add(self, trails: Sequence[Trail]) -> None:
        """Append every step of the episodes that is evidence, in order."""
        with self._lock:
            states = self._memory.states({n for trail in trails for n in trail.states})
            gone = [trail.number for trail in trails if not (trail.present or trail.states)]
            held = self._memory.heads(gone) if gone else {}
            for trail in trails:
                self.newest = max(self.newest, trail.number)
                if trail.number in gone and trail.number not in held:
                    continue
                self.known += 1
                if not trail.present:
                    continue
                judged = [math.nan if score is None else score for score in trail.judged]
                returns = self._returns(np.array(trail.rewards), np.array(judged))
                for t, number in enumerate(trail.states):
                    if np.isnan(returns[t]):
                        continue
                    row = self._intern(number, states[number])
                    self._steps_of[row].append(len(self.actions))
                    self._values.append(float(returns[t]))
                    self._places.append((trail.number, t))
                    self.actions.append(trail.actions[t])
                    self.evidence += 1

    def neighbours(self, state: State, cut: Cut, upto: int) -> list[Experience]:
        """See `View.neighbours`; only the first `upto` steps exist."""
        with self._lock:
            similarities = self._similarities(state)
            near = np.flatnonzero((similarities >= cut.threshold) & (similarities > 0.0))
            newest = np.array([self._newest(int(i), upto) for i in near], dtype=np.int64)
            near, newest = near[newest >= 0], newest[newest >= 0]
            order = np.lexsort((-newest, -similarities[near]))
            ranked = near[order]
            # k steps come from k states at most: the ones whose newest step ranks first
            steps = self._flatten(ranked[: _kept(similarities[ranked], cut)], upto, cut)
            if cut.counts == "steps":
                steps.sort(key=lambda found: (-similarities[found[0]], -found[1]))
                levels = np.array([similarities[number] for number, _ in steps])
                steps = steps[: _kept(levels, cut)]
            states = self._memory.states({self._numbers[row] for row, _ in steps})
            heads = self._memory.heads({self._places[step][0] for _, step in steps})
            return [
                self._experience(row, step, float(similarities[row]), heads)
                for row, step in steps
                if self._numbers[row] in states and self._places[step][0] in heads
            ]

    def _flatten(self, rows: Ints, upto: int, cut: Cut) -> list[tuple[int, int]]:
        """Return (row, step) pairs, newest step first within a state."""
        result = []
        for row in rows:
            taken: Counter[str] = Counter()
            for step in reversed(self._steps_of[row]):
                if step < upto:
                    taken[self.actions[step]] += 1
                    if cut.per_action is None or taken[self.actions[step]] <= cut.per_action:
                        result.append((int(row), step))
        return result

    def _newest(self, number: int, upto: int) -> int:
        """Return the newest step of a state below `upto`, -1 if there is none."""
        steps = self._steps_of[number]
        place = bisect_left(steps, upto)
        return steps[place - 1] if place else -1

    def _experience(
        self, row: int, step: int, similarity: float, heads: Mapping[int, Head]
    ) -> Experience:
        number, t = self._places[step]
        head = heads[number]
        return Experience(
            similarity=similarity,
            state=self._states[row],
            action=self.actions[step],
            return_=self._values[step],
            episode=head.id,
            t=t,
            task=head.task,
            provenance=head.provenance,
        )

    def _intern(self, number: int, state: State) -> int:
        """Return the row of a state, indexing it if it is new."""
        row = self._number.get(number)
        if row is not None:
            return row
        for field in specification(self._fields, state):
            if field.name not in self._postings:
                self._postings[field.name] = _Postings(field, len(self._states))
        for name, postings in self._postings.items():
            postings.add(state.get(name))
        self._number[number] = row = len(self._states)
        self._numbers.append(number)
        self._states.append(state)
        self._steps_of.append(array("l"))
        return row

    def _similarities(self, state: State) -> Floats:
        """Return the similarity of `state` to every distinct state: the definition, on arrays."""
        count = len(self._states)
        total, weight = np.zeros(count), np.zeros(count)
        alive = np.ones(count, dtype=np.bool_)
        for field in specification(self._fields, {*state, *self._postings}):
            text = state.get(field.name)
            score, held = self._compare(field, text)
            counted = held | (text is not None)
            if field.minimum is not None:
                alive &= ~counted | (score >= field.minimum)
            if field.exact:
                texts = (other.get(field.name) for other in self._states)
                alive &= np.fromiter((other == text for other in texts), np.bool_, count)
            total += np.where(counted, field.weight * score, 0.0)
            weight += np.where(counted, field.weight, 0.0)
        result = np.ones(count)
        np.divide(total, weight, out=result, where=weight > 0)
        return np.where(alive, result, 0.0)

    def _compare(self, field: Field, text: str | None) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the similarity of a text to that of every state, and which states have one."""
        postings = self._postings.get(field.name)
        if postings is None:
            return np.zeros(len(self._states)), np.zeros(len(self._states), dtype=np.bool_)
        held = np.array(postings.sizes, dtype=np.int64) != _ABSENT
        return (np.zeros(len(held)) if text is None else postings.jaccard(text)), held


def _kept(levels: Floats, cut: Cut) -> int:
    """Return how many of a falling sequence of similarities the cut keeps."""
    if cut.k is None:
        return len(levels)
    above = 0 if cut.keep_above is None else int(np.sum(levels >= cut.keep_above))
    return min(len(levels), max(cut.k, above))
