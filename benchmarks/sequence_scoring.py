"""32 candidates scored in one batched pass over a shared prompt, against 32 separate passes.

    python benchmarks/sequence_scoring.py
    python benchmarks/sequence_scoring.py --size 8b --device cuda --dtype bfloat16 \\
        --tokens 300 2000 8000

A random Llama of about a million parameters, a prompt of about 324 tokens, float32, one thread; or
one of eight billion, in the shape of Llama 3. Beside them: the prompt read alone, and an answer of
16 tokens written greedily, prompt included. All are measured in turn, once unmeasured before. In
float32 the first two must give the same log-probabilities, to 1e-5 (1e-4 with 8b). Seconds depend
on the machine and its load: the ratio within one run is what counts. Memory is the most that was
held on the GPU, weights included.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from jitrl.models.transformers import Floats, TransformersModel
from jitrl.testing.tiny import tiny

ROOM = "You are in a narrow hall with a low ceiling. Doors lead north, south and east."
VERBS = ("take", "drop", "open", "look at")
NOUNS = ("lamp", "old brass key", "door", "rug", "letter", "small wooden box", "bell", "rope")
CANDIDATES = [f"{verb} {noun}" for verb in VERBS for noun in NOUNS]
SIZES = {
    "1m": {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
    },
    "8b": {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
WITHIN = {("1m", "float32"): 1e-5, ("8b", "float32"): 1e-4}  # in bfloat16 it is shown alone
WRITTEN = 16


def build(size: str, device: str, dtype: str, batch: int) -> TransformersModel:
    """Return a random model, made where it is to run, with a tokenizer of a few hundred tokens."""
    _, tokenizer = tiny([(f"{ROOM}\n\nAction:", action, 1.0) for action in CANDIDATES], steps=1)
    shape: dict[str, Any] = {"vocab_size": len(tokenizer), **SIZES[size]}
    spread = shape["hidden_size"] ** -0.5  # so that what is read counts for what follows
    config = LlamaConfig(
        **shape, initializer_range=spread, max_position_embeddings=131_072, eos_token_id=1
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            untrained: Any = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return TransformersModel(untrained, tokenizer, batch=batch)


def texts(model: TransformersModel, length: int) -> tuple[list[int], list[list[int]]]:
    """Return the tokens of a prompt of at least that length, and those of each candidate."""
    turns, n = "", 0
    while len(model.prompt_ids(f"{turns}Action:")) < length:
        turns, n = f"{turns}{n}: {CANDIDATES[n % 32]}: nothing happens.\n", n + 1
    prompt = f"{turns}Action:"
    return model.prompt_ids(prompt), [model.answer_ids(prompt, text) for text in CANDIDATES]


def separate(model: TransformersModel, prompt: list[int], answers: list[list[int]]) -> Floats:
    """Return log p of each answer, by one pass over prompt and answer each."""
    result = []
    for answer in answers:
        ids = torch.tensor([[*prompt, *answer]], device=model.model.device)
        logits = model.model(input_ids=ids, logits_to_keep=len(answer) + 1).logits[0, :-1]
        logp = torch.log_softmax(logits.double(), dim=-1)
        result.append(float(logp[range(len(answer)), answer].sum()))
    return np.array(result)


def batched(model: TransformersModel, prompt: list[int], answers: list[list[int]]) -> Floats:
    """Return the same by one pass over the prompt, and one over all the answers."""
    scored = model.score_tokens(model.prefill(prompt, max(map(len, answers))), answers)
    return np.array([np.sum(logprobs) for logprobs in scored])


def read(model: TransformersModel, prompt: list[int]) -> int:
    """Read the prompt alone; return the most probable token after it."""
    return int(model.prefill(prompt).logits.argmax())


def write(model: TransformersModel, prompt: list[int]) -> list[int]:
    """Return an answer of 16 tokens, each the most probable that is no end."""

    def choose(written: list[list[int]], logits: torch.Tensor) -> list[int]:
        logits = logits.clone()
        logits[:, sorted(model.ends)] = -torch.inf
        return list(logits.argmax(dim=-1).tolist())

    return model.generate(model.prefill(prompt, WRITTEN), choose, WRITTEN)[0]


@dataclass
class Spent:
    """What one way took: seconds a run, and bytes of a GPU's memory at the most."""

    seconds: list[float]
    memory: int = 0

    def run(self, work: Callable[[], object]) -> None:
        """Measure one run; what `work` returns is on the host, so that nothing is under way."""
        gpu = torch.cuda.is_available()
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        work()
        self.seconds.append(time.perf_counter() - start)
        self.memory = max(self.memory, torch.cuda.max_memory_allocated() if gpu else 0)


@torch.inference_mode()
def compare(model: TransformersModel, length: int, repeats: int, within: float) -> None:
    """Measure all ways in turn after a prompt of that length, and print a table.

    `within`: by how much the log-probabilities of the first two may differ.
    """
    prompt, answers = texts(model, length)
    once, many = batched(model, prompt, answers), separate(model, prompt, answers)
    difference = np.max(np.abs(once - many))
    assert difference < within, f"the two ways must agree, they differ by {difference}"
    ways: dict[str, Callable[[], object]] = {
        "separate passes": lambda: separate(model, prompt, answers),
        "one batch": lambda: batched(model, prompt, answers),
        "prompt alone": lambda: read(model, prompt),
        f"{WRITTEN} tokens written": lambda: write(model, prompt),
    }
    ways[f"{WRITTEN} tokens written"]()
    spent = {way: Spent([]) for way in ways}
    for _ in range(repeats):
        for way, work in ways.items():
            spent[way].run(work)
    least, most = min(map(len, answers)), max(map(len, answers))
    print(f"\n{len(prompt)} tokens of prompt, {len(answers)} candidates of {least}-{most} tokens,")
    print(f"median of {repeats} runs (least, most)")
    median = {way: statistics.median(found.seconds) for way, found in spent.items()}
    for way, found in spent.items():
        low, high = 1000 * min(found.seconds), 1000 * max(found.seconds)
        held = f"{found.memory / 2**30:8.2f} GiB" if found.memory else ""
        print(f"{way:18} {1000 * median[way]:10.1f} ms ({low:.1f}, {high:.1f}){held}")
    print(f"ratio {median['separate passes'] / median['one batch']:.1f}")
    print(f"largest difference of a log-probability {difference:.1e}")


def main() -> None:
    """Run it on one thread, or on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--size", choices=SIZES, default="1m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tokens", type=int, nargs="+", default=[324])
    parser.add_argument("--batch", type=int, default=32, help="candidates in one pass")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    model = build(wanted.size, wanted.device, wanted.dtype, wanted.batch)
    parameters = sum(weights.numel() for weights in model.model.parameters())
    gpu = wanted.device.startswith("cuda")
    where = torch.cuda.get_device_name(wanted.device) if gpu else platform.machine()
    print(f"{parameters:,} parameters in {wanted.dtype} on {wanted.device} ({where});")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    within = WITHIN.get((wanted.size, wanted.dtype), math.inf)
    for length in wanted.tokens:
        compare(model, length, wanted.repeats, within)


if __name__ == "__main__":
    main()
