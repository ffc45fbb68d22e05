"""Check real servers against the same tiny model in transformers, by hand: see docs/servers.md.

    python scripts/check_servers.py train FOLDER
    python scripts/check_servers.py vllm FOLDER --base-url http://127.0.0.1:PORT/v1 --model NAME
    python scripts/check_servers.py llamacpp FOLDER --base-url http://127.0.0.1:PORT/v1 --model NAME
    python scripts/check_servers.py hook FILE.gguf

`train` builds the model, which the servers are started with. `vllm` and `llamacpp` need the extras
`models` and `local`; `hook` runs beside llama-cpp-python, and needs numpy alone besides it. Exits
with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from jitrl import models, update
from jitrl.decoding.psi import Known
from jitrl.errors import BadReply, RequestRejected
from jitrl.models import Message, Model, Request
from jitrl.models.probe import probe
from jitrl.records import Modulation, Observation, Situation, State, Values
from jitrl.scores.biased import Biased
from jitrl.scores.labels import LARGEST_BIAS, Labels, label_messages
from jitrl.scores.replies import label_logprobs
from jitrl.scores.sequences import Sequences, action_messages
from jitrl.scores.text import labels

WEIGHTS = {
    "take lamp": 5.0,
    "take lamp oil": 3.0,
    "take": 1.0,
    "go north": 4.0,
    "go east": 2.0,
    "open the door": 2.0,
    "look": 1.0,
    "wait": 1.0,
}
"""What the tiny model is taught to prefer. Three of them begin alike."""
SITUATION = Situation(
    "Find the lamp.",
    0,
    0,
    Observation(State(room="Hall", inventory="nothing"), "You are in a hall.", tuple(WEIGHTS)),
)
LABELS = labels(tuple(WEIGHTS))
ADVANTAGES = {"take lamp": -1.0, "take lamp oil": 0.8, "go east": 1.0, "look": 0.5}
BETA = 1.5
ANSWER_TOKENS = 24
CALLS = 32  # at once
OTHER = "(anything else)"


@dataclass(frozen=True)
class Row:
    """One line of the table: `value` must lie on the right side of `bound`."""

    check: str
    n: int
    measure: str
    value: float
    bound: float
    least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value >= self.bound if self.least else self.value <= self.bound

    def __str__(self) -> str:
        sign, mark = (">=" if self.least else "<="), ("ok" if self.holds else "FAILS")
        return (
            f"{self.check:<34} {self.n:>6}  {self.measure:<32} "
            f"{self.value:>9.3g} {sign} {self.bound:<7g} {mark}"
        )


def say(text: object) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fit(
    check: str,
    drawn: Iterable[str],
    expected: Mapping[str, float],
    other: Mapping[str, float],
) -> list[Row]:
    """Compare draws with the probabilities they should have, and with those of another policy.

    The p-value of Pearson's chi-square is that among 20,000 simulated samples of the same size.
    """
    names, counts = list(expected), Counter(drawn)
    n = counts.total()
    p, q = [np.array([policy[name] for name in names]) for policy in (expected, other)]
    rng = np.random.default_rng(0)
    simulated = rng.multinomial(n, p, size=20_000)
    observed = np.array([counts[name] for name in names])
    if observed.sum() != n:
        raise SystemExit(f"drawn, but not expected: {sorted(set(counts) - set(names))}")

    def chi_square(seen: Any) -> Any:
        return ((seen - n * p) ** 2 / (n * p)).sum(axis=-1)

    def distance(seen: Any, policy: Any = p) -> Any:
        return np.abs(seen / n - policy).sum(axis=-1) / 2

    value = float(np.mean(chi_square(simulated) >= chi_square(observed)))
    usual = float(np.quantile(distance(simulated), 0.999))
    return [
        Row(check, n, "total variation", float(distance(observed)), round(usual, 4)),
        Row(check, n, "p-value of chi-square", value, 0.001, least=True),
        Row(check, n, "variation from the other policy", float(distance(observed, q)), 0.1, True),
    ]


def modulation(temperature: float) -> Modulation:
    """Return what a memory might add in SITUATION."""
    return Modulation(
        SITUATION.observation.state,
        ADVANTAGES,
        otherwise=0.0,
        beta=BETA,
        kl_budget=None,
        temperature=temperature,
        values=Values(math.nan, {}),
        neighbours=(),
        abstained=False,
    )


def train(folder: Path) -> None:
    """Build the tiny model in `folder`: it knows answers to both prompts of SITUATION."""
    from jitrl.testing.tiny import save, tiny

    by_label = plain(label_messages(SITUATION, LABELS, 10))
    by_action = plain(action_messages(SITUATION))
    examples = [(by_action, action, weight) for action, weight in WEIGHTS.items()]
    examples += [(by_label, label, WEIGHTS[action]) for label, action in LABELS.items()]
    save(*tiny(examples, steps=300, context=4096, chat=True), folder)


def plain(messages: Sequence[Message]) -> str:
    """Return messages as one text, as the tiny model's template does."""
    return "\n\n".join(message.content for message in messages)


