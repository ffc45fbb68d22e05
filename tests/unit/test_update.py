"""The update against the mathematics that it claims, computed here in other ways."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from jitrl import update
from jitrl.update import Evidence, Paper, beta_within, kl, log_policy, sample


def numbers(low, high):
    return st.floats(low, high, allow_subnormal=False)


@st.composite
def decisions(draw, span=5.0, betas=(0.01, 10.0), temperatures=(0.2, 4.0), least=2):
    """Draw (z, A, beta, T) of one decision."""
    m = draw(st.integers(least, 6))
    z = draw(st.lists(numbers(-span, span), min_size=m, max_size=m))
    A = draw(st.lists(numbers(-1.0, 1.0), min_size=m, max_size=m))
    return np.array(z), np.array(A), draw(numbers(*betas)), draw(numbers(*temperatures))


def softmax(x):
    return special.softmax(np.asarray(x, dtype=float))


def objective(policy, A, base, step):
    """E_{a~policy}[A] - KL(policy || base) / step, written down as in the theorem."""
    return float(policy @ A - np.sum(special.rel_entr(policy, base)) / step)


# --- returns, Eq. 3


@given(
    st.lists(numbers(-1e6, 1e6), max_size=30),
    st.one_of(numbers(0.0, 1.0), st.sampled_from([0.0, 0.1, 0.5, 1.0])),
)
def test_returns_equal_the_naive_double_loop(rewards, gamma):
    result = update.returns(rewards, gamma)
    assert result.shape == (len(rewards),)
    assert result.dtype == np.float64
    for t in range(len(rewards)):
        terms = [gamma ** (u - t) * rewards[u] for u in range(t, len(rewards))]
        scale = math.fsum(abs(term) for term in terms)
        assert abs(result[t] - math.fsum(terms)) <= 1e-13 * scale


def test_returns_without_discount_are_sums_and_with_full_discount_are_the_rewards():
    assert update.returns([1.0, -2.0, 4.0], 1.0).tolist() == [3.0, 2.0, 4.0]
    assert update.returns([1.0, -2.0, 4.0], 0.0).tolist() == [1.0, -2.0, 4.0]


def test_a_zero_future_reward_counts_as_zero():
    assert update.returns([1.0, 0.0, 0.0], 0.5).tolist() == [1.0, 0.0, 0.0]


def test_returns_of_a_list_and_of_an_array_agree():
    rewards = [0.1, 0.7, -3.0]
    assert update.returns(rewards, 0.9).tolist() == update.returns(np.array(rewards), 0.9).tolist()


# --- candidates, Eq. 23


@given(st.lists(st.sampled_from("abcd"), unique=True), st.lists(st.sampled_from("abcdef")))
def test_the_union_is_the_proposals_then_each_other_remembered_action_once(proposed, remembered):
    union = update.candidate_union(proposed, remembered)
    assert union[: len(proposed)] == proposed
    assert len(union) == len(set(union))
    assert set(union) == {*proposed, *remembered}
    rest = union[len(proposed) :]
    assert rest == sorted(rest, key=remembered.index)


# --- values and advantages, Eqs. 4-7 and 25


@st.composite
def evidences(draw, least=1, weights=True):
    m = draw(st.integers(1, 5))
    n = draw(st.integers(least, 12))
    return Evidence(
        returns=np.array(draw(st.lists(numbers(-100, 100), min_size=n, max_size=n))),
        taken=np.array(draw(st.lists(st.integers(0, m + 1), min_size=n, max_size=n))),
        similarity=np.array(
            draw(st.lists(numbers(0.01, 1.0) if weights else st.just(1.0), min_size=n, max_size=n))
        ),
        actions=m,
    )


@given(evidences())
def test_weighted_means_and_counts_equal_loops_over_the_neighbours(evidence):
    mean, total = update.weighted_means(evidence, evidence.similarity)
    n = update.counts(evidence)
    for action in range(evidence.actions):
        mine = [i for i in range(len(evidence)) if evidence.taken[i] == action]
        weight = math.fsum(evidence.similarity[i] for i in mine)
        assert n[action] == len(mine)
        assert total[action] == pytest.approx(weight, rel=1e-12)
        if mine:
            value = math.fsum(evidence.similarity[i] * evidence.returns[i] for i in mine) / weight
            assert mean[action] == pytest.approx(value, rel=1e-9, abs=1e-9)
        else:
            assert math.isnan(mean[action])


@given(evidences())
def test_standard_errors_are_the_pooled_deviation_over_the_root_of_n(evidence):
    groups: dict[int, list[float]] = {}
    for action, value in zip(evidence.taken.tolist(), evidence.returns.tolist(), strict=True):
        groups.setdefault(action, []).append(value)
    if all(len(group) == 1 for group in groups.values()):
        groups = {0: evidence.returns.tolist()}
    freedom = len(evidence) - len(groups)
    squares = math.fsum(
        (value - math.fsum(group) / len(group)) ** 2 for group in groups.values() for value in group
    )
    n = update.counts(evidence)
    errors = update.standard_errors(evidence)
    for action in range(evidence.actions):
        if n[action] == 0 or freedom == 0:
            assert errors[action] == math.inf
        else:
            expected = math.sqrt(squares / freedom) / math.sqrt(n[action])
            assert errors[action] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_standard_errors_by_hand():
    evidence = Evidence(np.array([0.0, 2.0, 5.0]), np.array([0, 0, 1]), np.ones(3), actions=3)
    errors = update.standard_errors(evidence)  # 2 squares, 1 degree
    assert errors.tolist() == pytest.approx([1.0, math.sqrt(2), math.inf])


@given(st.lists(numbers(-1e9, 1e9), min_size=1, max_size=8), numbers(1e-9, 1.0))
def test_normalisation_divides_by_the_largest_magnitude_plus_eps(A, eps):
    result = update.normalise(np.array(A), eps)
    scale = max(abs(a) for a in A) + eps
    assert result.tolist() == pytest.approx([a / scale for a in A], rel=1e-12)
    assert np.all(np.abs(result) <= 1.0)
    assert np.array_equal(np.argsort(result, kind="stable"), np.argsort(A, kind="stable"))


def test_normalisation_of_nothing_and_of_zeros_divides_by_eps_not_by_zero():
    assert update.normalise(np.array([])).size == 0
    assert update.normalise(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert update.normalise(np.array([1e-8, 0.0]), eps=1e-8).tolist() == [0.5, 0.0]


def test_the_papers_values_by_hand():
    # V = (1 + 3 + 8) / 3 = 4; Q = 2, 8, and for the untried 4 + 5/3 or 0
    evidence = Evidence(np.array([1.0, 3.0, 8.0]), np.array([0, 0, 1]), np.ones(3), actions=3)
    rng = np.random.default_rng(0)
    always = Paper(explore=1.0, alpha=5.0)(evidence, rng)
    assert always.V == 4.0
    assert always.Q.tolist() == pytest.approx([2.0, 8.0, 4.0 + 5.0 / 3.0])
    assert always.n.tolist() == [2, 1, 0]
    assert always.A.tolist() == pytest.approx([-0.5, 1.0, 5.0 / 12.0])
    never = Paper(explore=0.0, alpha=5.0)(evidence, rng)
    assert never.Q.tolist() == [2.0, 8.0, 0.0]
    assert never.A.tolist() == pytest.approx([-0.5, 1.0, -1.0])


@given(evidences(weights=False), numbers(0.0, 10.0), st.sampled_from([0.0, 1.0]))
def test_the_papers_estimator_equals_its_equations(evidence, alpha, explore):
    estimate = Paper(explore, alpha)(evidence, np.random.default_rng(1))
    V = math.fsum(evidence.returns) / len(evidence)
    assert pytest.approx(V, rel=1e-9, abs=1e-9) == estimate.V
    Q = []
    for action in range(evidence.actions):
        mine = [G for a, G in zip(evidence.taken, evidence.returns, strict=True) if a == action]
        untried = V + alpha / len(evidence) if explore else 0.0
        Q.append(math.fsum(mine) / len(mine) if mine else untried)
    assert estimate.Q.tolist() == pytest.approx(Q, rel=1e-9, abs=1e-9)
    scale = max(abs(q - V) for q in Q) + 1e-8
    assert estimate.A.tolist() == pytest.approx([(q - V) / scale for q in Q], abs=1e-3 / scale)


def test_the_paper_values_neighbours_whose_action_is_no_candidate_in_v_only():
    evidence = Evidence(np.array([0.0, 6.0]), np.array([0, 1]), np.ones(2), actions=1)
    estimate = Paper()(evidence, np.random.default_rng(0))
    assert (estimate.V, estimate.Q.tolist(), estimate.n.tolist()) == (3.0, [0.0], [1])


@pytest.mark.parametrize("explore", [0.05, 0.65])
def test_the_paper_explores_an_untried_action_with_probability_lambda(explore):
    evidence = Evidence(np.array([7.0]), np.array([0]), np.ones(1), actions=40_001)
    Q = Paper(explore, alpha=5.0)(evidence, np.random.default_rng(3)).Q[1:]
    assert set(Q.tolist()) == {0.0, 12.0}
    spread = math.sqrt(explore * (1 - explore) / 40_000)
    assert abs(float(np.mean(Q == 12.0)) - explore) < 4 * spread


def test_the_paper_abstains_exactly_where_there_is_no_neighbour():
    nobody = np.array([])
    assert Paper().abstains(Evidence(nobody, nobody.astype(int), nobody, 3))
    assert not Paper().abstains(Evidence(np.array([0.0]), np.array([3]), np.ones(1), 3))


# --- the closed-form update, Eqs. 8-12


@given(decisions())
def test_the_policy_is_the_base_policy_times_exp_beta_a_normalised(decision):
    z, A, beta, temperature = decision
    weights = softmax(z / temperature) * np.exp(beta / temperature * A)
    result = np.exp(log_policy(z, A, beta, temperature))
    assert result == pytest.approx(weights / weights.sum(), rel=1e-10)


@settings(max_examples=60)
@given(decisions(), st.integers(0, 2**32 - 1))
def test_a_numerical_optimiser_finds_nothing_better_than_the_closed_form(decision, seed):
    z, A, beta, temperature = decision
    base, step = softmax(z / temperature), beta / temperature
    found = objective(np.exp(log_policy(z, A, beta, temperature)), A, base, step)

    def loss(theta):
        policy = softmax(theta)
        gain = A - (special.log_softmax(theta) - np.log(base)) / step
        value = float(policy @ gain)
        return -value, -policy * (gain - value)

    scale = 1.0 + 1.0 / step
    rng = np.random.default_rng(seed)
    best = -math.inf
    for start in (np.log(base), np.zeros(len(z)), rng.normal(size=len(z))):
        result = optimize.minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-10})
        best = max(best, -float(result.fun))
    assert best <= found + 1e-11 * scale
    assert best >= found - 1e-5 * scale, "the optimiser did not get near: the test is void"


@given(decisions(), st.integers(0, 2**32 - 1))
def test_no_other_policy_however_drawn_is_better_than_the_closed_form(decision, seed):
    z, A, beta, temperature = decision
    base, step = softmax(z / temperature), beta / temperature
    policy = np.exp(log_policy(z, A, beta, temperature))
    found = objective(policy, A, base, step)
    rng = np.random.default_rng(seed)
    others = [*rng.dirichlet(np.ones(len(z)), 50), *rng.dirichlet(np.full(len(z), 0.1), 50)]
    for size in (1e-6, 1e-3, 0.1, 1.0):
        others.extend(softmax(np.log(policy) + size * rng.normal(size=(50, len(z))))[:, :])
    others.extend(np.eye(len(z)))
    others.append(base)
    for other in others:
        other = other / other.sum()
        assert objective(other, A, base, step) <= found + 1e-11 * (1.0 + 1.0 / step)


@given(decisions())
def test_the_value_of_the_objective_is_the_log_partition_function(decision):
    z, A, beta, temperature = decision
    base, step = softmax(z / temperature), beta / temperature
    found = objective(np.exp(log_policy(z, A, beta, temperature)), A, base, step)
    assert found == pytest.approx(float(special.logsumexp(step * A, b=base)) / step, abs=1e-9)


@given(decisions(), st.integers(-(10**6), 10**6))
def test_a_constant_added_exactly_to_all_logits_changes_not_one_bit(decision, constant):
    z, A, beta, temperature = decision
    z = np.round(z * 1024) / 1024  # so that adding the constant does not round
    assert np.array_equal(
        log_policy(z + constant, A, beta, temperature), log_policy(z, A, beta, temperature)
    )


@given(decisions(), numbers(-50.0, 50.0))
def test_a_constant_added_to_all_logits_changes_no_probability(decision, constant):
    z, A, beta, temperature = decision
    there = np.exp(log_policy(z + constant, A, beta, temperature))
    here = np.exp(log_policy(z, A, beta, temperature))
    assert np.max(np.abs(there - here)) <= 1e-14 * (60 + abs(constant)) / temperature


@given(decisions())
def test_beta_zero_is_the_base_policy_bit_for_bit(decision):
    z, A, _, temperature = decision
    base = log_policy(z, np.zeros(len(z)), 0.0, temperature)
    assert np.array_equal(log_policy(z, A, 0.0, temperature), base)
    assert np.array_equal(log_policy(z, np.zeros(len(z)), 7.0, temperature), base)
    assert kl(log_policy(z, A, 0.0, temperature), base) == 0.0
    assert np.exp(base) == pytest.approx(softmax(z / temperature), rel=1e-11)


@given(decisions(), numbers(-1.0, 1.0))
def test_a_constant_advantage_is_the_base_policy_bit_for_bit(decision, constant):
    z, _, beta, temperature = decision
    A = np.full(len(z), constant)
    base = log_policy(z, A, 0.0, temperature)
    assert np.array_equal(log_policy(z, A, beta, temperature), base)


@given(decisions(least=3), st.sampled_from([1e3, 1e6, 1e9, 1e12, 1e16, 1e300]))
def test_actions_of_equal_advantage_keep_their_base_odds_however_large_beta(decision, beta):
    z, A, _, temperature = decision
    A[0] = A[1] = 1.0
    result = log_policy(z, A, beta, temperature)
    odds = (z[0] - z[1]) / temperature
    assert result[0] - result[1] == pytest.approx(odds, rel=1e-9, abs=1e-9)


def test_one_candidate_has_probability_one_whatever_is_said_of_it():
    for z in (-1e308, -5e-324, 0.0, 3.0, 1e308):
        assert log_policy(np.array([z]), np.array([-1.0]), 5.0, 0.8).tolist() == [0.0]


EXTREMES = [0.0, 5e-324, -5e-324, 1e-300, 1.0, -1.0, 700.0, -700.0, 5000.0, -5000.0]
EXTREMES += [1e16, -1e16, 1e300, -1e300, 1e308, -1e308, 1.7976931348623157e308]


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(EXTREMES), min_size=1, max_size=5),
    st.data(),
    st.sampled_from([0.0, 5e-324, 1.0, 100.0]),
    st.sampled_from([1e-300, 1e-3, 0.8, 1.0, 1e3, 1e300]),
)
def test_extreme_logits_give_what_exact_arithmetic_gives(z, data, beta, temperature):
    A = data.draw(st.lists(numbers(-1.0, 1.0), min_size=len(z), max_size=len(z)))
    result = np.exp(log_policy(np.array(z), np.array(A), beta, temperature))
    exact = [Fraction(x) + Fraction(beta) * Fraction(a) for x, a in zip(z, A, strict=True)]
    gaps = [(max(exact) - x) / Fraction(temperature) for x in exact]
    weights = [math.exp(-float(gap)) if gap < 2000 else 0.0 for gap in gaps]
    expected = [weight / math.fsum(weights) for weight in weights]
    if temperature >= 1e-3:  # below, the rounding of beta A is itself many temperatures
        assert result.tolist() == pytest.approx(expected, abs=1e-13 * max(1.0, 200 / temperature))
    assert math.fsum(result) == pytest.approx(1.0, abs=1e-12)
    assert np.all((result >= 0) & (result <= 1))


def test_an_impossible_action_stays_impossible_whatever_its_advantage():
    z = np.array([0.0, -math.inf, -1.0])
    result = np.exp(log_policy(z, np.array([-1.0, 1.0, 0.0]), 1e6, 0.8))
    assert result[1] == 0.0
    assert math.fsum(result) == pytest.approx(1.0)


# --- KL and its budget


@given(decisions())
def test_kl_is_the_relative_entropy_in_nats(decision):
    z, A, beta, temperature = decision
    p, q = log_policy(z, A, beta, temperature), log_policy(z, A, 0.0, temperature)
    expected = float(np.sum(special.rel_entr(np.exp(p), np.exp(q))))
    assert kl(p, q) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert kl(p, q) >= 0.0
    assert kl(p, p.copy()) == 0.0


def test_kl_is_infinite_where_mass_lies_on_the_impossible_and_ignores_what_has_no_mass():
    certain, other = np.array([0.0, -math.inf]), np.array([-math.inf, 0.0])
    even = np.log([0.5, 0.5])
    assert kl(certain, other) == math.inf
    assert kl(even, certain) == math.inf
    assert kl(certain, even) == pytest.approx(math.log(2))
    assert kl(certain, certain.copy()) == 0.0


@given(decisions(), st.lists(numbers(0.0, 200.0), min_size=2, max_size=20))
def test_kl_never_falls_as_beta_grows(decision, betas):
    z, A, _, temperature = decision
    base = log_policy(z, A, 0.0, temperature)
    spent = [kl(log_policy(z, A, beta, temperature), base) for beta in sorted(betas)]
    for less, more in pairwise(spent):
        assert more >= less - 1e-12 * (1 + less)


@given(
    decisions(span=50.0, betas=(0.0, 1000.0)),
    st.one_of(st.sampled_from([0.0, 1e-300, 1e-16, 1e-12]), numbers(0.0, 3.0)),
)
def test_the_budget_is_never_exceeded_and_bounds_total_variation(decision, budget):
    z, A, beta, temperature = decision
    step = beta_within(z, A, beta, budget, temperature)
    assert 0.0 <= step <= beta
    base, policy = log_policy(z, A, 0.0, temperature), log_policy(z, A, step, temperature)
    assert kl(policy, base) <= budget
    variation = 0.5 * float(np.sum(np.abs(np.exp(policy) - np.exp(base))))
    assert variation <= math.sqrt(budget / 2) + 1e-7  # KL itself is known to 1e-15 or so
    if budget >= 1e-9:
        assert variation <= math.sqrt(budget / 2) * (1 + 1e-5)


@given(decisions(betas=(0.0, 50.0)))
def test_a_budget_of_zero_leaves_the_base_policy_bit_for_bit(decision):
    z, A, beta, temperature = decision
    step = beta_within(z, A, beta, 0.0, temperature)
    base = log_policy(z, A, 0.0, temperature)
    assert np.array_equal(log_policy(z, A, step, temperature), base)


@given(decisions(betas=(0.1, 100.0)), numbers(1e-4, 2.0))
def test_the_step_is_the_largest_within_the_budget(decision, budget):
    z, A, beta, temperature = decision
    base = softmax(z / temperature)

    def excess(step):
        policy = softmax((z + step * A) / temperature)
        return float(np.sum(special.rel_entr(policy, base))) - budget

    step = beta_within(z, A, beta, budget, temperature)
    if excess(beta) < -1e-12:
        assert step == beta
    elif excess(beta) > 1e-6:
        root = optimize.brentq(excess, 0.0, beta, xtol=1e-14, rtol=1e-14)
        assert excess(step) == pytest.approx(0.0, abs=1e-11)
        assert step == pytest.approx(root, rel=1e-5)
        assert excess(step * (1 + 1e-6)) > -1e-11


@given(decisions(), st.sampled_from([1.0, 30.0, 1e3, 1e6]))
def test_every_beta_is_admissible_if_the_budget_allows_the_best_action_alone(decision, beta):
    z, A, _, temperature = decision
    best = np.flatnonzero(np.max(A) == A)
    budget = -math.log(math.fsum(softmax(z / temperature)[best])) + 1e-9
    assert beta_within(z, A, beta, budget, temperature) == beta


@given(decisions(betas=(0.0, 1000.0)))
def test_without_a_budget_beta_stands(decision):
    z, A, beta, temperature = decision
    assert beta_within(z, A, beta, None, temperature) == beta


@given(decisions(), numbers(0.0, 1.0), numbers(0.0, 1.0))
def test_a_larger_budget_never_admits_a_smaller_step(decision, one, other):
    z, A, beta, temperature = decision
    less, more = sorted([one, other])
    assert beta_within(z, A, beta, less, temperature) <= beta_within(z, A, beta, more, temperature)


# --- selection


@st.composite
def policies(draw):
    weights = draw(st.lists(st.one_of(st.just(0.0), numbers(1e-6, 1.0)), min_size=1, max_size=8))
    weights[draw(st.integers(0, len(weights) - 1))] = 1.0
    return np.array(weights) / math.fsum(weights)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=8).filter(any))
def test_each_action_owns_a_share_of_the_unit_interval_that_is_its_probability(parts):
    # u on a grid finer than the probabilities: counting grid points integrates exactly
    total = 1 << (sum(parts) - 1).bit_length()
    parts = [*parts, total - sum(parts)]
    p = np.array(parts) / total
    chosen = [sample(p, j / (4 * total)) for j in range(4 * total)]
    assert [chosen.count(i) for i in range(len(parts))] == [4 * part for part in parts]


@given(policies())
def test_the_intervals_of_u_are_the_probabilities_in_order(p):
    for i, share in enumerate(p):
        start = math.fsum(p[:i])
        if share:
            for inside in (1e-6, 0.25, 0.5, 1 - 1e-6):
                assert sample(p, start + inside * share) == i


@given(policies(), st.integers(0, 2**53 - 1))
def test_what_has_no_probability_is_never_drawn(p, bits):
    for u in (0.0, 5e-324, 2.0**-53, bits * 2.0**-53, 1 - 2.0**-53):
        assert p[sample(p, u)] > 0
        assert p[sample(p * 0.999, u)] > 0
        assert p[sample(p * 1.001, u)] > 0


@given(policies(), st.integers(0, 2**53 - 1), st.integers(0, 2**32 - 1))
def test_one_draw_is_coupled_where_two_policies_agree(p, bits, seed):
    u = bits * 2.0**-53
    chosen = sample(p, u)
    assert sample(p.copy(), u) == chosen
    q = p.copy()  # moves only what comes after the chosen one
    q[chosen + 1 :] = np.random.default_rng(seed).permutation(q[chosen + 1 :])
    start, end = math.fsum(p[:chosen]), math.fsum(p[: chosen + 1])
    if start + 1e-12 < u < end - 1e-12:
        assert sample(q, u) == chosen


@given(decisions())
def test_frequencies_of_a_generator_follow_the_policy(decision):
    z, A, beta, temperature = decision
    p = np.exp(log_policy(z, A, beta, temperature))
    draws = np.random.default_rng(11).random(400)
    counted = np.bincount([sample(p, float(u)) for u in draws], minlength=len(p))
    assert np.all(np.abs(counted / 400 - p) < 5 * np.sqrt(p * (1 - p) / 400) + 0.01)
