"""A part of an index: some distinct states, the texts of their fields, and the texts' features.

A state is a *row*: rows are numbered through the whole index in the order in which their states
were first visited, and a part holds a run of them, so that parts that follow each other are joined
without a row changing its number. Within a part each distinct text of a field is held once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from jitrl.memory.index.kernels import BLOCK, Bytes, Hashes, Ints32, Kernels
from jitrl.update import Ints

ABSENT = -1


class Texts(Protocol):
    """The distinct texts of one field within a part.

    column   shape (rows,): which text a row has, -1 for none
    digests  of each text
    sizes    features of each text
    starts, features  list of lists: the features of each text, as places in `hashes`
    hashes   of the distinct features
    """

    @property
    def column(self) -> Ints32: ...  # noqa: D102
    @property
    def digests(self) -> Hashes: ...  # noqa: D102
    @property
    def sizes(self) -> Ints32: ...  # noqa: D102
    @property
    def starts(self) -> Ints: ...  # noqa: D102
    @property
    def features(self) -> Ints32: ...  # noqa: D102
    @property
    def hashes(self) -> Hashes: ...  # noqa: D102

    def find(self, hashes: Hashes) -> Ints32:
        """Return the numbers of those of the features that are there."""

    def mark(self) -> Bytes:
        """Return a mark (`jitrl.memory.index.kernels`) with a place for each feature and text."""


@dataclass(slots=True)
class Sealed:
    """The texts of a field that change no more: `Texts`, and what finds them fast.

    hashes                  of the features, rising
    text_starts, texts      list of lists: the texts that have each feature
    row_starts, rows        list of lists: the rows that have each text
    """

    column: Ints32
    digests: Hashes
    sizes: Ints32
    starts: Ints
    features: Ints32
    hashes: Hashes
    text_starts: Ints
    texts: Ints32
    row_starts: Ints
    rows: Ints32
    _mark: Bytes | None = field(default=None, repr=False)

    def find(self, hashes: Hashes) -> Ints32:
        """See `Texts`."""
        if not len(self.hashes):
            return np.zeros(0, dtype=np.int32)
        place = np.searchsorted(self.hashes, hashes)
        place[place == len(self.hashes)] = 0
        found: Ints32 = place[self.hashes[place] == hashes].astype(np.int32)
        return found

    def mark(self) -> Bytes:
        """See `Texts`."""
        if self._mark is None:
            self._mark = np.zeros(max(len(self.hashes), len(self.digests)), dtype=np.uint8)
        return self._mark


@dataclass(slots=True)
class Part:
    """A run of rows, and of the episodes that brought them.

    base       number of the first row
    numbers    shape (rows,): the memory's number of each row's state
    order      sorts the numbers
    fields     name -> its texts
    episodes   places of its episodes among all of them, in the order of their numbers
    revision   of the memory, up to which these are known
    file       where it is saved, None where it is not
    stamp      size and time of the last change of that file when it was checked
    """

    base: int
    numbers: Ints
    order: Ints32
    fields: Mapping[str, Texts]
    episodes: range
    revision: int
    file: str | None = None
    stamp: tuple[int, int] | None = None

    @property
    def end(self) -> int:
        """Number of the row after the last one."""
        return self.base + len(self.numbers)

    @property
    def weight(self) -> int:
        """How much work it is to join this part to another one, in features and rows."""
        return len(self.numbers) + sum(len(texts.features) for texts in self.fields.values())

    @property
    def sealed(self) -> bool:
        """Whether all of it can be found by feature."""
        return all(isinstance(texts, Sealed) for texts in self.fields.values())

    def rows(self, numbers: Ints) -> Ints:
        """Return the row of each state number, -1 where it is not here."""
        if not len(self.numbers):
            return np.full(len(numbers), -1, dtype=np.int64)
        place = np.searchsorted(self.numbers, numbers, sorter=self.order)
        place[place == len(self.numbers)] = 0
        rows = self.order[place]
        return np.where(self.numbers[rows] == numbers, rows.astype(np.int64) + self.base, -1)


def seal(part: Part, kernels: Kernels) -> Part:
    """Return the same part with its texts found by feature."""
    fields = {}
    for name, texts in part.fields.items():
        hashes = texts.hashes
        order = np.argsort(hashes)
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        features = rank[texts.features]
        text_starts, items = kernels.group(features, len(order))
        owner = np.repeat(np.arange(len(texts.sizes), dtype=np.int32), texts.sizes)
        row_starts, rows = kernels.group(texts.column, len(texts.sizes))
        fields[name] = Sealed(
            column=texts.column.copy(),
            digests=texts.digests.copy(),
            sizes=texts.sizes.copy(),
            starts=texts.starts.copy(),
            features=features,
            hashes=hashes[order],
            text_starts=text_starts,
            texts=owner[items],
            row_starts=row_starts,
            rows=rows,
        )
    return Part(
        part.base, part.numbers, part.order, fields, part.episodes, part.revision, part.file
    )


def merge(first: Part, second: Part, kernels: Kernels) -> Part:
    """Return two sealed parts that follow each other as one."""
    names = [*first.fields, *(name for name in second.fields if name not in first.fields)]
    numbers = np.concatenate([first.numbers, second.numbers])
    return Part(
        base=first.base,
        numbers=numbers,
        order=np.argsort(numbers, kind="stable").astype(np.int32),
        fields={
            name: _joined(_texts(first, name), _texts(second, name), kernels) for name in names
        },
        episodes=range(first.episodes.start, second.episodes.stop),
        revision=second.revision,
    )


def _texts(part: Part, name: str) -> Sealed:
    texts = part.fields.get(name)
    if isinstance(texts, Sealed):
        return texts
    nothing = np.zeros(0, dtype=np.int32)
    none, zero = np.zeros(0, dtype=np.uint64), np.zeros(1, dtype=np.int64)
    column = np.full(len(part.numbers), ABSENT, dtype=np.int32)
    return Sealed(column, none, nothing, zero, nothing, none, zero, nothing, zero, nothing)


def _joined(a: Sealed, b: Sealed, kernels: Kernels) -> Sealed:
    """Return the texts of both, each distinct one once: those of `a` first, then the new ones."""
    rename, new = _new_texts(a.digests, b.digests)
    hashes = _union(a.hashes, b.hashes)
    of_a, of_b = (np.searchsorted(hashes, x.hashes).astype(np.int32) for x in (a, b))
    kept, lengths = kernels.flatten(new, b.starts, b.features)
    sizes = np.concatenate([a.sizes, lengths.astype(np.int32)])
    fresh = np.full(len(rename), ABSENT, dtype=np.int32)
    fresh[new] = rename[new]
    count = len(sizes)
    known = np.arange(len(a.sizes), dtype=np.int32)
    text_starts, texts = _lists(
        [
            (a.text_starts, a.texts, of_a, known),
            (b.text_starts, b.texts, of_b, fresh),
        ],
        _sums(_counts(a.text_starts, of_a, len(hashes)), _tallied(of_b[kept], len(hashes))),
        kernels,
    )
    rows_a = np.arange(len(a.column), dtype=np.int32)
    rows_b = np.arange(len(b.column), dtype=np.int32) + np.int32(len(a.column))
    row_starts, rows = _lists(
        [(a.row_starts, a.rows, known, rows_a), (b.row_starts, b.rows, rename, rows_b)],
        _sums(_counts(a.row_starts, known, count), _counts(b.row_starts, rename, count)),
        kernels,
    )
    return Sealed(
        column=np.concatenate([a.column, np.append(rename, np.int32(ABSENT))[b.column]]),
        digests=np.concatenate([a.digests, b.digests[new]]),
        sizes=sizes,
        starts=_starts(sizes),
        features=np.concatenate([of_a[a.features], of_b[kept]]),
        hashes=hashes,
        text_starts=text_starts,
        texts=texts,
        row_starts=row_starts,
        rows=rows,
    )


def _new_texts(a: Hashes, b: Hashes) -> tuple[Ints32, Ints32]:
    """Return the number in the joined texts of each text of `b`, and which of them are new."""
    rename = np.full(len(b), ABSENT, dtype=np.int32)
    if len(a) and len(b):
        order = np.argsort(a)
        place = np.searchsorted(a, b, sorter=order)
        place[place == len(a)] = 0
        same = order[place]
        held = a[same] == b
        rename[held] = same[held]
    new = np.flatnonzero(rename == ABSENT).astype(np.int32)
    rename[new] = np.arange(len(a), len(a) + len(new), dtype=np.int32)
    return rename, new


def _union(a: Hashes, b: Hashes) -> Hashes:
    both = np.concatenate([a, b])
    both.sort()
    first = np.ones(len(both), dtype=np.bool_)
    first[1:] = both[1:] != both[:-1]
    return both[first]


def _counts(starts: Ints, rename: Ints32, size: int) -> Ints:
    counts = np.zeros(size, dtype=np.int64)
    counts[rename] = np.diff(starts)
    return counts


def _tallied(items: Ints32, size: int) -> Ints:
    counts = np.zeros(size, dtype=np.int64)
    for at in range(0, len(items), BLOCK):  # nobody else runs during one of these calls
        counts += np.bincount(items[at : at + BLOCK], minlength=size)
    return counts


def _sums(a: Ints, b: Ints) -> Ints:
    return _starts(a + b)


def _starts(lengths: Ints | Ints32) -> Ints:
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _lists(
    parts: Iterable[tuple[Ints, Ints32, Ints32, Ints32]], starts: Ints, kernels: Kernels
) -> tuple[Ints, Ints32]:
    """Return lists of lists as one: of each the lists and the items are renamed."""
    out = np.empty(int(starts[-1]), dtype=np.int32)
    at = starts[:-1].copy()
    for old_starts, items, list_map, item_map in parts:
        kernels.move(old_starts, items, list_map, item_map, at, out)
    return starts, out
