"""A tiny language model, built and trained on the spot: real logits for tests, in seconds.

    model, tokenizer = tiny([("You are in a hall.\\n\\nAction:", "go north", 3.0), ...])
    save(model, tokenizer, folder)          # then: make(f"transformers/{folder}")

Needs torch and transformers: pip install 'jitrl[local]'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jitrl.checks import count, finite, text
from jitrl.errors import InvalidValue
from jitrl.models import Message
from jitrl.models.libraries import libraries, without_bars
from jitrl.models.transformers import TransformersModel

__all__ = ["save", "tiny"]

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %}{{ '\\n\\n' }}{% endif %}"
    "{{ message['content'] }}{% endfor %}{{ '\\n' }}"
)
"""The contents, joined by blank lines, and a line break before the answer."""


def tiny(
    examples: Sequence[tuple[str, str, float]],
    *,
    seed: int = 0,
    steps: int = 150,
    vocabulary: int = 512,
    context: int = 1024,
    chat: bool = False,
    dtype: str = "float32",
) -> tuple[Any, Any]:
    """Return a Llama of about 0.1 million parameters trained on the examples, and its tokenizer.

    examples    (prompt, answer, weight > 0) each: the model learns to answer a prompt with each of
                its answers in proportion to their weights, roughly, and to end there
    seed        >= 0: of the weights it begins with, and of the order of the examples
    steps       >= 1, of Adam on 16 examples each; 150 take a few seconds
    vocabulary  at most so many tokens of a byte-level BPE, at least 258
    context     longest prompt and answer, in tokens
    chat        give the tokenizer a chat template, for servers that want one
    dtype       "float32" or "float64", of the model that is returned

    One thread is used while it trains. The global random state of torch is left as it was. Raises
    MissingExtra without torch and transformers, InvalidValue for a wrong argument.
    """
    _check(examples, vocabulary)
    if dtype not in ("float32", "float64"):
        raise InvalidValue("dtype", dtype, "must be float32 or float64")
    torch, _ = libraries()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(count("seed", seed))
            tokenizer = _tokenizer(examples, vocabulary, chat)
            model = _llama(len(tokenizer), context)
            _train(model, tokenizer, examples, count("steps", steps, least=1))
    finally:
        torch.set_num_threads(threads)
    return model.to(getattr(torch, dtype)).eval(), tokenizer


def save(model: Any, tokenizer: Any, folder: str | Path) -> None:
    """Write both into `folder`, for `make(f"transformers/{folder}")` or a server."""
    with without_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _check(examples: Sequence[tuple[str, str, float]], vocabulary: int) -> None:
    if not examples:
        raise InvalidValue("examples", examples, "must hold at least one")
    for prompt, answer, weight in examples:
        if not text("prompt", prompt) or not text("answer", answer):
            raise InvalidValue("example", (prompt, answer), "must hold two texts, neither empty")
        if not finite("weight", weight) > 0:
            raise InvalidValue("weight", weight, "must be above 0")
    count("vocabulary", vocabulary, least=258)


def _tokenizer(examples: Sequence[tuple[str, str, float]], vocabulary: int, chat: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    _, transformers = libraries()
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([f"{prompt} {answer}" for prompt, answer, _ in examples], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE if chat else None
    return tokenizer


def _llama(vocabulary: int, context: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,  # of 32: the smallest that vLLM serves on a CPU
            num_key_value_heads=2,
            max_position_embeddings=count("context", context, least=2),
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            tie_word_embeddings=True,
        )
    )


def _train(
    model: Any, tokenizer: Any, examples: Sequence[tuple[str, str, float]], steps: int
) -> None:
    """Minimise the cross-entropy of the answers and their ends, examples drawn by weight."""
    import torch

    texts = TransformersModel(model, tokenizer)
    rows = []
    for prompt, answer, _ in examples:
        asked = texts.prompt_text((Message("user", prompt),))
        rows.append((texts.prompt_ids(asked), texts.answer_ids(asked, answer)))
    weights = torch.tensor([weight for _, _, weight in examples])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = [rows[i] for i in torch.multinomial(weights, 16, replacement=True).tolist()]
        width = max(len(asked) + len(answer) for asked, answer in batch)
        ids = torch.full((len(batch), width), texts.end)
        labels = torch.full((len(batch), width), -100)  # of no account in the loss
        for i, (asked, answer) in enumerate(batch):
            ids[i, : len(asked) + len(answer)] = torch.tensor([*asked, *answer])
            labels[i, len(asked) : len(asked) + len(answer)] = torch.tensor(answer)
        optimiser.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
