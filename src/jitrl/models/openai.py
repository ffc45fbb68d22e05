"""Models behind an OpenAI-compatible server: hosted ones, vLLM, llama.cpp, Ollama, any base URL.

Keys come from the environment alone. With a base URL of the caller's, JITRL_API_KEY is the key
where it is set; a server on this machine is sent no other.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from jitrl.checks import count, finite
from jitrl.errors import BadReply, InvalidValue, RequestRejected
from jitrl.models import (
    Capabilities,
    Message,
    Purpose,
    Reply,
    Request,
    SequenceScores,
    Usage,
    replies,
)
from jitrl.models.replies import Echo
from jitrl.models.transport import Refused, Transport, together

__all__ = ["OpenAIModel", "anthropic", "gemini", "llamacpp", "make", "ollama", "openrouter", "vllm"]

_LOG = logging.getLogger("jitrl.models")
OWN_KEY = "JITRL_API_KEY"
_LABEL = 2  # characters of a label at most
_SPACES = {ord(" "): None, 0x2581: None}  # some servers show a token without its space
_EMPTY: Mapping[str, object] = MappingProxyType({})
_Limit = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class Backend:
    """How one kind of server differs from the others.

    key     environment variable of its key, None for a server that needs none
    limit   what it calls the limit of tokens; the other name is tried where it refuses
    schema  the form of `response_format` that it understands
    extra   fields of every request: they turn off what would bend the model's distribution
    """

    name: str
    base_url: str
    key: str | None = None
    limit: _Limit = "max_tokens"
    schema: Literal["json_schema", "json_object"] = "json_schema"
    extra: Mapping[str, object] = field(default_factory=lambda: _EMPTY)


OPENAI = Backend("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "max_completion_tokens")
OPENROUTER = Backend("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY")
GEMINI = Backend(
    "gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"
)
ANTHROPIC = Backend("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY")
VLLM = Backend(
    "vllm",
    "http://127.0.0.1:8000/v1",
    extra={"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
)
LLAMACPP = Backend(
    "llamacpp",
    "http://127.0.0.1:8080/v1",
    schema="json_object",
    extra={"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
)
OLLAMA = Backend("ollama", "http://127.0.0.1:11434/v1")


class OpenAIModel:
    """A model behind an OpenAI-compatible server.

    name          "openai/gpt-4.1-mini": back end, and the server's own name for the model
    capabilities  what is known: what replies have shown, or what a caller sets (`probe` finds out)
    end           how the model ends an answer in `score`, where the prompt is plain text

    A temperature of 0 that the server refuses, as models that reason do, is left out from then on,
    with a warning. Failures are tried again as `jitrl.models.transport.Transport` says.
    """

    end: str = "\n"

    def __init__(
        self,
        backend: Backend,
        model: str,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        concurrency: int = 8,
        seed: int = 0,
        extra: Mapping[str, object] = _EMPTY,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if finite("timeout", timeout) <= 0:
            raise InvalidValue("timeout", timeout, "must be more than 0 seconds")
        url = _checked(backend.base_url if base_url is None else base_url)
        key, variable = _key(backend, model, None if base_url is None else url)
        self.name = f"{backend.name}/{model}"
        self.capabilities = Capabilities()
        self._model = model
        self._extra = {**backend.extra, **extra}
        self._limit: _Limit = backend.limit
        self._renamed = False
        self._coolest = True
        self._schema = backend.schema
        self._tokenizer: _Tokenizer | None = None
        self._told: dict[str, tuple[int, ...]] = {}
        self._transport = Transport(
            url,
            key,
            variable,
            timeout=timeout,
            retries=count("retries", retries),
            concurrency=count("concurrency", concurrency, least=1),
            seed=count("seed", seed),
            sleep=sleep,
            clock=clock,
        )

    def __repr__(self) -> str:
        return f"OpenAIModel({self.name!r}, base_url={self._transport.base_url!r})"

    async def complete(self, request: Request) -> Reply:
        """Return `request.n` completions, of as many calls as it takes.

        Where a server returns one completion a call, further calls get the rest, each with the
        next seed. A schema that the server refuses is left out from then on, and
        `capabilities.schema` is False.
        """
        if self.capabilities.several is False and request.n > 1:
            parts = await together(self._call(_part(request, done, 1)) for done in range(request.n))
            return _joined(parts)
        first = await self._call(request)
        got = len(first.completions)
        if request.n > 1 and got < request.n:
            self._know(several=False)
        rest = await together(self._call(_part(request, done, 1)) for done in range(got, request.n))
        return _joined([first, *rest])

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        """Return log p of each continuation and `end`, in nats, after the messages as plain text.

        The prompt is the messages' contents, joined by blank lines and ended by a line break, so
        that an answer is a line of its own. It is read once alone and once with each continuation;
        what comes beyond its own tokens is summed. Raises RequestRejected where the server does
        not echo log-probabilities, BadReply where a token reaches across the prompt's end.
        """
        if not continuations:
            return SequenceScores((), Usage(), self.name)
        if any(message.images for message in messages):
            raise RequestRejected(
                f"{self.name} scores texts alone: use --scores labels, or leave the screenshot out"
            )
        prompt = "\n\n".join(message.content for message in messages)
        prompt = prompt if prompt.endswith("\n") else prompt + "\n"
        texts = [prompt, *(prompt + continuation + self.end for continuation in continuations)]
        read = await together(self._echo(text) for text in texts)
        before = read[0].tokens
        logprobs = []
        for text, whole in zip(texts[1:], read[1:], strict=True):
            tail = whole.tokens[len(before) :]
            if whole.tokens[: len(before)] != before or not _reads(tail, text[len(prompt) :]):
                raise BadReply(
                    f"{self.name}: the tokens do not part at the end of the prompt, before "
                    f"{text[len(prompt) :]!r:.60}: use --scores labels, stated or sampled"
                )
            logprobs.append(min(math.fsum(whole.logprobs[len(before) :]), 0.0))
        self._know(sequence=True)
        usage = sum((each.usage for each in read), Usage())
        return SequenceScores(tuple(logprobs), usage, self.name)

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return the ids of the tokens of `text`; None where the server does not tell.

        Asks vLLM's, llama.cpp's and llama-cpp-python's ways at the first call, and remembers the
        way, and what it was told of labels: a source asks for the same ones at every step.
        """
        if text in self._told:
            return self._told[text]
        if self._tokenizer is None:
            self._tokenizer = await self._find_tokenizer()
            self._know(tokenize=self._tokenizer.path is not None)
        if self._tokenizer.path is None:
            return None
        ids = await self._ids(self._tokenizer, text)
        if ids is None:
            raise BadReply(f"{self.name}: no tokens of {text!r} in the reply of its tokenizer")
        if len(text) <= _LABEL:
            self._told[text] = ids
        return ids

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._transport.close()

    def _know(self, **answers: bool) -> None:
        self.capabilities = replace(self.capabilities, **answers)  # type: ignore[arg-type]

    async def _call(self, request: Request) -> Reply:
        """Make one call, or another one where the server wants a field named or left out."""
        while True:
            body = self._body(request)
            try:
                reply = await self._transport.post("/chat/completions", body)
            except Refused as error:
                if not self._adapts(error, body):
                    raise
            else:
                return replies.chat(reply, request, self.name)

    def _adapts(self, error: Refused, body: Mapping[str, object]) -> bool:
        """Return whether another request may succeed; each change is made once, and kept."""
        if "response_format" in body and (
            error.blames("response_format") or error.blames("json_schema")
        ):
            self._know(schema=False)
            return True
        if body.get("temperature") == 0 and error.blames("temperature"):
            if self._coolest:
                _LOG.warning("%s takes no temperature 0: it answers at its own", self.name)
            self._coolest = False
            return True
        if "n" in body and error.blames("n"):
            self._know(several=False)
            return True
        other: _Limit = "max_completion_tokens" if "max_tokens" in body else "max_tokens"
        if not self._renamed and error.blames(self._limit) and other in error.said:
            self._limit, self._renamed = other, True
        # True as well where another call has found out since this one was sent.
        return self._limit in error.said and self._limit not in body

    def _body(self, request: Request) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self._model,
            "messages": [_turn(message) for message in request.messages],
            self._limit: request.max_tokens,
        }
        if request.temperature or self._coolest:
            body["temperature"] = request.temperature
        body |= self._extra
        if request.top_p != 1:
            body["top_p"] = request.top_p
        if request.n > 1 and self.capabilities.several is not False:
            body["n"] = request.n
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.top_logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if request.logit_bias:
            body["logit_bias"] = {str(id): bias for id, bias in request.logit_bias.items()}
        if request.schema is not None and self.capabilities.schema is not False:
            body["response_format"] = _format(self._schema, request.schema)
        return body

    async def _echo(self, text: str) -> Echo:
        body = {
            "model": self._model,
            "prompt": text,
            "max_tokens": 1,  # not every server takes 0
            "echo": True,
            "logprobs": 1,
            "temperature": 1.0,
        }
        try:
            reply = await self._transport.post("/completions", body)
        except Refused as error:
            if error.status in (401, 403):
                raise
            self._know(sequence=False)
            raise RequestRejected(
                f"{self.name} does not score texts ({error.said or error.status}): use --scores "
                "labels, stated or sampled"
            ) from None
        read = replies.echo(reply, self.name)
        if not read.tokens:
            self._know(sequence=False)
            raise RequestRejected(
                f"{self.name} does not echo the prompt's log-probabilities: use --scores labels, "
                "stated or sampled"
            )
        return read

    async def _find_tokenizer(self) -> _Tokenizer:
        root = self._transport.base_url.removesuffix("/v1")
        ways = (
            _Tokenizer(f"{root}/tokenize", "prompt", {"add_special_tokens": False}),
            _Tokenizer(f"{root}/tokenize", "content"),
            _Tokenizer(f"{root}/extras/tokenize", "input"),
        )
        for way in ways:
            if await self._ids(way, "A b"):
                # llama-cpp-python puts the token before which every text begins in front
                return replace(way, front=await self._ids(way, "") or ())
        return _Tokenizer(None, "")

    async def _ids(self, way: _Tokenizer, text: str) -> tuple[int, ...] | None:
        body = {"model": self._model, way.text: text, **way.extra}
        try:
            reply = await self._transport.post(way.path or "", body)
        except (Refused, BadReply):
            return None
        ids = reply.get("tokens")
        if not isinstance(ids, list) or not all(isinstance(id, int) for id in ids):
            return None
        front = len(way.front)
        return tuple(ids[front:] if tuple(ids[:front]) == way.front else ids)


