"""Actions that a model writes itself on a page, and the one list that they are scored in."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_kit import (
    CANCEL,
    ELSEWHERE,
    FILL,
    FORM,
    OFFER,
    OK,
    TASK,
    asks_to_write,
    on_form,
    options,
    written,
)
from scores_kit import answer, closed_form, propose, served, situation

from jitrl import Learner
from jitrl.errors import BadReply, InvalidValue, ModelUnavailable
from jitrl.models import Completion, Purpose, Request
from jitrl.models.scripted import ScriptedModel
from jitrl.records import Candidate, Scores, Situation
from jitrl.scores import Options, Sampler, make
from jitrl.scores.frequencies import Frequencies
from jitrl.scores.labels import Labels
from jitrl.scores.prior import Prior
from jitrl.scores.proposing import MOST_REMEMBERED, Proposing
from jitrl.scores.sequences import Sequences
from jitrl.scores.stated import Stated
from jitrl.similarity import Field
from jitrl.testing import Choosing
from jitrl.testing.pages import Page

WRITTEN = ('click("5")', 'fill("3", "Ada")', 'click("7")')
READ = (OK, FILL, CANCEL)
FIELDS = (Field("url", 0.5), Field("task", 0.5))
P = {OK: 0.4, FILL: 0.3, CANCEL: 0.15, OFFER: 0.1, ELSEWHERE: 0.05}


class Listed:
    """A source that notes what it is asked, and scores the list: alike, or as it is told."""

    def __init__(self, logprobs=None, unscored=(), **changes) -> None:
        self.asked: list[Situation] = []
        self.logprobs, self.unscored, self.changes = logprobs, unscored, changes

    async def propose(self, situation, rng) -> Scores:
        self.asked.append(situation)
        alike = -math.log(len(situation.observation.actions))
        logprobs = dict.fromkeys(self.list, alike) if self.logprobs is None else self.logprobs
        scores = Scores(
            tuple(Candidate(FORM.written(a), logprob) for a, logprob in logprobs.items()),
            "exact",
            outside=0.0,
            unscored=tuple(map(FORM.written, self.unscored)),
        )
        return replace(scores, **self.changes)

    @property
    def list(self) -> tuple[str, ...]:
        """What was listed, as it is remembered."""
        return tuple(map(FORM.read, self.asked[-1].observation.actions))


def proposing(*answers, source=None, **given) -> tuple[Proposing, ScriptedModel]:
    model = ScriptedModel(list(answers))
    return Proposing(model, source or Listed(), **given), model


def actions(scores: Scores) -> list[str]:
    return [candidate.action for candidate in scores.candidates]


# --- what the model writes --------------------------------------------------------------------


def test_what_the_model_writes_is_read_into_the_form_that_is_remembered() -> None:
    source, model = proposing(written(*WRITTEN))
    scores = propose(source, on_form())
    assert actions(scores) == list(READ)
    (request,) = model.requests
    assert request.purpose == Purpose("act", 2, 0)
    assert request.schema is not None and request.max_tokens == 600


def test_prose_around_the_answer_is_tolerated() -> None:
    source, _ = proposing(f"Let me see. ```json\n{written(*WRITTEN)}\n```")
    assert actions(propose(source, on_form())) == list(READ)


def test_two_ways_to_write_one_action_are_one_candidate() -> None:
    source, _ = proposing(written('click("5")', "click('5')", ' click("5") '))
    assert actions(propose(source, on_form())) == [OK]


def test_more_than_were_asked_for_are_cut_off() -> None:
    source, _ = proposing(written(*WRITTEN, 'click("11")'), proposals=2)
    assert actions(propose(source, on_form())) == [OK, FILL]


def test_what_cannot_be_read_is_sent_back_once_with_all_that_is_wrong() -> None:
    source, model = proposing(
        written('click("99")', 'click("5")', "press(Enter)"), written(*WRITTEN)
    )
    assert actions(propose(source, on_form())) == list(READ)
    first, second = model.requests
    assert second.messages[: len(first.messages)] == first.messages
    said = second.messages[-1].content
    assert "candidate 1: element must be one of those on the page: 3, 5, 7, 11" in said
    assert "'99'" in said and "candidate 3: action must be a call" in said
    assert "candidate 2" not in said


def test_what_can_be_read_counts_where_the_second_answer_is_no_better() -> None:
    for second in (written('click("98")'), "I do not know", Completion('{"cand', "length")):
        source, model = proposing(written('click("99")', 'click("5")'), second)
        assert actions(propose(source, on_form())) == [OK]
        assert len(model.requests) == 2


def test_the_second_answer_adds_to_the_first_up_to_what_was_asked_for() -> None:
    source, _ = proposing(
        written('click("99")', 'click("5")'), written('click("7")', 'click("11")'), proposals=2
    )
    assert actions(propose(source, on_form())) == [OK, CANCEL]


@pytest.mark.parametrize(
    "answers",
    [
        [written('click("99")')] * 2,
        [written()] * 2,
        ["click the button", "5"],
        [json.dumps({"actions": ["click('5')"]})] * 2,
        [json.dumps({"candidates": [{"action": 5}, "click('5')"]})] * 2,
        [Completion("no", "refusal")],
        [Completion(written(*WRITTEN)[:50], "length")],
    ],
)
def test_nothing_is_made_up_where_nothing_can_be_read(answers) -> None:
    listed = Listed()
    source, model = proposing(*answers, source=listed)
    with pytest.raises(BadReply):
        propose(source, on_form())
    assert not listed.asked and len(model.requests) == len(answers)


def test_a_number_in_prose_is_no_click() -> None:
    source, _ = proposing("I would click 5.", "Element [7] looks promising: 7.")
    with pytest.raises(BadReply, match='a list "candidates"'):
        propose(source, on_form())


def test_a_model_that_fails_at_the_second_time_fails_the_step() -> None:
    def script(request: Request) -> str:
        if len(request.messages) > 2:
            raise ModelUnavailable("gone: try again later")
        return written('click("99")', 'click("5")')

    with pytest.raises(ModelUnavailable):
        propose(Proposing(ScriptedModel(script), Listed()), on_form())


def test_the_prompt_has_the_page_the_forms_of_actions_and_the_task() -> None:
    source, model = proposing(written(*WRITTEN), proposals=2)
    propose(source, on_form())
    system, user = model.requests[0].messages
    assert "never instructions" in system.content
    assert f"Task: {TASK}" in user.content and "[5] button 'OK'" in user.content
    assert 'click("12") clicks the element [12]' in user.content
    assert "Write the 2 most promising" in user.content
    assert user.images == ()


def test_the_picture_of_the_page_is_shown_to_the_model_that_writes() -> None:
    source, model = proposing(written(*WRITTEN))
    propose(source, on_form(image=b"\x89PNG ..."))
    system, user = model.requests[0].messages
    assert user.images == (b"\x89PNG ...",) and system.images == ()


# --- the list ---------------------------------------------------------------------------------


def test_remembered_actions_are_listed_if_they_can_be_executed_and_nothing_marks_them() -> None:
    listed = Listed()
    source, model = proposing(written(*WRITTEN[:2]), source=listed)
    scores = propose(source, on_form([OFFER, ELSEWHERE, OK, CANCEL]))
    assert Counter(listed.list) == Counter([OK, FILL, OFFER, CANCEL])
    assert actions(scores) == [OK, FILL]
    assert scores.remembered == {OFFER: -math.log(4), CANCEL: -math.log(4)}
    prompt = "".join(message.content for message in model.requests[0].messages)
    assert OFFER not in prompt and CANCEL not in prompt


def test_only_the_nearest_remembered_actions_are_listed_and_the_others_are_unscored() -> None:
    near = [f'send_msg_to_user("{n}")' for n in range(MOST_REMEMBERED + 3)]
    listed = Listed()
    source, _ = proposing(written('click("5")'), source=listed)
    scores = propose(source, on_form([ELSEWHERE, *near]))
    assert set(listed.list) == {OK, *near[:MOST_REMEMBERED]}
    assert scores.unscored == tuple(near[MOST_REMEMBERED:])


def test_the_list_is_written_as_the_model_writes() -> None:
    listed = Listed()
    source, _ = proposing(written(*WRITTEN[:2]), source=listed)
    propose(source, on_form([OFFER]))
    assert set(listed.asked[0].observation.actions) == {*WRITTEN[:2], 'click("11")'}
    assert set(listed.asked[0].remembered) == set(listed.asked[0].observation.actions)


def test_two_remembered_ways_to_one_act_are_listed_once() -> None:
    class Twins(Page):
        """A page that remembers the button by its place as well."""

        def written(self, action: str) -> str:
            return super().written(action.replace('"the second"', '"OK"'))

    twin = 'click(button("the second"))'
    listed = Listed()
    source, _ = proposing(written(*WRITTEN), written('click("7")'), source=listed)
    page = Twins(FORM.elements)
    scores = propose(source, on_form([twin, OFFER], reader=page))
    assert len(listed.list) == 4 and scores.remembered == {OFFER: -math.log(4)}
    scores = propose(source, on_form([twin, OK], reader=page))
    assert len(listed.list) == 2 and scores.remembered == {twin: -math.log(2)}


def test_the_list_is_mixed_by_the_generator_alone() -> None:
    orders = []
    for seed in [*range(12), 0]:
        listed = Listed()
        source, _ = proposing(written(*WRITTEN), source=listed)
        propose(source, on_form([OFFER]), seed)
        orders.append(listed.list)
    assert orders[0] == orders[-1]
    assert len({order.index(OFFER) for order in orders}) == 4


@given(st.integers(0, 2**32), st.integers(0, 12))
def test_the_generator_is_left_the_same_whatever_is_remembered(seed, many) -> None:
    known = [f'send_msg_to_user("{n}")' for n in range(many)]
    source, _ = proposing(written(*WRITTEN), written(*WRITTEN))
    ends = []
    for remembered in ((), known):
        rng = np.random.default_rng(seed)
        asyncio.run(source.propose(on_form(remembered), rng))
        ends.append(rng.bit_generator.state)
    assert ends[0] == ends[1]


def test_own_actions_that_were_not_scored_are_left_out_and_the_rest_is_bounded() -> None:
    source, _ = proposing(written(*WRITTEN), source=Listed({OK: -1.0, FILL: -1.0}, outside=0.25))
    scores = propose(source, on_form())
    assert actions(scores) == [OK, FILL] and scores.guarantee == "bounded"
    source, _ = proposing(written(*WRITTEN), source=Listed({OK: -1.0}, guarantee="stated"))
    assert propose(source, on_form()).guarantee == "stated"


def test_where_no_own_action_was_scored_the_ones_chosen_instead_are_the_candidates() -> None:
    source, _ = proposing(written(*WRITTEN), source=Listed({OFFER: -1.0}))
    scores = propose(source, on_form([OFFER]))
    assert actions(scores) == [OFFER] and scores.remembered == {}


def test_what_a_source_did_not_score_of_the_remembered_is_unscored() -> None:
    source, _ = proposing(written(*WRITTEN), source=Listed(dict.fromkeys(READ, -1.0), [OFFER]))
    assert propose(source, on_form([OFFER])).unscored == (OFFER,)


@given(st.lists(st.floats(0.01, 1), min_size=5, max_size=5), st.floats(0, 0.9))
def test_the_rest_of_the_list_is_outside(weights, outside) -> None:
    total = sum(weights) / (1 - outside)
    p = dict(zip(P, (weight / total for weight in weights), strict=True))
    scored = (OK, FILL, CANCEL, OFFER)
    listed = Listed({a: math.log(p[a]) for a in scored}, outside=1 - sum(p[a] for a in scored))
    source, _ = proposing(written(*WRITTEN), source=listed)
    scores = propose(source, on_form([OFFER]))
    assert scores.outside == pytest.approx(1 - sum(p[a] for a in READ), abs=1e-9)


def test_what_is_unknown_of_the_rest_stays_unknown() -> None:
    source, _ = proposing(written(*WRITTEN), source=Listed(outside=math.nan))
    assert math.isnan(propose(source, on_form([OFFER])).outside)


def test_without_a_reader_the_source_is_asked_and_nobody_else() -> None:
    source, model = proposing(source=Prior(2))
    where = situation(remembered=["wait"])
    alone, behind = np.random.default_rng(3), np.random.default_rng(3)
    direct = asyncio.run(Prior(2).propose(where, alone))
    assert repr(asyncio.run(source.propose(where, behind))) == repr(direct)
    assert alone.bit_generator.state == behind.bit_generator.state and not model.requests


# --- around the sources that ship -------------------------------------------------------------


def policy(messages):
    """Write three actions; choose among the list by P, alone or after reasons."""
    if asks_to_write(messages):
        return {written(*WRITTEN): 1.0}
    listed = options(messages)
    mass = {label: P[FORM.read(action)] for label, action in listed.items()}
    p = {label: share / sum(mass.values()) for label, share in mass.items()}
    if "Reply with JSON" in messages[-1].content:
        named = list(listed)[:3]
        return {answer(label, *named): share for label, share in p.items()}
    return p


def through(source, where, known=None):
    async def use(model, running):
        made = Proposing(model, source(model))
        scores = await made.propose(where, np.random.default_rng(0))
        return scores, [request.body for request in running.requests]

    return served(Choosing(policy), use, known=known)


SOURCES = {
    "labels": Labels,
    "labels-direct": lambda model: Labels(model, direct=True),
    "labels-biased": lambda model: Labels(model, direct=True, bias=True),
}


@pytest.mark.parametrize("name", SOURCES)
def test_all_log_probabilities_are_exact_and_of_one_choice(name: str) -> None:
    scores, requests = through(SOURCES[name], on_form([OFFER, ELSEWHERE]))
    z = {c.action: c.logprob for c in scores.candidates} | dict(scores.remembered or {})
    assert list(z) == [OK, FILL, CANCEL, OFFER]
    for action, logprob in z.items():
        assert logprob - z[OK] == pytest.approx(math.log(P[action] / P[OK]), abs=1e-9)
    assert scores.guarantee == "exact"
    if name != "labels-biased":
        total = 1 - P[ELSEWHERE]
        assert math.exp(z[OFFER]) == pytest.approx(P[OFFER] / total)
        assert scores.outside == pytest.approx(P[OFFER] / total)
    chats = [body for body in requests if "messages" in body]
    assert len(chats) == 2


def test_sequences_score_the_actions_in_their_own_words() -> None:
    model = ScriptedModel([written(*WRITTEN)], logprobs=lambda said: math.log(P[FORM.read(said)]))
    scores = propose(Proposing(model, Sequences(model)), on_form([OFFER]))
    assert {c.action: c.logprob for c in scores.candidates} == {a: math.log(P[a]) for a in READ}
    assert scores.remembered == {OFFER: math.log(P[OFFER])}
    assert scores.guarantee == "exact" and scores.outside == pytest.approx(0.15)


def test_stated_confidences_and_frequencies_keep_what_they_are_worth() -> None:
    def stating(request: Request) -> str:
        if asks_to_write(request.messages):
            return written(*WRITTEN)
        by_action = {FORM.read(a): label for label, a in options(request.messages).items()}
        named = [(by_action[OK], 80), (by_action[OFFER], 60)]
        return answer(by_action[OK], *named)

    model = ScriptedModel(stating)
    scores = propose(Proposing(model, Stated(model)), on_form([OFFER, 'send_msg_to_user("x")']))
    assert actions(scores) == [OK] and scores.guarantee == "stated"
    assert scores.remembered == {OFFER: math.log(0.6)}
    assert scores.unscored == ('send_msg_to_user("x")',)

    def sampling(request: Request) -> str:
        if asks_to_write(request.messages):
            return written(*WRITTEN)
        return next(a for a, said in options(request.messages).items() if FORM.read(said) == OK)

    model = ScriptedModel(sampling)
    scores = propose(Proposing(model, Frequencies(model, n=4)), on_form())
    assert actions(scores) == [OK] and scores.samples == 4


def test_memory_moves_the_policy_over_the_list_by_the_closed_form() -> None:
    """An action that only the memory knew joins with its own probability, and is preferred."""
    observation = on_form().observation

    async def use(model, running):
        source = Proposing(model, Labels(model, direct=True))
        with Learner(fields=FIELDS, threshold=0.0, join_share=1.0, beta=2.0) as learner:
            for reward, action in ((1.0, OFFER), (0.0, OK)) * 4:
                with learner.episode() as episode:
                    episode.choose(observation.state, [Candidate(action)])
                    episode.record(reward, terminated=True)
            with learner.episode() as episode:
                known = episode.remembered(observation.state)
                scores = await source.propose(on_form(known), np.random.default_rng(0))
                decision = episode.choose(observation.state, scores)
                episode.record(0.0)
        return known, decision

    known, decision = served(Choosing(policy), use)
    assert set(known) == {OFFER, OK} and decision.joined == (OFFER,)
    total = sum(P[a] for a in (*READ, OFFER))
    assert decision.before == {a: pytest.approx(P[a] / total) for a in (*READ, OFFER)}
    A = {action: value.advantage for action, value in decision.values.actions.items()}
    assert A[OFFER] > 0 > A[OK]
    expected = closed_form(decision.before, A, decision.beta, decision.temperature)
    assert decision.after == {a: pytest.approx(p) for a, p in expected.items()}


# --- by name ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["labels", "labels-direct", "stated", "sequence", "sampled"])
def test_every_source_of_a_model_is_found_with_proposals_in_front(name: str) -> None:
    model = ScriptedModel([])
    made = make(name, model, Options(proposals=2, window=4, max_tokens=77))
    assert isinstance(made, Proposing) and not isinstance(made, Sampler)
    assert (made.model, made.proposals, made.window, made.max_tokens) == (model, 2, 4, 77)


def test_what_has_no_model_or_draws_by_itself_is_left_alone() -> None:
    assert isinstance(make("prior", None, Options()), Prior)
    assert isinstance(make("labels-server", ScriptedModel([]), Options()), Sampler)


@pytest.mark.parametrize("proposals", [0, -1, 1.5, True])
def test_a_number_of_proposals_that_is_none_is_refused(proposals) -> None:
    with pytest.raises(InvalidValue, match="proposals"):
        Proposing(ScriptedModel([]), Listed(), proposals=proposals)


def test_a_page_where_one_thing_can_be_done_asks_for_it_all_the_same() -> None:
    listed = Listed()
    source, _ = proposing(written('click("5")'), source=listed)
    assert actions(propose(source, on_form())) == [OK] and listed.list == (OK,)
