"""What a source may weigh: the share is kept where it can be, by the largest factors that do."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.trust import action_weights, source_of, source_weights

sizes = st.lists(
    st.one_of(st.integers(1, 5), st.integers(1, 400)), min_size=1, max_size=12
)  # experiences of each source
shares = st.one_of(st.floats(0.01, 1.0), st.integers(1, 12).map(lambda n: 1 / n))


def named(sizes):
    return [f"source {i}" for i, size in enumerate(sizes) for _ in range(size)]


def masses(sources, weights):
    held = Counter()
    for source, weight in zip(sources, weights.tolist(), strict=True):
        held[source] += weight
    return np.array(list(held.values()))


def feasible(sizes, share):
    return len(sizes) * share >= 1


@given(sizes, shares)
def test_no_source_holds_more_than_its_share_where_that_is_possible(sizes, share):
    sources = named(sizes)
    held = masses(sources, source_weights(sources, share))
    if feasible(sizes, share):
        assert held.max() <= share * held.sum() * (1 + 1e-9)


@given(sizes, shares)
def test_factors_lie_in_0_to_1_and_are_the_same_within_a_source(sizes, share):
    sources = named(sizes)
    weights = source_weights(sources, share)
    assert weights.shape == (len(sources),)
    assert np.all((weights > 0) & (weights <= 1))
    assert len(set(zip(sources, weights.tolist(), strict=True))) == len(sizes)


@given(sizes, shares)
def test_a_source_is_scaled_only_if_it_then_holds_its_whole_share(sizes, share):
    """So that no larger factors would do: any that were raised would break the bound."""
    sources = named(sizes)
    held = masses(sources, source_weights(sources, share))
    scaled = held < np.array(sizes)
    if feasible(sizes, share):
        assert held[scaled] == pytest.approx(share * held.sum(), rel=1e-9)


@given(sizes, shares)
def test_where_the_share_cannot_be_kept_all_sources_weigh_the_same(sizes, share):
    sources = named(sizes)
    held = masses(sources, source_weights(sources, share))
    if not feasible(sizes, share):
        assert held == pytest.approx(
            np.full(len(sizes), sizes[0] if len(sizes) == 1 else min(sizes))
        )


@given(sizes, shares)
def test_no_source_weighs_less_than_one_experience(sizes, share):
    sources = named(sizes)
    assert masses(sources, source_weights(sources, share)).min() >= 1 - 1e-9


@given(sizes, shares, st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_names_matter(sizes, share, random):
    sources = named(sizes)
    order = list(range(len(sources)))
    random.shuffle(order)
    weights = source_weights(sources, share)
    shuffled = source_weights([f"{sources[i]}\0" for i in order], share)
    assert shuffled.tolist() == weights[order].tolist()


def parts(sizes, share):
    held = masses(named(sizes), source_weights(named(sizes), share))
    return held / held.sum()


@given(sizes, shares, st.lists(st.integers(1, 400), min_size=1, max_size=4))
def test_what_more_sources_take_they_take_from_all_others(sizes, share, more):
    """The others' parts never grow: so a mean moves by no more than the newcomers' parts."""
    before, after = parts(sizes, share), parts([*sizes, *more], share)
    g = len(sizes)
    assert np.all(after[:g] <= before * (1 + 1e-9))
    assert np.all(after[g:] <= max(share, 1 / (g + len(more))) * (1 + 1e-9))


@given(sizes, shares, st.integers(1, 400))
def test_who_writes_under_anothers_name_takes_no_more_than_that_name_may_hold(sizes, share, size):
    before, after = parts(sizes, share), parts([sizes[0] + size, *sizes[1:]], share)
    assert np.all(after[1:] <= before[1:] * (1 + 1e-9))
    assert after[0] <= max(share, 1 / len(sizes)) * (1 + 1e-9)


def test_no_share_and_a_whole_share_leave_every_factor_at_exactly_one():
    sources = ["a"] * 100 + ["b"]
    assert source_weights(sources, None).tolist() == [1.0] * 101
    assert source_weights(sources, 1.0).tolist() == [1.0] * 101


@pytest.mark.parametrize("share", [None, 0.1, 1.0])
def test_a_source_that_is_alone_and_nobody_at_all_are_left_as_they_are(share):
    assert source_weights(["a"] * 5, share).tolist() == [1.0] * 5
    assert source_weights([], share).tolist() == []


def test_names_are_told_apart_to_the_last_character():
    assert source_weights(["a", "a", "a", "a\0"], 0.5).tolist() == pytest.approx([1 / 3] * 3 + [1])


@pytest.mark.parametrize("n", [2, 3, 7, 10, 49, 107])
def test_as_many_sources_as_the_share_just_allows_weigh_the_same(n):
    sources = named(range(1, n + 1))
    for share in (1 / n, np.nextafter(1 / n, 0), np.nextafter(1 / n, 1)):
        held = masses(sources, source_weights(sources, float(share)))
        assert held == pytest.approx(np.ones(n), rel=1e-9)


def test_factors_by_hand():
    # a may hold what b and c hold together: 4 of 8; with a third of a share, all as much as c
    sources = ["a"] * 100 + ["b"] * 3 + ["c"]
    assert source_weights(sources, 0.5)[[0, 100, 103]].tolist() == [0.04, 1.0, 1.0]
    assert source_weights(sources, 1 / 3)[[0, 100, 103]].tolist() == pytest.approx([0.01, 1 / 3, 1])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcd")), max_size=60),
    shares,
)
def test_the_actions_are_weighed_each_by_itself(steps, share):
    taken = np.array([action for action, _ in steps], dtype=np.int64)
    sources = [source for _, source in steps]
    weights = action_weights(taken, sources, share)
    for action in range(4):
        mine = [source for a, source in steps if a == action]
        assert weights[taken == action].tolist() == source_weights(mine, share).tolist()


@pytest.mark.parametrize(
    ("provenance", "source"),
    [
        ({}, ""),
        ({"run": "r"}, "r"),
        ({"run": "r", "source": "s"}, "s"),
        ({"run": "r", "source": ""}, "r"),
        ({"source": "s"}, "s"),
    ],
)
def test_who_answers_is_the_source_and_else_the_run(provenance, source):
    assert source_of(provenance) == source