@dataclass(frozen=True, slots=True)
class _Tokenizer:
    """Where a server tells the ids of tokens: a URL (None for nowhere), the name of the text."""

    path: str | None
    text: str
    extra: Mapping[str, object] = field(default_factory=lambda: _EMPTY)
    front: tuple[int, ...] = ()


def _turn(message: Message) -> dict[str, object]:
    """Return a message as the protocol has it; images as parts beside the text."""
    if not message.images:
        return {"role": message.role, "content": message.content}
    shown = [f"data:image/png;base64,{b64encode(image).decode()}" for image in message.images]
    parts: list[dict[str, object]] = [{"type": "text", "text": message.content}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in shown]
    return {"role": message.role, "content": parts}


def _part(request: Request, done: int, n: int) -> Request:
    """Return the request for `n` completions after `done`: equal seeds would repeat the first."""
    return replace(request, n=n, seed=None if request.seed is None else request.seed + done)


def _joined(parts: Sequence[Reply]) -> Reply:
    completions = tuple(completion for part in parts for completion in part.completions)
    return Reply(completions, sum((part.usage for part in parts), Usage()), parts[0].model)


def _reads(tokens: Sequence[str], text: str) -> bool:
    """Return whether tokens read as a text, but for spaces and characters that were split."""
    joined = "".join(tokens)
    if "\ufffd" in joined:
        return True
    return joined.translate(_SPACES) == text.translate(_SPACES)


