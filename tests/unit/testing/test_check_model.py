"""Small models that break one rule each: the kit must name every one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jitrl.errors import BadReply, ModelUnavailable, RequestRejected
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
    make,
)
from jitrl.testing import ABLE, Choosing, ScriptedServer, check_model


class Parrot:
    """An honest model of one word."""

    name = "parrot"
    capabilities = Capabilities(logprobs=True, sequence=True)
    usage = Usage(calls=1, input=9, output=1)
    token = Token("polly", math.log(0.5), {"polly": math.log(0.5), "hello": math.log(0.25)})
    scores: tuple[float, ...] = (-1.0, -2.0, -3.0)
    ids: Any = (1, 2)

    async def complete(self, request: Request) -> Reply:
        tokens = None if request.top_logprobs is None else (self.token,)
        said = Completion("polly", "stop", tokens)
        return Reply((said,) * request.n, self.usage, self.name)

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        return SequenceScores(self.scores, self.usage, self.name)

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        return self.ids

    async def close(self) -> None:
        pass


def with_(**changes: Any) -> Callable[[], Model]:
    return type("Changed", (Parrot,), changes)


def top(logprob: float = math.log(0.5), **others: float) -> Callable[[], Model]:
    return with_(token=Token("polly", logprob, others))


def test_an_honest_model_passes() -> None:
    check_model(Parrot)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(Choosing(lambda messages: {"go north": 0.5, "go": 0.5})) as running:
        yield running


@pytest.mark.parametrize(
    "name", ["openai", "openrouter", "gemini", "anthropic", "vllm", "llamacpp", "ollama"]
)
def test_every_back_end_passes(name: str, server: ScriptedServer) -> None:
    check_model(lambda: make(f"{name}/scripted", base_url=server.url))


@pytest.mark.parametrize(
    "lacks",
    [{"logprobs": False}, {"several": False}, {"sequence": False}, {"tokenize": False}],
    ids=str,
)
def test_a_model_that_can_do_less_passes(lacks: Mapping[str, Any]) -> None:
    brain = Choosing(lambda messages: {"go north": 0.5, "go": 0.5})
    with ScriptedServer(brain, capabilities=replace(ABLE, **lacks)) as server:
        check_model(lambda: make("openai/scripted", base_url=server.url))


def test_what_a_model_says_it_cannot_do_is_not_asked() -> None:
    class Plain(Parrot):
        capabilities = Capabilities(logprobs=False, sequence=False)

        async def complete(self, request: Request) -> Reply:
            assert request.top_logprobs is None
            return await super().complete(request)

        async def score(self, *args: object) -> SequenceScores:  # type: ignore[override]
            raise AssertionError("asked")

    check_model(Plain)


def test_a_model_that_does_not_answer_is_no_violation() -> None:
    class Gone(Parrot):
        async def complete(self, request: Request) -> Reply:
            raise ModelUnavailable("nobody there")

    with pytest.raises(ModelUnavailable):
        check_model(Gone)


def test_the_model_is_closed_whatever_happens() -> None:
    closed = []

    class Broken(Parrot):
        async def complete(self, request: Request) -> Reply:
            raise MemoryError

        async def close(self) -> None:
            closed.append(self)

    with pytest.raises(MemoryError):
        check_model(Broken)
    assert len(closed) == 1


class OneForAll(Parrot):
    async def complete(self, request: Request) -> Reply:
        return await super().complete(replace(request, n=1))


class NoTokens(Parrot):
    async def complete(self, request: Request) -> Reply:
        return await super().complete(replace(request, top_logprobs=None))


class Talkative(Parrot):
    async def complete(self, request: Request) -> Reply:
        reply = await super().complete(request)
        return replace(reply, usage=replace(reply.usage, output=7))


class OtherError(Parrot):
    async def score(self, *args: object) -> SequenceScores:  # type: ignore[override]
        raise KeyError("logprobs")


class ClosesOnce(Parrot):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise OSError("closed already")
        self.closed = True


HALF = math.log(0.5)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (with_(name=""), "^name must be a nonempty string"),
        (with_(capabilities={}), "^capabilities must be Capabilities"),
        (with_(usage=None), "^complete: usage must be a Usage"),
        (with_(usage=Usage(0, 9, 0, 1)), "^complete: usage.calls must count the call"),
        (with_(usage=Usage(1, 0, 0, 1)), "^complete: usage.input must count the prompt"),
        (with_(usage=Usage(1, 9, 10, 1)), "^complete: usage.cached must be at most usage.input"),
        (with_(usage=Usage(1, 9, 0, -1)), "^complete: usage.output must be an integer"),
        (with_(usage=Usage(1, 9.5, 0, 1)), "^complete: usage.input must be an integer"),
        (Talkative, "^complete with max_tokens = 1: usage.output must be at most 1"),
        (OneForAll, "^complete with n = 3: completions must be a tuple of 3, it has 1"),
        (NoTokens, "a completion must have its tokens, or BadReply be raised"),
        (top(0.1, polly=0.1), "log-probabilities must be floats, at most 0; of 'polly' it is 0.1"),
        (top(HALF), "top must contain the token itself, 'polly'"),
        (top(HALF, polly=math.log(0.25)), "top gives 'polly' less than its own"),
        (top(HALF, polly=HALF, hello=math.log(0.6)), "must sum to at most 1, they sum to 1.1"),
        (with_(scores=(-1.0,)), "^score: 3 continuations must have as many"),
        (with_(scores=(-1.0, 0.5, -3.0)), "^score: .* finite and at most 0; of 'go' it is 0.5"),
        (with_(scores=(-1.0, -math.inf, -3.0)), "^score: .* finite"),
        (with_(scores=(-0.1, -0.1, -3.0)), "^score: ended continuations exclude each other"),
        (with_(scores=[-1.0, -2.0, -3.0]), "^score must return SequenceScores"),
        (OtherError, "^score must raise a ModelError, it raised KeyError"),
        (with_(ids=[1, 2]), "^tokenize must return a tuple of ids or None"),
        (with_(ids=()), "^tokenize must return a tuple of ids or None"),
        (ClosesOnce, "^close: a second call must be harmless, it raised OSError"),
    ],
)
def test_the_broken_rule_is_named(make: Callable[[], Model], names: str) -> None:
    with pytest.raises(AssertionError, match=names):
        check_model(make)


@pytest.mark.parametrize("error", [RequestRejected("no"), BadReply("odd")])
def test_a_model_may_refuse_log_probabilities_and_scores(error: Exception) -> None:
    class Refusing(Parrot):
        capabilities = Capabilities()

        async def complete(self, request: Request) -> Reply:
            if request.top_logprobs is not None:
                raise error
            return await super().complete(request)

        async def score(self, *args: object) -> SequenceScores:  # type: ignore[override]
            raise error

    check_model(Refusing)
