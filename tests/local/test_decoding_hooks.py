"""What vLLM and llama-cpp-python call, on plain arrays: their policy is the closed form."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from decoding_kit import (
    END,
    assert_same_policy,
    closed_form,
    random_tree,
    sequences,
    token_logprobs,
)

from jitrl.decoding.llamacpp import UNTRUNCATED, PsiHook
from jitrl.decoding.psi import Known
from jitrl.decoding.vllm import Modulate, arguments, known_from
from jitrl.errors import InvalidValue

VOCABULARY, DEPTH = 5, 3
CHOSEN = {(1, 2, END): 2.0, (1, END): -1.5, (3, END): 0.4}


def problem(T):
    """Return (logits of each prefix, every sequence, log p of each at temperature T, known)."""
    rng = np.random.default_rng(11)
    free = random_tree(rng, VOCABULARY, DEPTH)
    logits = {x: 3.0 * rng.normal(size=VOCABULARY) + rng.normal() for x in free}
    tree = {}
    for x, z in logits.items():
        if len(x) == DEPTH - 1:
            z[1:] = -1e30  # the end is as good as certain
        tree[x] = z / T - np.logaddexp.reduce(z / T)
    every = sequences(tree)
    log_p = np.array([np.sum(token_logprobs(tree, s)) for s in every])
    tilts = [A / T for A in CHOSEN.values()]
    return (
        logits,
        every,
        log_p,
        Known(list(CHOSEN), [token_logprobs(tree, s) for s in CHOSEN], tilts),
    )


def measured(logits, every, T, modulate):
    """Return log p of every sequence that sampling at temperature T from `modulate` gives."""
    tree = {}
    for x, z in logits.items():
        changed = np.asarray(modulate(list(x), z), dtype=np.float64) / T
        tree[x] = changed - np.logaddexp.reduce(changed)
    return np.array([np.sum(token_logprobs(tree, s)) for s in every])


def params(known=None, **changes):
    values = {
        "extra_args": None if known is None else json.loads(json.dumps(arguments(known))),
        "temperature": 0.7,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "min_tokens": 0,
        "ignore_eos": False,
        "logit_bias": None,
        "allowed_token_ids": None,
        "bad_words": None,
        "structured_outputs": None,
        "max_tokens": 16,
    }
    return SimpleNamespace(**(values | changes))


@pytest.mark.parametrize("T", [1.0, 0.6, 1.8])
def test_vllm_samples_from_the_closed_form(device, T):
    logits, every, log_p, known = problem(T)
    request = params(known, temperature=T)
    Modulate.validate_params(request)
    modulate = Modulate().new_req_logits_processor(request)

    def on_device(x, z):
        return modulate(x, torch.tensor(z, device=device)).cpu()

    found = measured(logits, every, T, on_device)
    wanted = closed_form(log_p, [CHOSEN.get(s, 0.0) / T for s in every])
    assert_same_policy(found, wanted)


@pytest.mark.parametrize("T", [1.0, 0.6, 1.8])
def test_llama_cpp_samples_from_the_closed_form(T):
    logits, every, log_p, known = problem(T)
    hook = PsiHook(known, prompt=2, temperature=T)

    def modulate(x, z):
        changed = hook(np.array([9, 9, *x], dtype=np.intc), z.astype(np.single))
        assert changed.dtype == np.single
        return changed

    found = measured(logits, every, T, modulate)
    wanted = closed_form(log_p, [CHOSEN.get(s, 0.0) / T for s in every])
    assert_same_policy(found, wanted, 1e-6)  # float32


def test_logits_that_no_known_action_goes_through_are_handed_back_as_they_are():
    logits, _, _, known = problem(1.0)
    row = torch.tensor(logits[(4,)])
    request = Modulate().new_req_logits_processor(params(known))
    assert request([4], row) is row
    assert row.tolist() == logits[(4,)].tolist()
    scores = logits[(4,)].astype(np.single)
    assert PsiHook(known, 0)(np.array([4]), scores) is scores


def test_a_huge_tilt_survives_float32():
    known = Known([(1, END)], [[-1.0, 0.0]], [1e60])
    changed = PsiHook(known, 0)(np.array([], dtype=int), np.zeros(3, dtype=np.single))
    assert changed[1] == 0.0
    assert np.all(changed[[0, 2]] < -1e37)
    row = Modulate().new_req_logits_processor(params(known))([], torch.zeros(3))
    assert row.softmax(-1).tolist() == [0.0, 1.0, 0.0]


def test_arguments_are_flat_lists_and_come_back_the_same():
    _, _, _, known = problem(0.7)
    extra = json.loads(json.dumps(arguments(known), allow_nan=False))
    assert all(isinstance(value, int | float) for values in extra.values() for value in values)
    again = known_from(extra | {"somebody": "else's"})
    assert again.sequences == known.sequences
    assert again.tilts.tolist() == known.tilts.tolist()
    assert again.log_p.tolist() == known.log_p.tolist()


def test_an_impossible_action_is_not_sent():
    known = Known([(1, END), (2, END)], [[-math.inf, 0.0], [-1.0, 0.0]], [5.0, 1.0])
    assert arguments(known)["jitrl_tokens"] == [2, END]


def test_a_request_without_arguments_is_left_alone():
    request = params(top_p=0.5, temperature=0.0)
    Modulate.validate_params(request)
    assert Modulate().new_req_logits_processor(request) is None
    assert known_from({"session_id": "x"}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"top_k": 5},
        {"top_p": 0.9},
        {"min_p": 0.1},
        {"repetition_penalty": 1.1},
        {"frequency_penalty": 0.5},
        {"logit_bias": {3: 1.0}},
        {"ignore_eos": True},
        {"max_tokens": 2},
    ],
    ids=str,
)
def test_a_request_that_could_not_be_exact_is_refused(wrong):
    _, _, _, known = problem(0.7)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Modulate.validate_params(params(known, **wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"jitrl_lengths": None},
        {"jitrl_lengths": [1, 1]},
        {"jitrl_lengths": [-1, 3]},
        {"jitrl_tokens": [1.5, 0]},
        {"jitrl_tokens": ["a", 0]},
        {"jitrl_logprobs": ["x", 0]},
        {"jitrl_logprobs": [0.5, 0]},
        {"jitrl_tilts": []},
    ],
    ids=str,
)
def test_arguments_that_do_not_belong_together_are_refused(wrong):
    extra = arguments(Known([(1, END)], [[-1.0, 0.0]], [1.0])) | wrong
    with pytest.raises(InvalidValue):
        known_from(extra)


def test_tokens_that_vllm_has_not_told_yet_are_an_error():
    _, _, _, known = problem(0.7)
    modulate = Modulate().new_req_logits_processor(params(known))
    with pytest.raises(InvalidValue, match="no-async-scheduling"):
        modulate([1, -1], torch.zeros(VOCABULARY))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_llama_cpp_needs_a_temperature_above_zero(temperature):
    with pytest.raises(InvalidValue, match="temperature"):
        PsiHook(Known([], [], []), 0, temperature)


def test_the_samplers_of_llama_cpp_but_temperature_are_off():
    off = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0}
    assert {name: UNTRUNCATED[name] for name in off} == off
