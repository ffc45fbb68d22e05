"""Calls of a model and their answers in terms of JSON, from which they come back bit for bit."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from jitrl.models import Completion, Message, Purpose, Reply, Request, SequenceScores, Token, Usage


@dataclass(frozen=True, slots=True)
class Call:
    """A call by its contents, in terms of JSON."""

    kind: str
    purpose: Purpose
    request: Mapping[str, object]

    @property
    def key(self) -> str:
        """SHA-256 of all of it."""
        purpose = (self.purpose.role, self.purpose.episode, self.purpose.t)
        return hashlib.sha256(dumps([self.kind, purpose, self.request]).encode()).hexdigest()

    def __str__(self) -> str:
        place = {"episode": self.purpose.episode, "step": self.purpose.t}
        shown = [f"{name} {number}" for name, number in place.items() if number is not None]
        role = f" for {self.purpose.role}" if self.purpose.role else ""
        return ", ".join([self.kind + role, *shown])


def dumps(value: object) -> str:
    """Return one line of strict JSON, in ASCII, with mappings in their order."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def completion(request: Request) -> Call:
    """Return the call; a schema stays in its order, which a server may follow."""
    return Call(
        "complete",
        request.purpose,
        {
            "messages": _messages(request.messages),
            "max_tokens": request.max_tokens,
            "temperature": _plain(float(request.temperature)),
            "top_p": _plain(float(request.top_p)),
            "n": request.n,
            "seed": request.seed,
            "stop": list(request.stop),
            "schema": _plain(request.schema),
            "top_logprobs": request.top_logprobs,
            "logit_bias": [[token, float(b)] for token, b in sorted(request.logit_bias.items())],
        },
    )


def scoring(messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose) -> Call:
    """Return the call."""
    request = {"messages": _messages(messages), "continuations": list(continuations)}
    return Call("score", purpose, request)


def tokenizing(text: str) -> Call:
    """Return the call, which is for no purpose: it costs nothing."""
    return Call("tokenize", Purpose(role=""), {"text": text})


def _messages(messages: Sequence[Message]) -> list[list[object]]:
    return [[message.role, message.content, *_digests(message.images)] for message in messages]


def _digests(images: Sequence[bytes]) -> list[list[str]]:
    """Return the SHA-256 of each image, as one list; nothing at all for none."""
    return [[hashlib.sha256(image).hexdigest() for image in images]] if images else []


def write_reply(reply: Reply) -> dict[str, object]:
    """Return the reply in terms of JSON."""
    return {
        "completions": [
            [said.text, said.finish, _tokens(said.tokens)] for said in reply.completions
        ],
        "usage": asdict(reply.usage),
        "model": reply.model,
    }


def _tokens(tokens: tuple[Token, ...] | None) -> list[object] | None:
    if tokens is None:
        return None
    return [[token.text, _plain(float(token.logprob)), _plain(token.top)] for token in tokens]


def read_reply(got: Any) -> Reply:
    """Return what `write_reply` was given."""
    return Reply(
        tuple(map(_read_completion, got["completions"])), Usage(**got["usage"]), got["model"]
    )


def _read_completion(got: Any) -> Completion:
    text, finish, tokens = got
    return Completion(text, finish, None if tokens is None else tuple(map(_read_token, tokens)))


def _read_token(got: Any) -> Token:
    text, logprob, top = got
    shown = {other: float(logprob) for other, logprob in top.items()}
    return Token(text, float(logprob), MappingProxyType(shown))


def write_scores(scores: SequenceScores) -> dict[str, object]:
    """Return the scores in terms of JSON."""
    return {
        "logprobs": _plain(scores.logprobs),
        "usage": asdict(scores.usage),
        "model": scores.model,
    }


def read_scores(got: Any) -> SequenceScores:
    """Return what `write_scores` was given."""
    return SequenceScores(tuple(map(float, got["logprobs"])), Usage(**got["usage"]), got["model"])


def write_ids(ids: tuple[int, ...] | None) -> object:
    """Return the ids in terms of JSON."""
    return None if ids is None else list(ids)


def read_ids(got: Any) -> tuple[int, ...] | None:
    """Return what `write_ids` was given."""
    return None if got is None else tuple(got)


def _plain(value: object) -> object:
    """Return the value in terms of JSON, which has no infinity and no nan: those become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    return value
