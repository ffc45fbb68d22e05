"""One decision: before, after, KL, and whether memory changed it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from decide_kit import (
    EXACT,
    GOOD_AND_BAD,
    THREE,
    Scorer,
    choose,
    logprobs,
    memories,
    remember,
    tables,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from jitrl.presets import PRESETS

# --- before, after, kl


@given(logprobs, memories, st.sampled_from(EXACT), st.floats(0.2, 4.0), st.floats(0.0, 10.0))
def test_before_after_and_kl_are_as_defined(given_logprobs, memory, name, temperature, beta):
    decision = choose(
        given_logprobs, memory, name, temperature=temperature, beta=beta, join="never"
    )
    z = np.array(list(given_logprobs.values()))
    A = np.array([decision.values[action].advantage for action in given_logprobs])
    before = special.softmax(z / temperature)
    after = special.softmax((z + decision.beta * A) / temperature)
    assert list(decision.before) == list(decision.after) == list(given_logprobs)
    assert list(decision.before.values()) == pytest.approx(before, rel=1e-9)
    assert list(decision.after.values()) == pytest.approx(after, rel=1e-9)
    assert decision.kl == pytest.approx(np.sum(special.rel_entr(after, before)), abs=1e-10)
    assert decision.temperature == temperature
    assert decision.action in given_logprobs


@given(logprobs, memories, st.sampled_from(EXACT), st.integers(0, 100))
def test_an_empty_memory_and_beta_0_leave_the_base_policy_bit_for_bit(
    given_logprobs, memory, name, seed
):
    empty = choose(given_logprobs, [], name, seed=seed)
    still = choose(given_logprobs, memory, name, seed=seed, beta=0.0)
    for decision in (empty, still):
        assert decision.after == decision.before
        assert decision.kl == 0.0
        assert not decision.changed
        assert decision.joined == ()
    assert still.before == empty.before
    assert still.action == empty.action
    assert empty.abstained


@given(logprobs, memories, st.integers(0, 100), tables)
def test_an_abstaining_default_leaves_the_base_policy_bit_for_bit(
    given_logprobs, memory, seed, table
):
    empty = choose(given_logprobs, [], seed=seed)
    decision = choose(given_logprobs, memory, seed=seed, score=Scorer(table), min_evidence=11)
    assert decision.abstained
    assert decision.before == decision.after == empty.before
    assert (decision.kl, decision.joined, decision.changed) == (0.0, (), False)
    assert decision.action == empty.action
    assert all(decision.values[action].advantage == 0.0 for action in given_logprobs)


@given(logprobs, memories, st.integers(0, 50))
def test_a_kl_budget_of_0_leaves_the_base_policy_bit_for_bit(given_logprobs, memory, seed):
    decision = choose(given_logprobs, memory, seed=seed, kl_budget=0.0)
    assert decision.after == decision.before == choose(given_logprobs, seed=seed).before
    assert decision.kl == 0.0
    assert not decision.changed


@given(logprobs, memories, st.integers(0, 50))
def test_where_all_candidates_are_untried_alike_the_base_policy_stands(
    given_logprobs, memory, seed
):
    elsewhere = remember(*((f"not {step.action}", step.return_) for step in memory))
    decision = choose(given_logprobs, elsewhere, seed=seed)
    assert decision.after == decision.before
    assert decision.kl == 0.0


@given(logprobs, memories, st.sampled_from(EXACT), st.integers(-1000, 1000))
def test_log_probabilities_count_up_to_a_common_constant(given_logprobs, memory, name, constant):
    shifted = {action: z + constant for action, z in given_logprobs.items()}
    here = choose(given_logprobs, memory, name, join="never")
    there = choose(shifted, memory, name, join="never")
    assert there.before == pytest.approx(here.before, abs=1e-12)
    assert there.after == pytest.approx(here.after, abs=1e-12)


def test_memory_moves_the_policy_towards_what_worked():
    for name in EXACT:
        decision = choose(THREE, GOOD_AND_BAD, name)
        assert decision.after["b"] > decision.before["b"]
        assert decision.after["a"] < decision.before["a"]
        assert decision.kl > 0
        assert decision.values["b"].Q > decision.values.V > decision.values["a"].Q
        assert [decision.values[x].n for x in "abc"] == [2, 2, 0]
        assert not decision.abstained
        assert decision.neighbours == tuple(GOOD_AND_BAD)


def test_the_action_is_drawn_from_the_policy_after():
    decisions = [choose(THREE, GOOD_AND_BAD, seed=seed) for seed in range(2000)]
    for action, share in decisions[0].after.items():
        counted = sum(decision.action == action for decision in decisions) / 2000
        assert abs(counted - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def test_equal_generators_give_equal_decisions():
    for name in PRESETS:
        assert choose(THREE, GOOD_AND_BAD, name, seed=3) == choose(
            THREE, GOOD_AND_BAD, name, seed=3
        )


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("budget", [1e-6, 0.01, 0.1, 0.5])
def test_the_kl_budget_is_in_force_and_the_beta_shown_is_the_one_in_force(name, budget):
    free = choose(THREE, GOOD_AND_BAD, name, beta=50.0)
    capped = choose(THREE, GOOD_AND_BAD, name, beta=50.0, kl_budget=budget)
    assert free.kl > budget
    assert free.beta == 50.0
    assert capped.kl <= budget
    assert capped.kl == pytest.approx(budget, rel=1e-4)
    assert 0 < capped.beta < 50.0
    z = np.array(list(THREE.values())) + capped.beta * np.array(
        [capped.values[action].advantage for action in THREE]
    )
    expected = special.softmax(z / capped.temperature)
    assert list(capped.after.values()) == pytest.approx(expected, rel=1e-9)


def test_a_budget_that_is_not_reached_changes_nothing():
    assert choose(THREE, GOOD_AND_BAD, kl_budget=50.0) == choose(THREE, GOOD_AND_BAD)


@given(logprobs, memories, tables, st.floats(0.0, 1.0))
def test_the_budget_holds_with_joined_actions_too(given_logprobs, memory, table, budget):
    decision = choose(given_logprobs, memory, score=Scorer(table), kl_budget=budget, beta=20.0)
    assert decision.kl <= budget


# --- changed


@pytest.mark.parametrize("name", PRESETS)
@settings(max_examples=60)
@given(logprobs, memories, st.one_of(st.none(), tables), st.integers(0, 10**6))
def test_changed_says_whether_the_same_draw_without_the_memory_chooses_otherwise(
    name, given_logprobs, memory, table, seed
):
    score = None if table is None else Scorer(table)
    decision = choose(given_logprobs, memory, name, seed=seed, score=score)
    without = choose(given_logprobs, [], name, seed=seed)
    assert decision.without == without.action
    assert decision.changed == (decision.action != without.action)


@pytest.mark.parametrize("name", PRESETS)
def test_an_empty_memory_never_changed_a_choice(name):
    assert not any(choose(THREE, [], name, seed=seed).changed for seed in range(50))


@pytest.mark.parametrize("name", EXACT)
def test_a_choice_that_only_memory_brought_in_is_changed_by_memory(name):
    joined = remember(("d", 1.0), ("d", 1.0))
    decisions = [
        choose(THREE, joined, name, seed=seed, score=Scorer({"d": 0.0})) for seed in range(30)
    ]
    picked = [decision for decision in decisions if decision.action == "d"]
    assert picked
    assert all(decision.changed for decision in picked)
