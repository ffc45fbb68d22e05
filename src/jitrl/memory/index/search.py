"""The search for the states nearest to one, in one part of an index: exact, and with little work.

With the weights W of the fields that the asked state has, a state whose field f has the Jaccard
similarity J_f is at most (W - w_f (1 - J_f)) / W similar. So what must be as similar as `floor`
needs J_f >= 1 - (1 - floor) W / w_f, for each field: the field that leaves the fewest states is
looked up first. A text that is as similar as t to one of n features shares at least ceil(t n) of
them, hence one of any n - ceil(t n) + 1: the rarest are looked up (Chaudhuri et al. 2006,
Bayardo et al. 2007). The other fields are compared for those states alone, the dearest one last,
the most promising states first, where k states are enough. Bounds have slack for rounding; what
counts in the end is the arithmetic of the definition (`jitrl.similarity`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jitrl.memory.index.features import Features
from jitrl.memory.index.kernels import Hashes, Ints32, Kernels
from jitrl.memory.index.segment import ABSENT, Sealed, Texts
from jitrl.records import State
from jitrl.similarity import Field, specification
from jitrl.update import Floats, Ints

_SLACK = 1e-9
_TINY = 1e-200  # weights below it round too coarsely for any bound
_FEW = 64  # rows: not worth looking for fewer
_FIRST = 256  # rows that are compared before it is known what k rows reach

Found = tuple[Ints, Floats, Ints32]
"""Rows, how similar they are, and the newest step of each."""


class Searched(Protocol):
    """A part of an index, or its tail."""

    @property
    def base(self) -> int:
        """Number of the first row."""

    @property
    def end(self) -> int:
        """Number of the row after the last one."""

    @property
    def fields(self) -> Mapping[str, Texts]:
        """Name -> its texts."""


class Alive(Protocol):
    """Who knows which rows have steps."""

    def newest(self, rows: Ints) -> Ints32:
        """Return the newest step of each row that counts, -1 where there is none."""


@dataclass(slots=True)
class Floor:
    """How similar a state must be: the threshold, or as much as the k-th best so far.

    keep  what is at least as similar counts beyond k
    """

    value: float
    k: int | None
    keep: float
    _best: Floats

    def __init__(self, threshold: float, k: int | None, keep_above: float | None) -> None:
        self.value = threshold
        self.k = k
        self.keep = math.inf if keep_above is None else keep_above
        self._best = np.zeros(0)

    def offer(self, similarities: Floats) -> None:
        """Take note of states that were found."""
        if self.k is None:
            return
        best = np.concatenate([self._best, similarities])
        if len(best) > self.k:
            best = np.partition(best, len(best) - self.k)[len(best) - self.k :]
        self._best = best
        if len(best) == self.k:
            self.value = max(self.value, min(float(best.min()), self.keep))


class Asked:
    """The state whose neighbours are wanted."""

    def __init__(
        self, state: State, fields: Sequence[Field], features: Features, kernels: Kernels
    ) -> None:
        self.state = state
        self.kernels = kernels
        self._features = features
        self._named = {field.name for field in fields}
        self._fields = fields
        self._known = self._specified(())
        self._hashes: dict[str, Hashes] = {}
        self.weight = 0.0
        for field in self._known:
            if field.name in state:
                self.weight += field.weight
        tiny = any(0 < field.weight < _TINY for field in self._known)
        self.slack = math.inf if tiny else _SLACK

    def specification(self, names: Mapping[str, object]) -> Sequence[Field]:
        """Return the fields to compare with states that have some of these."""
        if all(name in self._named or name in self.state for name in names):
            return self._known
        return self._specified(names)

    def hashes(self, field: Field) -> Hashes:
        """Return the features of a field's text."""
        found = self._hashes.get(field.name)
        if found is None:
            text = self.state[field.name]
            found = self._features.asked(text, field.n, field.multiset, self.kernels)
            self._hashes[field.name] = found
        return found

    def digest(self, field: Field) -> np.uint64:
        """Return the digest of a field's text."""
        return np.uint64(self._features.digest(self.state[field.name]))

    def _specified(self, names: Mapping[str, object] | tuple[()]) -> Sequence[Field]:
        return specification(self._fields, {*self.state, *names})


def search(part: Searched, asked: Asked, floor: Floor, alive: Alive) -> list[Found]:
    """Return the rows with steps that reach the floor, and are similar at all."""
    return _Search(part, asked, floor, alive).found()


