"""The inner loops of the index, on plain arrays: what they do, and how numpy does it.

All of them work on integers, so that every implementation (`jitrl.memory.index.fast` has them in
numba) gives the same answers to the last bit; what is arithmetic on similarities is common to all.

A *list of lists* is stored as two arrays: `items`, one list after the other, and `starts`, where
each begins, with the end of the last one. A *mark* is an array of zeros that a kernel may write
to, and leaves as it was.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jitrl.errors import MissingExtra
from jitrl.update import Ints

Ints32 = NDArray[np.int32]
Hashes = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
GOLDEN = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # splitmix64 (Steele et al. 2014)
BLOCK = 1 << 20  # items at a time: bounds what is needed in between, and how long others wait


class Kernels(Protocol):
    """The inner loops of the index."""

    def grams(self, codes: Hashes, lengths: Ints, n: int, multiset: bool) -> tuple[Hashes, Ints]:
        """Return the features of texts, and how many each one has.

        codes, lengths  list of lists: the hashed words of each text
        n               words in an n-gram, at most the longest text, and at least 1
        """

    def overlaps(
        self, of: Ints32, starts: Ints, items: Ints32, wanted: Ints32, mark: Bytes
    ) -> Ints:
        """Return for each list number in `of` how many of its items are among `wanted`."""

    def tally(self, of: Ints32, starts: Ints, items: Ints32, size: int) -> Ints:
        """Return how often each number below `size` occurs in the lists of these numbers."""

    def gather(
        self,
        of: Ints32,
        starts: Ints,
        items: Ints32,
        sizes: Ints32,
        low: int,
        high: int,
        mark: Bytes,
    ) -> Ints32:
        """Return the distinct items, with low <= sizes[item] <= high, of the lists of a number."""

    def flatten(self, of: Ints32, starts: Ints, items: Ints32) -> tuple[Ints32, Ints]:
        """Return the lists of these numbers, one after the other, and how long each one is."""

    def group(self, keys: Ints32, size: int) -> tuple[Ints, Ints32]:
        """Return where `keys` has each number below `size`, as a list of lists; -1 is no number."""

    def move(
        self, starts: Ints, items: Ints32, list_map: Ints32, item_map: Ints32, at: Ints, out: Ints32
    ) -> None:
        """Append the items of list i, renamed, to `out` at at[list_map[i]], and move that on.

        item_map  new name of each item; -1 drops it
        """

    def newest(
        self, rows: Ints32, upto: int, last: Ints32, previous: Ints32, live: Bytes
    ) -> Ints32:
        """Return the newest live step below `upto` of each row, -1 where there is none."""

    def chain(self, row_of: Ints32, live: Bytes, rows: int) -> tuple[Ints32, Ints32]:
        """Link the live steps of each row: return each step's `previous`, and each row's `last`."""

    def walk(
        self,
        step: int,
        upto: int,
        previous: Ints32,
        live: Bytes,
        actions: Ints32,
        per_action: int,
        most: int,
        counts: Ints32,
    ) -> Ints32:
        """Return the live steps below `upto` down the chain from `step`, newest first.

        per_action, most  at most so many of one action, and in all
        counts            a mark with a place for each action
        """


def numba() -> Kernels:
    """Return the kernels in numba: compiled now, if they never were. Raises MissingExtra."""
    try:
        from jitrl.memory.index.fast import Numba
    except ImportError as error:
        raise MissingExtra("numba is not installed: pip install 'jitrl[fast]'") from error
    return Numba()


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """Return start, start + 1 ... for each start, so many as its length says."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + lengths, lengths)


