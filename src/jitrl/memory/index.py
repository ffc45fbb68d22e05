"""The exact index of a memory: the neighbours of a state, as `jitrl.similarity` defines them.

Occurrences of an n-gram within a text are numbered (g, g#1, g#2 ...), so that the Jaccard
similarity of multisets becomes that of plain sets. An inverted list per n-gram gives the sizes of
all intersections in one pass; the rest is arithmetic on whole arrays, in the order of the
definition, so that the similarities agree with it to the last bit. Each distinct state is indexed
once.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jitrl.records import Episode, Experience, State, Step
from jitrl.similarity import Field, Gram, grams, specification
from jitrl.update import Floats, Ints

ReturnsRule = Callable[[Sequence[Step]], Floats]
_ABSENT = -1


@dataclass(frozen=True, slots=True)
class Cut:
    """Which states of a ranking are neighbours.

    threshold   in [0, 1]: least similarity; similarity 0 is never enough
    k           at most so many, None for no limit
    counts      what k counts: distinct "states" (each with all its steps), or "steps"
    keep_above  neighbours at least this similar are kept beyond k, None for none
    """

    threshold: float
    k: int | None
    counts: str
    keep_above: float | None = None


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
    """Finds the neighbours of a state among the steps added so far.

    fields   how states are compared
    returns  turns the T steps of an episode into their returns, shape (T,); nan for a step that
             is no evidence: it is left out

    Safe for use from several threads. `len(index)` counts the steps that are evidence, and
    `upto=len(index)`, taken at one moment, keeps later steps out of later queries.
    """

    def __init__(self, fields: Sequence[Field], returns: ReturnsRule) -> None:
        self._fields = tuple(fields)
        self._returns = returns
        self._lock = threading.RLock()
        self._states: list[State] = []
        self._number: dict[State, int] = {}
        self._postings: dict[str, _Postings] = {}
        self._steps_of: list[array[int]] = []
        self._actions: list[str] = []
        self._values = array("d")
        self._episodes: list[tuple[str, str, Mapping[str, str]]] = []  # id, task, provenance
        self._places: list[tuple[int, int]] = []  # episode, t

    def __len__(self) -> int:
        return len(self._actions)

    def add(self, episodes: Iterable[Episode]) -> None:
        """Append every step of the episodes that is evidence, in order."""
        with self._lock:
            for episode in episodes:
                returns = self._returns(episode.steps)
                self._episodes.append((episode.id, episode.task, episode.provenance))
                for t, step in enumerate(episode.steps):
                    if np.isnan(returns[t]):
                        continue
                    self._steps_of[self._intern(step.state)].append(len(self._actions))
                    self._actions.append(step.action)
                    self._values.append(float(returns[t]))
                    self._places.append((len(self._episodes) - 1, t))

    def neighbours(self, state: State, cut: Cut, upto: int | None = None) -> list[Experience]:
        """Return the remembered steps nearest to `state`, most similar first, ties newest first.

        `upto`: only the first so many steps exist. The steps of one distinct state stay together
        where k counts states; where it counts steps, steps of equal similarity are ordered by age.
        """
        with self._lock:
            upto = len(self) if upto is None else min(upto, len(self))
            similarities = self._similarities(state)
            near = np.flatnonzero((similarities >= cut.threshold) & (similarities > 0.0))
            newest = np.array([self._newest(int(i), upto) for i in near], dtype=np.int64)
            near, newest = near[newest >= 0], newest[newest >= 0]
            order = np.lexsort((-newest, -similarities[near]))
            ranked = near[order]
            # k steps come from k states at most: the ones whose newest step ranks first
            steps = self._flatten(ranked[: _kept(similarities[ranked], cut)], upto)
            if cut.counts == "steps":
                steps.sort(key=lambda found: (-similarities[found[0]], -found[1]))
                levels = np.array([similarities[number] for number, _ in steps])
                steps = steps[: _kept(levels, cut)]
            return [self._experience(n, i, float(similarities[n])) for n, i in steps]

    def _flatten(self, numbers: Ints, upto: int) -> list[tuple[int, int]]:
        """Return (state, step) pairs, newest step first within a state."""
        return [
            (int(number), step)
            for number in numbers
            for step in reversed(self._steps_of[number])
            if step < upto
        ]

    def _newest(self, number: int, upto: int) -> int:
        """Return the newest step of a state below `upto`, -1 if there is none."""
        steps = self._steps_of[number]
        place = bisect_left(steps, upto)
        return steps[place - 1] if place else -1

    def _experience(self, number: int, step: int, similarity: float) -> Experience:
        place, t = self._places[step]
        id, task, provenance = self._episodes[place]
        return Experience(
            similarity=similarity,
            state=self._states[number],
            action=self._actions[step],
            return_=self._values[step],
            episode=id,
            t=t,
            task=task,
            provenance=provenance,
        )

    def _intern(self, state: State) -> int:
        """Return the number of a state, indexing it if it is new."""
        number = self._number.get(state)
        if number is not None:
            return number
        for field in specification(self._fields, state):
            if field.name not in self._postings:
                self._postings[field.name] = _Postings(field, len(self._states))
        for name, postings in self._postings.items():
            postings.add(state.get(name))
        self._number[state] = number = len(self._states)
        self._states.append(state)
        self._steps_of.append(array("l"))
        return number

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