# --- servers


async def check_server(backend: str, url: str, name: str, folder: Path, n: int) -> list[Row]:
    """Return the rows of all checks that a running server allows."""
    model = models.make(f"{backend}/{name}", base_url=url, concurrency=CALLS, timeout=300.0)
    try:
        model.capabilities = await probe(model)
        for field in fields(model.capabilities):
            say(f"  {field.name:<14}{getattr(model.capabilities, field.name)}")
        after = model.capabilities.bias_shown == "after"
        rows = await check_sequence(model, folder)
        for bias in (False, True):
            rows += await check_labels(model, folder, bias)
        for temperature in (1.0,) if after else (1.0, 0.8):
            rows += await check_biased(model, folder, temperature, n)
        if backend == "vllm":
            rows += await check_decoding(url, name, folder, temperature=0.8, n=2 * n)
            rows.append(await check_refusal(url, name))
        return rows
    finally:
        await model.close()


def local(folder: Path, **options: object) -> Any:
    """Open the same model in transformers."""
    return models.make(f"transformers/{folder}", dtype="float32", threads=1, **options)


async def check_sequence(model: Model, folder: Path) -> list[Row]:
    """Compare log p of whole actions; a server reads the prompt as plain text.

    llama-cpp-python can do it only for texts that begin with a special token (tiny_gguf.py --bos).
    """
    from tokenizers.processors import TemplateProcessing

    truth = local(folder, end="\n", lead="")
    truth.tokenizer.chat_template = None
    if model.name.startswith("llamacpp"):
        first = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        truth.tokenizer.backend_tokenizer.post_processor = first
    rng = np.random.default_rng(0)
    wanted = await Sequences(truth).propose(SITUATION, rng)
    try:
        found = await Sequences(model).propose(SITUATION, rng)
    except (BadReply, RequestRejected) as error:
        say(f"  sequence: {error}")
        return []
    gaps = [
        abs(a.logprob - b.logprob) for a, b in zip(wanted.candidates, found.candidates, strict=True)
    ]
    return [Row("sequence", len(gaps), "largest difference of log p", max(gaps), 1e-3)]


async def next_logits(folder: Path) -> tuple[Any, Any]:
    """Return the logits, float64, of the token that answers the label prompt, and the model."""
    truth = local(folder)
    asked = truth.prompt_text(label_messages(SITUATION, LABELS, 10))
    prefix = await truth.run(lambda: truth.prefill(truth.prompt_ids(asked)))
    return prefix.logits[0].numpy().astype(np.float64), truth


async def label_tokens(truth: Any) -> list[int]:
    """Return the ids of the labels."""
    return [(await truth.tokenize(label))[0] for label in LABELS]


async def check_labels(model: Model, folder: Path, bias: bool) -> list[Row]:
    """Compare the log-ratios of the labels that the server reports with those of the logits."""
    logits, truth = await next_logits(folder)
    if bias and model.capabilities.bias_shown == "after":
        logits[await label_tokens(truth)] += LARGEST_BIAS
    logp = update.log_policy(logits, np.zeros(len(logits)), 0.0, 1.0)
    top = {truth.tokenizer.decode([i]): float(logp[i]) for i in np.argsort(-logp)[:20]}
    wanted = label_logprobs(top, LABELS)
    scores = await Labels(model, direct=True, bias=bias).propose(
        SITUATION, np.random.default_rng(0)
    )
    found = {candidate.action: candidate.logprob for candidate in scores.candidates}
    first = LABELS["A"]
    gaps = [
        abs((found[LABELS[label]] - found[first]) - (wanted[label] - wanted["A"]))
        for label in wanted
    ]
    name = f"labels{', biased' if bias else ''} ({scores.guarantee})"
    return [
        Row(name, len(found), "labels reported", len(found), len(LABELS), least=True),
        Row(name, len(gaps), "largest difference of log-ratios", max(gaps), 1e-3),
    ]


