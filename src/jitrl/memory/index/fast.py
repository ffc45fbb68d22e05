"""The kernels of the index in numba (the `fast` extra): see `jitrl.memory.index.kernels`.

They are compiled when this module is first imported, and kept on disk from then on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from jitrl.memory.index.kernels import FIRST, GOLDEN, SECOND, Bytes, Hashes, Ints32
from jitrl.update import Ints

_FIRST, _SECOND, _GOLDEN = np.uint64(FIRST), np.uint64(SECOND), np.uint64(GOLDEN)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


def _compiled(signature: str) -> Any:
    return njit(signature, cache=True, nogil=True)


@_compiled("u8(u8)")
def _mixed(value):
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@_compiled("Tuple((u8[::1], i8[::1]))(u8[::1], i8[::1], i8, b1)")
def _grams(codes, lengths, n, multiset):
    total, most = 0, 0
    for length in lengths:
        count = length - min(length, n) + 1 if length > 0 else 0
        total += count
        most = max(most, count)
    size = 4
    while size < 2 * most:
        size *= 2
    keys = np.empty(size, dtype=np.uint64)
    seen = np.zeros(size, dtype=np.int64)  # how often each key was there
    out = np.empty(total, dtype=np.uint64)
    counts = np.zeros(len(lengths), dtype=np.int64)
    at, begin = 0, 0
    for text in range(len(lengths)):
        length = lengths[text]
        words = min(length, n)
        size = 4
        while size < 2 * (length - words + 1):
            size *= 2
        seen[:size] = 0
        first = at
        for place in range(begin, begin + length - words + 1 if length > 0 else begin):
            code = _mixed(np.uint64(words))
            for j in range(words):
                code = _mixed(code ^ codes[place + j])
            slot = np.int64(code & np.uint64(size - 1))
            while seen[slot] > 0 and keys[slot] != code:
                slot = (slot + 1) & (size - 1)
            number = seen[slot]
            keys[slot] = code
            seen[slot] = number + 1
            if number == 0:
                out[at] = code
                at += 1
            elif multiset:
                out[at] = _mixed(code + np.uint64(number) * _GOLDEN)
                at += 1
        counts[text] = at - first
        begin += length
    return out[:at].copy(), counts


@_compiled("i8[::1](i4[::1], i8[::1], i4[::1], i4[::1], u1[::1])")
def _overlaps(of, starts, items, wanted, mark):
    counts = np.zeros(len(of), dtype=np.int64)
    for item in wanted:
        mark[item] = 1
    for i in range(len(of)):
        count = 0
        for j in range(starts[of[i]], starts[of[i] + 1]):
            count += mark[items[j]]
        counts[i] = count
    for item in wanted:
        mark[item] = 0
    return counts


@_compiled("i8[::1](i4[::1], i8[::1], i4[::1], i8)")
def _tally(of, starts, items, size):
    counts = np.zeros(size, dtype=np.int64)
    for i in of:
        for j in range(starts[i], starts[i + 1]):
            counts[items[j]] += 1
    return counts


@_compiled("i4[::1](i4[::1], i8[::1], i4[::1], i4[::1], i8, i8, u1[::1])")
def _gather(of, starts, items, sizes, low, high, mark):
    most = 0
    for i in of:
        most += starts[i + 1] - starts[i]
    found = np.empty(most, dtype=np.int32)
    count = 0
    for i in of:
        for j in range(starts[i], starts[i + 1]):
            item = items[j]
            if mark[item] == 0 and low <= sizes[item] <= high:
                mark[item] = 1
                found[count] = item
                count += 1
    found = found[:count].copy()
    for item in found:
        mark[item] = 0
    return found


@_compiled("Tuple((i4[::1], i8[::1]))(i4[::1], i8[::1], i4[::1])")
def _flatten(of, starts, items):
    lengths = np.empty(len(of), dtype=np.int64)
    total = 0
    for i in range(len(of)):
        lengths[i] = starts[of[i] + 1] - starts[of[i]]
        total += lengths[i]
    out = np.empty(total, dtype=np.int32)
    at = 0
    for i in of:
        for j in range(starts[i], starts[i + 1]):
            out[at] = items[j]
            at += 1
    return out, lengths


@_compiled("Tuple((i8[::1], i4[::1]))(i4[::1], i8)")
def _group(keys, size):
    starts = np.zeros(size + 1, dtype=np.int64)
    for key in keys:
        if key >= 0:
            starts[key + 1] += 1
    for i in range(size):
        starts[i + 1] += starts[i]
    at = starts[:-1].copy()
    order = np.empty(starts[size], dtype=np.int32)
    for i in range(len(keys)):
        if keys[i] >= 0:
            order[at[keys[i]]] = i
            at[keys[i]] += 1
    return starts, order


@_compiled("void(i8[::1], i4[::1], i4[::1], i4[::1], i8[::1], i4[::1])")
def _move(starts, items, list_map, item_map, at, out):
    for i in range(len(starts) - 1):
        place = at[list_map[i]]
        for j in range(starts[i], starts[i + 1]):
            item = item_map[items[j]]
            if item >= 0:
                out[place] = item
                place += 1
        at[list_map[i]] = place


@_compiled("i4[::1](i4[::1], i8, i4[::1], i4[::1], u1[::1])")
def _newest(rows, upto, last, previous, live):
    steps = np.empty(len(rows), dtype=np.int32)
    for i in range(len(rows)):
        step = last[rows[i]]
        while step >= 0 and (step >= upto or live[step] == 0):
            step = previous[step]
        steps[i] = step
    return steps


@_compiled("Tuple((i4[::1], i4[::1]))(i4[::1], u1[::1], i8)")
def _chain(row_of, live, rows):
    previous = np.full(len(row_of), -1, dtype=np.int32)
    last = np.full(rows, -1, dtype=np.int32)
    for step in range(len(row_of)):
        if live[step]:
            previous[step] = last[row_of[step]]
            last[row_of[step]] = step
    return previous, last


@_compiled("i4[::1](i8, i8, i4[::1], u1[::1], i4[::1], i8, i8, i4[::1])")
def _walk(first, upto, previous, live, actions, per_action, most, counts):
    found = np.empty(16, dtype=np.int32)
    count = 0
    step = first
    while step >= 0 and count < most:
        if step < upto and live[step] and counts[actions[step]] < per_action:
            counts[actions[step]] += 1
            if count == len(found):
                longer = np.empty(2 * count, dtype=np.int32)
                longer[:count] = found
                found = longer
            found[count] = step
            count += 1
        step = previous[step]
    found = found[:count].copy()
    for step in found:
        counts[actions[step]] = 0
    return found


class Numba:
    """The kernels in numba."""

    def grams(self, codes: Hashes, lengths: Ints, n: int, multiset: bool) -> tuple[Hashes, Ints]:
        """See `Kernels`."""
        hashes, counts = _grams(codes, lengths, n, multiset)
        return hashes, counts

    def overlaps(
        self, of: Ints32, starts: Ints, items: Ints32, wanted: Ints32, mark: Bytes
    ) -> Ints:
        """See `Kernels`."""
        counts: Ints = _overlaps(of, starts, items, wanted, mark)
        return counts

    def tally(self, of: Ints32, starts: Ints, items: Ints32, size: int) -> Ints:
        """See `Kernels`."""
        counts: Ints = _tally(of, starts, items, size)
        return counts

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
        found: Ints32 = _gather(of, starts, items, sizes, low, high, mark)
        return found

    def flatten(self, of: Ints32, starts: Ints, items: Ints32) -> tuple[Ints32, Ints]:
        """See `Kernels`."""
        flat, lengths = _flatten(of, starts, items)
        return flat, lengths

    def group(self, keys: Ints32, size: int) -> tuple[Ints, Ints32]:
        """See `Kernels`."""
        starts, order = _group(keys, size)
        return starts, order

    def move(
        self, starts: Ints, items: Ints32, list_map: Ints32, item_map: Ints32, at: Ints, out: Ints32
    ) -> None:
        """See `Kernels`."""
        _move(starts, items, list_map, item_map, at, out)

    def newest(
        self, rows: Ints32, upto: int, last: Ints32, previous: Ints32, live: Bytes
    ) -> Ints32:
        """See `Kernels`."""
        steps: Ints32 = _newest(rows, upto, last, previous, live)
        return steps

    def chain(self, row_of: Ints32, live: Bytes, rows: int) -> tuple[Ints32, Ints32]:
        """See `Kernels`."""
        previous, last = _chain(row_of, live, rows)
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
        steps: Ints32 = _walk(step, upto, previous, live, actions, per_action, most, counts)
        return steps
