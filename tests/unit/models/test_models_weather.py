"""The OpenAI-compatible adapter in bad weather: every fault, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from jitrl.errors import (
    BadReply,
    InvalidValue,
    MissingExtra,
    ModelError,
    ModelUnavailable,
    RequestRejected,
)
from jitrl.models import Message, Purpose, Request, make
from jitrl.models.openai import OpenAIModel
from jitrl.testing import Choosing, Fault, Fixed, ScriptedServer

ASK = Request((Message("user", "Which way?\n"),), max_tokens=16)
KEY = "sk-very-secret-0123456789"
NOW = 1_800_000_000.0


class Clock:
    """Waits that are written down instead of waited for."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def now(self) -> float:
        return NOW


@pytest.fixture
def clock() -> Clock:
    return Clock()


def serving(*faults: Fault, **options: Any) -> ScriptedServer:
    server = ScriptedServer(Choosing(lambda messages: {"go north": 1.0}), **options)
    server.faults.extend(faults)
    return server


def using(url: str, use: Callable[[OpenAIModel], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        model = make(options.pop("name", "openai/scripted"), base_url=url, **options)
        try:
            return await use(model)  # type: ignore[arg-type]
        finally:
            await model.close()

    return asyncio.run(run())


def completing(server: ScriptedServer, clock: Clock, request: Request = ASK, **options: Any) -> Any:
    use = lambda model: model.complete(request)  # noqa: E731
    return using(server.url, use, sleep=clock.sleep, clock=clock.now, **options)


def refused(
    kind: type[ModelError], server: ScriptedServer, clock: Clock, *args: Any, **options: Any
) -> str:
    with pytest.raises(kind) as caught:
        completing(server, clock, *args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


PASSING = [
    *(Fault("status", status) for status in (408, 409, 429, 500, 502, 503, 504, 529)),
    Fault("drop"),
    Fault("drop_midway"),
    Fault("half_body"),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_what_may_pass_is_tried_again(fault: Fault, clock: Clock) -> None:
    with serving(fault, fault) as server:
        reply = completing(server, clock)
        assert len(server.requests) == 3
    assert reply.text == "go north" and reply.usage.calls == 1
    assert len(clock.waits) == 2
    assert 0.5 <= clock.waits[0] <= 1 <= clock.waits[1] <= 2


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_after_the_last_attempt_it_is_an_error(fault: Fault, clock: Clock) -> None:
    kind = BadReply if fault.kind == "half_body" else ModelUnavailable
    with serving(*[fault] * 9) as server:
        assert server.url in refused(kind, server, clock, retries=3)
        assert len(server.requests) == 4
    assert len(clock.waits) == 3


def test_without_retries_there_is_one_attempt(clock: Clock) -> None:
    with serving(Fault("status", 500)) as server:
        refused(ModelUnavailable, server, clock, retries=0)
        assert len(server.requests) == 1
    assert clock.waits == []


def test_waits_double_up_to_a_minute_and_come_from_the_seed() -> None:
    def waits(seed: int) -> list[float]:
        clock = Clock()
        with serving(*[Fault("status", 500)] * 9) as server:
            refused(ModelUnavailable, server, clock, retries=8, seed=seed)
        return clock.waits

    first = waits(1)
    assert first == waits(1) != waits(2)
    for attempt, wait in enumerate(first):
        longest = min(2.0**attempt, 60.0)
        assert longest / 2 <= wait <= longest


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("100000", 60.0),
        ("-3", 0.0),
        (formatdate(NOW + 20, usegmt=True), 20.0),
        (formatdate(NOW - 20, usegmt=True), 0.0),
        (formatdate(NOW + 86400, usegmt=True), 60.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(asked: str, waited: float, status: int, clock: Clock) -> None:
    with serving(Fault("status", status, retry_after=asked)) as server:
        completing(server, clock)
    assert clock.waits == [waited]


@pytest.mark.parametrize("asked", ["soon", "nan", "Fri, 99 Foo 2026"])
def test_a_retry_after_that_cannot_be_read_is_left_alone(asked: str, clock: Clock) -> None:
    with serving(Fault("status", 429, retry_after=asked)) as server:
        completing(server, clock)
    assert 0.5 <= clock.waits[0] <= 1


def test_a_spent_quota_is_not_tried_again(clock: Clock) -> None:
    fault = Fault("status", 429, message="You exceeded your quota", code="insufficient_quota")
    with serving(fault) as server:
        said = refused(ModelUnavailable, server, clock)
        assert len(server.requests) == 1
    assert "the quota is spent: You exceeded your quota" in said


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (Fault("status", 400), "shorten the prompt"),
        (Fault("status", 400, message="temperature is odd", code="x"), "temperature is odd"),
        (Fault("status", 401), "check the key in JITRL_API_KEY"),
        (Fault("status", 403), "check the key in JITRL_API_KEY"),
        (Fault("status", 404), "check the model's name"),
        (Fault("status", 422, message="no"), "change the request"),
    ],
)
def test_a_no_is_told_once_with_its_remedy(fault: Fault, remedy: str, clock: Clock) -> None:
    with serving(fault) as server:
        said = refused(RequestRejected, server, clock)
        assert len(server.requests) == 1
        assert remedy in said and server.url in said
    assert clock.waits == []


def test_long_words_of_a_server_are_cut(clock: Clock) -> None:
    with serving(Fault("status", 400, message="many\nwords " * 200, code="x")) as server:
        said = refused(RequestRejected, server, clock)
    assert len(said) < 420 and said.endswith("change the request, or use another model")


def test_an_unknown_model_and_a_long_context_are_named(clock: Clock) -> None:
    with serving() as server:
        assert "`other` does not exist" in refused(
            RequestRejected, server, clock, name="openai/other"
        )
    with serving(context=4) as server:
        assert "shorten the prompt" in refused(RequestRejected, server, clock)
        assert len(server.requests) == 1  # the limit of tokens is not renamed for it


def test_missing_log_probabilities_are_an_error_with_a_remedy(clock: Clock) -> None:
    with serving(Fault("no_logprobs")) as server:
        request = replace(ASK, top_logprobs=5)
        assert "--scores stated or sampled" in refused(BadReply, server, clock, request)
        assert len(server.requests) == 1


def test_a_refusal_is_a_completion(clock: Clock) -> None:
    with serving(Fault("refusal")) as server:
        (completion,) = completing(server, clock, replace(ASK, top_logprobs=5)).completions
    assert completion.finish == "refusal"
    assert completion.text == "I cannot help with that."
    assert completion.tokens is None


def test_half_an_answer_is_told_as_cut(clock: Clock) -> None:
    with ScriptedServer(Fixed(['{"a": 1}'])) as server:
        server.faults.append(Fault("half_answer"))
        (completion,) = completing(server, clock).completions
    assert (completion.text, completion.finish) == ('{"a"', "length")


def test_a_hanging_server_is_given_up(clock: Clock) -> None:
    with serving(*[Fault("hang")] * 2) as server:
        said = refused(ModelUnavailable, server, clock, timeout=0.2, retries=1)
        assert server.wait(lambda server: server.abandoned == 2)
    assert "no answer within 0.2 s" in said
    assert len(clock.waits) == 1


def test_nobody_at_the_address_is_told(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with pytest.raises(ModelUnavailable, match="check that it runs") as caught:
        using(url, lambda model: model.complete(ASK), sleep=clock.sleep)
    assert url in str(caught.value)
    assert len(clock.waits) == 4


def test_a_cancelled_call_frees_its_place_and_its_connection() -> None:
    async def cancel(model: OpenAIModel, server: ScriptedServer) -> str:
        hanging = asyncio.create_task(model.complete(ASK))
        assert await asyncio.to_thread(server.wait, lambda server: server.in_flight == 1)
        waiting = asyncio.create_task(model.complete(ASK))
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert await asyncio.to_thread(server.wait, lambda server: server.abandoned == 1)
        return (await waiting).text

    with serving(Fault("hang")) as server:
        use = lambda model: cancel(model, server)  # noqa: E731
        assert using(server.url, use, concurrency=1) == "go north"


def test_a_failure_among_several_calls_ends_the_others() -> None:
    async def score(model: OpenAIModel) -> None:
        await model.score(ASK.messages, ["go", "go north", "A"], Purpose())

    faults = [Fault("hang"), Fault("hang"), Fault("hang"), Fault("status", 401)]
    with serving(*faults) as server:
        with pytest.raises(RequestRejected, match="check the key"):
            using(server.url, score)
        assert server.wait(lambda server: server.abandoned == 3)


def test_a_call_waits_its_turn_while_another_tries_again() -> None:
    order: list[str] = []

    async def both(model: OpenAIModel) -> None:
        await asyncio.gather(
            *(
                model.complete(Request((Message("user", name),), max_tokens=8))
                for name in ("first", "second")
            )
        )

    async def sleep(seconds: float) -> None:
        order.append("waited")

    with serving(Fault("status", 500)) as server:
        using(server.url, both, concurrency=1, sleep=sleep)
        order += [request.body["messages"][0]["content"] for request in server.requests]
    assert order == ["waited", "first", "first", "second"]


@pytest.mark.parametrize(
    ("backend", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_missing_key_is_named(
    backend: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (variable, "JITRL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidValue, match=f"^{variable} must be set in the environment"):
        make(f"{backend}/m")
    with pytest.raises(InvalidValue, match=f"^JITRL_API_KEY or {variable} must be set"):
        make(f"{backend}/m", base_url="https://models.example/v1")
    monkeypatch.setenv(variable, KEY)
    make(f"{backend}/m")
    make(f"{backend}/m", base_url="https://models.example/v1")


@pytest.mark.parametrize("backend", ["vllm", "llamacpp", "ollama"])
def test_local_servers_need_no_key(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JITRL_API_KEY", raising=False)
    make(f"{backend}/m")
    make(f"{backend}/m", base_url="https://models.example/v1")


def test_a_server_on_this_machine_is_sent_its_own_key_or_none(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("JITRL_API_KEY", raising=False)
    with serving() as server:
        completing(server, clock)
        monkeypatch.setenv("JITRL_API_KEY", "mine")
        completing(server, clock)
        sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer none", "Bearer mine"]


def test_without_a_key_no_word_of_the_server_is_hidden(clock: Clock) -> None:
    with serving(Fault("status", 400, message="none of it", code="x")) as server:
        assert "said no (400): none of it" in refused(RequestRejected, server, clock)


def test_an_attempt_that_failed_is_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="jitrl.models")
    with serving(Fault("status", 503, retry_after="2")) as server:
        completing(server, clock)
    (record,) = (record for record in caplog.records if record.name == "jitrl.models")
    assert "failed with status 503" in record.getMessage()
    assert record.getMessage().endswith("trying again in 2.0 s")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"pip install 'jitrl\[models\]'"):
        make("openai/m", base_url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{KEY}@models.example/v1",
        f"https://user:{KEY}@models.example:port/v1",
        f"user:{KEY}@models.example/v1",
        f"https://models.example/v1?key={KEY}",
        f"https://models.example/v1#{KEY}",
    ],
)
def test_an_address_must_not_hold_a_key(url: str) -> None:
    with pytest.raises(InvalidValue, match="must not hold a key") as caught:
        make("openai/m", base_url=url)
    assert KEY not in str(caught.value)


def test_a_line_break_around_a_key_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("JITRL_API_KEY", f" {KEY}\n")
    with serving(key=KEY) as server:
        completing(server, clock)


@pytest.mark.parametrize("wrong", [f"{KEY}\r\nX: y", f"{KEY}\u00e9", f"{KEY}\x00"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, "JITRL_API_KEY": wrong})
    with pytest.raises(InvalidValue, match="JITRL_API_KEY must be printable ASCII") as caught:
        make("openai/m", base_url="http://127.0.0.1:1/v1")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault("status", 401, message=f"Incorrect API key provided: {KEY}\nNo.")],
        [Fault("status", 500, message=f"cannot log in with {KEY}")] * 2,
        [Fault("status", 429, message=f"spent by {KEY}", code="insufficient_quota")],
        [Fault("drop")] * 2,
        [Fault("half_body")] * 2,
        [Fault("hang")] * 2,
    ],
    ids=lambda faults: "-".join(fault.kind for fault in faults),
)
def test_the_key_is_never_shown(
    faults: list[Fault],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    clock: Clock,
) -> None:
    monkeypatch.setenv("JITRL_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def use(model: OpenAIModel) -> None:
        shown.extend([repr(model), str(model), repr(model._transport)])
        try:
            await model.complete(ASK)
        except ModelError as error:
            shown.extend([str(error), repr(error), *traceback.format_exception(error)])
            shown.extend(map(repr, (error.__context__, error.__cause__)))

    with serving(*faults, key=KEY) as server:
        using(server.url, use, sleep=clock.sleep, retries=1, timeout=0.3)
        assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in "\n".join(shown)
    assert KEY not in caplog.text
    assert not any(KEY in repr(vars(record)) for record in caplog.records)