class _Search:
    def __init__(self, part: Searched, asked: Asked, floor: Floor, alive: Alive) -> None:
        self._part = part
        self._asked = asked
        self._floor = floor
        self._alive = alive
        self._kernels = asked.kernels
        self._fields = asked.specification(part.fields)
        self._places: dict[str, Ints32] = {}
        self._rows: Ints | None = None  # of the part that are still in question, None for all
        self._scores: dict[str, Floats] = {}  # of the fields that were compared, for these rows

    def found(self) -> list[Found]:
        if self._part.end == self._part.base or not self._narrow():
            return []
        fields = [field for field in self._fields if self._compared(field)]
        fields = [field for field in fields if field.name not in self._scores]
        fields.sort(key=lambda field: len(self._part.fields[field.name].features))
        self._drop_strangers()
        for field in fields[:-1]:
            self._compare(field)
        if not fields:
            return self._finish(self._all(), self._scores)
        return self._compare_last(fields[-1])

    # --- the rows in question

    def _narrow(self) -> bool:
        """Look up the field that leaves the fewest rows; say whether there are any."""
        wanted: list[tuple[float, int, Field, float]] = []
        for field in self._fields:
            if field.name not in self._asked.state:
                continue
            need = self._need(field)
            limited = field.exact or (field.minimum or 0.0) > 0.0
            if field.name not in self._part.fields and (need > 0.0 or limited):
                return False  # every row lacks it
            if need <= 0.0 and not field.exact:
                continue
            promise = math.inf if field.exact else need * len(self._asked.state[field.name])
            wanted.append((-promise, len(wanted), field, need))
        best: tuple[Ints32, Floats, int] | None = None
        for _, _, field, need in sorted(wanted):
            texts = self._part.fields[field.name]
            if best and (best[2] <= _FEW or self._cost(field, texts, need) >= best[2]):
                break
            numbers, scores = self._reach(field, texts, need)
            count = _row_count(texts, numbers)
            if not count:
                return False
            if best is None or count < best[2]:
                best = numbers, scores, count
                chosen = field
        if best is not None:
            texts = self._part.fields[chosen.name]
            self._rows, scores = self._rows_with(texts, best[0], best[1])
            self._scores[chosen.name] = scores
            self._keep(self._admitted(chosen, scores, texts.column[self._rows]))
        return True

    def _need(self, field: Field) -> float:
        """Return how similar this field's texts must be; not above 0: it says nothing."""
        need = field.minimum or 0.0
        if field.weight > 0.0:
            spare = (1.0 + _SLACK - self._floor.value) * self._asked.weight / field.weight
            need = max(need, 1.0 - spare)
        return need - self._asked.slack if field.weight > 0.0 else need - _SLACK

    def _reach(self, field: Field, texts: Texts, need: float) -> tuple[Ints32, Floats]:
        """Return the texts that are as similar as needed, and how similar they are."""
        if field.exact:
            same = np.flatnonzero(texts.digests == self._asked.digest(field)).astype(np.int32)
            return same, np.ones(len(same))
        size = len(self._asked.hashes(field))
        if size:
            numbers = self._candidates(field, texts, need)
            scores = self._jaccard(field, texts, numbers)
        else:
            numbers = np.flatnonzero(texts.sizes == 0).astype(np.int32)
            scores = np.ones(len(numbers))
        enough = scores >= need
        return numbers[enough], scores[enough]

    def _candidates(self, field: Field, texts: Texts, need: float) -> Ints32:
        """Return the texts of a fitting length that may share enough features."""
        size = len(self._asked.hashes(field))
        low, high = math.ceil(need * size), math.floor(min(size / need, 2.0**31 - 1))
        if not isinstance(texts, Sealed):
            return np.flatnonzero((texts.sizes >= low) & (texts.sizes <= high)).astype(np.int32)
        rarest = self._rarest(field, texts, need)
        return self._kernels.gather(
            rarest, texts.text_starts, texts.texts, texts.sizes, low, high, texts.mark()
        )

    def _rarest(self, field: Field, texts: Sealed, need: float) -> Ints32:
        """Return the rarest features: a text that is similar enough has one of them."""
        places = self._find(field, texts)
        size = len(self._asked.hashes(field))
        count = size - math.ceil(need * size) + 1 - (size - len(places))
        if count <= 0:
            return places[:0]
        lengths = texts.text_starts[places + 1] - texts.text_starts[places]
        return places[np.argsort(lengths, kind="stable")[:count]]

    def _cost(self, field: Field, texts: Texts, need: float) -> int:
        """Return how many items would be looked at to find this field's texts."""
        if field.exact:
            return len(texts.digests) >> 3
        if not isinstance(texts, Sealed):
            return len(texts.features)
        rarest = self._rarest(field, texts, need)
        return int((texts.text_starts[rarest + 1] - texts.text_starts[rarest]).sum())

    def _rows_with(self, texts: Texts, numbers: Ints32, scores: Floats) -> tuple[Ints, Floats]:
        """Return the rows that have one of the texts, and each row's score."""
        if isinstance(texts, Sealed):
            rows, counts = self._kernels.flatten(numbers, texts.row_starts, texts.rows)
            return rows.astype(np.int64), np.repeat(scores, counts)
        every = np.full(len(texts.digests) + 1, -1.0)  # the last one is for rows without a text
        every[numbers] = scores
        found = every[texts.column]
        rows64 = np.flatnonzero(found >= 0.0)
        return rows64, found[rows64]

    def _all(self) -> Ints:
        return np.arange(self._part.end - self._part.base) if self._rows is None else self._rows

    # --- fields compared for the rows in question

    def _compared(self, field: Field) -> bool:
        return field.name in self._asked.state and field.name in self._part.fields

    def _drop_strangers(self) -> None:
        """Drop rows that have a field which the asked state lacks, where that excludes them."""
        for field in self._fields:
            if field.name in self._asked.state or not (field.exact or (field.minimum or 0.0) > 0.0):
                continue
            if field.name in self._part.fields:
                self._keep(self._column(field.name) == ABSENT)

    def _compare(self, field: Field) -> None:
        scores = self._score(field, self._column(field.name))
        self._scores[field.name] = scores
        self._keep(self._admitted(field, scores, self._column(field.name)))
        if self._asked.weight > 0.0:
            self._keep(self._bound() >= self._floor.value - self._asked.slack)

    def _compare_last(self, field: Field) -> list[Found]:
        """Compare the last field, the most promising rows first where k is enough."""
        texts = self._part.fields[field.name]
        rows = self._all()
        if not len(rows):
            return []
        bound = None
        if len(rows) > _FEW and self._asked.weight > 0.0:
            bound = self._bound(field, self._cap(field, texts))
            enough = bound >= self._floor.value - self._asked.slack
            self._keep(enough)
            rows, bound = self._all(), bound[enough]
        if self._floor.k is None or bound is None or len(rows) <= 2 * _FIRST:
            return self._last(field, texts, np.arange(len(rows)))
        result, left, take = [], np.arange(len(rows)), _FIRST
        while len(left):
            if len(left) > take:
                order = np.argpartition(bound[left], len(left) - take)
                now, left = left[order[-take:]], left[order[:-take]]
            else:
                now, left = left, left[:0]
            result += self._last(field, texts, now)
            left = left[bound[left] >= self._floor.value - self._asked.slack]
            take *= 4
        return result

    def _last(self, field: Field, texts: Texts, places: Ints) -> list[Found]:
        """Compare the last field of some of the rows, and finish them."""
        rows = self._all()[places]
        column = texts.column[rows]
        scores = self._score(field, column)
        admitted = self._admitted(field, scores, column)
        held = {name: values[places][admitted] for name, values in self._scores.items()}
        held[field.name] = scores[admitted]
        return self._finish(rows[admitted], held)

    def _column(self, name: str) -> Ints32:
        column = self._part.fields[name].column
        return column if self._rows is None else column[self._rows]

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        if kept.all():
            return
        self._rows = np.flatnonzero(kept) if self._rows is None else self._rows[kept]
        self._scores = {name: scores[kept] for name, scores in self._scores.items()}

    def _admitted(self, field: Field, scores: Floats, column: Ints32) -> NDArray[np.bool_]:
        """Return which rows this field does not exclude."""
        admitted = np.ones(len(scores), dtype=np.bool_)
        if field.minimum is not None:
            admitted &= scores >= field.minimum
        if field.exact:
            digests = self._part.fields[field.name].digests
            same = np.append(digests == self._asked.digest(field), False)
            admitted &= same[column]
        return admitted

    def _bound(self, last: Field | None = None, cap: Floats | float = 1.0) -> Floats:
        """Return the most that the similarity of each row can be; `cap`: that of the last field."""
        asked, rows = self._asked, self._all()
        total = np.zeros(len(rows))
        for field in self._fields:
            if not self._compared(field):
                continue
            if field is last:
                total += field.weight * cap
            else:
                total += field.weight * self._scores.get(field.name, 1.0)
        return total / asked.weight

    def _cap(self, field: Field, texts: Texts) -> Floats:
        """Return the most that the field's similarity can be, from the sizes of the texts."""
        size = len(self._asked.hashes(field))
        sizes = texts.sizes[self._column(field.name)].astype(np.float64)  # of none: any number
        if not size:
            return np.asarray(sizes == 0.0, dtype=np.float64)
        return np.minimum(sizes, size) / np.maximum(sizes, size)

    # --- similarities

    def _score(self, field: Field, column: Ints32) -> Floats:
        """Return the Jaccard similarity of each of these texts to the asked one; 0 for none."""
        texts = self._part.fields[field.name]
        count = len(texts.digests)
        average = len(texts.features) / max(count, 1)
        if isinstance(texts, Sealed):
            places = self._find(field, texts)
            every = int((texts.text_starts[places + 1] - texts.text_starts[places]).sum()) + count
        else:
            every = len(texts.features) + count
        if every < len(column) * (average + 1.0):
            return np.append(self._jaccard_all(field, texts), 0.0)[column]
        held = np.flatnonzero(column >= 0)
        distinct, inverse = column[held], None
        if len(held) * average > 20_000:
            distinct, inverse = np.unique(distinct, return_inverse=True)
        scores = self._jaccard(field, texts, distinct)
        result = np.zeros(len(column))
        result[held] = scores if inverse is None else scores[inverse]
        return result

    def _jaccard(self, field: Field, texts: Texts, numbers: Ints32) -> Floats:
        if not len(numbers):
            return np.zeros(0)
        common = self._kernels.overlaps(
            numbers, texts.starts, texts.features, self._find(field, texts), texts.mark()
        )
        return self._ratio(field, common, texts.sizes[numbers])

    def _jaccard_all(self, field: Field, texts: Texts) -> Floats:
        places = self._find(field, texts)
        count = len(texts.digests)
        if isinstance(texts, Sealed):
            common = self._kernels.tally(places, texts.text_starts, texts.texts, count)
        else:
            every = np.arange(count, dtype=np.int32)
            common = self._kernels.overlaps(
                every, texts.starts, texts.features, places, texts.mark()
            )
        return self._ratio(field, common, texts.sizes)

    def _ratio(self, field: Field, common: Ints, sizes: Ints32) -> Floats:
        union = sizes.astype(np.int64) + len(self._asked.hashes(field)) - common
        result = np.ones(len(common))
        np.divide(common, union, out=result, where=union > 0)
        return result

    def _find(self, field: Field, texts: Texts) -> Ints32:
        places = self._places.get(field.name)
        if places is None:
            places = self._places[field.name] = texts.find(self._asked.hashes(field))
        return places

    def _finish(self, rows: Ints, scores: Mapping[str, Floats]) -> list[Found]:
        """Return the rows that reach the floor, by the arithmetic of the definition."""
        total = np.zeros(len(rows))
        weight = np.zeros(len(rows))
        for field in self._fields:
            if field.name in self._asked.state:
                if field.name in scores:
                    total += field.weight * scores[field.name]
                weight += field.weight
            elif field.name in self._part.fields:
                held = self._part.fields[field.name].column[rows] != ABSENT
                weight += np.where(held, field.weight, 0.0)
        similarity = np.ones(len(rows))
        np.divide(total, weight, out=similarity, where=weight > 0.0)
        near = (similarity >= self._floor.value) & (similarity > 0.0)
        rows, similarity = rows[near] + self._part.base, similarity[near]
        newest = self._alive.newest(rows)
        alive = newest >= 0
        if not alive.all():
            rows, similarity, newest = rows[alive], similarity[alive], newest[alive]
        if not len(rows):
            return []
        self._floor.offer(similarity)
        return [(rows, similarity, newest)]


def _row_count(texts: Texts, numbers: Ints32) -> int:
    """Return how many rows have one of the texts."""
    if isinstance(texts, Sealed):
        return int((texts.row_starts[numbers + 1] - texts.row_starts[numbers]).sum())
    return len(numbers) and len(texts.column)
