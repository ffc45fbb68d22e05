"""What real servers say in their own way: replies as vLLM, llama.cpp and llama-cpp-python send."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from jitrl.errors import BadReply, RequestRejected
from jitrl.models import Message, Purpose, Request, make

Answer = Callable[[str, Mapping[str, Any]], tuple[int, object]]
ASK = Request((Message("user", "Which way?\n"),), max_tokens=4)


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve `answer(path, body) -> (status, JSON or a text)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, reply = answer(self.path, body)
            data = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
            self.send_response(status)
            if status == 307:
                self.send_header("Location", "https://127.0.0.1:1/v1/chat/completions")
            kind = "text/html" if isinstance(reply, str) else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def using(answer: Answer, use: Callable[[Any], Awaitable[Any]], name: str = "vllm/m") -> Any:
    async def run(url: str) -> Any:
        model = make(name, base_url=url, retries=0)
        try:
            return await use(model)
        finally:
            await model.close()

    with serving(answer) as url:
        return asyncio.run(run(url))


def echoing(front: list[str], written: list[str], counted: int) -> Answer:
    """A server that scores a text by characters at -0.5 each, with tokens before and after it."""

    def answer(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        assert path == "/v1/completions" and body["echo"] is True
        tokens = [*front, *body["prompt"], *written]
        logprobs = {"tokens": tokens, "token_logprobs": [None, *[-0.5] * (len(tokens) - 1)]}
        choice = {"index": 0, "text": body["prompt"], "logprobs": logprobs}
        usage = {"prompt_tokens": len(front) + len(body["prompt"]), "completion_tokens": counted}
        return 200, {"choices": [choice], "usage": usage}

    return answer


@pytest.mark.parametrize(
    ("front", "written", "counted"),
    [([], ["x"], 1), (["<s>"], ["</s>"], 1), ([], [""], 1), (["<s>"], [], 0)],
    ids=["plain", "begins-and-ends", "writes-nothing", "writes-no-token"],
)
def test_tokens_around_the_text_do_not_count(
    front: list[str], written: list[str], counted: int
) -> None:
    scores = using(
        echoing(front, written, counted),
        lambda model: model.score((Message("user", "Hi\n"),), ("go", "north"), Purpose()),
    )
    assert scores.logprobs == pytest.approx((-0.5 * 3, -0.5 * 6), abs=1e-12)


def test_a_written_token_that_is_not_counted_is_noticed() -> None:
    with pytest.raises(BadReply, match="do not part"):
        using(
            echoing([], ["x"], 0),
            lambda model: model.score((Message("user", "Hi\n"),), ("go",), Purpose()),
        )


def test_a_server_that_does_not_echo_is_told_from_one_that_does() -> None:
    def answer(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        logprobs = {"tokens": ["x"], "token_logprobs": [-0.1]}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        return 200, {"choices": [{"text": "x", "logprobs": logprobs}], "usage": usage}

    with pytest.raises(RequestRejected, match="does not echo"):
        using(answer, lambda model: model.score(ASK.messages, ("go",), Purpose()))


def vllm(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
    if path == "/tokenize" and body.get("add_special_tokens") is False:
        return 200, {"tokens": [ord(c) for c in body["prompt"]], "count": 1, "max_model_len": 9}
    return 404, {"detail": "Not Found"}


def llama_server(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
    if path == "/tokenize":
        return 200, {"tokens": [ord(c) for c in body.get("content", "")]}
    return 404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}


def llama_cpp_python(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
    if path == "/extras/tokenize":
        return 200, {"tokens": [1, *map(ord, body["input"])]}
    return 404, {"detail": "Not Found"}


def a_page(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
    return 200, "<html>Welcome</html>"


@pytest.mark.parametrize(
    ("answer", "ids"),
    [(vllm, (65, 66)), (llama_server, (65, 66)), (llama_cpp_python, (65, 66)), (a_page, None)],
)
def test_each_server_tells_its_tokens_in_its_way(answer: Answer, ids: object) -> None:
    async def twice(model: Any) -> list[Any]:
        return [await model.tokenize("AB") for _ in range(2)]

    assert using(answer, twice) == [ids, ids]


def test_a_page_instead_of_a_reply_points_at_the_base_url() -> None:
    with pytest.raises(BadReply, match="check the base URL"):
        using(a_page, lambda model: model.complete(ASK))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"detail": "bad temperature"}, "bad temperature"),
        ({"object": "error", "message": "bad temperature", "code": 400}, "bad temperature"),
        ([{"error": {"code": 400, "message": "bad temperature"}}], "bad temperature"),
        ({"error": "bad temperature"}, "bad temperature"),
        ("<h1>bad temperature</h1>", "<h1>bad temperature</h1>"),
        ({}, "{}"),
        ("", "no reason given"),
    ],
)
def test_a_refusal_is_read_in_every_form(reply: object, said: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        using(lambda path, body: (400, reply), lambda model: model.complete(ASK))
    assert f"said no (400): {said}: " in str(caught.value)


def test_a_server_that_sends_elsewhere_is_not_followed() -> None:
    with pytest.raises(RequestRejected, match=r"said no \(307\)"):
        using(lambda path, body: (307, {}), lambda model: model.complete(ASK))


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        ({"message": "'n' must be 1", "param": None}, {"n": 1}),
        ({"message": "only one completion", "param": "n"}, {"n": 1}),
        ({"message": "max_tokens is not supported: use max_completion_tokens"}, {"limit": 1}),
    ],
)
def test_a_field_that_is_refused_is_left_out_or_renamed(
    error: Mapping[str, object], kept: Mapping[str, int]
) -> None:
    bodies: list[Mapping[str, Any]] = []

    def answer(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        bodies.append(body)
        if ("n" in body) if "n" in kept else ("max_tokens" in body):
            return 400, {"error": error}
        choice = {"message": {"content": "go"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        return 200, {"choices": [choice] * body.get("n", 1), "usage": usage}

    reply = using(answer, lambda model: model.complete(replace(ASK, n=2)))
    assert len(reply.completions) == 2
    assert reply.usage.calls == (2 if "n" in kept else 1)
    assert len(bodies) == (3 if "n" in kept else 2)


def test_a_refusal_that_names_both_limits_is_not_asked_for_ever() -> None:
    count = 0

    def answer(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        nonlocal count
        count += 1
        return 400, {"error": {"message": "max_tokens and max_completion_tokens are odd"}}

    with pytest.raises(RequestRejected, match="are odd"):
        using(answer, lambda model: model.complete(ASK))
    assert count == 2


@pytest.mark.parametrize(("finish", "told"), [(None, "unknown"), ("tool_calls", "tool_calls")])
def test_the_servers_own_word_is_kept(finish: str | None, told: str) -> None:
    def answer(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        choice = {"message": {"content": None}, "finish_reason": finish}
        return 200, {
            "choices": [choice],
            "usage": {"prompt_tokens": 3, "completion_tokens": None},
        }

    (completion,) = using(answer, lambda model: model.complete(ASK)).completions
    assert (completion.text, completion.finish) == ("", told)


def test_what_is_too_improbable_to_tell_has_no_probability() -> None:
    def answer(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        tops = [{"token": "go", "logprob": 1e-9}, {"token": "x", "logprob": -math.inf}]
        tops += [{"token": "x", "logprob": -9999.0}]
        content = [{"token": "go", "logprob": 1e-9, "top_logprobs": tops}]
        choice = {"message": {"content": "go"}, "logprobs": {"content": content}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}

    reply = using(answer, lambda model: model.complete(replace(ASK, top_logprobs=3)))
    (token,) = reply.completions[0].tokens
    assert token.logprob == 0.0
    assert dict(token.top) == {"go": 0.0, "x": -math.inf}


def test_a_temperature_of_0_that_is_refused_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[object] = []

    def answer(path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        asked.append(body.get("temperature"))
        if body.get("temperature", 1) != 1:
            message = "Unsupported value: 'temperature' does not support 0 with this model."
            return 400, {"error": {"message": message, "param": "temperature"}}
        choice = {"message": {"content": "go"}, "finish_reason": "stop"}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}

    async def thrice(model: Any) -> None:
        for temperature in (0.0, 0.0, 1.0):
            await model.complete(replace(ASK, temperature=temperature))
        with pytest.raises(RequestRejected, match="temperature"):  # a policy's is never dropped
            await model.complete(replace(ASK, temperature=0.8))

    using(answer, thrice)
    assert asked == [0.0, None, None, 1.0, 0.8]
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "vllm/m takes no temperature 0: it answers at its own"
    ]
