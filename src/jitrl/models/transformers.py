"""A local language model through transformers: `make("transformers/FOLDER")`.

Settings may follow in the name: "transformers/FOLDER,device=cuda,dtype=bfloat16".
torch and transformers are an optional extra, imported only when a model is opened.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jitrl.checks import count
from jitrl.errors import InvalidValue, ModelUnavailable, RequestRejected
from jitrl.models import (
    Capabilities,
    Completion,
    Message,
    Purpose,
    Reply,
    Request,
    SequenceScores,
    Token,
    Usage,
)
from jitrl.models.libraries import inference, libraries, placed, read, settings
from jitrl.models.logits import base_logprobs, draw

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Prefix", "TransformersModel", "make"]

Floats = NDArray[np.float64]
Choose = Callable[[list[list[int]], "Tensor"], list[int]]
_T = TypeVar("_T")


def make(
    which: str,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    threads: int | None = None,
    end: str | None = None,
    lead: str | None = None,
    batch: int = 32,
    **options: object,
) -> TransformersModel:
    """Open the model in the folder `which`, or of that name among those downloaded earlier.

    which    may end in settings, of `settings`, which then come before the arguments
    device   as torch names it: "cpu", "cuda", "cuda:1"
    dtype    as torch names it: "float32", "bfloat16", "float64"; "auto": as it is stored
    threads  of torch, in the whole process; None leaves them
    The others are those of `TransformersModel`. Nothing is downloaded, and no code or pickle that
    a folder may hold is run: weights are read from safetensors.

    Raises MissingExtra without torch and transformers, InvalidValue for a wrong option or a device
    that cannot hold the model, and RequestRejected where there is no such model.
    """
    for name, value in options.items():
        known = "device, dtype, threads, end, lead, batch"
        raise InvalidValue(name, value, f"is no option of a transformers model ({known})")
    folder, told = settings(which)
    model, tokenizer = read(folder, told.get("dtype", dtype), told.get("threads", threads))
    return TransformersModel(
        placed(model, told.get("device", device)),
        tokenizer,
        name=f"transformers/{which}",
        end=told.get("end", end),
        lead=lead,
        batch=told.get("batch", batch),
    )


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt that was read once: its ids, its key-value cache, and the logits that follow it."""

    ids: tuple[int, ...]
    cache: Any
    logits: Tensor


