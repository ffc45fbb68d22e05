"""The kernels in numba give what those in numpy give, on whatever arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitrl.memory.index.kernels import Numpy, mixed, numba

NUMPY = Numpy()


@pytest.fixture(scope="module")
def fast():
    return numba()


def lists(draws, count, items):
    """Lists of distinct items below `items`: their starts, and the items."""
    each = [draws.permutation(items)[: draws.integers(0, items + 1)] for _ in range(count)]
    starts = np.cumsum([0, *(len(one) for one in each)])
    return starts, np.concatenate([np.zeros(0, int), *each]).astype(np.int32)


def some(draws, below):
    return draws.permutation(below)[: draws.integers(0, below + 1)].astype(np.int32)


def same(left, right):
    left, right = (x if isinstance(x, tuple) else (x,) for x in (left, right))
    for one, other in zip(left, right, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


seeds = st.integers(0, 2**32).map(np.random.default_rng)


@settings(max_examples=200)
@given(seeds, st.integers(1, 6), st.booleans())
def test_the_features_of_texts_are_the_same(fast, draws, n, multiset):
    lengths = draws.integers(0, 8, draws.integers(0, 6))
    codes = draws.integers(0, 4, lengths.sum()).astype(np.uint64)
    n = min(n, max(1, int(lengths.max(initial=0))))
    same(NUMPY.grams(codes, lengths, n, multiset), fast.grams(codes, lengths, n, multiset))


@settings(max_examples=200)
@given(seeds)
def test_what_is_found_in_lists_is_the_same(fast, draws):
    items = int(draws.integers(1, 12))
    starts, held = lists(draws, 6, items)
    of, wanted = some(draws, 6), some(draws, items)
    sizes = draws.integers(0, 5, items).astype(np.int32)
    marks = np.zeros(items, np.uint8), np.zeros(items, np.uint8)
    same(NUMPY.overlaps(of, starts, held, wanted, marks[0]),
         fast.overlaps(of, starts, held, wanted, marks[1]))  # fmt: skip
    same(NUMPY.tally(of, starts, held, items), fast.tally(of, starts, held, items))
    same(NUMPY.flatten(of, starts, held), fast.flatten(of, starts, held))
    gathered = (
        np.sort(kernels.gather(of, starts, held, sizes, 1, 3, mark))
        for kernels, mark in zip((NUMPY, fast), marks, strict=True)
    )
    same(*gathered)
    assert not any(mark.any() for mark in marks)


@settings(max_examples=200)
@given(seeds)
def test_lists_are_made_and_joined_in_the_same_way(fast, draws):
    keys = draws.integers(-1, 5, draws.integers(0, 20)).astype(np.int32)
    same(NUMPY.group(keys, 5), fast.group(keys, 5))
    starts, held = lists(draws, 5, 9)
    list_map = draws.permutation(8)[:5].astype(np.int32)
    item_map = np.where(draws.random(9) < 0.3, -1, draws.permutation(9)).astype(np.int32)
    joined = []
    for kernels in (NUMPY, fast):
        at, out = np.arange(8) * 10, np.full(90, -7, np.int32)
        kernels.move(starts, held, list_map, item_map, at, out)
        joined.append((at, out))
    same(*joined)


def test_lists_are_moved_block_by_block(fast, monkeypatch):
    draws = np.random.default_rng(0)
    starts, held = lists(draws, 50, 30)
    monkeypatch.setattr("jitrl.memory.index.kernels.BLOCK", 17)
    moved = []
    for kernels in (NUMPY, fast):
        at, out = starts[:-1].copy(), np.zeros(len(held), np.int32)
        same_lists, same_items = np.arange(50, dtype=np.int32), np.arange(30, dtype=np.int32)
        kernels.move(starts, held, same_lists, same_items, at, out)
        moved.append((at, out))
        assert out.tolist() == held.tolist()
    same(*moved)


@settings(max_examples=200)
@given(seeds)
def test_the_steps_of_a_row_are_the_same(fast, draws):
    count = int(draws.integers(1, 25))
    row_of = draws.integers(0, 4, count).astype(np.int32)
    live = (draws.random(count) < 0.7).astype(np.uint8)
    actions = draws.integers(0, 3, count).astype(np.int32)
    previous, last = NUMPY.chain(row_of, live, 4)
    same((previous, last), fast.chain(row_of, live, 4))
    live[draws.random(count) < 0.2] = 0
    rows, upto = some(draws, 4), int(draws.integers(0, count + 1))
    newest = NUMPY.newest(rows, upto, last, previous, live)
    same(newest, fast.newest(rows, upto, last, previous, live))
    for row, step in zip(rows.tolist(), newest.tolist(), strict=True):
        steps = [s for s in range(upto) if live[s] and row_of[s] == row]
        assert step == max(steps, default=-1)
    for per_action, most in (1, 99), (99, 2), (2, 4), (99, 99):
        counts = np.zeros(3, np.int32)
        walks = [
            k.walk(int(last[0]), upto, previous, live, actions, per_action, most, counts)
            for k in (NUMPY, fast)
        ]
        same(*walks)
        assert not counts.any()


def test_mixing_keeps_distinct_numbers_distinct():
    numbers = np.arange(100_000, dtype=np.uint64) << np.uint64(20)
    assert len(np.unique(mixed(numbers))) == len(numbers)
