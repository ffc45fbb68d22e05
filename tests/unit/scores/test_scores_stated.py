"""Confidences that a model states, as log-probabilities: approximate, and said to be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores_kit import answer, propose, served, situation

from jitrl.errors import BadReply, InvalidValue, RequestRejected
from jitrl.models import Completion, Purpose
from jitrl.models.scripted import ScriptedModel
from jitrl.scores import Options, make
from jitrl.scores.stated import Stated
from jitrl.testing import ABLE, Fault, Fixed


def logprobs(scores):
    return {candidate.action: candidate.logprob for candidate in scores.candidates}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=4))
def test_a_confidence_is_a_log_probability_and_never_impossible(confidences) -> None:
    named = list(zip("ABCD", confidences, strict=False))
    scores = propose(Stated(ScriptedModel([answer("A", *named)]), proposals=4))
    expected = [math.log(max(sure, 1.0) / 100) for sure in confidences]
    assert [candidate.logprob for candidate in scores.candidates] == expected
    assert scores.guarantee == "stated"
    assert math.isnan(scores.outside) and scores.samples == 0


def test_the_candidates_are_those_named_in_their_order() -> None:
    scores = propose(Stated(ScriptedModel([answer("A", ("D", 90), ("A", 45))])))
    assert list(logprobs(scores)) == ["wait", "go north"]
    assert logprobs(scores)["wait"] - logprobs(scores)["go north"] == pytest.approx(math.log(2))


def test_no_more_than_the_proposals_are_taken() -> None:
    said = answer("A", ("A", 1), ("B", 2), ("C", 3))
    assert list(logprobs(propose(Stated(ScriptedModel([said]), proposals=2)))) == [
        "go north",
        "go south",
    ]


def test_a_remembered_action_that_is_not_named_is_unscored_and_not_told() -> None:
    model = ScriptedModel([answer("A")] * 2)
    plain, aided = (
        propose(Stated(model), situation(remembered=remembered))
        for remembered in [(), ("wait", "eat the sun")]
    )
    assert plain.candidates == aided.candidates
    assert aided.remembered == {}
    assert (plain.unscored, aided.unscored) == ((), ("wait",))
    assert model.requests[0] == model.requests[1]
    assert "eat the sun" not in repr(model.requests)


def test_no_log_probabilities_are_asked_for() -> None:
    model = ScriptedModel([answer("A")])
    propose(Stated(model), situation(turns=4))
    (request,) = model.requests
    assert request.top_logprobs is None
    assert request.purpose == Purpose("act", 2, 4)
    assert request.schema is not None


def test_it_works_through_a_server_that_knows_no_schema() -> None:
    async def use(model, running):
        scores = await Stated(model).propose(situation(), np.random.default_rng(0))
        return logprobs(scores), len(running.requests)

    able = replace(ABLE, schema=False, logprobs=False)
    found, requests = served(Fixed([answer("B", ("B", 80))]), use, capabilities=able)
    assert found == {"go south": math.log(0.8)}
    assert requests == 2  # the first was refused for its schema


def test_garbage_is_sent_back_once_with_what_is_wrong() -> None:
    model = ScriptedModel([answer("A", ("A", 500)), answer("A", ("A", 50))])
    assert logprobs(propose(Stated(model))) == {"go north": math.log(0.5)}
    assert "confidence 500" in model.requests[1].messages[-1].content


def test_garbage_twice_is_an_error_and_no_action_is_made_up() -> None:
    model = ScriptedModel(["north!", "I said north!", answer("A")])
    with pytest.raises(BadReply, match="scripted/model holds no JSON"):
        propose(Stated(model))
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (Completion("I cannot", "refusal"), "refuses"),
        (Completion('{"candidates', "length"), "raise max_tokens"),
    ],
)
def test_a_refusal_and_a_reply_cut_off_are_errors_at_once(said, says) -> None:
    model = ScriptedModel([said])
    with pytest.raises(BadReply, match=says):
        propose(Stated(model))
    assert len(model.requests) == 1


def test_an_error_of_the_model_is_passed_on() -> None:
    async def use(model, running):
        running.faults.append(Fault("status", 400))
        await Stated(model).propose(situation(), np.random.default_rng(0))

    with pytest.raises(RequestRejected, match="context"):
        served(Fixed([answer("A")]), use)


@pytest.mark.parametrize("proposals", [0, -1, 1.5, True])
def test_the_number_of_proposals_is_checked(proposals) -> None:
    with pytest.raises(InvalidValue, match="proposals"):
        Stated(ScriptedModel([]), proposals)


def test_no_action_is_refused_before_a_call_is_made() -> None:
    model = ScriptedModel([])
    with pytest.raises(InvalidValue, match="actions"):
        propose(Stated(model), situation([]))
    assert model.requests == []


def test_it_is_found_by_name() -> None:
    model = ScriptedModel([])
    made = make("stated", model, Options(proposals=2, window=4, max_tokens=77))
    assert made.source == Stated(model, 2, 4, max_tokens=77)
