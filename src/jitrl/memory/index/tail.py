"""The part of an index that grows: the states that were visited first of late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jitrl.memory.index.features import Features
from jitrl.memory.index.growing import Growing
from jitrl.memory.index.kernels import Bytes, Hashes, Ints32, Kernels
from jitrl.memory.index.segment import ABSENT, Part
from jitrl.records import State
from jitrl.similarity import Field, specification
from jitrl.update import Ints


class Open:
    """The texts of a field, to which more can be added: `jitrl.memory.index.segment.Texts`."""

    def __init__(self, field: Field, rows: int) -> None:
        self.field = field
        self._column = Growing(np.int32)
        self._column.grow(rows, ABSENT)
        self._digests = Growing(np.uint64)
        self._sizes = Growing(np.int32)
        self._starts = Growing(np.int64)
        self._starts.grow(1)
        self._features = Growing(np.int32)
        self._places: dict[int, int] = {}  # of a feature, by its hash
        self._texts: dict[str, int] = {}
        self._mark = np.zeros(64, dtype=np.uint8)

    @property
    def column(self) -> Ints32:
        """See `Texts`."""
        return self._column.items

    @property
    def digests(self) -> Hashes:
        """See `Texts`."""
        return self._digests.items

    @property
    def sizes(self) -> Ints32:
        """See `Texts`."""
        return self._sizes.items

    @property
    def starts(self) -> Ints:
        """See `Texts`."""
        return self._starts.items

    @property
    def features(self) -> Ints32:
        """See `Texts`."""
        return self._features.items

    @property
    def hashes(self) -> Hashes:
        """See `Texts`."""
        return np.fromiter(self._places, np.uint64, len(self._places))

    def find(self, hashes: Hashes) -> Ints32:
        """See `Texts`."""
        places = self._places
        found = [places[one] for one in hashes.tolist() if one in places]
        return np.array(found, dtype=np.int32)

    def mark(self) -> Bytes:
        """See `Texts`."""
        needed = max(len(self._places), len(self._texts))
        if needed > len(self._mark):
            self._mark = np.zeros(2 * needed, dtype=np.uint8)
        return self._mark

    def add(self, texts: Sequence[str | None], features: Features, kernels: Kernels) -> None:
        """Append the texts of the next rows, None where a state has no such field."""
        known = self._texts
        new = [*dict.fromkeys(text for text in texts if text is not None and text not in known)]
        if new:
            found, sizes = features.of(new, self.field.n, self.field.multiset, kernels)
            places = self._places
            self._features.extend([places.setdefault(one, len(places)) for one in found.tolist()])
            self._starts.extend(self._starts.items[-1] + np.cumsum(sizes))
            self._sizes.extend(sizes)
            self._digests.extend(np.array([features.digest(t) for t in new], dtype=np.uint64))
            known.update(zip(new, range(len(known), len(known) + len(new)), strict=True))
        self._column.extend([ABSENT if text is None else known[text] for text in texts])


class Tail:
    """The rows after the last part, for which it stands in until it is closed with `part`.

    base    number of its first row
    fields  name -> its texts
    """

    def __init__(self, base: int) -> None:
        self.base = base
        self.fields: dict[str, Open] = {}
        self._rows: dict[int, int] = {}  # number of a state -> its row
        self._numbers: list[int] = []

    @property
    def end(self) -> int:
        """Number of the row after the last one."""
        return self.base + len(self._rows)

    @property
    def weight(self) -> int:
        """How many features, cells and rows there are."""
        cells = len(self._rows) * (1 + len(self.fields))
        return cells + sum(len(texts.features) for texts in self.fields.values())

    def rows(self, numbers: Ints) -> Ints:
        """Return the row of each state number, -1 where it is not here."""
        return np.array([self._rows.get(number, -1) for number in numbers.tolist()], dtype=np.int64)

    def add(
        self,
        states: Mapping[int, State],
        fields: Sequence[Field],
        features: Features,
        kernels: Kernels,
    ) -> None:
        """Append a row for each state, by number."""
        names = dict.fromkeys(name for state in states.values() for name in state)
        for field in specification(fields, names):
            if field.name in names and field.name not in self.fields:
                self.fields[field.name] = Open(field, len(self._rows))
        for name, texts in self.fields.items():
            texts.add([state.get(name) for state in states.values()], features, kernels)
        for number in states:
            self._rows[number] = self.base + len(self._rows)
        self._numbers += states

    def number(self, row: int) -> int:
        """Return the number of a row's state."""
        return self._numbers[row - self.base]

    def part(self, episodes: range, revision: int) -> Part:
        """Return what is there as a part; nothing may be added after that."""
        numbers = np.array(self._numbers, dtype=np.int64)
        order = np.argsort(numbers, kind="stable").astype(np.int32)
        return Part(self.base, numbers, order, dict(self.fields), episodes, revision)
