"""The released rules, item by item of section 7 of the method, each computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl import released, update
from jitrl.decide import Draws, decide
from jitrl.presets import PRESETS, preset
from jitrl.records import Candidate, Experience, Scores, State
from jitrl.released import Released
from jitrl.update import Evidence

RNG = np.random.default_rng(0)


def evidence(returns, taken, actions):
    n = len(returns)
    return Evidence(np.array(returns, dtype=float), np.array(taken), np.ones(n), actions)


def test_item_1_the_exact_update_and_the_released_rule_on_the_worked_example():
    p, A = np.array([0.90, 0.06, 0.04]), np.array([-0.05, 0.05, 0.0])
    exact = np.exp(update.log_policy(np.log(p), A, beta=1.0, temperature=1.0))
    assert exact.round(3).tolist() == [0.893, 0.066, 0.042]
    greedy = np.exp(released.log_policy(p, released.normalise(A), beta=1.0))
    assert greedy.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_item_1_the_preset_picks_action_2_with_certainty(seed):
    state = State(room="cellar")
    actions = {"one": 0.90, "two": 0.06, "three": 0.04}
    scores = Scores(tuple(Candidate(a, math.log(p)) for a, p in actions.items()), "given")
    neighbours = [
        Experience(1.0, state, action, return_, "e", t, "")
        for t, (action, return_) in enumerate([("one", -0.05), ("two", 0.05), ("three", 0.0)])
    ]
    draws = Draws(np.random.default_rng(seed), np.random.default_rng(seed))
    decision = decide(state, scores, neighbours, preset("released"), 1.0, draws)
    assert decision.action == "two"
    assert list(decision.after.values()) == [0.0, 1.0, 0.0]
    assert [decision.values[a].advantage for a in actions] == pytest.approx([-1.0, 1.0, 0.0])
    assert decision.kl == pytest.approx(-math.log(0.06))


@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(-1.0, 1.0)), min_size=1, max_size=6),
    st.floats(0.0, 2.0),
)
def test_item_1_the_largest_sum_is_taken_and_the_first_of_equals(pairs, beta):
    p, A = (np.array(column) for column in zip(*pairs, strict=True))
    sums = (p + beta * A).tolist()
    policy = np.exp(released.log_policy(p, A, beta))
    assert policy.sum() == 1.0
    assert policy[sums.index(max(sums))] == 1.0


@pytest.mark.parametrize(
    ("A", "expected"),
    [
        ([2.0, -8.0, 1.0], [1.0, -4.0, 0.5]),  # by the largest positive one
        ([-2.0, -8.0, 0.0], [-0.25, -1.0, 0.0]),  # by |min| where none is positive
        ([-3.0], [-1.0]),
        ([0.001, 0.0], [1.0, 0.0]),  # one noisy sample always becomes +1
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_item_2_advantages_are_divided_by_the_largest_positive_one(A, expected):
    assert released.normalise(np.array(A)).tolist() == pytest.approx(expected)


@given(st.floats(1e-9, 1e9), st.integers(1, 50))
def test_item_2_one_noisy_sample_always_becomes_plus_one(outlier, others):
    e = evidence([0.0] * others + [outlier], [0] * others + [1], 2)
    assert Released()(e, RNG).A[1] == pytest.approx(1.0)


def test_item_3_alpha_is_1_and_beta_is_1_on_the_web_and_rises_to_1_5_on_jericho():
    jericho, web = PRESETS["released"], PRESETS["released-web"]
    assert (jericho.estimator, web.estimator) == (Released(None, 1.0), Released(0.05, 1.0))
    assert web.beta == 1.0
    assert [jericho.beta.at(n) for n in (0, 10, 25, 50, 1000)] == pytest.approx(
        [1.0, 1.1, 1.25, 1.5, 1.5]
    )


def test_item_3_the_bonus_of_the_untried_is_alpha_over_the_neighbours():
    e = evidence([2.0, 4.0], [0, 0], 2)
    assert Released(explore=1.0, alpha=1.0)(e, RNG).Q.tolist() == [3.0, 3.5]
    assert Released(explore=1.0, alpha=5.0)(e, RNG).Q.tolist() == [3.0, 5.5]
    assert Released(explore=0.0)(e, RNG).Q.tolist() == [3.0, 0.0]


def explored(returns, taken, tried):
    """How often an untried action gets the bonus, over many untried ones."""
    e = evidence(returns, taken, tried + 40_000)
    lucky = np.mean(returns) + 1.0 / len(returns)
    Q = Released(explore=None, alpha=1.0)(e, np.random.default_rng(1)).Q[tried:]
    assert set(np.round(Q, 9)) <= {0.0, round(float(lucky), 9)}
    return float(np.mean(np.isclose(Q, lucky)))


@pytest.mark.parametrize(
    ("returns", "taken", "tried", "probability"),
    [
        # nothing was tried twice: .8
        ([5.0], [0], 1, 0.8),
        ([5.0, 3.0], [0, 1], 2, 0.8),
        # only losses: c = 0, 1 / (1 + 0) cut to .8
        ([-4.0, -6.0], [0, 0], 1, 0.8),
        # mean 1, cv 0, n 2: c = 1^.65 * 1
        ([1.0, 1.0], [0, 0], 1, 1 / 2),
        # mean 4, deviation 2, cv 1/2, n 2: c = (4 / 1.5)^.65
        ([2.0, 6.0], [0, 0], 1, 1 / (1 + (4 / 1.5) ** 0.65)),
        # n 8: c = 1 * 8 / 4
        ([1.0] * 8, [0] * 8, 1, 1 / 3),
        # the most confident action counts, not the first, nor the one tried once
        ([0.5, 0.5, 3.0, 3.0, 90.0], [0, 0, 1, 1, 2], 3, 1 / (1 + 3**0.65)),
        # a very sure one: cut to .05
        ([100.0] * 4, [0] * 4, 1, 0.05),
    ],
)
def test_item_4_the_exploration_probability_is_adaptive(returns, taken, tried, probability):
    spread = math.sqrt(probability * (1 - probability) / 40_000)
    assert abs(explored(returns, taken, tried) - probability) < 4 * spread


def test_item_5_the_baseline_is_recomputed_where_a_candidate_is_unseen():
    # all seen: V is the mean over the steps, (0 + 0 + 6) / 3
    assert Released()(evidence([0.0, 0.0, 6.0], [0, 0, 1], 2), RNG).V == 2.0
    # one unseen: V is the mean over the actions, its zero included, (0 + 6 + 0) / 3
    never = Released(explore=0.0)(evidence([0.0, 0.0, 6.0], [0, 0, 1], 3), RNG)
    assert never.V == 2.0
    never = Released(explore=0.0)(evidence([3.0, 3.0, 9.0], [0, 0, 1], 3), RNG)
    assert never.V == (3.0 + 9.0 + 0.0) / 3
    assert never.Q.tolist() == [3.0, 9.0, 0.0]
    assert never.A.tolist() == pytest.approx([-1 / 5, 1.0, -4 / 5])
    # the bonus is on top of the mean over the steps, whatever V becomes
    always = Released(explore=1.0)(evidence([3.0, 3.0, 9.0], [0, 0, 1], 3), RNG)
    assert always.V == (3.0 + 9.0 + 0.0) / 3
    assert always.Q[2] == pytest.approx(5.0 + 1 / 3)


def test_item_6_the_presets_join_remembered_actions_with_probability_zero():
    assert PRESETS["released"].join == "zero-if-positive"
    assert PRESETS["released-web"].join == "zero"


def test_item_7_k_is_no_cap_and_the_threshold_falls_over_the_first_20_steps():
    jericho, web = PRESETS["released"], PRESETS["released-web"]
    assert jericho.k == 10
    assert 0.98 < jericho.keep_above < 0.98 + 1e-12  # every match above .98
    assert web.k is None
    for ramp, start in ((jericho.threshold, 0.95), (web.threshold, 0.8)):
        falling = [ramp.at(t) for t in (0, 5, 10, 20, 21, 1000)]
        expected = [start, start - 0.025, start - 0.05, start - 0.1, start - 0.1, start - 0.1]
        assert falling == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rewards", "gamma", "expected"),
    [
        # t = 0: 1 + .5 * 1 (for the zero) + .25 * 2; t = 1: its own reward is zero
        ([1.0, 0.0, 2.0], 0.5, [2.0, 1.0, 2.0]),
        ([4.0, 0.0, 0.0], 0.5, [7.0, 0.0, 0.0]),
        ([-1.0, 0.0], 0.1, [-1.1, 0.0]),
        ([3.0, -10.0], 0.1, [2.0, -10.0]),
        ([2.0, 5.0], 0.0, [2.0, 5.0]),
        ([], 0.5, []),
    ],
)
def test_item_8_a_zero_future_reward_is_replaced_by_the_steps_own(rewards, gamma, expected):
    assert released.returns(rewards, gamma).tolist() == pytest.approx(expected)


@given(st.lists(st.floats(0.1, 10.0), max_size=12), st.floats(0.0, 1.0))
def test_item_8_without_zeros_the_returns_are_the_papers(rewards, gamma):
    assert released.returns(rewards, gamma) == pytest.approx(update.returns(rewards, gamma))


def test_it_abstains_exactly_where_there_is_no_neighbour():
    assert Released().abstains(evidence([], np.array([], dtype=int), 2))
    assert not Released().abstains(evidence([0.0], [2], 2))
