"""32 candidates scored in one batched pass over a shared prompt, against 32 separate passes.

    python benchmarks/sequence_scoring.py

A random Llama of about a million parameters, a prompt of about 324 tokens, float32, one thread.
The two ways are measured in turn, and must give the same log-probabilities to 1e-5. Seconds depend
on the machine and its load: the ratio within one run is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from jitrl.models.transformers import Floats, TransformersModel
from jitrl.testing.tiny import tiny

ROOM = "You are in a narrow hall with a low ceiling. Doors lead north, south and east."
VERBS = ("take", "drop", "open", "look at")
NOUNS = ("lamp", "old brass key", "door", "rug", "letter", "small wooden box", "bell", "rope")


def build() -> tuple[TransformersModel, list[int], list[list[int]]]:
    """Return a random model, the tokens of the prompt, and those of each candidate."""
    candidates = [f"{verb} {noun}" for verb in VERBS for noun in NOUNS]
    _, tokenizer = tiny([(f"{ROOM}\n\nAction:", action, 1.0) for action in candidates], steps=1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        eos_token_id=1,
        tie_word_embeddings=True,
    )
    untrained: Any = LlamaForCausalLM(config)
    model = TransformersModel(untrained, tokenizer)
    turns, n = "", 0
    while len(model.prompt_ids(f"{turns}Action:")) < 324:
        turns, n = f"{turns}{n}: {candidates[n % 32]}: nothing happens.\n", n + 1
    prompt = f"{turns}Action:"
    return model, model.prompt_ids(prompt), [model.answer_ids(prompt, text) for text in candidates]


def separate(model: TransformersModel, prompt: list[int], answers: list[list[int]]) -> Floats:
    """Return log p of each answer, by one pass over prompt and answer each."""
    result = []
    for answer in answers:
        logits = model.model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
        logp = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
        result.append(float(logp.gather(-1, torch.tensor(answer).unsqueeze(-1)).sum()))
    return np.array(result)


def batched(model: TransformersModel, prompt: list[int], answers: list[list[int]]) -> Floats:
    """Return the same by one pass over the prompt, and one over all the answers."""
    scored = model.score_tokens(model.prefill(prompt, max(map(len, answers))), answers)
    return np.array([np.sum(logprobs) for logprobs in scored])


def seconds(work: Callable[[], Floats]) -> tuple[float, Floats]:
    """Return how long `work` took, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@torch.inference_mode()
def compare(
    repeats: int, model: TransformersModel, prompt: list[int], answers: list[list[int]]
) -> None:
    """Measure both in turn, and print a table."""
    once, many = batched(model, prompt, answers), separate(model, prompt, answers)
    assert np.max(np.abs(once - many)) < 1e-5, "the two ways must agree"
    spent: dict[str, list[float]] = {"separate": [], "batched": []}
    for _ in range(repeats):
        spent["separate"].append(seconds(lambda: separate(model, prompt, answers))[0])
        spent["batched"].append(seconds(lambda: batched(model, prompt, answers))[0])
    median = {way: statistics.median(times) for way, times in spent.items()}
    parameters = sum(weights.numel() for weights in model.model.parameters())
    print(f"{parameters:,} parameters, {len(prompt)} tokens of prompt, {len(answers)} candidates")
    print(f"of {min(map(len, answers))}-{max(map(len, answers))} tokens, median of {repeats} runs")
    print(f"separate passes  {1000 * median['separate']:8.1f} ms")
    print(f"one batch        {1000 * median['batched']:8.1f} ms")
    print(f"ratio            {median['separate'] / median['batched']:8.1f}")
    print(f"largest difference of a log-probability {np.max(np.abs(once - many)):.1e}")


def main() -> None:
    """Run it on one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    torch.set_num_threads(1)
    compare(parser.parse_args().repeats, *build())


if __name__ == "__main__":
    main()
