"""Score sources that break one rule each: the kit must name every one of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from jitrl import update
from jitrl.errors import InvalidValue, ModelUnavailable
from jitrl.models import Capabilities, Completion, Message, Model, Request, Token, make
from jitrl.models.scripted import ScriptedModel
from jitrl.records import Candidate, Modulation, Scores, Situation
from jitrl.scores import Sampled, Sampler, ScoreSource
from jitrl.scores.biased import Biased
from jitrl.scores.frequencies import Frequencies
from jitrl.scores.labels import Labels
from jitrl.scores.prior import Prior
from jitrl.scores.proposing import Proposing
from jitrl.scores.sequences import Sequences
from jitrl.scores.stated import Stated
from jitrl.testing import Choosing, ScriptedServer, check_scores

NOWHERE = "polish the seventh moon"
Script = Callable[[Request], str | Completion]
Change = Callable[[Scores, Situation], Scores]


def as_it_is(scores: Scores, situation: Situation) -> Scores:
    return scores


@dataclass
class Table:
    """An honest source: two actions with a probability that falls, the remembered ones beside."""

    change: Change = as_it_is

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        actions = situation.observation.actions
        z = {action: -1.0 - i - float(rng.random()) for i, action in enumerate(actions)}
        scores = Scores(
            tuple(Candidate(action, z[action]) for action in actions[:2]),
            "exact",
            remembered={a: z[a] for a in situation.remembered if a in actions[2:]},
            outside=1 - sum(math.exp(z[a]) for a in actions[:2]),
        )
        return self.change(scores, situation)


def first(scores: Scores, **changes: Any) -> Scores:
    """The scores with the first candidate changed."""
    changed = replace(scores.candidates[0], **changes)
    return replace(scores, candidates=(changed, *scores.candidates[1:]))


def more(scores: Scores, extra: Mapping[str, float]) -> Scores:
    return replace(scores, remembered={**(scores.remembered or {}), **extra})


DEFECTS: dict[str, tuple[Change, str]] = {
    "none at all": (lambda s, w: None, "must return Scores"),
    "no candidate": (lambda s, w: replace(s, candidates=()), "at least one"),
    "a list": (lambda s, w: replace(s, candidates=list(s.candidates)), "must be a tuple"),
    "a bare action": (lambda s, w: replace(s, candidates=("wait",)), "must be a Candidate"),
    "an empty action": (lambda s, w: first(s, action=""), "with an action"),
    "an infinite logprob": (lambda s, w: first(s, logprob=-math.inf), "finite"),
    "a logprob that is none": (lambda s, w: first(s, logprob=math.nan), "finite"),
    "an action twice": (
        lambda s, w: replace(s, candidates=(*s.candidates, s.candidates[0])),
        "candidate twice",
    ),
    "remembered as a list": (lambda s, w: replace(s, remembered=[]), "mapping or None"),
    "remembered unasked": (
        lambda s, w: more(s, {"go south": -1.0} if not w.remembered else {}),
        "only what was asked for",
    ),
    "remembered elsewhere": (
        lambda s, w: more(s, dict.fromkeys(w.remembered[1:2], -1.0)),
        "only what can be executed",
    ),
    "remembered and proposed": (
        lambda s, w: more(s, {s.candidates[0].action: -1.0} if w.remembered else {}),
        "at once",
    ),
    "remembered as impossible": (
        lambda s, w: replace(s, remembered=dict.fromkeys(s.remembered, -math.inf)),
        "finite",
    ),
    "elsewhere on a page": (
        lambda s, w: first(s, action='click(button("Cancel"))') if w.observation.reader else s,
        "on a page .*only what can be executed here may be a candidate",
    ),
    "unscored elsewhere on a page": (
        lambda s, w: replace(s, unscored=w.remembered[:1]) if w.observation.reader else s,
        "on a page .*unscored may hold only",
    ),
    "remembered elsewhere on a page": (
        lambda s, w: more(s, dict.fromkeys(w.remembered[:1], -1.0)) if w.observation.reader else s,
        "on a page .*only what can be executed",
    ),
    "an unknown guarantee": (lambda s, w: replace(s, guarantee="solid"), "guarantee must be one"),
    "a negative rest": (lambda s, w: replace(s, outside=-0.1), "outside must be a probability"),
    "a rest above 1": (lambda s, w: replace(s, outside=1.1), "outside must be a probability"),
    "samples of nothing": (lambda s, w: replace(s, samples=3), "samples must be"),
    "no samples": (lambda s, w: replace(s, guarantee="sampled"), "samples must be"),
    "memory in the prompt": (
        lambda s, w: first(s, logprob=-0.5) if w.remembered else s,
        "must not change the candidates",
    ),
    "chance of its own": (
        lambda s, w: first(s, logprob=float(np.random.default_rng().normal())),
        "equal generators",
    ),
}


def test_an_honest_source_passes() -> None:
    check_scores(Table)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defective_source_is_found_out(defect: str) -> None:
    change, says = DEFECTS[defect]
    with pytest.raises(AssertionError, match=says) as caught:
        check_scores(lambda: Table(change))
    assert re.match("propose, (on a page )?with ", str(caught.value))


@pytest.mark.parametrize("defect", ["memory in the prompt", "chance of its own"])
def test_what_needs_equal_answers_is_left_out_where_a_model_gives_none(defect: str) -> None:
    change, _ = DEFECTS[defect]
    check_scores(lambda: Table(change), repeatable=False)


def test_nothing_scored_and_nothing_known_of_the_rest_are_allowed() -> None:
    check_scores(lambda: Table(lambda s, w: replace(s, remembered=None, outside=math.nan)))


# --- samplers ---------------------------------------------------------------------------------

Bend = Callable[[Sampled, Modulation], Any]


@dataclass
class Drawing:
    """An honest sampler over the listed actions."""

    bend: Bend = lambda drawn, modulation: drawn

    async def sample(
        self, situation: Situation, modulation: Modulation, rng: np.random.Generator
    ) -> Sampled:
        actions = situation.observation.actions
        z = np.log(np.linspace(1.0, 2.0, len(actions)))
        A = np.array([modulation.advantages.get(a, modulation.otherwise) for a in actions])
        budget, T = modulation.kl_budget, modulation.temperature
        beta = update.beta_within(z, A, modulation.beta, budget, T)
        before, after = (np.exp(update.log_policy(z, A, b, T)) for b in (0.0, beta))
        action = actions[update.sample(after, float(rng.random()))]
        drawn = Sampled(
            action,
            dict(zip(actions, before.tolist(), strict=True)),
            dict(zip(actions, after.tolist(), strict=True)),
            (0.0, 0.0),
            beta,
            "exact",
        )
        return self.bend(drawn, modulation)


def without_drawn(drawn: Sampled, modulation: Modulation) -> Sampled:
    before, after = dict(drawn.before), dict(drawn.after)
    rest = before.pop(drawn.action), after.pop(drawn.action)
    return replace(drawn, before=before, after=after, outside=rest)


def powered(drawn: Sampled, modulation: Modulation) -> Sampled:
    """The policy of a wrong formula: the square of the right one."""
    total = sum(p**2 for p in drawn.after.values())
    return replace(drawn, after={action: p**2 / total for action, p in drawn.after.items()})


BENT: dict[str, tuple[Bend, str]] = {
    "no record": (lambda d, m: d.action, "must return a Sampled"),
    "no action": (lambda d, m: replace(d, action=""), "nonempty string"),
    "unlisted": (without_drawn, "drawn one .* among them"),
    "different lists": (
        lambda d, m: replace(d, before={**d.before, "dance": 0.0}),
        "must list the same actions",
    ),
    "a sum below 1": (
        lambda d, m: replace(d, after={a: p / 2 for a, p in d.after.items()}),
        "sum to 1",
    ),
    "a rest too many": (lambda d, m: replace(d, outside=(0.5, 0.0)), "sum to 1"),
    "a negative mass": (
        lambda d, m: replace(d, before={a: -p for a, p in d.before.items()}, outside=(2.0, 0.0)),
        "must be probabilities",
    ),
    "a larger step": (lambda d, m: replace(d, beta=m.beta + 0.1), "beta must lie in"),
    "a negative step": (lambda d, m: replace(d, beta=-0.1), "beta must lie in"),
    "an unknown guarantee": (lambda d, m: replace(d, guarantee="sure"), "guarantee must be"),
    "a wrong rest": (lambda d, m: replace(d, unlisted=1.5), "unlisted must be a probability"),
    "another formula": (
        lambda d, m: d if m.abstained or m.kl_budget is not None else powered(d, m),
        "exp",
    ),
    "a bent base policy": (lambda d, m: powered(d, m) if m.abstained else d, "to the last bit"),
    "another step than said": (
        lambda d, m: replace(d, beta=d.beta / 2) if m.kl_budget is None else d,
        "exp",
    ),
    "a chance of its own": (
        lambda d, m: replace(d, unlisted=float(np.random.default_rng().random())),
        "draw alike",
    ),
}


def test_an_honest_sampler_passes() -> None:
    assert isinstance(Drawing(), Sampler)
    check_scores(Drawing)


@pytest.mark.parametrize("defect", BENT)
def test_a_defective_sampler_is_found_out(defect: str) -> None:
    bend, says = BENT[defect]
    with pytest.raises(AssertionError, match=says) as caught:
        check_scores(lambda: Drawing(bend))
    assert "sample, with " in str(caught.value)


def test_a_sampler_that_overspends_is_found_out() -> None:
    class Spender(Drawing):
        async def sample(self, situation, modulation, rng):
            return await super().sample(situation, replace(modulation, kl_budget=None), rng)

    with pytest.raises(AssertionError, match=r"with a budget: KL.*at most 0\.01"):
        check_scores(Spender)


# --- the sources that ship, each from two actions on ------------------------------------------


def named(request: Request) -> Completion:
    """Every label with a confidence, then the first as the choice, its label a token."""
    labels = request.schema["properties"]["choice"]["enum"][:3]  # type: ignore[index,call-overload]
    listed = [{"label": a, "reason": "", "confidence": 90 - 9 * i} for i, a in enumerate(labels)]
    head = json.dumps({"candidates": listed})[:-1] + ', "choice": "'
    return told(head, labels[0], '"}')


def told(*texts: str) -> Completion:
    top = {"A": math.log(0.4), "B": math.log(0.3), "C": math.log(0.2), "D": math.log(0.1)}
    return Completion("".join(texts), tokens=tuple(Token(t, -1.0, top | {t: -1.0}) for t in texts))


def writing(source: Callable[[ScriptedModel], ScoreSource], say: Script) -> Proposing:
    """The source behind proposals, of a model that writes three actions of the kit's page."""
    actions = ['click("7")', 'fill("12", "hello")', 'click("31")']
    answer = json.dumps({"candidates": [{"reason": "", "action": action} for action in actions]})

    def script(request: Request) -> str | Completion:
        asked = "most promising actions to take now" in request.messages[1].content
        return Completion(answer, tokens=()) if asked else say(request)

    model = ScriptedModel(script, logprobs=lambda text: -1.0 - len(text))
    return Proposing(model, source(model))


