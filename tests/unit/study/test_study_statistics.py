"""Intervals hold the truth as often as they say, and depend on nothing that they should not."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from jitrl.bench.statistics import wilson
from jitrl.errors import MissingExtra
from jitrl.study.statistics import (
    Difference,
    Turned,
    average,
    difference,
    final,
    harmed,
    helped,
    holm,
    mean,
    price_per_point,
    turned,
)

numbers = st.floats(-100, 100, allow_subnormal=False)
shapes = st.tuples(st.integers(2, 6), st.integers(1, 5))
cells = shapes.flatmap(lambda shape: arrays(float, shape, elements=numbers))


def ends(found: Difference) -> list[float]:
    return [found.estimate.mean, found.estimate.low, found.estimate.high]


def t(freedom: float) -> float:
    return float(stats.t.ppf(0.975, freedom))


def student(values: np.ndarray) -> tuple[float, float]:
    half = t(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


@given(cells, numbers)
def test_an_interval_moves_with_its_data(one, by) -> None:
    here, there = mean([one]), mean([one + by])
    if here.known and there.known:
        assert np.allclose([there.low - by, there.high - by], [here.low, here.high], atol=1e-6)


@given(cells, st.floats(0.1, 10))
def test_an_interval_grows_with_its_data(one, times) -> None:
    here, there = mean([one]), mean([one * times])
    if here.known and there.known:
        assert np.allclose(
            [there.low, there.high], [here.low * times, here.high * times], atol=1e-5
        )


@given(cells)
def test_the_same_data_give_the_same_interval_and_it_holds_their_mean(one) -> None:
    found = mean([one])
    assert found == mean([one.copy()]) or not found.known
    assert math.isclose(found.mean, one.mean(), abs_tol=1e-9)
    if found.known:
        assert found.low - 1e-9 <= found.mean <= found.high + 1e-9


@given(cells, st.integers(0, 1000))
def test_the_order_of_seeds_and_of_tasks_does_not_matter(one, seed) -> None:
    rng = np.random.default_rng(seed)
    here, there = mean([one]), mean([rng.permutation(rng.permutation(one), axis=1)])
    assert np.allclose([here.low, here.high], [there.low, there.high], atol=1e-6, equal_nan=True)


@given(cells)
def test_seeds_and_tasks_play_the_same_part(one) -> None:
    here, there = mean([one]), mean([one.T])
    assert np.allclose([here.low, here.high], [there.low, there.high], atol=1e-6, equal_nan=True)


@given(cells)
def test_one_arm_less_another_is_the_opposite_of_the_other_less_the_one(one) -> None:
    ahead, behind = difference([one], [0 * one]), difference([0 * one], [one])
    assert ends(behind) == pytest.approx(
        [-ahead.estimate.mean, -ahead.estimate.high, -ahead.estimate.low], nan_ok=True
    )
    assert behind.p == pytest.approx(ahead.p, nan_ok=True)


@given(cells)
def test_p_is_below_a_twentieth_where_the_interval_leaves_out_zero(one) -> None:
    found = difference([one], [0 * one])
    if found.estimate.known and abs(found.p - 0.05) > 1e-9:
        assert (found.p < 0.05) == (not found.estimate.low <= 0 <= found.estimate.high)


@pytest.mark.parametrize("shape", [(6, 1), (1, 6), (2, 1)])
def test_with_one_task_or_one_seed_it_is_students_interval(shape) -> None:
    one = np.random.default_rng(1).standard_normal(shape) + 1
    found = difference([one], [0 * one])
    assert ends(found)[1:] == pytest.approx(student(one.ravel()))
    assert found.p == pytest.approx(stats.ttest_1samp(one.ravel(), 0).pvalue, abs=1e-9)


def test_the_half_widths_over_seeds_and_over_tasks_add_in_squares() -> None:
    for seed in range(20):
        one = np.random.default_rng(seed).standard_normal((4, 7))
        halves = [np.ptp(student(one.mean(axis=axis))) / 2 for axis in (0, 1)]
        cells, found = np.ptp(student(one.ravel())) / 2, mean([one])
        expected = max(math.hypot(*halves), cells)
        assert (found.high - found.low) / 2 == pytest.approx(expected)


def test_means_that_agree_by_chance_do_not_make_it_sure() -> None:
    found = mean([np.eye(2)])
    assert (found.low, found.high) == pytest.approx(student(np.array([0.0, 0, 1, 1])))


def test_seeds_and_tasks_of_which_nothing_was_played_change_nothing() -> None:
    one = np.random.default_rng(3).standard_normal((4, 5))
    wider = np.full((6, 7), np.nan)
    wider[1:5, 1:6] = one
    assert mean([wider]) == mean([one])


def test_where_cells_are_missing_each_seed_and_task_is_left_out_in_turn() -> None:
    one = np.random.default_rng(4).standard_normal((5, 6))
    one[[0, 2, 4], [1, 1, 5]] = np.nan
    squared = 0.0
    for table in (one, one.T):
        left_out = [np.nanmean(np.delete(table, place, axis=0)) for place in range(len(table))]
        moved = np.array(left_out) - np.nanmean(one)
        shares = (~np.isnan(table)).sum(axis=1) / (~np.isnan(table)).sum()
        freedom = 1 / (shares**2).sum() - 1
        squared += t(freedom) ** 2 * (moved**2).sum() * (len(table) - 1) / len(table)
    found = mean([one])
    assert (found.high - found.low) / 2 == pytest.approx(math.sqrt(squared))


def test_worlds_together_are_as_sure_as_welch_says() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.standard_normal((4, 1)), 3 * rng.standard_normal((6, 1))
    found = mean([one, -other])
    welch = stats.ttest_ind(one.ravel(), other.ravel(), equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((welch.low / 2, welch.high / 2))


def test_many_games_that_are_sure_have_a_small_p() -> None:
    noise = 1e-6 * np.random.default_rng(6).standard_normal((20, 5, 1))
    found = difference(list(1 + noise), list(0 * noise))
    assert 0 < found.p < 1e-12


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingExtra, match=r"pip install 'jitrl\[report\]'"):
        mean([np.array([[1.0], [2.0]])])


def test_pairing_takes_out_what_both_have_in_common() -> None:
    rng = np.random.default_rng(1)
    common = 50 * rng.standard_normal((6, 1)) + 50 * rng.standard_normal((1, 4))
    theirs = common + 0.1 * rng.standard_normal((6, 4))
    ours = common + 1 + 0.1 * rng.standard_normal((6, 4))
    found = holm([difference([ours], [theirs])])[0]
    assert found.verdict == "helps"
    assert 0.8 < found.estimate.low < 1 < found.estimate.high < 1.2
    apart = mean([ours])
    assert apart.high - apart.low > 10


def test_worlds_weigh_the_same_however_many_tasks_they_have() -> None:
    many, few = np.zeros((5, 100)), np.ones((5, 1))
    assert mean([many, few], (0, 1)).mean == 0.5


def test_what_is_identical_is_said_to_be_and_never_a_winner() -> None:
    one = np.array([[1.0], [2.0], [3.0]])
    found = difference([one], [one])
    assert (found.identical, found.verdict, found.p) == (True, "identical", 1.0)
    ahead = difference([one + 1], [one], (-3.0, 3.0))
    assert (ahead.identical, ahead.verdict) == (False, "no difference shown")
    assert ahead.estimate.low < 0 < ahead.estimate.high


def test_one_seed_and_task_show_nothing_and_none_is_nothing() -> None:
    assert difference([np.array([[2.0]])], [np.array([[1.0]])]).verdict == "one run: nothing shown"
    assert math.isnan(mean([np.full((3, 2), np.nan)]).mean)


def test_what_one_side_lacks_is_left_out() -> None:
    ours, theirs = np.array([[1.0, 9.0], [3.0, 5.0]]), np.array([[0.0, np.nan], [0.0, 0.0]])
    assert difference([ours], [theirs]).estimate.mean == pytest.approx(3.0)


def test_the_worst_of_many_comparisons_are_corrected_as_holm_says() -> None:
    nan = mean([np.array([[1.0]])])
    found = holm([Difference(nan, p) for p in (0.01, 0.04, math.nan, 0.03)])
    assert [one.adjusted for one in found[:2]] == pytest.approx([0.03, 0.06])
    assert math.isnan(found[2].adjusted)
    assert found[3].adjusted == pytest.approx(0.06)


def test_a_winner_that_the_correction_does_not_leave_is_told_so() -> None:
    rng = np.random.default_rng(3)
    gaps = rng.standard_normal((12, 1))
    gaps = (gaps - gaps.mean()) / gaps.std() + 0.9
    alone = difference([gaps], [np.zeros((12, 1))])
    assert alone.verdict == "helps"
    assert "but not after Holm" in holm([alone, *[Difference(alone.estimate, 0.9)] * 40])[0].verdict


def test_final_is_the_last_attempt_and_of_a_game_its_last_ten_episodes() -> None:
    game, suite = np.arange(12.0).reshape(1, 1, 12), np.arange(12.0).reshape(1, 3, 4)
    assert final(game).tolist() == [[6.5]]
    assert final(suite).tolist() == [[3.0, 7.0, 11.0]]
    assert average(suite).tolist() == [[1.5, 5.5, 9.5]]


def test_decisions_are_right_wrong_equal_or_untold() -> None:
    found = turned(np.array([1.0, 0, 2, np.nan, 5]), np.array([0.0, 1, 2, 1, np.nan]))
    assert (found.right, found.wrong, found.equal, found.untold) == (1, 1, 1, 2)
    assert turned(np.array([]), np.array([])) == Turned(0, 0, 0, 0)


def test_shares_of_right_and_wrong_are_those_of_all_runs_together() -> None:
    runs = [Turned(8, 1, 1, 5), Turned(10, 20, 10, 0), Turned(0, 0, 0, 7)]
    assert (helped(runs).mean, harmed(runs).mean) == pytest.approx((18 / 50, 21 / 50))
    assert helped(runs).n == 2


def test_runs_with_as_many_decisions_have_students_interval_of_their_shares() -> None:
    shares = np.array([0.4, 0.5, 0.7, 0.45])
    found = helped([Turned(int(20 * share), 20 - int(20 * share), 0, 0) for share in shares])
    assert (found.low, found.high) == pytest.approx(student(shares))


def test_decisions_of_runs_that_disagree_say_less_than_their_number() -> None:
    found, alone = helped([Turned(90, 10, 0, 0), Turned(10, 90, 0, 0)] * 2), wilson(200, 400)
    assert found.high - found.low > 5 * (alone.high - alone.low)


def test_a_run_with_most_of_the_decisions_makes_the_share_unsure() -> None:
    few = [Turned(6, 4, 0, 0), Turned(4, 6, 0, 0), Turned(5, 5, 0, 0)]
    even, uneven = helped([*few, Turned(7, 3, 0, 0)]), helped([*few, Turned(700, 300, 0, 0)])
    assert uneven.high - uneven.low > even.high - even.low


def test_one_run_says_nothing_of_others_and_runs_that_agree_are_not_sure() -> None:
    assert not helped([Turned(70, 30, 0, 0)]).known
    assert not helped([Turned(70, 30, 0, 0), Turned(0, 0, 0, 3)]).known
    assert math.isnan(helped([]).mean)
    assert helped([Turned(9, 0, 0, 0)] * 5).low == pytest.approx(wilson(5, 5).low)


def test_a_point_that_may_not_have_been_gained_has_no_upper_price() -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((10, 1))
    cost = difference([2 + 0.1 * noise], [np.zeros((10, 1))])
    sure, unsure = (
        difference([gain + noise], [np.zeros((10, 1))]) for gain in (5.0, 0.1 - noise.mean())
    )
    price = price_per_point(cost, sure)
    assert 0 < price.low < price.mean < price.high < math.inf
    assert price_per_point(cost, unsure).high == math.inf
    assert math.isnan(price_per_point(cost, difference([-5 + noise], [0 * noise])).mean)


TRIALS = 500


def enough(held: int, promised: float = 0.94) -> bool:
    """Of an interval that is right so often, fewer hold the truth once in a thousand times."""
    return held >= TRIALS * promised - 3.1 * math.sqrt(TRIALS * promised * (1 - promised))


@pytest.mark.parametrize(
    ("seeds", "tasks", "seed", "task"),
    [
        *[(5, 1, 0, 0), (10, 1, 0, 0), (1, 16, 0, 1), (3, 16, 0, 0), (3, 16, 1, 0), (3, 16, 0, 1)],
        *[(3, 50, 0.3, 1), (5, 16, 1, 0), (10, 8, 1, 1), (20, 3, 0, 1)],
    ],
)
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_an_interval_holds_the_truth_as_often_as_it_says(seeds, tasks, seed, task, missing) -> None:
    rng, held = np.random.default_rng([seeds, tasks]), 0
    for _ in range(TRIALS):
        one = rng.standard_normal((seeds, tasks))
        one += seed * rng.standard_normal((seeds, 1)) + task * rng.standard_normal((1, tasks))
        if min(seeds, tasks) > 1:
            one[rng.random(one.shape) < missing] = np.nan
        found = mean([one])
        held += found.low <= 0 <= found.high
    assert enough(held)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_paired_differences_of_successes_are_held_too(rate) -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(TRIALS):
        z = rng.standard_normal((1, 50)) + rng.standard_normal((2, 5, 50))
        ours, theirs = (z < math.sqrt(2) * stats.norm.ppf(rate)).astype(float)
        found = difference([ours], [theirs], (-1.0, 1.0)).estimate
        held += found.low <= 0 <= found.high
    assert enough(held)


def test_several_worlds_together_are_held_too() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(TRIALS):
        found = mean([spread * rng.standard_normal((5, 1)) for spread in (1, 1, 2, 3)])
        held += found.low <= 0 <= found.high
    assert enough(held)


def test_shares_of_right_decisions_are_held_though_runs_differ() -> None:
    rng, held, alone = np.random.default_rng(2), 0, 0
    for _ in range(TRIALS):
        right = rng.binomial(40, rng.beta(3, 2, size=5)).tolist()
        found = helped([Turned(n, 40 - n, 0, 0) for n in right])
        held += found.low <= 0.6 <= found.high
        naive = wilson(sum(right), 200)
        alone += naive.low <= 0.6 <= naive.high
    assert enough(held)
    assert not enough(alone, 0.8)