class TransformersModel:
    """A causal language model and its tokenizer as a `jitrl.models.Model`.

    model      a transformers causal language model; it is put into evaluation mode
    tokenizer  of the same model
    end        the text of the one token that ends an answer; None for the tokenizer's end of
               sequence. Generation ends also at what the model's generation_config names.
    lead       what an answer begins with, unless it begins with white space: None for nothing
               after a chat template, and for a blank after plain text that does not end in one
    batch      >= 1: rows of one forward pass

    A prompt is written with the tokenizer's chat template where it has one; else it is the
    messages' contents, joined by blank lines. A special token in a content (a page may hold
    "<|im_end|>") gets a blank after its first character, and is text. Everything runs in one
    thread of its own, one call after the other. Log-probabilities that are reported are of the
    model's own distribution: before temperature, top_p and bias. A schema is not enforced.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "transformers/local",
        end: str | None = None,
        lead: str | None = None,
        batch: int = 32,
    ) -> None:
        libraries()
        self.name = name
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.lead = lead
        self.batch = count("batch", batch, least=1)
        self.end = self._end_token(end)
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        special = {str(token) for token in added if token.special} | {*tokenizer.all_special_tokens}
        self._special = sorted(token for token in special if len(token) > 1)
        stops = getattr(model.generation_config, "eos_token_id", None)
        self.ends = frozenset({self.end, *(stops if isinstance(stops, list) else [stops])} - {None})
        config = model.config.get_text_config()
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self.vocabulary = int(config.vocab_size)
        self.capabilities = Capabilities(
            logprobs=True,
            top_logprobs=self.vocabulary,
            logit_bias=True,
            bias_shown="before",
            schema=False,
            several=True,
            sequence=True,
            tokenize=True,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jitrl-transformers")
        self._closed = False

    def _end_token(self, end: str | None) -> int:
        if end is not None:
            ids = self.tokenizer.encode(end, add_special_tokens=False)
        else:
            ids = [id for id in [self.tokenizer.eos_token_id] if id is not None]
        if len(ids) != 1:
            raise InvalidValue("end", end, f"must be one token of this tokenizer, not {len(ids)}")
        return int(ids[0])

    # --- the contract of models

    async def complete(self, request: Request) -> Reply:
        """Return `request.n` completions; see `jitrl.models.Model.complete`."""
        _check(request, self.vocabulary)
        stopped = threading.Event()
        try:
            return await self.run(lambda: self._complete(request, stopped))
        finally:
            stopped.set()  # a cancelled call ends at its next token

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        """Return log p of each continuation and its end, in one batched pass over the prompt.

        Raises RequestRejected for a continuation whose tokens are not those of the text that
        follows the prompt, or that does not fit into the context.
        """
        return await self.run(lambda: self._score(messages, continuations))

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return the ids of the tokens of `text`, without any lead or end."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    async def close(self) -> None:
        """Free the model; calling it twice is harmless."""
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self.model = None

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run `work` in the model's thread, without gradients; the methods below are for it."""
        if self._closed:
            raise ModelUnavailable(f"{self.name} is closed: open it again")
        return await asyncio.get_running_loop().run_in_executor(self._thread, inference, work)

    # --- texts and tokens

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """Return the text that the model continues, without what the tokenizer puts before it."""
        if not messages:
            raise InvalidValue("messages", messages, "must hold at least one message")
        if any(message.images for message in messages):
            raise RequestRejected(f"{self.name} reads texts alone: leave the screenshot out")
        contents = [self._plain(message.content) for message in messages]
        if self.tokenizer.chat_template is None:
            return "\n\n".join(contents)
        from jinja2 import TemplateError

        turns = [
            {"role": message.role, "content": content}
            for message, content in zip(messages, contents, strict=True)
        ]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    turns, tokenize=False, add_generation_prompt=True
                )
            )
        except TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise RequestRejected(
                f"the chat template of {self.name} refuses turns of {roles}: {error}"
            ) from error

    def _plain(self, content: str) -> str:
        """Return a content with special tokens spelt apart: it cannot end its own turn."""
        for token in self._special:
            content = content.replace(token, f"{token[0]} {token[1:]}")
        return content

    def prompt_ids(self, text: str) -> list[int]:
        """Return the tokens of a prompt; a chat template brings its own special tokens."""
        plain = self.tokenizer.chat_template is None
        return list(self.tokenizer.encode(text, add_special_tokens=plain))

    def answer_ids(self, prompt: str, answer: str) -> list[int]:
        """Return the tokens of `answer` after the prompt's text, and its end.

        They are read off the tokens of both together; the empty answer is its end alone. Raises
        RequestRejected where those do not begin with the prompt's own, and for an answer that
        holds a token that ends one.
        """
        if not answer:
            return [self.end]
        before, whole = self.prompt_ids(prompt), self.prompt_ids(prompt + self._led(prompt, answer))
        if whole[: len(before)] != before or len(whole) == len(before):
            raise RequestRejected(
                f"the tokens of {answer!r} run into those of the prompt, which ends in "
                f"{prompt[-20:]!r}: end the prompt elsewhere, or set `lead`"
            )
        if not self.ends.isdisjoint(answer_ids := whole[len(before) :]):
            raise RequestRejected(f"{answer!r} holds a token that ends an answer: leave it out")
        return [*answer_ids, self.end]

    def _led(self, prompt: str, answer: str) -> str:
        lead = self.lead
        if lead is None:
            plain = self.tokenizer.chat_template is None
            lead = " " if plain and not prompt[-1:].isspace() else ""
        return answer if answer[:1].isspace() else lead + answer

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of generated tokens; special ones, such as the end, have none."""
        return self._decode([id for id in ids if id not in self.ends], skip=True)

    def _decode(self, ids: Sequence[int], skip: bool = False) -> str:
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )
        )

    # --- the model; to be called in `run`

    def prefill(self, ids: Sequence[int], room: int = 0) -> Prefix:
        """Read a prompt once. `room` tokens are to follow it.

        Raises RequestRejected where they do not fit into the context together.
        """
        import torch
        from transformers import DynamicCache

        if not ids:
            raise RequestRejected("the prompt has no tokens: ask something")
        if self.context is not None and len(ids) + room > self.context:
            raise RequestRejected(
                f"{len(ids)} tokens of prompt and {room} to follow exceed the context of "
                f"{self.name}, {self.context}: shorten the prompt, or ask for fewer"
            )
        cache = DynamicCache(config=self.model.config)
        read = torch.tensor([list(ids)], device=self.model.device)
        output = self.model(input_ids=read, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return Prefix(tuple(ids), cache, output.logits[:, -1])

    def _rows(self, prefix: Prefix, rows: int) -> Any:
        """Return a copy of the prefix's cache for so many rows; a cache is changed in place."""
        cache = copy.deepcopy(prefix.cache)
        cache.batch_repeat_interleave(rows)
        return cache

    def score_tokens(
        self,
        prefix: Prefix,
        sequences: Sequence[Sequence[int]],
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> list[Floats]:
        """Return the log-probabilities of the tokens of each sequence after the prefix, in nats.

        Of the policy that `base_logprobs` defines; -inf for what truncation excludes. All are
        scored together, right-padded, `batch` of them in one forward pass.
        """
        first = base_logprobs(prefix.logits[0], temperature, top_k, top_p)
        result: list[Floats] = []
        for start in range(0, len(sequences), self.batch):
            some = [list(sequence) for sequence in sequences[start : start + self.batch]]
            following = self._logits_after(prefix, some)
            for ids, logits in zip(some, following, strict=True):
                later = base_logprobs(logits[: len(ids) - 1], temperature, top_k, top_p)
                values = [float(first[ids[0]]), *later[range(len(ids) - 1), ids[1:]].tolist()]
                result.append(np.array(values))
        return result

    def _logits_after(self, prefix: Prefix, sequences: list[list[int]]) -> Tensor:
        """Return the logits after each token but the last, shape (rows, width - 1, vocabulary)."""
        import torch

        width = max(len(sequence) for sequence in sequences)
        if width == 1:
            return prefix.logits.new_empty(len(sequences), 0, prefix.logits.shape[-1])
        padded = [ids + [self.end] * (width - len(ids)) for ids in sequences]
        output = self.model(
            input_ids=torch.tensor(padded, device=prefix.logits.device)[:, :-1],
            past_key_values=self._rows(prefix, len(sequences)),
            use_cache=True,
        )
        logits: Tensor = output.logits
        return logits

    def generate(
        self,
        prefix: Prefix,
        choose: Choose,
        limit: int,
        rows: int = 1,
        stopped: Callable[[list[int]], bool] = lambda ids: False,
    ) -> list[list[int]]:
        """Continue the prefix in `rows` independent rows; return their tokens, ends included.

        choose   takes what was written so far, per row, and the logits that follow, shape (rows,
                 vocabulary); returns the next token of each row
        limit    >= 1: at most so many tokens, the end included
        stopped  says of the tokens of a row whether it is done before its end
        """
        import torch

        written: list[list[int]] = [[] for _ in range(rows)]
        done = [False] * rows
        logits, cache = prefix.logits.expand(rows, -1), self._rows(prefix, rows)
        while True:
            tokens = choose(written, logits)
            for row, token in enumerate(tokens):
                if not done[row]:
                    written[row].append(token)
                    ids = written[row]
                    done[row] = token in self.ends or len(ids) >= limit or stopped(ids)
            if all(done):
                return written
            output = self.model(
                input_ids=torch.tensor(tokens, device=logits.device).unsqueeze(-1),
                past_key_values=cache,
                use_cache=True,
            )
            logits = output.logits[:, -1]

    # --- scoring and completing

    def _score(self, messages: Sequence[Message], continuations: Sequence[str]) -> SequenceScores:
        if not continuations:
            raise InvalidValue("continuations", continuations, "must hold at least one text")
        prompt = self.prompt_text(messages)
        sequences = [self.answer_ids(prompt, text) for text in continuations]
        prefix = self.prefill(self.prompt_ids(prompt), max(map(len, sequences)))
        logprobs = tuple(float(np.sum(values)) for values in self.score_tokens(prefix, sequences))
        tokens = len(prefix.ids) + sum(map(len, sequences))
        return SequenceScores(logprobs, Usage(calls=1, input=tokens), self.name)

    def _complete(self, request: Request, cancelled: threading.Event) -> Reply:
        prompt = self.prompt_text(request.messages)
        prefix = self.prefill(self.prompt_ids(prompt), request.max_tokens)
        writer = _Writer(self, request)

        def stopped(ids: list[int]) -> bool:
            return cancelled.is_set() or writer.cut(ids) is not None

        completions = []
        output = 0
        for start in range(0, request.n, self.batch):
            rows = min(self.batch, request.n - start)
            writer.shown = []
            written = self.generate(prefix, writer.choose, request.max_tokens, rows, stopped)
            completions += [writer.completion(prefix, row, ids) for row, ids in enumerate(written)]
            output += sum(map(len, written))
        usage = Usage(calls=1, input=len(prefix.ids), output=output)
        return Reply(tuple(completions), usage, self.name)


class _Writer:
    """What one request wants of its completions: how to choose tokens, where to stop."""

    def __init__(self, model: TransformersModel, request: Request) -> None:
        import torch

        self.model, self.request = model, request
        self.generator = torch.Generator()
        if request.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(request.seed)
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def choose(self, written: list[list[int]], logits: Tensor) -> list[int]:
        tokens = self._choice(logits)
        if self.request.top_logprobs is not None:
            own = base_logprobs(logits)
            best = own.topk(min(self.request.top_logprobs, self.model.vocabulary), dim=-1)
            self.shown.append((own[range(len(own)), tokens], best.indices, best.values))
        return tokens

    def _choice(self, logits: Tensor) -> list[int]:
        request = self.request
        if request.logit_bias:
            logits = logits.clone().double()  # bfloat16 would round a bias away
            for token, bias in request.logit_bias.items():
                logits[:, token] += bias
        if request.temperature == 0:
            return list(logits.argmax(dim=-1).tolist())
        logp = base_logprobs(logits, request.temperature, top_p=request.top_p)
        return draw(logp, self.generator)

    def cut(self, ids: list[int]) -> str | None:
        """Return the text before the first of the request's stops, None where there is none."""
        if not self.request.stop:
            return None
        text = self.model.text(ids)
        places = [place for stop in self.request.stop if (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else None

    def completion(self, prefix: Prefix, row: int, ids: list[int]) -> Completion:
        text = self.cut(ids)
        ended = text is not None or ids[-1] in self.model.ends
        ids = [id for id in ids if id not in self.model.ends]
        text = self.model.text(ids) if text is None else text
        tokens = None
        if self.request.top_logprobs is not None:
            tokens = tuple(self._tokens(prefix, row, ids, text))
        return Completion(text, "stop" if ended else "length", tokens)

    def _tokens(self, prefix: Prefix, row: int, ids: list[int], text: str) -> list[Token]:
        """Return the tokens that `text` consists of."""
        result: list[Token] = []
        for place, id in enumerate(ids):
            if len(self.model.text(ids[:place])) >= len(text):
                break  # the rest belongs to what stopped it
            logprob, others, values = (column[row] for column in self.shown[place])
            before = [*prefix.ids, *ids[:place]]
            top: dict[str, float] = {}
            for other, value in zip(others.tolist(), values.tolist(), strict=True):
                top.setdefault(self._piece(before, other), value)
            result.append(Token(self._piece(before, id), float(logprob), top))
        return result

    def _piece(self, before: list[int], id: int) -> str:
        """Return the text of a token where it stands: some tokenizers drop a first blank."""
        context = before[-4:]
        return self.model._decode([*context, id])[len(self.model._decode(context)) :]


def _check(request: Request, vocabulary: int) -> None:
    count("max_tokens", request.max_tokens, least=1)
    count("n", request.n, least=1)
    if request.top_logprobs is not None:
        count("top_logprobs", request.top_logprobs)
    for token in request.logit_bias:
        if not 0 <= token < vocabulary:
            raise InvalidValue("logit_bias", token, f"must name a token below {vocabulary}")
    if not request.temperature >= 0:
        raise InvalidValue("temperature", request.temperature, "must be at least 0")
    if not 0 < request.top_p <= 1:
        raise InvalidValue("top_p", request.top_p, "must lie in (0, 1]")
