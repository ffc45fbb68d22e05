"""Estimators under weights: the formulas, and to the last bit what they were where all weigh 1."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl import released, update
from jitrl.estimators import Shrunken
from jitrl.released import Released
from jitrl.update import Evidence, Paper

ESTIMATORS = [Shrunken(), Paper(), Released(), Released(explore=0.05)]


@st.composite
def evidences(draw, weights=True):
    m, n = draw(st.integers(1, 4)), draw(st.integers(1, 15))
    column = {"min_size": n, "max_size": n}
    return Evidence(
        np.array(draw(st.lists(st.floats(-1e3, 1e3), **column))),
        np.array(draw(st.lists(st.integers(0, m + 1), **column)), dtype=np.int64),
        np.array(draw(st.lists(st.floats(0.05, 1.0), **column))),
        m,
        np.array(draw(st.lists(st.floats(0.01, 1.0), **column))) if weights else np.ones(n),
    )


def groups(e):
    taken = e.taken.tolist()
    return {a: [i for i in range(len(e)) if taken[i] == a] for a in sorted(set(taken))}


# --- where all weigh 1: the formulas without weights, as they were written before there were any


def unweighted_deviation(e):
    _, group = np.unique(e.taken, return_inverse=True)
    sizes = np.bincount(group)
    if np.all(sizes == 1):
        group, sizes = np.zeros_like(group), np.array([len(e)])
    freedom = len(e) - len(sizes)
    if freedom == 0:
        return math.inf
    means = np.bincount(group, e.returns) / sizes
    return math.sqrt(float(np.sum((e.returns - means[group]) ** 2)) / freedom)


def unweighted_errors(e):
    n = update.counts(e)
    errors = np.full(len(n), math.inf)
    np.divide(unweighted_deviation(e), np.sqrt(n), out=errors, where=n > 0)
    return errors


def unweighted(estimator, e, rng):
    """V, Q and A~ as computed without weights."""
    n, size = update.counts(e), len(e)
    if isinstance(estimator, Shrunken):
        every = replace(
            e, returns=e.returns - e.returns[0], actions=max(e.actions, 1 + int(e.taken.max()))
        )
        mean, weight = update.weighted_means(every, every.similarity)
        trust = weight / (weight + estimator.pseudo_count)
        baseline = float(np.nansum(trust * mean) / np.sum(trust))
        deviation, tried = unweighted_deviation(every), int(np.sum(weight > 0))
        noise = deviation * math.sqrt(tried / size) if math.isfinite(deviation) else 0.0
        rounding = 1e-9 * float(np.max(np.abs(e.returns)))
        scale = float(np.nanmax(np.abs(mean - baseline))) + noise + rounding
        gap = (trust * (mean - baseline))[: e.actions]
        bonus = estimator.bonus / math.sqrt(1 + size)
        A = np.where(n > 0, gap / scale if scale > 0 else 0.0, bonus)
        V = baseline + float(e.returns[0])
        return V, V + np.where(n > 0, gap, bonus * scale), A
    V = float(np.mean(e.returns))
    mean, _ = update.weighted_means(e, np.ones(size))
    explore = estimator.explore
    if explore is None:
        confidence = 0.0
        for action in np.flatnonzero(n >= 2):
            spread = float(np.std(e.returns[e.taken == action]))
            level = max(0.0, float(mean[action]))
            if level > 0:
                steadiness = (level / (1 + spread / level)) ** 0.65
                confidence = max(confidence, steadiness * max(int(n[action]) / 4, 1))
        explore = min(max(1 / (1 + confidence), 0.05), 0.8)
    lucky = rng.random(e.actions) < explore
    Q = np.where(n > 0, mean, np.where(lucky, V + estimator.alpha / size, 0.0))
    if isinstance(estimator, Released) and np.any(n == 0):
        V = float(np.mean(np.where(n > 0, mean, 0.0)))
    normalise = released.normalise if isinstance(estimator, Released) else update.normalise
    return V, Q, normalise(Q - V)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: str(e).split("(")[0])
@given(e=evidences(weights=False), seed=st.integers(0, 9))
def test_where_all_weigh_1_nothing_differs_by_a_bit(estimator, e, seed):
    V, Q, A = unweighted(estimator, e, np.random.default_rng(seed))
    for same in (e, Evidence(e.returns, e.taken, e.similarity, e.actions)):
        found = estimator(same, np.random.default_rng(seed))
        assert found.V == V
        assert found.Q.tolist() == Q.tolist()
        assert found.A.tolist() == A.tolist()
        assert found.uncertainty.tolist() == unweighted_errors(e).tolist()


def test_weights_that_are_left_out_are_one():
    e = Evidence(np.zeros(3), np.zeros(3, dtype=np.int64), np.ones(3), 1)
    assert e.weight.tolist() == [1.0, 1.0, 1.0]


# --- the formulas


@given(evidences())
def test_means_of_the_paper_and_the_released_rule_are_weighted(e):
    w, G = e.weight.tolist(), e.returns.tolist()
    V = math.fsum(a * b for a, b in zip(w, G, strict=True)) / math.fsum(w)
    estimate = Paper()(e, np.random.default_rng(0))
    assert pytest.approx(V, rel=1e-9, abs=1e-9) == estimate.V
    rule = Released()(e, np.random.default_rng(0))
    for action, mine in groups(e).items():
        if action < e.actions:
            Q = math.fsum(w[i] * G[i] for i in mine) / math.fsum(w[i] for i in mine)
            assert estimate.Q[action] == pytest.approx(Q, rel=1e-9, abs=1e-9)
            assert rule.Q[action] == pytest.approx(Q, rel=1e-9, abs=1e-9)
            assert estimate.n[action] == rule.n[action] == len(mine)


@given(evidences())
def test_the_default_takes_a_weight_like_a_similarity(e):
    """But for the noise and the bonus, which count steps."""
    here = Shrunken(bonus=0.0)(e, np.random.default_rng(0))
    folded = replace(e, similarity=e.similarity * e.weight, weight=np.ones(len(e)))
    there = Shrunken(bonus=0.0)(folded, np.random.default_rng(0))
    assert pytest.approx(there.V, rel=1e-9, abs=1e-9) == here.V
    tried = here.n > 0
    assert here.Q[tried] == pytest.approx(there.Q[tried], rel=1e-9, abs=1e-9)


@given(evidences())
def test_standard_errors_rest_on_the_summed_weight(e):
    w, G = e.weight.tolist(), e.returns.tolist()
    pools = groups(e)
    if all(len(mine) == 1 for mine in pools.values()):
        pools = {0: list(range(len(e)))}
    squares = freedom = 0.0
    for mine in pools.values():
        size = math.fsum(w[i] for i in mine)
        mean = math.fsum(w[i] * G[i] for i in mine) / size
        squares += math.fsum(w[i] * (G[i] - mean) ** 2 for i in mine)
        freedom += size - math.fsum(w[i] ** 2 for i in mine) / size
    errors = update.standard_errors(e)
    for action in range(e.actions):
        mine = groups(e).get(action, [])
        if mine and len(e) > len(pools):
            expected = math.sqrt(squares / freedom) / math.sqrt(math.fsum(w[i] for i in mine))
            assert errors[action] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        elif not mine:
            assert errors[action] == math.inf


def test_a_step_that_stands_alone_has_no_deviation_whatever_it_weighs():
    e = Evidence(np.array([3.0]), np.array([0]), np.ones(1), 1, np.array([0.1]))
    assert update.pooled_deviation(e) == math.inf
    vanishing = Evidence(
        np.array([3.0, 4.0]), np.array([0, 0]), np.ones(2), 1, np.array([1, 1e-30])
    )
    assert update.pooled_deviation(vanishing) == math.inf


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: str(e).split("(")[0])
def test_repeating_itself_at_a_constant_weight_makes_a_source_no_surer(estimator):
    def told(times):
        weight = np.array([1.0] * 4 + [2 / times] * times)
        returns = np.array([0.0, 1.0, 0.0, 1.0] + [3.0, 5.0] * (times // 2))
        taken = np.array([0, 0, 1, 1] + [1] * times)
        return estimator(
            Evidence(returns, taken, np.ones(4 + times), 3, weight), np.random.default_rng(0)
        )

    twice, often = told(2), told(2000)
    assert pytest.approx(twice.V, rel=1e-9) == often.V
    assert often.Q[:2] == pytest.approx(twice.Q[:2], rel=1e-9)
    assert often.uncertainty[1] == pytest.approx(twice.uncertainty[1], rel=0.35)
    assert pytest.approx(twice.A, abs=0.05) == often.A