async def check_biased(model: Model, folder: Path, temperature: float, n: int) -> list[Row]:
    """Compare what the server draws, and what is reported of it, with pi exp(beta A / T) / Z."""
    logits, truth = await next_logits(folder)
    z = logits[await label_tokens(truth)]
    A = np.array([ADVANTAGES.get(action, 0.0) for action in LABELS.values()])
    base, expected = [
        dict(zip(LABELS.values(), np.exp(policy).tolist(), strict=True))
        for policy in (update.log_policy(z, A, beta, temperature) for beta in (0.0, BETA))
    ]
    source = Biased(model)
    draws = await asyncio.gather(
        *(
            source.sample(SITUATION, modulation(temperature), np.random.default_rng(seed))
            for seed in range(n)
        )
    )
    gaps = [abs(p - expected[a]) for drawn in draws for a, p in drawn.after.items()]
    name = f"labels-server, T = {temperature:g} ({draws[0].guarantee})"
    return [
        *fit(name, [drawn.action for drawn in draws], expected, base),
        Row(name, n, "largest difference of `after`", max(gaps), 1e-3),
    ]


async def check_decoding(
    url: str, name: str, folder: Path, temperature: float, n: int
) -> list[Row]:
    """Draw whole actions from the modulated policy, and from the base policy in the same batch."""
    from jitrl.decoding.vllm import arguments

    truth = local(folder)
    messages = action_messages(SITUATION)
    asked = truth.prompt_text(messages)
    sequences = [truth.answer_ids(asked, action) for action in ADVANTAGES]
    prefix = await truth.run(lambda: truth.prefill(truth.prompt_ids(asked)))
    logprobs = await truth.run(lambda: truth.score_tokens(prefix, sequences, temperature))
    known = tilted(sequences, logprobs, temperature)
    before, after = policies(known)
    pieces = {
        tuple(truth.tokenizer.decode([i]) for i in ids[:-1]): action
        for ids, action in zip(sequences, ADVANTAGES, strict=True)
    }

    async def draw(model: Model, seed: int) -> list[str]:
        request = Request(messages, ANSWER_TOKENS, temperature, n=50, seed=seed, top_logprobs=0)
        reply = await model.complete(request)
        return [
            pieces.get(written(completion), OTHER) if completion.finish == "stop" else OTHER
            for completion in reply.completions
        ]

    def written(completion: Any) -> tuple[str, ...]:
        return tuple(token.text for token in completion.tokens if token.text != "</s>")

    extra = {"vllm_xargs": arguments(known)}
    with_, without = [
        models.make(f"vllm/{name}", base_url=url, concurrency=CALLS, timeout=600.0, extra=fields)
        for fields in (extra, {})
    ]
    drawn = await asyncio.gather(
        *(draw(model, seed) for seed in range(0, n, 50) for model in (with_, without))
    )
    await with_.close()
    await without.close()
    return [
        *fit(f"decoding, T = {temperature:g}", chain.from_iterable(drawn[::2]), after, before),
        *fit("  without arguments, same batch", chain.from_iterable(drawn[1::2]), before, after),
    ]


async def check_refusal(url: str, name: str) -> Row:
    """See that a request which could not be exact is refused."""
    extra = {"vllm_xargs": {"jitrl_tokens": [5]}}
    model = models.make(f"vllm/{name}", base_url=url, extra=extra)
    try:
        await model.complete(Request((Message("user", "A"),), 8))
        refused = 0
    except RequestRejected as error:
        say(f"  refused: {error}")
        refused = 1
    finally:
        await model.close()
    return Row("decoding, half the arguments", 1, "refused", refused, 1, least=True)


