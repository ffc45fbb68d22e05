"""A tiny float64 model, all of whose answers are listed: each has its exact probability."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from decoding_kit import assert_same_policy, closed_form
from local_kit import everything, llama
from scipy import special

from jitrl.decoding.psi import Known
from jitrl.decoding.transformers import PsiProcessor, shift
from jitrl.errors import InvalidValue

PROMPT = (3, 1, 4, 2, 1)
VOCABULARY, LIMIT = 6, 4
EVERY = everything(VOCABULARY, LIMIT)
MODEL = llama(VOCABULARY)


@cache
def prefixes():
    """Return every prefix of an answer, shortest first."""
    return sorted({s[:i] for s in EVERY for i in range(len(s))}, key=lambda x: (len(x), x))


@cache
def logits():
    """Return prefix -> logits of the next token, each by a pass of its own over all of it."""
    result = {}
    with torch.inference_mode():
        for prefix in prefixes():
            output = MODEL(input_ids=torch.tensor([[*PROMPT, *prefix]]))
            result[prefix] = output.logits[0, -1].numpy()
    return result


def truncated(z, temperature, top_k, top_p):
    """Return log p after temperature and truncation, one token at a time: slow and plain."""
    p = special.softmax(np.asarray(z) / temperature)
    order = np.argsort(-p, kind="stable")
    kept = order[: top_k or len(p)]
    mass, nucleus = 0.0, []
    for token in kept:
        if mass < top_p:
            nucleus.append(token)
        mass += p[token] / np.sum(p[kept])
    result = np.full(len(p), -np.inf)
    result[nucleus] = np.log(p[nucleus] / np.sum(p[nucleus]))
    return result


def base(temperature, top_k, top_p):
    """Return prefix -> log p of the next token, the end forced at the limit."""
    tree = {x: truncated(z, temperature, top_k, top_p) for x, z in logits().items()}
    for x in tree:
        if len(x) == LIMIT - 1:
            tree[x] = np.where(np.arange(VOCABULARY) == 0, 0.0, -np.inf)
    return tree


def along(tree, sequence):
    return np.array([tree[sequence[:i]][token] for i, token in enumerate(sequence)])


def totals(tree):
    return np.array([np.sum(along(tree, sequence)) for sequence in EVERY])


def processed(processor, device="cpu"):
    """Return prefix -> log pi' of the next token, from the processor, a batch for each length."""
    tree = {}
    for length in range(LIMIT):
        rows = [x for x in prefixes() if len(x) == length]
        scores = torch.tensor(np.array([logits()[x] for x in rows]), device=device)
        result = processor(torch.tensor([[*PROMPT, *x] for x in rows], device=device), scores)
        tree |= dict(zip(rows, result.cpu().numpy(), strict=True))
    return tree


CHOSEN = {
    "one of one token": {(0,): 1.0},
    "overlapping prefixes": {(1, 2, 3, 0): 2.0, (1, 2, 4, 0): -1.0, (1, 2, 0): 0.5, (1, 0): -2.0},
    "prefixes of each other but for the end": {(2, 0): 3.0, (2, 2, 0): -3.0, (2, 2, 2, 0): 1.5},
    "huge": {(1, 2, 0): 800.0, (3, 0): -800.0, (3, 4, 0): 790.0},
    "nearly all": {s: 2.0 * np.sin(i) for i, s in enumerate(EVERY) if i % 40 != 1},
    "all": {s: 3.0 * np.cos(i) for i, s in enumerate(EVERY)},
}
POLICIES = [
    (1.0, 0, 1.0),
    (0.5, 0, 1.0),
    (1.7, 0, 1.0),
    (1.0, 3, 1.0),
    (0.8, 0, 0.7),
    (1.3, 4, 0.9),
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("name", CHOSEN)
def test_every_answer_has_the_probability_of_the_closed_form(device, name, policy):
    T, top_k, top_p = policy
    tilts = {s: A / T for s, A in CHOSEN[name].items()}
    tree = base(*policy)
    known = Known(list(tilts), [along(tree, s) for s in tilts], list(tilts.values()))
    processor = PsiProcessor(
        known, len(PROMPT), temperature=T, top_k=top_k, top_p=top_p, limit=LIMIT, end=0
    )
    wanted = closed_form(totals(tree), [tilts.get(s, 0.0) for s in EVERY])
    found = totals(processed(processor, device))
    assert np.sum(np.exp(found)) == pytest.approx(1.0, abs=1e-9)
    assert_same_policy(found, wanted)
    outside = [i for i, s in enumerate(EVERY) if s not in tilts]
    np.testing.assert_allclose(found[outside], totals(tree)[outside] - known.log_Z, atol=1e-7)


def test_without_known_actions_the_base_policy_stands_bit_for_bit():
    tree = base(0.8, 4, 0.9)
    chosen = [(1, 2, 0), (3, 0)]
    none = Known([], [], [])
    untilted = Known(chosen, [along(tree, s) for s in chosen], [0.0, 0.0])
    settings = {"temperature": 0.8, "top_k": 4, "top_p": 0.9, "limit": LIMIT, "end": 0}
    one, other = (
        processed(PsiProcessor(known, len(PROMPT), **settings)) for known in (none, untilted)
    )
    for prefix in prefixes():
        assert one[prefix].tolist() == other[prefix].tolist()
        np.testing.assert_allclose(np.exp(one[prefix]), np.exp(tree[prefix]), atol=1e-12)


def test_generate_adds_nothing_to_what_the_processor_returns(device):
    chosen = [(1, 2, 0), (3, 0)]
    tree = base(0.8, 4, 1.0)
    known = Known(chosen, [along(tree, s) for s in chosen], [2.0, -1.0])
    processor = PsiProcessor(known, len(PROMPT), temperature=0.8, top_k=4, limit=LIMIT, end=0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        output = (
            llama(VOCABULARY)
            .to(device)
            .generate(
                torch.tensor([PROMPT], device=device),
                attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long, device=device),
                logits_processor=[processor],
                do_sample=True,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                max_new_tokens=LIMIT,
                num_return_sequences=20,
                return_dict_in_generate=True,
                output_scores=True,
            )
        )
    wanted = processed(processor)
    assert len(output.sequences) == 20
    for row, ids in enumerate(output.sequences[:, len(PROMPT) :].tolist()):
        answer = tuple(ids[: ids.index(0) + 1])
        assert answer in EVERY
        for place in range(len(answer)):
            scores = np.exp(output.scores[place][row].cpu().numpy())
            # generate rounds logits to float32
            np.testing.assert_allclose(scores, np.exp(wanted[answer[:place]]), 0, 1e-6)


def test_a_float32_row_is_shifted_without_overflow(device):
    row = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float32, device=device)
    shift(row, [0], [1e60])
    assert row.dtype == torch.float32
    assert row.tolist() == [0.0, -torch.inf, -torch.inf]
    row = torch.tensor([1.0, -torch.inf, 3.0], dtype=torch.float32, device=device)
    shift(row, [0, 1], [2.0, 5.0])
    assert row.exp().tolist() == pytest.approx([0.5, 0.0, 0.5])


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"limit": 3},
        {"end": 0},
        {"limit": 1, "end": 0},
    ],
    ids=str,
)
def test_settings_that_define_no_policy_are_refused(wrong):
    known = Known([(1, 0)], [[-1.0, 0.0]], [1.0])
    with pytest.raises(InvalidValue):
        PsiProcessor(known, 2, **wrong)
