from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic import episode, made_up

from jitrl.bench.statistics import (
    band,
    differences,
    groups,
    interval,
    labels,
    smoothed,
    summary,
)
from jitrl.bench.tables import shown
from jitrl.errors import BadRun, MissingExtra


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_the_interval_is_students(values: list[float]) -> None:
    found = interval(values)
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    half = stats.t.ppf(0.975, len(values) - 1) * error
    assert found.mean == pytest.approx(np.mean(values))
    assert found.high - found.mean == pytest.approx(half, abs=1e-6)
    assert found.mean - found.low == pytest.approx(half, abs=1e-6)


def test_the_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 5))
    found = [interval(row.tolist()) for row in draws]
    covered = np.mean([one.low <= 3.0 <= one.high for one in found])
    assert 0.94 < covered < 0.96


def test_one_seed_has_no_interval() -> None:
    found = interval([4.0])
    assert (found.mean, found.n, found.known) == (4.0, 1, False)


def test_seeds_that_agree_have_an_interval_of_no_width() -> None:
    found = interval([2.0, 2.0, 2.0])
    assert (found.low, found.mean, found.high, found.known) == (2.0, 2.0, 2.0, True)


def test_without_scipy_an_interval_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingExtra, match=r"pip install 'jitrl\[report\]'"):
        interval([1.0, 2.0])
    assert interval([1.0]).mean == 1.0


@given(
    st.lists(st.lists(st.floats(-1e3, 1e3), min_size=7, max_size=7), min_size=1, max_size=3),
    st.integers(1, 9),
)
def test_smoothing_is_a_mean_of_what_came_before(rows: list[list[float]], window: int) -> None:
    found = smoothed(np.array(rows), window)
    for i, row in enumerate(rows):
        for t in range(len(row)):
            naive = np.mean(row[max(0, t + 1 - window) : t + 1])
            assert found[i, t] == pytest.approx(naive, abs=1e-9)


def test_the_band_is_the_interval_at_each_episode() -> None:
    curves = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0]])
    low, high = band(curves)
    for t in range(2):
        one = interval(curves[:, t].tolist())
        assert (low[t], high[t]) == pytest.approx((one.low, one.high))


def test_a_run_is_summed_up() -> None:
    found = summary([episode(n, float(n)) for n in range(12)])
    assert (found.episodes, found.mean, found.last, found.best) == (12, 5.5, 6.5, 11.0)
    assert (found.kl_per_step, found.changed) == (0.1, 0.2)
    assert (found.own_seconds, found.searching) == (0.05, 0.25)


def test_episodes_without_seconds_do_not_count_as_free() -> None:
    found = summary([episode(0, 1.0), episode(1, 1.0, seconds={})])
    assert (found.own_seconds, found.searching) == (0.05, 0.25)
    unknown = summary([episode(0, 1.0, seconds={})])
    assert math.isnan(unknown.own_seconds)
    assert math.isnan(unknown.searching)


def test_an_infinite_kl_is_kept_infinite() -> None:
    assert summary([episode(0, 1.0, kl=math.inf)]).kl_per_step == math.inf


def test_runs_that_differ_in_their_seed_alone_are_one_group() -> None:
    runs = [
        made_up([1, 2], seed=1),
        made_up([1, 2], agent="static"),
        made_up([3, 4], seed=0),
        made_up([3, 4], overrides={"beta": 2}),
        made_up([3, 4], world="corridor:6"),
        made_up([3, 4], steps=9),
    ]
    found = groups(runs)
    assert [group.seeds for group in found] == [(0,), (0,), (0, 1), (0,), (0,)]
    assert found[0].configuration.agent == "static"
    assert len(set(labels(found))) == len(found)


def test_runs_of_other_models_or_judges_are_other_groups_and_named_so() -> None:
    served = {"model": "openai/small", "scores": "labels"}
    judged = {"judge_model": "openai/large", "credit": "judged"}
    runs = [
        made_up([1], agent="static"),
        made_up([1], agent="static", **served),
        made_up([2]),
        made_up([4], **served),
        made_up([5], **(served | {"scores": "stated"})),
        made_up([6], **served, **judged),
        made_up([7], **served, window=3),
    ]
    found = groups(runs)
    names = labels(found)
    assert len(found) == len(set(names)) == len(runs)
    assert "jitrl default" in names
    assert any("openai/small" in name and "stated" in name for name in names)
    assert sorted(one.mean.mean for one in differences(found)) == [
        1.0,
        3.0,
        5.0,
    ]  # against static of the same model alone


def test_the_seed_is_the_unit_of_repetition() -> None:
    (group,) = groups([made_up([0, 4], seed=0), made_up([4, 8], seed=1)])
    assert group.mean().mean == 4.0
    assert group.mean().n == 2
    assert group.best() == 8.0


def test_episodes_that_not_every_seed_has_are_left_out() -> None:
    (group,) = groups([made_up([1, 1, 9], seed=0), made_up([1, 1], seed=1)])
    assert group.episodes == 2
    assert group.mean().mean == 1.0


def test_the_same_seed_twice_is_no_repetition() -> None:
    with pytest.raises(BadRun, match="same seed 3"):
        groups([made_up([1], seed=3, path="a"), made_up([2], seed=3, path="b")])


def test_a_run_without_episodes_is_told() -> None:
    with pytest.raises(BadRun, match="no finished episode"):
        groups([made_up([])])


def test_differences_are_paired_by_seed() -> None:
    # the seeds differ wildly, the difference within each hardly: only pairing sees it
    base = [0.0, 50.0, 100.0]
    static = [made_up([b, b], seed=s, agent="static") for s, b in enumerate(base)]
    better = [made_up([b + 1, b + 1 + s / 100], seed=s) for s, b in enumerate(base)]
    (found,) = differences(groups([*static, *better]))
    assert found.mean.n == 3
    assert 0 < found.mean.low < found.mean.mean < found.mean.high < 2
    assert shown(found.mean) == "higher than static"


def test_no_winner_is_named_where_the_interval_holds_zero() -> None:
    static = [made_up([1.0], seed=s, agent="static") for s in range(3)]
    noisy = [made_up([score], seed=s) for s, score in enumerate([0.0, 9.0, 2.0])]
    (found,) = differences(groups([*static, *noisy]))
    assert found.mean.low < 0 < found.mean.high
    assert shown(found.mean).startswith("no difference shown")


def test_one_paired_seed_shows_nothing() -> None:
    (found,) = differences(groups([made_up([1], agent="static"), made_up([9])]))
    assert shown(found.mean).startswith("one seed")


def test_groups_are_compared_on_the_same_world_and_limits_only() -> None:
    static = made_up([1], agent="static")
    others = [made_up([2], world="corridor:6"), made_up([2], steps=9), made_up([2], seed=7)]
    assert differences(groups([static, *others])) == []


def test_the_static_run_of_the_same_preset_is_preferred() -> None:
    runs = [
        made_up([1], agent="static"),
        made_up([5], agent="static", preset="paper"),
        made_up([7], preset="paper"),
        made_up([7], preset="released"),
    ]
    found = differences(groups(runs))
    assert [one.mean.mean for one in found] == [2.0]