def tilted(sequences: Sequence[Sequence[int]], logprobs: Any, temperature: float) -> Known:
    """Return the actions of ADVANTAGES, known."""
    return Known(sequences, logprobs, BETA * np.array(list(ADVANTAGES.values())) / temperature)


def policies(known: Known) -> tuple[dict[str, float], dict[str, float]]:
    """Return action -> probability before and after, everything else included."""
    names = [*ADVANTAGES, OTHER]
    before, after = (np.exp(policy).tolist() for policy in known.policies())
    return dict(zip(names, before, strict=True)), dict(zip(names, after, strict=True))


# --- llama.cpp in this process


def check_hook(file: Path, n: int, temperature: float = 0.8) -> list[Row]:
    """Draw whole actions through the Python hook, and without it, from a GGUF file."""
    from llama_cpp import Llama, LogitsProcessorList

    from jitrl.decoding.llamacpp import UNTRUNCATED, PsiHook

    whole = 0  # GGML_TYPE_F32, of the cache: its default is half precision
    llama = Llama(
        str(file),
        n_ctx=1024,
        logits_all=True,
        n_threads=1,
        n_threads_batch=1,
        type_k=whole,
        type_v=whole,
        verbose=False,
    )
    asked = f"{plain(action_messages(SITUATION))}\n"

    def ids(text: str) -> list[int]:
        return list(llama.tokenize(text.encode(), add_bos=False, special=True))

    prompt, end = ids(asked), llama.token_eos()
    sequences = [[*ids(asked + action)[len(prompt) :], end] for action in ADVANTAGES]
    logprobs = [logprobs_after(llama, prompt, each, temperature) for each in sequences]
    known = tilted(sequences, logprobs, temperature)
    read: list[list[int]] = [[]]

    def seen(input_ids: Any, scores: Any) -> Any:
        read[0] = input_ids[len(prompt) :].tolist()
        return scores

    def draw(seed: int, *hooks: Callable[[Any, Any], Any]) -> str:
        reply: Any = llama.create_completion(
            prompt,
            logits_processor=LogitsProcessorList([*hooks, seen]),
            temperature=temperature,
            max_tokens=ANSWER_TOKENS,
            seed=seed,
            **UNTRUNCATED,
        )
        ids = [*read[0], end]
        ended = reply["choices"][0]["finish_reason"] == "stop" and ids in sequences
        return list(ADVANTAGES)[sequences.index(ids)] if ended else OTHER

    before, after = policies(known)
    hook = PsiHook(known, len(prompt), temperature)
    return [
        *fit(f"hook, T = {temperature:g}", [draw(seed, hook) for seed in range(n)], after, before),
        *fit("  without it", [draw(seed) for seed in range(n)], before, after),
    ]


def logprobs_after(llama: Any, prompt: list[int], ids: list[int], temperature: float) -> Any:
    """Return the log-probabilities of tokens after a prompt, as llama.cpp computes them."""
    llama.reset()
    llama.eval([*prompt, *ids])
    rows = np.array(llama.scores[len(prompt) - 1 : len(prompt) - 1 + len(ids)], dtype=np.float64)
    flat = [update.log_policy(row, np.zeros(len(row)), 0.0, temperature) for row in rows]
    return np.array([row[id] for row, id in zip(flat, ids, strict=True)])


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description="Check real servers, by hand.")
    parser.add_argument("what", choices=["train", "vllm", "llamacpp", "hook"])
    parser.add_argument("path", type=Path, help="FOLDER of the tiny model; FILE.gguf for hook")
    parser.add_argument("--base-url")
    parser.add_argument("--model", default="tiny", help="the server's name for the model")
    parser.add_argument("--n", type=int, default=2000, help="draws of a check; of decoding twice")
    given = parser.parse_args()
    if given.what == "train":
        train(given.path)
        return
    if given.what == "hook":
        rows = check_hook(given.path, given.n)
    else:
        rows = asyncio.run(
            check_server(given.what, given.base_url, given.model, given.path, given.n)
        )
    say(f"{'check':<34} {'n':>6}  measure")
    for row in rows:
        say(row)
    if not all(row.holds for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
