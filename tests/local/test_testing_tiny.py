"""A model trained on the spot prefers what it was shown, and more so where it was weighted."""

from __future__ import annotations

import asyncio
import math
from functools import cache

import pytest
import torch
from local_kit import words_model  # sets torch to one thread

from jitrl.errors import InvalidValue
from jitrl.models import Message, Purpose, Request, make
from jitrl.models.transformers import TransformersModel
from jitrl.testing.tiny import save, tiny

HALL = "You are in the hall. A door leads north.\n\nAction:"
ATTIC = "You are in the attic. There is a lamp.\n\nAction:"
EXAMPLES = [
    (HALL, "go north", 6.0),
    (HALL, "open door", 3.0),
    (ATTIC, "take lamp", 5.0),
    (ATTIC, "go down", 1.0),
]


@cache
def trained():
    return tiny(EXAMPLES, steps=60)


def probabilities(model, prompt, actions):
    scored = asyncio.run(model.score((Message("user", prompt),), actions, Purpose("probe")))
    return [math.exp(logprob) for logprob in scored.logprobs]


def test_it_has_a_preference_worth_steering():
    model = TransformersModel(*trained())
    hall = probabilities(model, HALL, ["go north", "open door", "take lamp"])
    attic = probabilities(model, ATTIC, ["take lamp", "go down", "open door"])
    assert hall[0] > hall[1] > 0.1 > hall[2]
    assert attic[0] > attic[1] > attic[2]
    assert attic[0] > 0.5
    assert hall[0] + hall[1] > 0.8


def test_it_writes_an_action_and_ends():
    model = TransformersModel(*trained())
    reply = asyncio.run(model.complete(Request((Message("user", HALL),), 16, n=40, seed=1)))
    texts = [completion.text for completion in reply.completions]
    assert sum(text in (" go north", " open door") for text in texts) > 30


def test_it_is_saved_for_make_and_for_servers(tmp_path):
    save(*trained(), tmp_path)
    model = make(f"transformers/{tmp_path}")
    wanted = probabilities(TransformersModel(*trained()), HALL, ["go north"])
    assert probabilities(model, HALL, ["go north"]) == pytest.approx(wanted, rel=1e-6)


def test_with_a_chat_template_it_answers_on_a_new_line():
    model = TransformersModel(*tiny(EXAMPLES, steps=60, chat=True))
    assert model.prompt_text((Message("system", "a"), Message("user", "b"))) == "a\n\nb\n"
    assert probabilities(model, HALL, ["go north"])[0] > 0.4


def test_a_seed_gives_the_same_model_and_leaves_torch_as_it_was():
    words_model()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    one, other, third = (tiny(EXAMPLES, steps=2, seed=seed)[0] for seed in (3, 3, 4))
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, other.state_dict()[name])
    assert not torch.equal(one.lm_head.weight, third.lm_head.weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_model_in_double_precision_can_be_had():
    assert tiny(EXAMPLES, steps=1, dtype="float64")[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("examples", "options"),
    [
        ([], {}),
        ([("", "a", 1.0)], {}),
        ([("a", "", 1.0)], {}),
        ([("a", "b", 0.0)], {}),
        ([("a", "b", math.nan)], {}),
        (EXAMPLES, {"steps": 0}),
        (EXAMPLES, {"vocabulary": 100}),
        (EXAMPLES, {"seed": -1}),
        (EXAMPLES, {"dtype": "int8"}),
    ],
)
def test_examples_and_options_that_teach_nothing_are_refused(examples, options):
    with pytest.raises(InvalidValue):
        tiny(examples, **options)