def _format(form: str, schema: Mapping[str, object]) -> dict[str, object]:
    if form == "json_object":
        return {"type": form, "schema": schema}
    return {"type": form, "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _checked(url: object) -> str:
    """Return a base URL without the slash at its end."""
    rule = "must be an address such as http://127.0.0.1:8000/v1"
    if not isinstance(url, str):
        raise InvalidValue("base_url", url, rule)
    if "@" in url or "?" in url or "#" in url:  # not shown: it may be a secret
        raise InvalidValue("base_url", "...", f"must not hold a key or a query: set {OWN_KEY}")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise InvalidValue("base_url", url, rule) from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidValue("base_url", url, rule)
    return url.rstrip("/")


def _key(backend: Backend, model: str, base_url: str | None) -> tuple[str, str]:
    """Return the key to send, and the environment variable to name in messages."""
    if base_url is not None and (own := _secret(OWN_KEY)):
        return own, OWN_KEY
    if base_url is not None and _loopback(base_url):
        return "", OWN_KEY
    if backend.key is None:
        return "", OWN_KEY
    if key := _secret(backend.key):
        return key, backend.key
    names = backend.key if base_url is None else f"{OWN_KEY} or {backend.key}"
    raise InvalidValue(names, None, f"must be set in the environment for {backend.name}/{model}")


def _secret(variable: str) -> str:
    """Return the key in an environment variable, "" for none; what is wrong is never shown."""
    key = os.environ.get(variable, "").strip()  # a file's line break comes along easily
    if not (key.isascii() and key.isprintable()):
        raise InvalidValue(variable, "...", "must be printable ASCII: set the key again")
    return key


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make(name: str, **options: Any) -> OpenAIModel:
    """Open a model of OpenAI, or behind any `base_url` that speaks its protocol.

    base_url     the server's address, up to "/v1"; None for the back end's own
    timeout      seconds for one attempt, > 0
    retries      attempts after the first, >= 0
    concurrency  calls at once, >= 1
    seed         of the chance in the waits between attempts
    extra        fields added to every chat request, for what one server alone has
    sleep, clock  how to wait and what time it is, for tests

    Raises InvalidValue for a wrong option or a key that is not in the environment, MissingExtra
    without the package openai.
    """
    return OpenAIModel(OPENAI, name, **options)


def openrouter(name: str, **options: Any) -> OpenAIModel:
    """Open a model of OpenRouter: options as `make`."""
    return OpenAIModel(OPENROUTER, name, **options)


def gemini(name: str, **options: Any) -> OpenAIModel:
    """Open a model of Gemini through its compatible endpoint: options as `make`."""
    return OpenAIModel(GEMINI, name, **options)


def anthropic(name: str, **options: Any) -> OpenAIModel:
    """Open a model of Anthropic through its compatible endpoint: options as `make`."""
    return OpenAIModel(ANTHROPIC, name, **options)


def vllm(name: str, **options: Any) -> OpenAIModel:
    """Open a model that vLLM serves: options as `make`."""
    return OpenAIModel(VLLM, name, **options)


def llamacpp(name: str, **options: Any) -> OpenAIModel:
    """Open a model that llama.cpp serves, by itself or from Python: options as `make`."""
    return OpenAIModel(LLAMACPP, name, **options)


def ollama(name: str, **options: Any) -> OpenAIModel:
    """Open a model that Ollama serves: options as `make`."""
    return OpenAIModel(OLLAMA, name, **options)
