"""The conformance kit of models: `check_model(lambda: make("openai/my-model", base_url=...))`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from typing import Any, TypeVar

from jitrl.errors import BadReply, ModelError, RequestRejected
from jitrl.models import (
    Capabilities,
    Completion,
    Message,
    Model,
    Purpose,
    Reply,
    Request,
    SequenceScores,
    Token,
    Usage,
)

__all__ = ["check_model"]

_PURPOSE = Purpose("probe")
_MESSAGES = (Message("system", "Answer in one line."), Message("user", "Which way, and why?\n"))
_REQUEST = Request(_MESSAGES, max_tokens=24, purpose=_PURPOSE)
_CONTINUATIONS = ("go north", "go", "take the lamp")
_T = TypeVar("_T")
_EPS = 1e-4  # of sums of probabilities in single precision


def check_model(make: Callable[[], Model]) -> None:
    """Ask `make()` for a few short completions, and check that it keeps the contract.

    About ten calls, in an event loop of its own. What `capabilities` says that the model cannot do
    (False) is left out; log-probabilities and scores that it refuses with RequestRejected or
    BadReply are as well. Whatever the outcome, the model is closed.

    Raises AssertionError that names what is violated, and the ModelError of the plainest request
    where the model does not answer at all.
    """
    asyncio.run(_check(make))


async def _check(make: Callable[[], Model]) -> None:
    model = make()
    try:
        _check_attributes(model)
        await _check_plain(model)
        await _check_several(model)
        await _check_logprobs(model)
        await _check_many(model)
        await _check_scores(model)
        await _check_tokens(model)
    finally:
        await model.close()
    try:
        await model.close()
    except Exception as error:
        raise AssertionError(
            f"close: a second call must be harmless, it raised {error!r}"
        ) from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


async def _may_refuse(where: str, call: Coroutine[Any, Any, _T]) -> _T | None:
    """Return None where the model says that it cannot: with the errors of the contract alone."""
    try:
        return await call
    except (RequestRejected, BadReply):
        return None
    except ModelError:
        raise
    except Exception as error:
        raise AssertionError(f"{where} must raise a ModelError, it raised {error!r}") from error


def _check_attributes(model: Model) -> None:
    _require(
        isinstance(model.name, str) and bool(model.name),
        f"name must be a nonempty string, it is {model.name!r}",
    )
    _require(
        isinstance(model.capabilities, Capabilities),
        f"capabilities must be Capabilities, it is {model.capabilities!r}",
    )


async def _check_plain(model: Model) -> None:
    _check_reply(await model.complete(_REQUEST), 1, "complete")
    short = await model.complete(replace(_REQUEST, max_tokens=1))
    _check_reply(short, 1, "complete with max_tokens = 1")
    _require(
        short.usage.output <= 1,
        f"complete with max_tokens = 1: usage.output must be at most 1, it is {short.usage.output}",
    )


async def _check_several(model: Model) -> None:
    _check_reply(await model.complete(replace(_REQUEST, n=3, seed=1)), 3, "complete with n = 3")


async def _check_logprobs(model: Model) -> None:
    if model.capabilities.logprobs is False:
        return
    where = "complete with top_logprobs = 3"
    reply = await _may_refuse(where, model.complete(replace(_REQUEST, top_logprobs=3)))
    if reply is None:
        return
    _check_reply(reply, 1, where)
    for completion in reply.completions:
        _require(
            completion.tokens is not None or completion.finish == "refusal",
            f"{where}: a completion must have its tokens, or BadReply be raised",
        )
        for token in completion.tokens or ():
            _check_token(token, where)


def _check_token(token: Token, where: str) -> None:
    _require(isinstance(token.text, str), f"{where}: a token must be a text: {token.text!r}")
    for text, logprob in (*token.top.items(), (token.text, token.logprob)):
        _require(
            isinstance(text, str) and isinstance(logprob, float) and logprob <= 0,
            f"{where}: log-probabilities must be floats, at most 0; of {text!r} it is {logprob!r}",
        )
    _require(
        token.text in token.top,
        f"{where}: top must contain the token itself, {token.text!r}: {dict(token.top)!r:.120}",
    )
    _require(
        token.top[token.text] >= token.logprob - _EPS,
        f"{where}: top gives {token.text!r} less than its own log-probability {token.logprob!r}",
    )
    mass = math.fsum(math.exp(logprob) for logprob in token.top.values())
    _require(
        mass <= 1 + _EPS,
        f"{where}: probabilities in top must sum to at most 1, they sum to {mass!r}",
    )


async def _check_many(model: Model) -> None:
    """Several calls at once must each get an answer of their own."""
    requests = [replace(_REQUEST, max_tokens=4 + i) for i in range(3)]
    for reply in await asyncio.gather(*(model.complete(request) for request in requests)):
        _check_reply(reply, 1, "complete, three at once")


async def _check_scores(model: Model) -> None:
    if model.capabilities.sequence is False:
        return
    call = model.score(_MESSAGES, _CONTINUATIONS, _PURPOSE)
    scores = await _may_refuse("score", call)
    if scores is None:
        return
    _require(
        isinstance(scores, SequenceScores) and isinstance(scores.logprobs, tuple),
        f"score must return SequenceScores, it returned {scores!r:.120}",
    )
    _require(
        len(scores.logprobs) == len(_CONTINUATIONS),
        f"score: {len(_CONTINUATIONS)} continuations must have as many log-probabilities, "
        f"they have {len(scores.logprobs)}",
    )
    for text, logprob in zip(_CONTINUATIONS, scores.logprobs, strict=True):
        _require(
            isinstance(logprob, float) and math.isfinite(logprob) and logprob <= 0,
            f"score: log-probabilities must be finite and at most 0; of {text!r} it is {logprob!r}",
        )
    mass = math.fsum(map(math.exp, scores.logprobs))
    _require(
        mass <= 1 + _EPS,
        f"score: ended continuations exclude each other, their probabilities sum to {mass!r}",
    )
    _check_usage(scores.usage, "score")


async def _check_tokens(model: Model) -> None:
    ids = await _may_refuse("tokenize", model.tokenize("go north"))
    _require(
        ids is None or (isinstance(ids, tuple) and bool(ids) and all(type(i) is int for i in ids)),
        f"tokenize must return a tuple of ids or None, it returned {ids!r}",
    )


def _check_reply(reply: Reply, n: int, where: str) -> None:
    _require(isinstance(reply, Reply), f"{where} must return a Reply, it returned {reply!r:.120}")
    _require(
        isinstance(reply.completions, tuple) and len(reply.completions) == n,
        f"{where}: completions must be a tuple of {n}, it has {len(reply.completions)}",
    )
    for completion in reply.completions:
        _require(
            isinstance(completion, Completion)
            and isinstance(completion.text, str)
            and isinstance(completion.finish, str)
            and bool(completion.finish),
            f"{where}: a completion must have a text and the word why it ended: {completion!r}",
        )
    _require(
        isinstance(reply.model, str) and bool(reply.model),
        f"{where}: model must say who answered, it is {reply.model!r}",
    )
    _check_usage(reply.usage, where)


def _check_usage(usage: Usage, where: str) -> None:
    _require(isinstance(usage, Usage), f"{where}: usage must be a Usage, it is {usage!r}")
    for each in fields(Usage):
        value = getattr(usage, each.name)
        _require(
            type(value) is int and value >= 0,
            f"{where}: usage.{each.name} must be an integer, at least 0, it is {value!r}",
        )
    _require(usage.calls >= 1, f"{where}: usage.calls must count the call, it is 0")
    _require(usage.input >= 1, f"{where}: usage.input must count the prompt, it is 0")
    _require(
        usage.cached <= usage.input,
        f"{where}: usage.cached must be at most usage.input, {usage.cached} > {usage.input}",
    )
