"""The sound estimator: what its docstring promises, for any evidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.estimators import Shrunken
from jitrl.update import Evidence

RNG = np.random.default_rng(0)


def evidence(returns, taken, similarity=None, actions=None):
    return Evidence(
        np.array(returns, dtype=float),
        np.array(taken, dtype=np.int64),
        np.ones(len(returns)) if similarity is None else np.array(similarity, dtype=float),
        max(taken) + 1 if actions is None else actions,
    )


@st.composite
def evidences(draw):
    m, n = draw(st.integers(1, 5)), draw(st.integers(2, 15))
    return evidence(
        draw(st.lists(st.integers(-50, 50), min_size=n, max_size=n)),
        draw(st.lists(st.integers(0, m + 1), min_size=n, max_size=n)),
        draw(st.lists(st.integers(1, 16), min_size=n, max_size=n).map(lambda w: np.array(w) / 16)),
        m,
    )


estimators = st.builds(
    Shrunken, pseudo_count=st.floats(0.01, 20.0), bonus=st.floats(0.0, 3.0), min_evidence=st.just(1)
)


def test_values_by_hand():
    # means 2 (two steps: trust 2/3) and 8 (one step: trust 1/2), so V = (4/3 + 4) / (7/6)
    estimate = Shrunken(pseudo_count=1.0, bonus=1.0)(
        evidence([2.0, 2.0, 8.0], [0, 0, 1], actions=3), RNG
    )
    V = (2 / 3 * 2 + 1 / 2 * 8) / (2 / 3 + 1 / 2)
    assert pytest.approx(32 / 7) == V
    assert pytest.approx(V) == estimate.V
    D = 8 - V  # the steps of an action agree, so S = 0
    assert estimate.Q.tolist() == pytest.approx([V - 12 / 7, V + 12 / 7, V + D / 2])
    assert estimate.A.tolist() == pytest.approx([-1 / 2, 1 / 2, 1 / 2])
    assert estimate.n.tolist() == [2, 1, 0]
    assert estimate.uncertainty[2] == math.inf


def test_neighbours_count_in_proportion_to_their_similarity():
    # the weights of action 0 are 3/4 and 1/4: mean 2, trust 1/2; action 1: mean 8, trust 1/2
    e = evidence([0.0, 8.0, 8.0], [0, 0, 1], [0.75, 0.25, 1.0])
    estimate = Shrunken()(e, RNG)
    assert pytest.approx(5.0) == estimate.V
    assert estimate.Q.tolist() == pytest.approx([3.5, 6.5])
    # and a neighbour half as similar is trusted less: 1/3 instead of 1/2
    halved = Shrunken()(evidence([2.0, 8.0], [0, 1], [1.0, 0.5]), RNG)
    V = (1 / 2 * 2 + 1 / 3 * 8) / (1 / 2 + 1 / 3)
    assert halved.Q.tolist() == pytest.approx([V + (2 - V) / 2, V + (8 - V) / 3])


def test_actions_that_are_no_candidates_count_in_the_baseline_each_as_one_action():
    # candidate 0: mean 0; two others with means 6 and 9; all of trust 1/2
    estimate = Shrunken()(evidence([0.0, 6.0, 9.0], [0, 1, 2], actions=1), RNG)
    assert pytest.approx(5.0) == estimate.V
    # D = 5, S = the deviation about the mean of all, for no action was tried twice
    assert estimate.A.tolist() == pytest.approx([-2.5 / (5 + math.sqrt(42 / 2))])


def test_an_action_that_became_frequent_does_not_raise_the_baseline_to_its_own_mean():
    V = [Shrunken()(evidence([0.0] + [1.0] * n, [0] + [1] * n), RNG).V for n in (1, 3, 10, 1000)]
    assert sorted(V) == V
    assert V[-1] < 1 / (1 + 1 / 2)  # the trust in the frequent one is at most 1, in the other 1/2


def independent_deviation(e):
    groups = {}
    for action, G in zip(e.taken.tolist(), e.returns.tolist(), strict=True):
        groups.setdefault(action, []).append(G)
    if all(len(group) == 1 for group in groups.values()):
        groups = {0: e.returns.tolist()}
    squares = [(G - sum(group) / len(group)) ** 2 for group in groups.values() for G in group]
    return math.sqrt(math.fsum(squares) / (len(squares) - len(groups)))


@given(evidences(), estimators)
def test_values_and_advantages_equal_the_formulas_of_the_docstring(e, estimator):
    estimate = estimator(e, RNG)
    w, G = e.similarity.tolist(), e.returns.tolist()
    mean, trust = {}, {}
    for action in set(e.taken.tolist()):
        mine = [i for i in range(len(e)) if e.taken[i] == action]
        n = math.fsum(w[i] for i in mine)
        mean[action] = math.fsum(w[i] * G[i] for i in mine) / n
        trust[action] = n / (n + estimator.pseudo_count)
    V = math.fsum(trust[a] * mean[a] for a in mean) / math.fsum(trust.values())
    D = max(abs(mean[a] - V) for a in mean)
    S = independent_deviation(e) * math.sqrt(len(mean) / len(e))
    assert pytest.approx(V, abs=1e-9) == estimate.V
    for action in range(e.actions):
        if action in mean:
            Q = V + trust[action] * (mean[action] - V)
            A = (Q - V) / (D + S) if len(set(G)) > 1 else 0.0
        else:
            A = estimator.bonus / math.sqrt(1 + len(e))
            Q = V + A * (D + S)
        assert estimate.n[action] == e.taken.tolist().count(action)
        assert estimate.Q[action] == pytest.approx(Q, abs=1e-6)
        assert estimate.A[action] == pytest.approx(A, abs=1e-6)


@given(evidences(), estimators)
def test_no_advantage_exceeds_the_trust_in_its_evidence(e, estimator):
    A = estimator(e, RNG).A
    for action in range(e.actions):
        weight = math.fsum(e.similarity[e.taken == action])
        if weight:
            assert abs(A[action]) <= weight / (weight + estimator.pseudo_count) + 1e-12
            assert abs(A[action]) < 1.0
        else:
            assert 0.0 <= A[action] <= estimator.bonus / math.sqrt(1 + len(e)) + 1e-12


@given(
    st.integers(1, 1000),
    st.floats(-1e6, 1e6).filter(lambda r: abs(r) > 1e-6),
    st.floats(0.1, 1.0),
    st.floats(0.05, 10.0),
)
def test_one_noisy_step_never_becomes_one(others, outlier, similarity, pseudo_count):
    e = evidence([0.0] * others + [outlier], [0] * others + [1], [1.0] * others + [similarity])
    A = Shrunken(pseudo_count=pseudo_count)(e, RNG).A
    assert abs(A[1]) <= 1 / (1 + pseudo_count) + 1e-12
    assert np.sign(A[1]) == np.sign(outlier)


def test_more_evidence_of_the_same_trusts_the_mean_more():
    steps = [2, 4, 8, 64]
    A = [Shrunken()(evidence([1.0] * n + [0.0] * n, [0] * n + [1] * n), RNG).A[0] for n in steps]
    assert pytest.approx([n / (n + 1) for n in steps]) == A
    assert sorted(A) == A


@given(evidences())
def test_against_a_vast_pseudo_count_no_evidence_counts(e):
    A = Shrunken(pseudo_count=1e9)(e, RNG).A
    tried = np.isin(np.arange(e.actions), e.taken)
    assert np.all(np.abs(A[tried]) <= 1e-6)


def test_the_bonus_of_the_untried_shrinks_as_evidence_grows_and_is_never_negative():
    bonuses = []
    for n in (1, 2, 5, 20, 100):
        e = evidence([0.0, 4.0] * n, [0] * (2 * n), actions=2)
        bonuses.append(float(Shrunken(bonus=1.0)(e, RNG).A[1]))
    assert bonuses == pytest.approx([(2 * n + 1) ** -0.5 for n in (1, 2, 5, 20, 100)])


def test_the_untried_is_better_than_what_failed_and_worse_than_what_worked():
    A = Shrunken()(evidence([0.0] * 4 + [10.0] * 4, [0] * 4 + [1] * 4, actions=3), RNG).A
    assert A[0] < A[2] < A[1]


@given(evidences(), estimators, st.integers(-1000, 1000))
def test_a_constant_added_to_all_returns_moves_v_and_no_advantage(e, estimator, constant):
    here = estimator(e, RNG)
    there = estimator(Evidence(e.returns + constant, e.taken, e.similarity, e.actions), RNG)
    assert pytest.approx(here.V + constant, abs=1e-9) == there.V
    assert pytest.approx(here.A, abs=1e-6) == there.A


@given(evidences(), estimators, st.floats(1e-6, 1e6))
def test_the_unit_of_the_rewards_changes_no_advantage(e, estimator, unit):
    here = estimator(e, RNG)
    there = estimator(Evidence(e.returns * unit, e.taken, e.similarity, e.actions), RNG)
    assert pytest.approx(here.A, abs=1e-9) == there.A
    assert pytest.approx(here.Q * unit, rel=1e-9, abs=1e-9 * unit) == there.Q


@given(evidences(), estimators, st.randoms(use_true_random=False))
def test_the_order_of_the_neighbours_does_not_matter(e, estimator, random):
    order = list(range(len(e)))
    random.shuffle(order)
    here = estimator(e, RNG)
    shuffled = Evidence(e.returns[order], e.taken[order], e.similarity[order], e.actions)
    there = estimator(shuffled, RNG)
    assert pytest.approx(here.A, abs=1e-10) == there.A
    assert there.n.tolist() == here.n.tolist()


@given(evidences(), estimators, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(e, estimator, random):
    place = list(range(e.actions))
    random.shuffle(place)
    moved = np.array([place[a] if a < e.actions else a for a in e.taken], dtype=np.int64)
    here = estimator(e, RNG)
    there = estimator(Evidence(e.returns, moved, e.similarity, e.actions), RNG)
    assert there.A[place] == pytest.approx(here.A, abs=1e-10)


@given(evidences(), estimators)
def test_nothing_is_drawn_at_random(e, estimator):
    rng = np.random.default_rng(5)
    held = rng.bit_generator.state
    first, second = estimator(e, rng), estimator(e, np.random.default_rng(6))
    assert rng.bit_generator.state == held
    assert first.A.tolist() == second.A.tolist()


def test_equal_returns_give_no_advantage_to_what_was_tried():
    estimate = Shrunken()(evidence([0.1] * 3, [0, 0, 1], [0.3, 0.7, 0.9], actions=3), RNG)
    assert estimate.A.tolist() == [0.0, 0.0, Shrunken().bonus / 2]


def test_a_difference_of_rounding_gives_no_advantage():
    e = evidence([0.3, 0.1 + 0.2] * 4, [0, 1] * 4)
    assert np.all(np.abs(Shrunken()(e, RNG).A) < 1e-6)


@pytest.mark.parametrize("n", [4, 100, 10_000])
def test_a_difference_that_does_not_exceed_its_own_error_gives_little_advantage(n):
    rng = np.random.default_rng(n)
    e = evidence(rng.normal(size=2 * n), [0, 1] * n)
    assert np.max(np.abs(Shrunken()(e, RNG).A)) < 2 / 3


@pytest.mark.parametrize("least", [1, 2, 5])
def test_it_abstains_below_its_minimum_of_evidence(least):
    for n in range(8):
        e = evidence([1.0] * n, [0] * n, actions=2)
        assert Shrunken(min_evidence=least).abstains(e) == (n < least)