class Numpy:
    """The kernels in numpy."""

    def grams(self, codes: Hashes, lengths: Ints, n: int, multiset: bool) -> tuple[Hashes, Ints]:
        """See `Kernels`."""
        words = np.minimum(lengths, n)
        counts = np.where(lengths > 0, lengths - words + 1, 0)
        text = np.repeat(np.arange(len(lengths)), counts)
        place = ranges(np.cumsum(lengths) - lengths, counts)
        words = words[text]
        hashes = mixed(words.astype(np.uint64))
        for j in range(n):
            longer = words > j
            if longer.all():
                hashes = mixed(hashes ^ codes[place + j])
            else:
                hashes[longer] = mixed(hashes[longer] ^ codes[place[longer] + j])
        order = np.argsort(hashes, kind="stable")  # of equal ones, those of a text stay together
        ordered, owner = hashes[order], text[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (ordered[1:] != ordered[:-1]) | (owner[1:] != owner[:-1])
        if first.all():
            return hashes, counts
        if not multiset:
            kept = np.sort(order[first])
            return hashes[kept], np.bincount(text[kept], minlength=len(lengths))
        since = np.arange(len(order))
        number = since - np.maximum.accumulate(np.where(first, since, 0))
        again = number > 0
        hashes[order[again]] = mixed(
            ordered[again] + number[again].astype(np.uint64) * np.uint64(GOLDEN)
        )
        return hashes, counts

    def overlaps(
        self, of: Ints32, starts: Ints, items: Ints32, wanted: Ints32, mark: Bytes
    ) -> Ints:
        """See `Kernels`."""
        begin = starts[of]
        lengths = starts[of + 1] - begin
        mark[wanted] = 1
        total = np.zeros(int(lengths.sum()) + 1, dtype=np.int64)
        np.cumsum(mark[items[ranges(begin, lengths)]], out=total[1:])
        mark[wanted] = 0
        ends = np.cumsum(lengths)
        common: Ints = total[ends] - total[ends - lengths]
        return common

    def tally(self, of: Ints32, starts: Ints, items: Ints32, size: int) -> Ints:
        """See `Kernels`."""
        return np.bincount(self.flatten(of, starts, items)[0], minlength=size)

    def gather(
        self,
        of: Ints32,
        starts: Ints,
        items: Ints32,
        sizes: Ints32,
        low: int,
        high: int,
        mark: Bytes,
    ) -> Ints32:
        """See `Kernels`."""
        found = self.flatten(of, starts, items)[0]
        size = sizes[found]
        found = found[(size >= low) & (size <= high)]
        if len(found) < len(mark) >> 4:
            return np.unique(found)
        mark[found] = 1
        distinct = np.flatnonzero(mark).astype(np.int32)
        mark[distinct] = 0
        return distinct

    def flatten(self, of: Ints32, starts: Ints, items: Ints32) -> tuple[Ints32, Ints]:
        """See `Kernels`."""
        begin = starts[of]
        lengths = starts[of + 1] - begin
        return items[ranges(begin, lengths)], lengths

    def group(self, keys: Ints32, size: int) -> tuple[Ints, Ints32]:
        """See `Kernels`."""
        order = np.argsort(keys, kind="stable").astype(np.int32)
        counts = np.bincount(keys[keys >= 0], minlength=size)
        starts = np.zeros(size + 1, dtype=np.int64)
        np.cumsum(counts, out=starts[1:])
        return starts, order[len(order) - int(starts[-1]) :]

    def move(
        self, starts: Ints, items: Ints32, list_map: Ints32, item_map: Ints32, at: Ints, out: Ints32
    ) -> None:
        """See `Kernels`."""
        first = 0
        while first < len(starts) - 1:
            upto = int(np.searchsorted(starts, starts[first] + BLOCK, side="right")) - 1
            upto = min(max(upto, first + 1), len(starts) - 1)
            low, high = int(starts[first]), int(starts[upto])
            renamed = item_map[items[low:high]]
            kept = renamed >= 0
            total = np.zeros(high - low + 1, dtype=np.int64)
            np.cumsum(kept, out=total[1:])
            counts = np.diff(total[starts[first : upto + 1] - low])
            lists = list_map[first:upto]
            out[ranges(at[lists], counts)] = renamed[kept]
            at[lists] += counts
            first = upto

    def newest(
        self, rows: Ints32, upto: int, last: Ints32, previous: Ints32, live: Bytes
    ) -> Ints32:
        """See `Kernels`."""
        steps = last[rows]
        while True:
            wrong = steps >= upto
            wrong |= (live[steps] == 0) & (steps >= 0)
            if not wrong.any():
                return steps
            steps[wrong] = previous[steps[wrong]]

    def chain(self, row_of: Ints32, live: Bytes, rows: int) -> tuple[Ints32, Ints32]:
        """See `Kernels`."""
        previous = np.full(len(row_of), -1, dtype=np.int32)
        last = np.full(rows, -1, dtype=np.int32)
        steps = np.flatnonzero(live).astype(np.int32)
        steps = steps[np.argsort(row_of[steps], kind="stable")]
        if len(steps):
            ordered = row_of[steps]
            same = ordered[1:] == ordered[:-1]
            previous[steps[1:][same]] = steps[:-1][same]
            end = np.append(~same, True)
            last[ordered[end]] = steps[end]
        return previous, last

    def walk(
        self,
        step: int,
        upto: int,
        previous: Ints32,
        live: Bytes,
        actions: Ints32,
        per_action: int,
        most: int,
        counts: Ints32,
    ) -> Ints32:
        """See `Kernels`."""
        found: list[int] = []
        while step >= 0 and len(found) < most:
            if step < upto and live[step]:
                action = actions[step]
                if counts[action] < per_action:
                    counts[action] += 1
                    found.append(step)
            step = int(previous[step])
        result = np.array(found, dtype=np.int32)
        counts[actions[result]] = 0
        return result


def mixed(values: Hashes) -> Hashes:
    """Return well-mixed 64-bit integers: a bijection, so that distinct ones stay distinct."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(SECOND)
    result: Hashes = values ^ (values >> np.uint64(31))
    return result
