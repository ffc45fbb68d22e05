"""Label tokens through a real server of known probabilities: exact, bounded, or an error."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scores_kit import ACTIONS, HALL, answer, closed_form, completion, propose, served, situation

from jitrl import Learner
from jitrl.errors import BadReply, InvalidValue, RequestRejected
from jitrl.models import Completion, Purpose, Token
from jitrl.models.scripted import ScriptedModel
from jitrl.records import Candidate, Scores
from jitrl.scores import Options, make
from jitrl.scores.labels import Labels
from jitrl.testing import ABLE, Fault, Fixed, characters

P = {"A": 0.5, "B": 0.25, "C": 0.15, "D": 0.1}
BY_ACTION = dict(zip(ACTIONS, P.values(), strict=True))
NAMED = {answer(label, "A", "B", "C"): p for label, p in P.items()}
"""Answers that name A, B and C, and then choose one of four: their texts part at the choice."""


def logprobs(scores: Scores) -> dict[str, float]:
    return {candidate.action: candidate.logprob for candidate in scores.candidates}


def log(policy, *actions):
    return {action: pytest.approx(math.log(policy[action]), abs=1e-9) for action in actions}


def through(policy, where=None, *, source=Labels, known=None, tokens=None, server=None, **options):
    """The scores that `source(model, **options)` makes of a situation, and the requests it took."""

    async def use(model, running):
        made = source(model, **options)
        scores = await made.propose(where or situation(), np.random.default_rng(0))
        return scores, [request.body for request in running.requests]

    return served(policy, use, tokens=tokens, known=known, **(server or {}))


# --- exactness --------------------------------------------------------------------------------


def test_a_label_alone_gives_every_valid_action_its_own_probability() -> None:
    scores, requests = through(P, direct=True)
    assert logprobs(scores) == log(BY_ACTION, *ACTIONS)
    assert scores.guarantee == "exact"
    assert scores.outside == pytest.approx(0.0, abs=1e-9)
    assert scores.remembered == {} and scores.samples == 0
    assert len(requests) == 1


def test_after_reasons_the_named_actions_have_the_probabilities_of_the_choice() -> None:
    scores, requests = through(NAMED)
    assert logprobs(scores) == log(BY_ACTION, "go north", "go south", "take lamp")
    assert scores.guarantee == "exact"
    assert scores.outside == pytest.approx(BY_ACTION["wait"], abs=1e-9)
    assert len(requests) == 1


def test_a_chosen_action_that_was_not_named_is_a_candidate_too() -> None:
    scores, _ = through({answer("D", "A", "B"): 1.0})
    assert "wait" in logprobs(scores)
    assert logprobs(scores)["wait"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("labels", list(itertools.permutations("ABCD", 2)))
def test_the_order_of_the_reasons_does_not_matter(labels) -> None:
    policy = {answer(label, *labels): p for label, p in P.items()}
    scores, _ = through(policy, proposals=2)
    actions = dict(zip("ABCD", ACTIONS, strict=True))
    for label in labels:
        assert logprobs(scores)[actions[label]] == pytest.approx(math.log(P[label]), abs=1e-9)


def test_spellings_of_one_label_are_added_up() -> None:
    scores, _ = through({"A": 0.25, " A": 0.25, " B": 0.5}, direct=True)
    assert logprobs(scores) == log({"go north": 0.5, "go south": 0.5}, "go north", "go south")


def test_the_reported_probabilities_are_those_at_temperature_one() -> None:
    hot, requests = through(P, direct=True, temperature=3.0)
    assert requests[0]["temperature"] == 3.0
    assert logprobs(hot) == log(BY_ACTION, *ACTIONS)


@pytest.mark.parametrize(("policy", "options"), [(P, {"direct": True}), (NAMED, {})])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_policy_of_the_learner_is_the_closed_form(policy, options, preset) -> None:
    learner = Learner(preset=preset, seed=3)
    for action, reward in [("go north", 0.0), ("go south", 3.0), ("wait", 5.0)] * 2:
        with learner.episode() as episode:
            episode.choose(HALL.state, [Candidate(action)])
            episode.record(reward)

    async def use(model, running):
        episode = learner.episode()
        where = situation(remembered=episode.remembered(HALL.state))
        scores = await Labels(model, **options).propose(where, np.random.default_rng(0))
        return episode.choose(HALL.state, scores)

    decision = served(policy, use)
    assert set(decision.before) == set(ACTIONS)
    assert decision.guarantee == "exact" and decision.kl > 0
    advantages = {action: decision.values[action].advantage for action in decision.before}
    expected = closed_form(BY_ACTION, advantages, decision.beta, decision.temperature)
    for action, p in expected.items():
        assert decision.after[action] == pytest.approx(p, abs=1e-6)
        assert decision.before[action] == pytest.approx(
            closed_form(BY_ACTION, {}, 0.0, decision.temperature)[action], abs=1e-9
        )


# --- bounded ----------------------------------------------------------------------------------


def test_labels_beyond_the_list_are_left_out_and_the_rest_is_bounded() -> None:
    scores, requests = through(P, direct=True, top_logprobs=2, where=situation())
    assert requests[0]["top_logprobs"] == 2
    kept = set(logprobs(scores))
    assert {"go north", "go south"} <= kept < set(ACTIONS)
    assert scores.guarantee == "bounded"
    assert scores.outside == pytest.approx(1 - sum(BY_ACTION[a] for a in kept), abs=1e-9)


def test_a_named_label_beyond_the_list_is_left_out_too() -> None:
    text = answer("A", "A", "D")
    place = text.rindex('"A"') + 1
    said = completion([text[:place], "A", text[place + 1 :]], {1: {"B": -2.0}})
    scores = propose(Labels(ScriptedModel([said])), situation(remembered=("go south", "wait")))
    assert logprobs(scores) == {"go north": -0.1}
    assert scores.guarantee == "bounded"
    assert scores.outside == pytest.approx(1 - math.exp(-0.1))
    assert scores.remembered == {"go south": -2.0}


def test_what_the_model_says_beside_the_labels_is_outside() -> None:
    said = completion(["A"], {0: {"A": math.log(0.5), "B": math.log(0.25), "The": math.log(0.2)}})
    scores = propose(Labels(ScriptedModel([said]), direct=True), situation(ACTIONS[:2]))
    assert scores.guarantee == "exact"
    assert scores.outside == pytest.approx(0.25)


def test_where_no_label_that_counts_was_reported_nothing_is_made_up() -> None:
    text = answer("B", "A", "C")
    place = text.rindex('"B"') + 1
    said = completion([text[:place], "B", text[place + 1 :]])
    scores = propose(Labels(ScriptedModel([said])))
    assert set(logprobs(scores)) == {"go south"}  # what was chosen, at least
    said = completion(["A"])
    empty = replace(said, tokens=(replace(said.tokens[0], top={"x": -1.0}),))
    with pytest.raises(BadReply, match=r"none of the labels A, B, C, D.*top_logprobs"):
        propose(Labels(ScriptedModel([empty]), direct=True))


# --- what is remembered -----------------------------------------------------------------------


def test_a_remembered_action_is_read_from_the_list_or_left_out() -> None:
    where = situation(remembered=("wait", "go north", "eat the sun"))
    scores, _ = through(NAMED, where)
    assert scores.remembered == log(BY_ACTION, "wait")  # a candidate and an invalid one stay out


def test_a_remembered_action_that_was_not_reported_is_left_out() -> None:
    said = completion(["A"], {0: {"A": -0.5, "B": -1.0}})
    where = situation(remembered=("wait",))
    assert propose(Labels(ScriptedModel([said]), direct=True), where).remembered == {}


def test_a_plain_answer_that_is_no_label_is_sent_back_once() -> None:
    def said(text: str, top: dict[str, float]) -> Completion:
        return Completion(text, tokens=(Token(text, math.log(0.75), top),))

    top = {"A": math.log(0.75), "B": math.log(0.25)}
    model = ScriptedModel([said("North, surely", {"North, surely": 0.0}), said("A", top)])
    scores = propose(Labels(model, direct=True), situation(ACTIONS[:2]))
    assert [c.logprob for c in scores.candidates] == [math.log(0.75), math.log(0.25)]
    first, second = model.requests
    assert second.messages[: len(first.messages)] == first.messages
    assert second.messages[-2].content == "North, surely"
    assert "A, B" in second.messages[-1].content
    again = ScriptedModel([said("North, surely", {"North, surely": 0.0})] * 2)
    with pytest.raises(BadReply, match="instead of a label"):
        propose(Labels(again, direct=True), situation(ACTIONS[:2]))
    assert len(again.requests) == 2


@pytest.mark.parametrize("options", [{}, {"direct": True}, {"direct": True, "bias": True}])
def test_what_is_remembered_is_in_no_request(options) -> None:
    policy = P if options else NAMED
    remembered = ("wait", "eat the sun")
    plain, without = through(policy, situation(turns=2), **options)
    aided, with_memory = through(policy, situation(turns=2, remembered=remembered), **options)
    assert with_memory == without
    assert "eat the sun" not in repr(with_memory)
    assert plain.candidates == aided.candidates


# --- one bias for all labels ------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["before", "after"])
def test_an_equal_bias_leaves_the_ratios_alone(shown) -> None:
    policy = {"A": 0.02, "B": 0.01, "C": 0.005, "D": 0.005, "Let": 0.96}
    scores, requests = through(
        policy,
        direct=True,
        bias=True,
        known={"bias_shown": shown},
        server={"capabilities": replace(ABLE, bias_shown=shown)},
    )
    assert scores.guarantee == "exact" and math.isnan(scores.outside)
    assert requests[-1]["max_completion_tokens"] == 1
    assert set(requests[-1]["logit_bias"].values()) == {100.0}
    z = logprobs(scores)
    for action, p in zip(ACTIONS, [0.02, 0.01, 0.005, 0.005], strict=True):
        assert z[action] - z["go north"] == pytest.approx(math.log(p / 0.02), abs=1e-6)


def test_a_bias_brings_labels_into_the_list_that_would_not_be_in_it() -> None:
    words = {f"w{i}": 0.04 for i in range(24)}
    policy = {"A": 0.02, "B": 0.01, "C": 0.005, "D": 0.005} | words
    with pytest.raises(BadReply, match="instead of a label"):
        through(policy, direct=True)
    after = replace(ABLE, bias_shown="after")
    scores, _ = through(policy, direct=True, bias=True, server={"capabilities": after})
    assert set(logprobs(scores)) == set(ACTIONS) and scores.guarantee == "exact"


def test_the_ids_of_the_labels_are_asked_for_once() -> None:
    async def use(model, running):
        source = Labels(model, direct=True, bias=True)
        for _ in range(3):
            await source.propose(situation(), np.random.default_rng(0))
        return [request.path for request in running.requests]

    paths = served(P, use)
    assert paths.count("/v1/chat/completions") == 3
    assert paths.count("/tokenize") == 2 + len(ACTIONS)  # two find out how the server is asked


def test_a_bias_needs_a_model_that_tells_ids() -> None:
    with pytest.raises(RequestRejected, match=r"does not tell the ids.*without a bias"):
        through(P, direct=True, bias=True, server={"capabilities": replace(ABLE, tokenize=False)})


def test_a_bias_needs_labels_of_one_token() -> None:
    many = situation([f"do {i}" for i in range(60)])
    with pytest.raises(BadReply, match=r"'AA' is 2 tokens.*sequence, stated or sampled"):
        through({"AA": 1.0}, many, direct=True, bias=True, tokens=characters)


def test_a_bias_on_reasons_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"bias needs direct=True.*True"):
        Labels(ScriptedModel([]), bias=True)


# --- many actions -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["direct", "reasons"])
def test_more_than_fifty_two_actions_have_labels_of_two_letters(form) -> None:
    actions = [f"do {i}" for i in range(60)]
    p = {"AA": 0.5, "BA": 0.25, "CH": 0.25}
    policy = {answer(a, *p): share for a, share in p.items()} if form == "reasons" else p
    scores, _ = through(policy, situation(actions), direct=form == "direct")
    z = logprobs(scores)
    assert {a: z[a] for a in ("do 0", "do 26", "do 59")} == log(
        {"do 0": 0.5, "do 26": 0.25, "do 59": 0.25}, "do 0", "do 26", "do 59"
    )
    assert scores.guarantee == ("bounded" if form == "direct" else "exact")


@pytest.mark.parametrize("form", ["direct", "reasons"])
def test_a_label_of_two_tokens_is_an_error_that_says_what_to_use(form) -> None:
    many = situation([f"do {i}" for i in range(60)])
    said = answer("AB", "AB") if form == "reasons" else "AB"
    with pytest.raises(BadReply, match=r"token.*sequence, stated or sampled"):
        through({said: 1.0}, many, direct=form == "direct", tokens=characters)


def test_one_action_is_scored_like_many() -> None:
    scores, _ = through({answer("A", "A"): 1.0}, situation(["wait"]))
    assert logprobs(scores) == {"wait": pytest.approx(0.0, abs=1e-9)}


def test_no_action_is_refused_before_a_call_is_made() -> None:
    model = ScriptedModel([])
    with pytest.raises(InvalidValue, match="actions"):
        propose(Labels(model), situation([]))
    assert model.requests == []


# --- bad weather ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"direct": True}])
@pytest.mark.parametrize(
    ("fault", "says"),
    [("refusal", "refuses to answer"), ("no_logprobs", "gives no log-probabilities although")],
)
def test_a_refusal_and_missing_log_probabilities_are_errors(options, fault, says) -> None:
    async def use(model, running):
        running.faults.append(Fault(fault))
        await Labels(model, **options).propose(situation(), np.random.default_rng(0))

    with pytest.raises(BadReply, match=says):
        served(P if options else NAMED, use)


def test_an_answer_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(BadReply, match=r"cut off.*raise max_tokens"):
        through(NAMED, max_tokens=5)


def test_garbage_is_sent_back_once_and_then_an_error() -> None:
    requests: list = []

    async def use(model, running):
        try:
            await Labels(model).propose(situation(), np.random.default_rng(0))
        finally:
            requests.extend(running.requests)

    with pytest.raises(BadReply, match=r"openai/scripted.*no JSON"):
        served(Fixed(["I would go north", "really"]), use, known={"schema": False})
    assert len(requests) == 2
    assert requests[1].body["messages"][-2]["content"] == "I would go north"


def test_a_repaired_answer_is_read_by_its_own_tokens() -> None:
    brain = Fixed(["A, clearly", answer("B", "B", "A")])
    scores, requests = through(brain, known={"schema": False})
    assert len(requests) == 2
    assert logprobs(scores)["go south"] == pytest.approx(0.0, abs=1e-9)


def test_a_made_up_label_is_sent_back() -> None:
    brain = Fixed([answer("A", "A", "Z"), answer("A", "A")])
    scores, requests = through(brain, known={"schema": False})
    assert len(requests) == 2 and list(logprobs(scores)) == ["go north"]
    assert "labels shown" in requests[1]["messages"][-1]["content"]


# --- settings ---------------------------------------------------------------------------------


def test_a_request_says_what_it_is_for_and_is_seeded_by_the_generator() -> None:
    model = ScriptedModel(lambda request: completion(["A"]))
    source = Labels(model, direct=True)
    for seed in (0, 0, 1):
        propose(source, situation(turns=3), seed)
    first, again, other = model.requests
    assert first == again
    assert first.seed != other.seed
    assert first.purpose == Purpose("act", 2, 3)


def test_the_prompt_asks_for_no_more_candidates_than_there_are_actions() -> None:
    _, requests = through({answer("A", "A"): 1.0}, situation(ACTIONS[:2]), proposals=5)
    assert "Name the 2 most promising" in requests[0]["messages"][-1]["content"]


@pytest.mark.parametrize("name", ["proposals", "top_logprobs"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
def test_numbers_that_cannot_be_are_refused(name, value) -> None:
    with pytest.raises(InvalidValue, match=name):
        Labels(ScriptedModel([]), **{name: value})


def test_the_three_forms_are_found_by_name() -> None:
    model = ScriptedModel([])
    options = Options(proposals=4, window=3, top_logprobs=5, max_tokens=99)
    labels, direct, biased = (
        make(name, model, options).source for name in ("labels", "labels-direct", "labels-biased")
    )
    assert labels == Labels(model, 4, top_logprobs=5, window=3, max_tokens=99)
    assert direct == replace(labels, direct=True)
    assert biased == replace(labels, direct=True, bias=True)
