"""Actions that a local model writes itself, drawn from the updated policy over whole actions."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import numpy as np
import pytest
import torch
from local_kit import WORDS, everything, words_model

from jitrl import update
from jitrl.errors import InvalidValue, RequestRejected
from jitrl.models import Message
from jitrl.records import Modulation, Observation, Situation, State, Values
from jitrl.scores.freeform import FreeForm

LIMIT = 4
STATE = State(room="hall")
SITUATION = Situation("find it", 2, 5, Observation(STATE, "A hall.", ("go north", "take lamp")))
EVERY = [s for s in everything(len(WORDS), LIMIT) if len(s) > 1]  # no answer is empty


def ask(situation):
    return (Message("user", "now go ? east"), Message("user", "take now ?"))


PROMPT = [WORDS.index(word) for word in ["now", "go", "?", "east", "take", "now", "?"]]


def modulation(advantages, **changes):
    values = {
        "state": STATE,
        "advantages": advantages,
        "otherwise": 0.0,
        "beta": 2.0,
        "kl_budget": None,
        "temperature": 0.8,
        "values": Values(math.nan, {}),
        "neighbours": (),
        "abstained": not advantages,
    }
    return Modulation(**(values | changes))


def base(temperature=0.8, device="cpu"):
    """Return text -> probability of every answer, by one pass over each, without any cache."""
    model = words_model(device).model
    ids = torch.tensor([[*PROMPT, *s, *[0] * (LIMIT - len(s))] for s in EVERY])
    with torch.inference_mode():
        z = model(input_ids=ids.to(device)).logits.cpu()[:, len(PROMPT) - 1 : -1] / temperature
        z[:, 0, 0] = -math.inf  # no answer ends at once
    logp = torch.log_softmax(z, dim=-1)
    logp = logp.gather(-1, ids[:, len(PROMPT) :].unsqueeze(-1)).squeeze(-1)
    logp[:, LIMIT - 1] = 0.0  # the end is forced there
    p = [math.exp(float(row[: len(s)].sum())) for s, row in zip(EVERY, logp, strict=True)]
    assert sum(p) == pytest.approx(1.0, abs=1e-9)
    return {" ".join(WORDS[t] for t in s[:-1]): p for s, p in zip(EVERY, p, strict=True)}


def draws(free, modulation, seeds):
    async def all_of_them():
        return [await free.sample(SITUATION, modulation, np.random.default_rng(s)) for s in seeds]

    return asyncio.run(all_of_them())


def free(device="cpu", **settings):
    return FreeForm(words_model(device), ask, **({"max_tokens": LIMIT} | settings))


KNOWN = {"lamp ? north": -0.8, "lamp ? ?": 0.4, "lamp ?": 1.0, "take lamp ?": 1.0, "go": -0.5}


def test_the_probabilities_are_those_of_the_closed_form(device):
    policy = base(device=device)
    texts = list(policy)
    z = 0.8 * np.log(list(policy.values()))
    A = np.array([KNOWN.get(text, 0.0) for text in texts])
    wanted = dict(zip(texts, np.exp(update.log_policy(z, A, 2.0, 0.8)).tolist(), strict=True))
    for sampled in draws(free(device), modulation(KNOWN), range(30)):
        assert sampled.guarantee == "exact"
        assert sampled.beta == 2.0
        assert sampled.before.keys() == sampled.after.keys() == {*KNOWN, sampled.action}
        for text in sampled.before:
            assert sampled.before[text] == pytest.approx(policy[text], rel=1e-9)
            assert sampled.after[text] == pytest.approx(wanted[text], rel=1e-9)
        rest = 1 - sum(sampled.before.values()), 1 - sum(sampled.after.values())
        assert sampled.outside == pytest.approx(rest, abs=1e-9)


def test_actions_are_drawn_as_often_as_the_closed_form_says():
    policy = base()
    z, A = 0.8 * np.log(list(policy.values())), [KNOWN.get(text, 0.0) for text in policy]
    p = np.exp(update.log_policy(z, np.array(A), 2.0, 0.8))
    n = 500
    counts = Counter(s.action for s in draws(free(), modulation(KNOWN), range(n)))
    for text, wanted in zip(policy, p, strict=True):
        if wanted > 0.01:
            assert abs(counts[text] - n * wanted) < 4.5 * math.sqrt(n * wanted * (1 - wanted))
    moved = sum(abs(p - list(policy.values())))
    assert moved > 0.2  # so that the base policy would have failed


@pytest.mark.parametrize(
    "unmoved", [modulation({}), modulation(KNOWN, beta=0.0), modulation(KNOWN, kl_budget=0.0)]
)
def test_without_a_step_the_same_number_draws_the_same_action_from_the_base_policy(device, unmoved):
    policy = base(device=device)
    alone = draws(free(), modulation({}), range(40))
    for one, other in zip(alone, draws(free(device), unmoved, range(40)), strict=True):
        assert other.action == one.action
        assert other.beta == 0.0
        assert other.before == other.after
        assert other.outside[0] == other.outside[1]
        assert other.before[other.action] == pytest.approx(policy[other.action], rel=1e-9)
    assert len({sampled.action for sampled in alone}) > 4


def test_one_number_is_taken_from_the_generator_whatever_is_known():
    rng, other = np.random.default_rng(4), np.random.default_rng(4)
    asyncio.run(free().sample(SITUATION, modulation({}), rng))
    asyncio.run(free().sample(SITUATION, modulation(KNOWN), other))
    assert rng.random() == other.random()


@pytest.mark.parametrize("budget", [0.01, 0.3])
def test_the_step_stays_within_the_budget(budget):
    policy = base()
    z, A = 0.8 * np.log(list(policy.values())), [KNOWN.get(text, 0.0) for text in policy]
    beta = update.beta_within(z, np.array(A), 50.0, budget, 0.8)
    (sampled,) = draws(free(), modulation(KNOWN, beta=50.0, kl_budget=budget), [1])
    assert sampled.beta == pytest.approx(beta, rel=1e-6)
    assert 0 < sampled.beta < 50.0


def test_advantages_count_from_the_one_of_everything_else():
    (one,) = draws(free(), modulation(KNOWN), [3])
    higher = {action: A + 0.25 for action, A in KNOWN.items()}
    (other,) = draws(free(), modulation(higher, otherwise=0.25), [3])
    assert other.after == pytest.approx(one.after)


def test_truncation_is_part_of_the_base_policy(device):
    for sampled in draws(free(device, top_k=1), modulation({"take lamp now": 30.0}), range(3)):
        assert sampled.before["take lamp now"] in (0.0, 1.0)
        assert sampled.after[sampled.action] == pytest.approx(1.0)


def test_a_known_action_longer_than_the_limit_is_not_cut():
    action = "go north east take lamp now"
    (sampled,) = draws(free(), modulation({action: 200.0}), [1])
    assert sampled.action == action
    assert sampled.after[action] == pytest.approx(1.0)


def test_no_answer_is_empty():
    assert "" not in {
        sampled.action for sampled in draws(free(max_tokens=2), modulation({}), range(200))
    }


def test_every_draw_is_counted():
    counted = []
    draws(
        free(counted=lambda usage, purpose: counted.append((usage, purpose))), modulation({}), [1]
    )
    ((usage, purpose),) = counted
    assert (usage.calls, usage.input) == (1, len(PROMPT))
    assert 1 <= usage.output <= LIMIT
    assert (purpose.role, purpose.episode, purpose.t) == ("act", 2, 5)


def test_another_tokenisation_of_a_known_action_adds_to_its_probability(monkeypatch):
    model = words_model()
    # "lamp" and "?" read the same: several sequences, one text
    words = ["?" if word == "lamp" else word for word in WORDS]
    monkeypatch.setattr(model, "text", lambda ids: " ".join(words[t] for t in ids if t))
    policy = base()
    action = "? ? north"
    seen = [s for s in draws(free(), modulation({action: 1.0}), range(40)) if s.action == action]
    sums = {round(sampled.before[action], 9) for sampled in seen}
    alone, with_the_other = policy[action], policy[action] + policy["lamp ? north"]
    assert {round(alone, 9), round(with_the_other, 9)} <= sums
    for sampled in seen:
        assert sampled.outside[0] + sampled.before[action] == pytest.approx(1.0)
        assert sampled.outside[1] + sampled.after[action] == pytest.approx(1.0)


def test_what_does_not_fit_into_the_context_is_rejected():
    long = FreeForm(words_model(), lambda situation: (Message("user", "go " * 64),), LIMIT)
    with pytest.raises(RequestRejected, match="context"):
        draws(long, modulation({}), [1])


@pytest.mark.parametrize("wrong", [{"max_tokens": 1}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 2}])
def test_settings_that_define_no_policy_are_refused(wrong):
    with pytest.raises(InvalidValue):
        free(**wrong)
