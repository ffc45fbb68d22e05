"""Frequencies of sampled answers: approximate, with n shown."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores_kit import ACTIONS, propose, served, situation

from jitrl.errors import BadReply, InvalidValue
from jitrl.models import Completion, Purpose, Reply, Usage
from jitrl.models.scripted import ScriptedModel
from jitrl.scores import Options, make
from jitrl.scores.frequencies import Frequencies
from jitrl.testing import ABLE, Fault

P = {"A": 0.4, "B": 0.3, "C": 0.2, "north, I think": 0.1}


def probabilities(scores):
    return {candidate.action: math.exp(candidate.logprob) for candidate in scores.candidates}


@given(st.lists(st.sampled_from(["A", " B", '"C"', "**D**\n", "E", "go north", ""]), min_size=1))
def test_frequencies_are_those_of_the_labels_among_the_answers(said) -> None:
    model = ScriptedModel(said)
    named = Counter(
        dict(zip("ABCD", ACTIONS, strict=True)).get(text.strip(' "*\n')) for text in said
    )
    others = named.pop(None, 0)
    if not named:
        with pytest.raises(BadReply, match=f"none of {len(said)} answers"):
            propose(Frequencies(model, n=len(said)))
        return
    scores = propose(Frequencies(model, n=len(said)))
    total = len(said) - others
    assert probabilities(scores) == {a: pytest.approx(n / total) for a, n in named.items()}
    counts = [named[candidate.action] for candidate in scores.candidates]
    assert counts == sorted(counts, reverse=True)
    assert scores.outside == pytest.approx(others / len(said))
    assert (scores.guarantee, scores.samples) == ("sampled", len(said))


@pytest.mark.parametrize("several", [True, False])
def test_through_a_server_they_are_near_the_distribution(several) -> None:
    n = 200

    async def use(model, running):
        scores = await Frequencies(model, n=n).propose(situation(), np.random.default_rng(0))
        return scores, len(running.requests)

    scores, requests = served(P, use, capabilities=replace(ABLE, several=several, logprobs=False))
    assert requests == (1 if several else n)
    assert scores.samples == n
    found = probabilities(scores)
    for action, p in zip(ACTIONS, [0.4, 0.3, 0.2], strict=False):
        assert abs(found[action] - p / 0.9) < 5 * math.sqrt(0.25 / n)
    assert abs(scores.outside - 0.1) < 5 * math.sqrt(0.09 / n)


def test_an_action_that_no_sample_named_is_no_candidate_remembered_or_not() -> None:
    model = ScriptedModel(["A"] * 8)
    plain, aided = (
        propose(Frequencies(model, n=4), situation(remembered=remembered))
        for remembered in [(), ("wait", "eat the sun")]
    )
    assert aided.remembered == {}
    assert (plain.unscored, aided.unscored) == ((), ("wait",))
    assert aided.candidates == plain.candidates
    assert list(probabilities(aided)) == ["go north"]
    assert model.requests[0] == model.requests[1]


def test_as_many_answers_count_as_were_given() -> None:
    said = tuple(Completion(text) for text in ["A", "B", "B", "?"])
    model = ScriptedModel(lambda request: Reply(said[: request.n], Usage(1), "m"))
    scores = propose(Frequencies(model, n=4))
    assert probabilities(scores) == {"go south": pytest.approx(2 / 3), "go north": 1 / 3}
    assert scores.outside == 0.25


def test_answers_that_name_two_labels_name_none() -> None:
    with pytest.raises(BadReply, match=r"none of 2 answers.*'A or B'.*--scores stated"):
        propose(Frequencies(ScriptedModel(["A or B", "AB"]), n=2))


def test_refusals_alone_are_an_error() -> None:
    async def use(model, running):
        running.faults.append(Fault("refusal"))
        await Frequencies(model, n=3).propose(situation(), np.random.default_rng(0))

    with pytest.raises(BadReply, match="none of 3 answers"):
        served(P, use)


def test_the_request_asks_for_n_short_answers() -> None:
    model = ScriptedModel(["A"] * 5)
    propose(Frequencies(model, n=5, temperature=0.5), situation(turns=1))
    (request,) = model.requests
    assert (request.n, request.temperature, request.top_logprobs) == (5, 0.5, None)
    assert request.max_tokens < 10
    assert request.purpose == Purpose("act", 2, 1)


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_the_number_of_samples_is_checked(n) -> None:
    with pytest.raises(InvalidValue, match="n must be"):
        Frequencies(ScriptedModel([]), n)


def test_it_is_found_by_name() -> None:
    model = ScriptedModel([])
    made = make("sampled", model, Options(samples=7, window=2))
    assert made.source == Frequencies(model, 7, 2)
