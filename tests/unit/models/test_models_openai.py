"""The OpenAI-compatible adapter against a real server on loopback, in fair weather."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jitrl.errors import BadReply, InvalidValue, RequestRejected
from jitrl.models import Capabilities, Message, Model, Purpose, Request, Usage, make, names
from jitrl.models.openai import OpenAIModel
from jitrl.models.replies import chat
from jitrl.testing import ABLE, Choosing, Fixed, ScriptedServer, characters

POLICY = {"go north": 0.5, "go": 0.125, "take lamp": 0.25, "A": 0.125}
ASK = Request((Message("system", "Be brief."), Message("user", "Which way?\n")), max_tokens=16)


def serving(**options: Any) -> ScriptedServer:
    return ScriptedServer(Choosing(lambda messages: POLICY), **options)


def using(url: str, use: Callable[[OpenAIModel], Awaitable[Any]], **options: Any) -> Any:
    """Open the model, use it in a loop of its own, close it."""

    async def run() -> Any:
        model = make(options.pop("name", "openai/scripted"), base_url=url, **options)
        try:
            return await use(model)  # type: ignore[arg-type]
        finally:
            await model.close()

    return asyncio.run(run())


def completing(server: ScriptedServer, request: Request, **options: Any) -> Any:
    return using(server.url, lambda model: model.complete(request), **options)


def test_every_field_reaches_the_server() -> None:
    request = replace(
        ASK,
        temperature=0.5,
        top_p=0.9,
        n=2,
        seed=7,
        stop=("\n",),
        top_logprobs=3,
        logit_bias={65: 2},
    )
    with serving() as server:
        completing(server, request, extra={"user": "me"})
        (got,) = server.requests
    assert got.path == "/v1/chat/completions"
    assert got.body == {
        "model": "scripted",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Which way?\n"},
        ],
        "max_completion_tokens": 16,
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "seed": 7,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"65": 2},
        "user": "me",
    }


def test_what_was_not_asked_for_is_not_sent() -> None:
    with serving() as server:
        reply = completing(server, ASK)
        assert set(server.requests[0].body) == {
            "model", "messages", "max_completion_tokens", "temperature"
        }  # fmt: skip
    assert reply.completions[0].tokens is None
    assert reply.model == "openai/scripted"


@pytest.mark.parametrize(
    ("backend", "limit", "off"),
    [
        ("openai", "max_completion_tokens", {}),
        ("openrouter", "max_tokens", {}),
        ("gemini", "max_tokens", {}),
        ("anthropic", "max_tokens", {}),
        ("ollama", "max_tokens", {}),
        ("vllm", "max_tokens", {"top_p": 1, "top_k": -1, "min_p": 0, "repetition_penalty": 1}),
        ("llamacpp", "max_tokens", {"top_p": 1, "top_k": 0, "min_p": 0, "repeat_penalty": 1}),
    ],
)
def test_each_back_end_has_its_own_words(
    backend: str, limit: str, off: Mapping[str, object]
) -> None:
    assert backend in names()
    with serving() as server:
        reply = completing(server, ASK, name=f"{backend}/scripted")
        body = server.requests[0].body
    assert body[limit] == 16
    assert {name: body[name] for name in off} == off
    assert reply.model == f"{backend}/scripted"


def test_log_probabilities_are_the_servers_to_the_last_digit() -> None:
    with serving() as server:
        reply = completing(server, replace(ASK, top_logprobs=20, n=8, seed=1))
    assert {completion.text for completion in reply.completions} > {"go north"}
    for completion in reply.completions:
        assert completion.tokens is not None
        assert "".join(token.text for token in completion.tokens) == completion.text
        first = completion.tokens[0]
        for text, p in {"go": 0.625, "take": 0.25, "A": 0.125}.items():
            assert math.isclose(first.top[text], math.log(p), abs_tol=1e-9)
        assert first.logprob == first.top[first.text]


def test_a_token_that_is_not_among_the_most_probable_is_listed_still() -> None:
    with serving() as server:
        reply = completing(server, replace(ASK, top_logprobs=0, logit_bias={ord("A"): 90}))
    (token,) = reply.completions[0].tokens[:1]
    assert token.top == {"A": token.logprob}
    assert math.isclose(token.logprob, math.log(0.125), abs_tol=1e-9)


@pytest.mark.parametrize(("shown", "p"), [("before", 0.125), ("after", 1.0)])
def test_a_bias_decides_and_the_server_shows_what_it_shows(shown: Any, p: float) -> None:
    with serving(capabilities=replace(ABLE, bias_shown=shown)) as server:
        request = replace(ASK, top_logprobs=1, logit_bias={ord("A"): 90}, max_tokens=1)
        reply = completing(server, request)
    assert reply.text == "A"
    assert math.isclose(reply.completions[0].tokens[0].logprob, math.log(p), abs_tol=1e-9)


def test_tokens_that_read_alike_are_added_up() -> None:
    def entry(text: str, p: float) -> dict[str, object]:
        return {"token": text, "logprob": math.log(p), "bytes": None}

    tops = [entry("\ufffd", 0.5), entry("a", 0.2), entry("\ufffd", 0.25)]
    content = [{**entry("\ufffd", 0.25), "top_logprobs": tops}]
    body = {
        "choices": [
            {
                "message": {"content": "\ufffd"},
                "finish_reason": "stop",
                "logprobs": {"content": content},
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    (completion,) = chat(body, replace(ASK, top_logprobs=3), "m").completions
    assert completion.tokens is not None
    assert math.isclose(completion.tokens[0].top["\ufffd"], math.log(0.75), abs_tol=1e-12)


def test_usage_is_counted() -> None:
    async def twice(model: OpenAIModel) -> tuple[Usage, Usage]:
        return (await model.complete(ASK)).usage, (await model.complete(ASK)).usage

    with ScriptedServer(Fixed(["go north"])) as server:
        first, second = using(server.url, twice)
    assert first == Usage(calls=1, input=7, cached=0, output=2)
    assert second == Usage(calls=1, input=7, cached=7, output=2)


def test_several_completions_come_in_one_call() -> None:
    with serving() as server:
        reply = completing(server, replace(ASK, n=200, seed=1))
        assert len(server.requests) == 1
    counts = Counter(completion.text for completion in reply.completions)
    assert reply.usage.calls == 1 and set(counts) == set(POLICY)


def test_a_server_that_returns_one_is_asked_for_the_rest_with_other_seeds() -> None:
    async def twice(model: OpenAIModel) -> list[Any]:
        return [await model.complete(replace(ASK, n=3, seed=5)) for _ in range(2)]

    with serving(capabilities=replace(ABLE, several=False)) as server:
        replies = using(server.url, twice)
        bodies = [request.body for request in server.requests]
    assert [len(reply.completions) for reply in replies] == [3, 3]
    assert [reply.usage.calls for reply in replies] == [3, 3]
    assert sorted(body["seed"] for body in bodies) == [5, 5, 6, 6, 7, 7]
    assert ["n" in body for body in bodies] == [True, False, False, False, False, False]


def test_a_schema_is_enforced_by_the_server() -> None:
    schema = {"type": "object", "required": ["a"]}
    brain = Choosing(lambda messages: {"no": 0.5, '{"a": 1}': 0.5})
    with ScriptedServer(brain) as server:
        for name, form in (("openai", "json_schema"), ("llamacpp", "json_object")):
            request = replace(ASK, schema=schema)
            assert completing(server, request, name=f"{name}/scripted").text == '{"a": 1}'
            assert server.requests[-1].body["response_format"]["type"] == form


def test_a_server_without_schemas_is_asked_plainly_and_that_is_remembered() -> None:
    async def twice(model: OpenAIModel) -> Capabilities:
        for _ in range(2):
            await model.complete(replace(ASK, schema={"type": "object"}))
        return model.capabilities

    with serving(capabilities=replace(ABLE, schema=False)) as server:
        known = using(server.url, twice)
        assert ["response_format" in r.body for r in server.requests] == [True, False, False]
    assert known.schema is False


@pytest.mark.parametrize(
    ("backend", "limit"), [("openai", "max_tokens"), ("vllm", "max_completion_tokens")]
)
def test_the_limit_is_named_as_the_server_wants_it(backend: str, limit: Any) -> None:
    async def thrice(model: OpenAIModel) -> None:
        await asyncio.gather(model.complete(ASK), model.complete(ASK))
        await model.complete(ASK)

    with serving(limit=limit) as server:
        using(server.url, thrice, name=f"{backend}/scripted")
        assert limit in server.requests[-1].body
        assert len(server.requests) in (4, 5)  # one or both of the first two had to ask again


def scoring(server: ScriptedServer, prompt: str, *continuations: str, **options: Any) -> Any:
    messages = (Message("system", "Be brief."), Message("user", prompt))
    use: Any = lambda model: model.score(messages, continuations, Purpose())  # noqa: E731
    return using(server.url, use, **options)


@pytest.mark.parametrize("name", ["openai/scripted", "vllm/scripted", "llamacpp/scripted"])
def test_sequence_scores_are_the_probabilities_of_whole_answers(name: str) -> None:
    with serving() as server:
        scores = scoring(server, "Which way?\n", *POLICY, "go south", name=name)
        texts = [request.body["prompt"] for request in server.requests]
    for logprob, p in zip(scores.logprobs, POLICY.values(), strict=False):
        assert math.isclose(logprob, math.log(p), abs_tol=1e-9)
    assert scores.logprobs[-1] <= -50
    assert "Be brief.\n\nWhich way?\ntake lamp\n" in texts
    assert scores.usage.calls == len(texts) == 6
    assert scores.model == name


def test_a_prompt_of_any_characters_can_be_scored() -> None:
    with ScriptedServer(Choosing(lambda messages: {"é — 😀": 1.0}, tokens=characters)) as server:
        scores = scoring(server, "Où? 😀 — \n", "é — 😀")
    assert math.isclose(scores.logprobs[0], 0.0, abs_tol=1e-9)


def test_a_token_across_the_end_of_the_prompt_is_an_error() -> None:
    def joining(text: str) -> list[str]:
        return re.findall(r"\n?\w+|.", text, re.DOTALL)

    brain = Choosing(lambda messages: POLICY, tokens=joining)
    with ScriptedServer(brain) as server, pytest.raises(BadReply, match="do not part at the end"):
        scoring(server, "Which way?", "go")


def test_an_answer_that_is_scored_is_a_line_of_its_own() -> None:
    with serving() as server:
        scores = scoring(server, "Which way?\nAction:", "go north")
        texts = [request.body["prompt"] for request in server.requests]  # asked side by side
    assert any(text.endswith("Which way?\nAction:\ngo north\n") for text in texts)
    assert math.isclose(scores.logprobs[0], math.log(0.5), abs_tol=1e-9)


def test_the_tokens_of_a_label_are_asked_for_once() -> None:
    async def twice(model: OpenAIModel) -> Any:
        return [await model.tokenize(text) for text in ("A", "AB", "A", "AB")]

    with serving() as server:
        first, second, *again = using(server.url, twice)
        texts = [request.body["prompt"] for request in server.requests]
    assert again == [first, second]
    assert first == (65,)
    assert texts.count("A") == texts.count("AB") == 1


def test_nothing_to_score_costs_nothing() -> None:
    with serving() as server:
        assert scoring(server, "Which way?\n").logprobs == ()
        assert not server.requests


def test_a_server_that_scores_no_texts_says_what_to_use_instead() -> None:
    for lacks in ({"sequence": False}, {"logprobs": False}):
        with (
            serving(capabilities=replace(ABLE, **lacks)) as server,
            pytest.raises(RequestRejected, match="--scores"),
        ):
            scoring(server, "Which way?\n", "go")


def test_tokens_are_told_where_the_server_tells_them() -> None:
    async def tell(model: OpenAIModel) -> tuple[Any, Any, Any]:
        return await model.tokenize("A"), await model.tokenize("A b"), model.capabilities.tokenize

    with serving() as server:
        one, two, known = using(server.url, tell)
        assert all(request.path == "/tokenize" for request in server.requests)
    assert one == (65,) and len(two) == 2 and known is True
    with serving(capabilities=replace(ABLE, tokenize=False)) as server:
        assert using(server.url, tell) == (None, None, False)
        assert len(server.requests) == 3  # each way once, and never again


def test_calls_at_once_are_limited() -> None:
    gate = threading.Barrier(3)

    def together(messages: Sequence[Message]) -> dict[str, float]:
        gate.wait(10)  # nobody passes until three are here
        return {"A": 1.0}

    async def many(model: OpenAIModel) -> None:
        await asyncio.gather(*(model.complete(ASK) for _ in range(12)))

    with ScriptedServer(Choosing(together)) as server:
        using(server.url, many, concurrency=3)
        assert server.most_in_flight == 3


def test_a_model_serves_one_event_loop_after_another() -> None:
    with serving() as server:
        model = make("openai/scripted", base_url=server.url)
        for _ in range(3):
            assert asyncio.run(model.complete(ASK)).text in POLICY
        asyncio.run(model.close())
        asyncio.run(model.close())


def test_a_closed_model_opens_again() -> None:
    async def reopen(model: Model) -> str:
        await model.complete(ASK)
        await model.close()
        await model.close()
        return (await model.complete(ASK)).text

    with serving() as server:
        assert using(server.url, reopen) in POLICY


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": "long"}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"concurrency": 0}, "concurrency"),
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "ftp://127.0.0.1/v1"}, "base_url"),
        ({"base_url": "http://127.0.0.1:port/v1"}, "base_url"),
        ({"base_url": 8000}, "base_url"),
    ],
)
def test_options_are_checked(options: Any, named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        make("openai/x", **{"base_url": "http://127.0.0.1:1/v1", **options})


def reply_with(**changes: object) -> dict[str, object]:
    choice = {"message": {"content": "hi"}, "finish_reason": "stop"}
    body: dict[str, object] = {
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    return {**body, **changes}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"choices": []}, "no completion"),
        ({"choices": None}, "no completion"),
        ({"choices": [{}]}, "without a message"),
        ({"choices": [{"message": {"content": 3}}]}, "no text"),
        ({"usage": None}, "no usage"),
        ({"usage": {"prompt_tokens": "many"}}, "no number of tokens"),
        ({"usage": {"prompt_tokens": -1}}, "no number of tokens"),
        ({"usage": {"prompt_tokens": True}}, "no number of tokens"),
    ],
)
def test_a_reply_of_another_form_is_an_error(changes: Any, named: str) -> None:
    with pytest.raises(BadReply, match=named):
        chat(reply_with(**changes), ASK, "m")


@pytest.mark.parametrize("logprobs", [None, "none", [], {}, {"content": 5}, {"content": []}])
def test_log_probabilities_of_another_form_are_none(logprobs: object) -> None:
    choice = {"message": {"content": "hi"}, "finish_reason": "stop", "logprobs": logprobs}
    with pytest.raises(BadReply, match="no log-probabilities although asked"):
        chat(reply_with(choices=[choice]), replace(ASK, top_logprobs=1), "m")


@pytest.mark.parametrize(
    "entry",
    [
        {"token": "hi"},
        {"token": "hi", "logprob": 0.5},
        {"token": "hi", "logprob": float("nan")},
        {"token": "hi", "logprob": None},
        "hi",
    ],
)
def test_a_log_probability_is_a_number_or_an_error(entry: object) -> None:
    choice = {
        "message": {"content": "hi"},
        "finish_reason": "stop",
        "logprobs": {"content": [entry]},
    }
    with pytest.raises(BadReply, match="log-probability"):
        chat(reply_with(choices=[choice]), replace(ASK, top_logprobs=1), "m")
