"""The uniform prior: a few valid actions, all equally likely, remembered ones too."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import InvalidValue, JitrlError
from jitrl.records import Observation, Situation, State
from jitrl.scores.prior import Prior


def propose(prior, actions, rng, remembered=()):
    observation = Observation(State(room="hall"), "A hall.", tuple(actions))
    situation = Situation("hall", 0, 0, observation, remembered=tuple(remembered))
    return asyncio.run(prior.propose(situation, rng))


valid = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=12, unique=True)


@given(valid, st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_it_proposes_distinct_valid_actions_with_one_log_probability(actions, proposals, seed):
    scores = propose(Prior(proposals), actions, np.random.default_rng(seed))
    proposed = [candidate.action for candidate in scores.candidates]
    assert len(proposed) == min(proposals, len(actions)) == len(set(proposed))
    assert set(proposed) <= set(actions)
    assert {candidate.logprob for candidate in scores.candidates} == {-math.log(len(actions))}
    assert scores.guarantee == "prior"


@given(valid, st.lists(st.text(min_size=1, max_size=4), max_size=5), st.integers(1, 5))
def test_a_remembered_action_has_the_log_probability_of_the_proposals(actions, others, proposals):
    rng = np.random.default_rng(0)
    scores = propose(Prior(proposals), actions, rng, [*actions, *others])
    unproposed = set(actions) - {candidate.action for candidate in scores.candidates}
    assert scores.remembered == dict.fromkeys(unproposed, scores.candidates[0].logprob)


def test_a_remembered_action_that_is_not_listed_but_can_be_executed_counts_like_the_listed():
    class Any:
        guide = "a word"

        def read(self, written):
            return written

        def executable(self, action):
            return action != "nothing"

    shown = Observation(State(room="hall"), "A hall.", ("a", "b", "c"), reader=Any())
    situation = Situation("hall", 0, 0, shown, remembered=("d", "nothing", "a"))
    scores = asyncio.run(Prior(3).propose(situation, np.random.default_rng(0)))
    assert scores.remembered == {"d": -math.log(3)}


def test_three_are_proposed_by_default_and_every_action_equally_often():
    actions = [f"go {i}" for i in range(6)]
    rng = np.random.default_rng(4)
    counts = dict.fromkeys(actions, 0)
    for _ in range(2000):
        candidates = propose(Prior(), actions, rng).candidates
        assert len(candidates) == 3
        for candidate in candidates:
            counts[candidate.action] += 1
    assert all(abs(count - 1000) < 5 * math.sqrt(2000 / 4) for count in counts.values())


def test_the_proposals_follow_from_the_generator_alone():
    actions = [f"go {i}" for i in range(20)]
    one, other = (propose(Prior(), actions, np.random.default_rng(9)) for _ in range(2))
    assert one == other


def test_proposing_draws_in_no_fixed_order():
    rng = np.random.default_rng(1)
    firsts = {propose(Prior(), "abc", rng).candidates[0].action for _ in "x" * 60}
    assert firsts == set("abc")


def test_where_no_action_is_valid_nothing_can_be_proposed():
    with pytest.raises(InvalidValue, match="at least one valid action"):
        propose(Prior(), [], np.random.default_rng(0))


@pytest.mark.parametrize("proposals", [0, -1, 2.5, math.nan, "3", None, True])
def test_the_number_of_proposals_is_a_positive_integer(proposals):
    with pytest.raises(InvalidValue, match="proposals") as caught:
        Prior(proposals)
    assert isinstance(caught.value, JitrlError)
    assert repr(proposals) in str(caught.value)
