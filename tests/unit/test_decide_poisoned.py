"""However a memory is poisoned, what it may do to a decision stays within the stated bounds."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from decide_kit import EXACT, STATE, choose, logprobs
from hypothesis import given
from hypothesis import strategies as st

from jitrl.estimators import Shrunken
from jitrl.records import Experience
from jitrl.trust import action_weights
from jitrl.update import Evidence, Paper

ACTIONS = ["a", "b", "c"]
TAU = 0.8  # the least similarity here
hostile = st.one_of(st.floats(-1e100, 1e100), st.sampled_from([-1e100, 0.0, 1e-300, 1e100]))


@st.composite
def memories(draw, returns, sources, least=0, most=12):
    steps = st.tuples(
        st.sampled_from(ACTIONS), returns, st.sampled_from(sources), st.floats(TAU, 1.0)
    )
    return draw(st.lists(steps, min_size=least, max_size=most))


def neighbours(steps):
    return [
        Experience(level, STATE, action, G, "e", t, "", {"run": source})
        for t, (action, G, source, level) in enumerate(steps)
    ]


# --- the budget


@pytest.mark.parametrize("name", EXACT)
@given(
    base=logprobs,
    steps=memories(hostile, ["honest", "attacker", "other"]),
    budget=st.floats(0.0, 2.0),
    share=st.sampled_from([None, 0.25, 0.5]),
)
def test_no_memory_moves_a_decision_beyond_the_budget(name, base, steps, budget, share):
    over = {"kl_budget": budget, "source_share": share, "beta": 1e6, "join_limit": 0}
    decision = choose(base, neighbours(steps), name, **over)
    before, after = np.array([*decision.before.values()]), np.array([*decision.after.values()])
    assert decision.kl <= budget
    assert 0.5 * np.abs(after - before).sum() <= math.sqrt(budget / 2) + 1e-9
    if budget == 0.0:
        assert decision.after == decision.before


@pytest.mark.parametrize("name", EXACT)
@given(base=logprobs, steps=memories(hostile, ["honest", "attacker"]), beta=st.floats(0.0, 5.0))
def test_without_a_budget_the_spread_of_the_advantages_bounds_the_move(name, base, steps, beta):
    decision = choose(base, neighbours(steps), name, beta=beta, temperature=1.0)
    A = np.array([decision.values[action].advantage for action in decision.after])
    spread = beta * (A.max() - A.min())
    assert np.all(np.abs(A) <= 1.0)
    before, after = np.array([*decision.before.values()]), np.array([*decision.after.values()])
    ratio = np.abs(np.log(after) - np.log(before))
    assert np.all(ratio <= spread + 1e-9)
    assert 0.5 * np.abs(after - before).sum() <= math.tanh(spread / 4) + 1e-9


# --- the share


def evidence(steps, share):
    taken = np.array([ACTIONS.index(action) for action, *_ in steps], dtype=np.int64)
    return Evidence(
        np.array([G for _, G, *_ in steps]),
        taken,
        np.array([level for *_, level in steps]),
        len(ACTIONS),
        action_weights(taken, [source for *_, source, _ in steps], share),
    )


def tellers(steps):
    """How many sources tell of each action."""
    told = defaultdict(set)
    for action, _, source, _ in steps:
        told[action].add(source)
    return [len(told[action]) for action in ACTIONS]


def parts(tellers, share):
    """The most that one more source may weigh for each action: all, where nobody else was."""
    return np.array([max(share, 1 / (g + 1)) for g in tellers])


rewards = st.sampled_from([0.0, 0.25, 0.5, 1.0])  # so that the range of a return is 1
honest = memories(rewards, ["x", "y", "z", "u", "v"], least=1, most=25)
attack = memories(rewards, ["attacker"], most=25)
shares = st.sampled_from([0.2, 0.25, 1 / 3, 0.5, 0.9])


@given(honest, attack, shares)
def test_one_source_shifts_the_papers_mean_of_an_action_by_its_share_of_the_range(
    told, lies, share
):
    rng = np.random.default_rng(0)
    before = Paper()(evidence(told, share), rng)
    after = Paper()(evidence(told + lies, share), rng)
    tried = before.n > 0
    bound = parts(tellers(told), share)
    assert np.all(np.abs(after.Q - before.Q)[tried] <= bound[tried] + 1e-9)


@given(honest, attack, shares)
def test_one_source_shifts_v_and_q_of_the_default_by_no_more_than_stated(told, lies, share):
    estimator = Shrunken()
    rng = np.random.default_rng(0)

    def look(steps):
        e = evidence(steps, share)
        size = np.bincount(e.taken, e.weight * e.similarity, minlength=e.actions)
        return estimator(e, rng), size / (size + estimator.pseudo_count)

    (before, t), (after, now) = look(told), look(told + lies)
    attacked = np.isin(ACTIONS, [action for action, *_ in lies])
    shift = np.minimum(1.0, parts(tellers(told), share) / TAU)  # of an action's mean
    moved = np.where(attacked, now * shift + np.abs(now - t), 0.0)
    V = moved.sum() / now.sum()
    assert abs(after.V - before.V) <= V + 1e-9
    tried = before.n > 0
    assert np.all(np.abs(after.Q - before.Q)[tried] <= ((1 - now) * V + moved)[tried] + 1e-9)


@pytest.mark.parametrize("name", EXACT)
def test_a_thousand_lies_of_one_source_weigh_no_more_than_its_share(name):
    told = [(action, 0.5 * (action == "a"), f"run {i}", 1.0) for action in "ab" for i in range(4)]
    lies = [("b", 1.0, "attacker", 1.0)] * 1000
    loose = choose(dict.fromkeys("ab", 0.0), neighbours(told + lies), name)
    capped = choose(dict.fromkeys("ab", 0.0), neighbours(told + lies), name, source_share=0.25)
    assert loose.after["b"] > loose.after["a"]
    assert capped.after["a"] > capped.after["b"]
    assert capped.values["b"].n == loose.values["b"].n == 1004  # all are told, few are counted


def test_under_many_names_one_writer_holds_as_many_shares():
    """What the share does not bound: whoever may invent sources."""
    told = [(action, float(action == "a"), f"run {i}", 1.0) for action in "ab" for i in range(4)]
    lies = [("b", 1.0, f"mask {i}", 1.0) for i in range(40)]
    split = choose(dict.fromkeys("ab", 0.0), neighbours(told + lies), "paper", source_share=0.25)
    assert pytest.approx(40 / 44) == split.values["b"].Q


def test_of_what_nobody_else_tried_a_source_says_all():
    lies = [("b", 1.0, "attacker", 1.0)] * 5
    told = [("a", 0.5, f"run {i}", 1.0) for i in range(5)]
    decision = choose(dict.fromkeys("ab", 0.0), neighbours(told + lies), "paper", source_share=0.2)
    assert decision.values["b"].Q == 1.0


@given(honest)
def test_a_share_of_1_is_no_bound(steps):
    free, bound = (
        choose(dict.fromkeys(ACTIONS, 0.0), neighbours(steps), source_share=share)
        for share in (None, 1.0)
    )
    assert bound.after == free.after
    assert str(bound) == str(free)
