"""What replies of the OpenAI protocol hold, read strictly: what is missing is never made up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jitrl.errors import BadReply
from jitrl.models import Completion, Reply, Request, Token, Usage

__all__ = ["Echo", "chat", "echo"]

_EPS = 1e-6  # of a log-probability above 0: single precision
_UNTOLD = -9999.0  # what servers write for "too improbable to tell": no number to reckon with


@dataclass(frozen=True, slots=True)
class Echo:
    """A text's tokens with their log-probabilities; the first one's may be 0 for unknown."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    usage: Usage


def chat(body: Mapping[str, Any], request: Request, name: str) -> Reply:
    """Return the completions of `/chat/completions`; BadReply where one cannot be used."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BadReply(f"{name}: the reply holds no completion: check the base URL")
    completions = tuple(_completion(choice, request, name) for choice in choices[: request.n])
    return Reply(completions, _usage(body, name), name)


def _completion(choice: Any, request: Request, name: str) -> Completion:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise BadReply(f"{name}: a completion without a message: check the base URL")
    text, refusal = message.get("content"), message.get("refusal")
    finish = choice.get("finish_reason") or "unknown"
    if refusal or finish == "content_filter":
        return Completion(str(refusal or text or ""), "refusal")
    text = "" if text is None else text
    if not isinstance(text, str):
        raise BadReply(f"{name}: the text of a completion is no text: {text!r:.60}")
    tokens = None
    if request.top_logprobs is not None:
        logprobs = choice.get("logprobs")
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        if not isinstance(content, list) or (text and not content):
            raise BadReply(
                f"{name} gives no log-probabilities although asked: use --scores stated or sampled"
            )
        tokens = tuple(_token(entry, name) for entry in content)
    return Completion(text, str(finish), tokens)


def _token(entry: Any, name: str) -> Token:
    try:
        text, logprob = entry["token"], _logprob(entry["logprob"], name)
        top: dict[str, float] = {}
        for other in entry.get("top_logprobs") or ():
            known, more = other["token"], _logprob(other["logprob"], name)
            # Tokens that differ only in bytes that are no character read alike.
            top[known] = _logaddexp(top[known], more) if known in top else more
    except (KeyError, TypeError, AttributeError) as error:
        raise BadReply(f"{name}: a token without its log-probability: {entry!r:.120}") from error
    top.setdefault(text, logprob)  # the one drawn need not be among the most probable
    return Token(text, logprob, MappingProxyType(top))


def _logprob(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= _EPS:
        raise BadReply(f"{name}: {value!r} is no log-probability: use --scores stated or sampled")
    return min(float(value), 0.0) if value > _UNTOLD else -math.inf


def _logaddexp(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if math.isinf(low) else min(high + math.log1p(math.exp(low - high)), 0.0)


def _usage(body: Mapping[str, Any], name: str) -> Usage:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        raise BadReply(f"{name}: the reply tells no usage, so its tokens cannot be counted")
    details = usage.get("prompt_tokens_details")
    cached = (details.get("cached_tokens") if isinstance(details, dict) else None) or 0
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens") or 0
    if not all(type(number) is int and number >= 0 for number in (read, cached, written)):
        raise BadReply(f"{name}: the usage told is no number of tokens: {usage!r:.120}")
    return Usage(1, int(read), int(cached), int(written))  # type: ignore[arg-type]


def echo(body: Mapping[str, Any], name: str) -> Echo:
    """Return the prompt that `/completions` echoed, without what the model wrote after it.

    Without tokens where the server did not echo. Raises BadReply where it cannot be read.
    """
    usage = _usage(body, name)
    try:
        logprobs = body["choices"][0]["logprobs"] or {"tokens": [], "token_logprobs": []}
        tokens, values = logprobs["tokens"], logprobs["token_logprobs"]
        if tokens and _shifted(tokens, body["choices"][0]["text"], usage):
            raise BadReply(
                f"{name} gives a text's log-probabilities one token late (llama-cpp-python does, "
                "where texts begin with no special token): use --scores labels, stated or sampled"
            )
        kept = len(tokens) - usage.output
        known = tuple(
            0.0 if value is None and place == 0 else _logprob(value, name)
            for place, value in enumerate(values[: max(kept, 0)])
        )
        return Echo(tuple(map(str, tokens[: max(kept, 0)])), known, usage)
    except (KeyError, IndexError, TypeError) as error:
        raise BadReply(f"{name}: log-probabilities of another form: use --scores labels") from error


def _shifted(tokens: list[str], text: str, usage: Usage) -> bool:
    """Say whether a value is that of the token after it: then the last token is not listed."""
    if not usage.output:  # nothing was written, so that none is missing: no special one is in front
        return len(tokens) == usage.input and text.lstrip().startswith(tokens[0].strip())
    return len(tokens) < usage.input + usage.output and not text.endswith(tokens[-1])
