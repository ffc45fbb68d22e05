"""Whole actions scored as the model's answer: exact, the rest of the mass outside."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores_kit import ACTIONS, HALL, closed_form, propose, served, situation

from jitrl import Learner
from jitrl.errors import BadReply, InvalidValue, RequestRejected
from jitrl.models.scripted import ScriptedModel
from jitrl.records import Candidate
from jitrl.scores import Options, make
from jitrl.scores.sequences import Sequences, action_messages
from jitrl.testing import ABLE, Choosing

P = {"go north": 0.3, "go": 0.2, "go south": 0.15, "take lamp": 0.25, "wait": 0.1}


def logprobs(scores):
    return {candidate.action: candidate.logprob for candidate in scores.candidates}


def through(use, **server):
    asked = []

    def policy(messages):
        asked.append(messages)
        return P

    return served(Choosing(policy), use, **server), asked


def test_every_valid_action_has_the_probability_of_the_whole_answer() -> None:
    async def use(model, running):
        return await Sequences(model).propose(situation(), np.random.default_rng(0))

    scores, asked = through(use)
    assert logprobs(scores) == {a: pytest.approx(math.log(P[a]), abs=1e-9) for a in ACTIONS}
    assert scores.guarantee == "exact"
    assert scores.outside == pytest.approx(P["go"], abs=1e-9)  # "go" alone is another answer
    assert scores.remembered == {} and scores.samples == 0
    assert "go north" in asked[0][0].content


def test_an_action_that_begins_another_is_scored_with_its_end() -> None:
    async def use(model, running):
        where = situation(["go", "go north"])
        return await Sequences(model).propose(where, np.random.default_rng(0))

    scores, _ = through(use)
    assert logprobs(scores) == {
        "go": pytest.approx(math.log(P["go"]), abs=1e-9),
        "go north": pytest.approx(math.log(P["go north"]), abs=1e-9),
    }


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_policy_of_the_learner_is_the_closed_form(preset) -> None:
    learner = Learner(preset=preset)
    for action, reward in [("go north", 0.0), ("wait", 5.0)] * 2:
        with learner.episode() as episode:
            episode.choose(HALL.state, [Candidate(action)])
            episode.record(reward)

    async def use(model, running):
        episode = learner.episode()
        where = situation(remembered=episode.remembered(HALL.state))
        assert where.remembered
        scores = await Sequences(model).propose(where, np.random.default_rng(0))
        return episode.choose(HALL.state, scores)

    decision, _ = through(use)
    listed = {action: P[action] for action in ACTIONS}
    advantages = {action: decision.values[action].advantage for action in ACTIONS}
    expected = closed_form(listed, advantages, decision.beta, decision.temperature)
    assert decision.kl > 0.01
    assert decision.after == {a: pytest.approx(p, abs=1e-6) for a, p in expected.items()}
    assert decision.outside == pytest.approx(P["go"], abs=1e-9)


@given(st.lists(st.floats(-30, -1.5), min_size=1, max_size=4))
def test_what_is_not_on_the_actions_is_outside(values) -> None:
    table = dict(zip(ACTIONS, values, strict=False))
    scores = propose(Sequences(ScriptedModel([], logprobs=table.get)), situation(list(table)))
    assert logprobs(scores) == table
    assert scores.outside == pytest.approx(1 - sum(map(math.exp, values)), abs=1e-9)


def test_rounding_makes_no_negative_mass() -> None:
    model = ScriptedModel([], logprobs=lambda text: math.log(0.5) + 1e-9)
    assert propose(Sequences(model), situation(["a", "b"])).outside == 0.0


def test_an_impossible_action_is_left_out_and_the_rest_is_bounded() -> None:
    table = {"a": math.log(0.5), "b": -math.inf}
    model = ScriptedModel([], logprobs=table.__getitem__)
    scores = propose(Sequences(model), situation(["a", "b"], remembered=["b"]))
    assert logprobs(scores) == {"a": math.log(0.5)}
    assert (scores.guarantee, scores.remembered) == ("bounded", {})


def test_where_every_action_is_impossible_nothing_is_made_up() -> None:
    model = ScriptedModel([], logprobs=lambda text: -math.inf)
    with pytest.raises(BadReply, match="scripted/model holds every valid action for impossible"):
        propose(Sequences(model))


def test_a_server_that_scores_no_texts_is_an_error_that_says_what_to_use() -> None:
    async def use(model, running):
        await Sequences(model).propose(situation(), np.random.default_rng(0))

    with pytest.raises(RequestRejected, match="labels, stated or sampled"):
        through(use, capabilities=replace(ABLE, sequence=False))


def test_no_action_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one valid action"):
        propose(Sequences(ScriptedModel([], logprobs=lambda text: -1.0)), situation([]))


def test_what_is_remembered_is_not_in_the_prompt() -> None:
    plain, aided = (
        action_messages(situation(turns=1, remembered=remembered))
        for remembered in [(), ("eat the sun",)]
    )
    assert plain == aided
    assert plain[-1].content.endswith("Action:\n")


def test_it_is_found_by_name() -> None:
    model = ScriptedModel([])
    assert make("sequence", model, Options(window=2)).source == Sequences(model, 2)