SHIPPED: dict[str, Callable[[], object]] = {
    "prior": Prior,
    "labels": lambda: Labels(ScriptedModel(named)),
    "labels-direct": lambda: Labels(ScriptedModel(lambda request: told("A")), direct=True),
    "proposals, labels": lambda: writing(Labels, named),
    "proposals, labels-direct": lambda: writing(
        lambda model: Labels(model, direct=True), lambda request: told("A")
    ),
    "proposals, stated": lambda: writing(Stated, named),
    "proposals, sampled": lambda: writing(Frequencies, lambda request: "A"),
    "proposals, sequence": lambda: writing(Sequences, named),
    "stated": lambda: Stated(ScriptedModel(named)),
    "sampled": lambda: Frequencies(ScriptedModel(lambda request: "A"), n=6),
    "sequence": lambda: Sequences(ScriptedModel([], logprobs=lambda text: -1.0 - len(text))),
    "labels-server": lambda: Biased(
        ScriptedModel(
            lambda request: told("A"),
            tokenizer=lambda text: [ord(text)],
            capabilities=Capabilities(logit_bias=True, bias_shown="before"),
        )
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_sources_that_ship_keep_the_contract(name: str) -> None:
    check_scores(SHIPPED[name])  # type: ignore[arg-type]


def policy(messages: Sequence[Message]) -> Mapping[str, float]:
    """Falling probabilities of the labels that the prompt shows."""
    labels = re.findall(r"^([A-D]): ", messages[-1].content, re.MULTILINE)
    total = sum(range(1, len(labels) + 1))
    return {label: (len(labels) - i) / total for i, label in enumerate(labels)}


@pytest.mark.parametrize(
    "source",
    [Biased, partial(Labels, direct=True), partial(Labels, direct=True, bias=True), Frequencies],
)
def test_through_a_server_they_keep_it_too(source: Callable[[Model], ScoreSource]) -> None:
    with ScriptedServer(Choosing(policy)) as server:
        model = make("openai/scripted", base_url=server.url)
        model.capabilities = replace(model.capabilities, bias_shown="before")
        check_scores(lambda: source(model), close=model.close)


# --- the kit itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [(), ("wait",), ("wait", "wait"), ("wait", NOWHERE)])
def test_actions_that_tell_nothing_are_refused(actions: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue, match="at least two, all different"):
        check_scores(Table, actions=actions)


def test_the_situations_are_of_the_actions_given_and_grow() -> None:
    seen: list[Situation] = []

    def note(scores: Scores, situation: Situation) -> Scores:
        seen.append(situation)
        return scores

    check_scores(lambda: Table(note), actions=("up", "down", "in"))
    pages = [situation for situation in seen if situation.observation.reader is not None]
    seen = [situation for situation in seen if situation.observation.reader is None]
    assert {len(situation.turns) for situation in pages} == {1}
    assert {len(situation.observation.actions) for situation in seen} == {1, 2, 3}
    assert {len(situation.turns) for situation in seen} == {0, 1, 2, 3}
    assert all({t.action for t in situation.turns} <= {"up", "down", "in"} for situation in seen)
    assert any(NOWHERE in situation.remembered for situation in seen)
    assert any(not situation.remembered for situation in seen)


def test_what_the_source_raises_is_passed_on_and_the_end_is_awaited() -> None:
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    def broken(scores: Scores, situation: Situation) -> Scores:
        raise ModelUnavailable("nobody there")

    with pytest.raises(ModelUnavailable, match="nobody there"):
        check_scores(lambda: Table(broken), close=close)
    check_scores(Table, close=close)
    assert closed == [True, True]


def test_a_seed_gives_other_draws() -> None:
    drawn: list[Scores] = []

    def note(scores: Scores, situation: Situation) -> Scores:
        drawn.append(scores)
        return scores

    check_scores(lambda: Table(note), seed=1)
    half = len(drawn)
    check_scores(lambda: Table(note), seed=2)
    assert drawn[0].candidates != drawn[half].candidates
