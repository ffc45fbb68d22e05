"""The scripted server, spoken to over bare HTTP and through the SDK."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitrl.errors import InvalidValue
from jitrl.models import Message
from jitrl.testing import ABLE, Choosing, Fault, Fixed, ScriptedServer, characters, words

POLICY = {"go north": 0.5, "go": 0.125, "take lamp": 0.25, "A": 0.125}
CHAT: dict[str, Any] = {"model": "scripted", "messages": [{"role": "user", "content": "hello you"}]}


def policy(messages: object) -> dict[str, float]:
    return POLICY


def serving(**options: Any) -> ScriptedServer:
    return ScriptedServer(Choosing(policy), **options)


def post(
    server: ScriptedServer, path: str, body: object, **headers: str
) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection(*address(server))
    try:
        connection.request("POST", path, json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, dict(reply.headers), json.loads(reply.read())
    finally:
        connection.close()


def address(server: ScriptedServer) -> tuple[str, int]:
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    return host, int(port)


def chat(server: ScriptedServer, **fields: object) -> dict[str, Any]:
    status, _, reply = post(server, "/v1/chat/completions", {**CHAT, **fields})
    assert status == 200, reply
    return reply


def texts(reply: dict[str, Any]) -> list[str]:
    return [choice["message"]["content"] for choice in reply["choices"]]


def first_token(reply: dict[str, Any]) -> dict[str, float]:
    entry = reply["choices"][0]["logprobs"]["content"][0]
    return {other["token"]: other["logprob"] for other in entry["top_logprobs"]}


answers = st.dictionaries(
    st.text("ab c,\n", min_size=0, max_size=6), st.integers(1, 9), min_size=1, max_size=6
)


@given(answers, st.sampled_from([words, characters]))
def test_the_tokens_of_an_answer_multiply_to_its_probability(weights, tokens) -> None:
    total = sum(weights.values())
    brain = Choosing(lambda messages: {a: w / total for a, w in weights.items()}, tokens=tokens)
    following = brain.begin([])
    for answer, weight in weights.items():
        path = [*brain.tokens(answer), "<|end|>"]
        assert "".join(path[:-1]) == answer
        logprob = sum(following(path[:i])[token] for i, token in enumerate(path))
        assert math.isclose(logprob, math.log(weight / total), abs_tol=1e-9)
    assert math.isclose(sum(map(math.exp, following([]).values())), 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("wrong", [{"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_a_policy_that_is_no_distribution_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match="probabilities"):
        Choosing(lambda messages: wrong).begin([])


@pytest.mark.parametrize("wrong", ["text", []])
def test_fixed_replies_are_texts(wrong: Any) -> None:
    with pytest.raises(InvalidValue, match="replies"):
        Fixed(wrong)


def test_fixed_replies_come_in_order_and_the_last_one_stays() -> None:
    with ScriptedServer(Fixed(["one", "two"])) as server:
        assert [texts(chat(server)) for _ in range(3)] == [["one"], ["two"], ["two"]]
    with ScriptedServer(Fixed(lambda messages: messages[-1].content.upper())) as server:
        assert texts(chat(server)) == ["HELLO YOU"]


def test_the_policy_is_asked_with_the_messages() -> None:
    seen: list[object] = []

    def noting(messages: object) -> dict[str, float]:
        seen.append(messages)
        return {"A": 1.0}

    with ScriptedServer(Choosing(noting)) as server:
        chat(server)
    assert seen == [[Message("user", "hello you")]]


def test_reported_log_probabilities_are_the_brains() -> None:
    with serving() as server:
        top = first_token(chat(server, logprobs=True, top_logprobs=20))
    assert len(top) == 20
    expected = {"go": 0.625, "take": 0.25, "A": 0.125}
    for token, p in expected.items():
        assert math.isclose(top[token], math.log(p), abs_tol=1e-12)
    assert all(top[token] == -50.0 for token in set(top) - set(expected))


def test_sampling_follows_the_distribution() -> None:
    with serving() as server:
        counts = Counter(texts(chat(server, n=2000, seed=3)))
    for answer, p in POLICY.items():
        assert abs(counts[answer] / 2000 - p) < 4 * math.sqrt(p * (1 - p) / 2000)


def test_temperature_and_top_p_bend_what_is_drawn() -> None:
    with serving() as server:
        assert set(texts(chat(server, n=20, temperature=0))) == {"go north"}
        assert set(texts(chat(server, n=50, top_p=0.6, seed=1))) == {"go north"}
        flat = Counter(text[:2] for text in texts(chat(server, n=600, temperature=50, seed=2)))
    assert min(flat.values()) > 120  # three first tokens, nearly alike


def test_a_seed_decides_and_another_differs() -> None:
    with serving() as server:
        one, same, other = (texts(chat(server, n=20, seed=seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_servers_of_one_seed_draw_alike() -> None:
    drawn = []
    for seed in (0, 0, 1):
        with serving(seed=seed) as server:
            drawn.append([texts(chat(server))[0] for _ in range(12)])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("shown", ["before", "after"])
def test_a_bias_is_added_before_sampling_and_shown_as_told(shown: Any) -> None:
    with serving(capabilities=replace(ABLE, bias_shown=shown)) as server:
        bias = {str(ord("A")): 100, str(ord("B")): 99}
        reply = chat(server, n=40, seed=1, max_tokens=1, logprobs=True, top_logprobs=20)
        biased = chat(
            server, n=40, seed=1, max_tokens=1, logprobs=True, top_logprobs=20, logit_bias=bias
        )
    assert len(set(texts(reply))) > 1
    assert set(texts(biased)) == {"A"}
    top = first_token(biased)
    if shown == "before":
        assert top == first_token(reply)
    else:
        # p(A) e^100 against 2e-22 e^99: what is left of B, next to A
        assert math.isclose(top["B"] - top["A"], -50 - 1 - math.log(0.125), abs_tol=1e-9)


def test_an_equal_bias_leaves_ratios_alone() -> None:
    with serving(capabilities=replace(ABLE, bias_shown="after")) as server:
        _, _, told = post(server, "/tokenize", {"model": "scripted", "prompt": "go"})
        bias = {str(id): 60 for id in (*told["tokens"], ord("A"))}
        top = first_token(chat(server, logprobs=True, top_logprobs=2, logit_bias=bias))
    assert math.isclose(top["go"] - top["A"], math.log(0.625 / 0.125), abs_tol=1e-9)


def test_max_tokens_and_stop_end_an_answer() -> None:
    with ScriptedServer(Fixed(["take the red lamp"])) as server:
        cut = chat(server, max_tokens=2)
        stopped = chat(server, stop=["red"], logprobs=True, top_logprobs=0)
    assert texts(cut) == ["take the"] and cut["choices"][0]["finish_reason"] == "length"
    assert texts(stopped) == ["take the "] and stopped["choices"][0]["finish_reason"] == "stop"
    content = stopped["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == ["take", " the", " red"]


def test_usage_counts_prompt_cached_and_written() -> None:
    with serving() as server:
        first, second = (chat(server, n=2, seed=1)["usage"] for _ in range(2))
    assert first["prompt_tokens"] == 2
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert second["prompt_tokens_details"]["cached_tokens"] == 2
    assert first["completion_tokens"] == second["completion_tokens"] >= 2


def test_a_stream_holds_what_a_reply_holds() -> None:
    with serving() as server:
        whole = chat(server, seed=4, logprobs=True, top_logprobs=2)
        with openai.OpenAI(api_key="x", base_url=server.url, max_retries=0) as client:
            stream = client.chat.completions.create(
                model="scripted",
                messages=[{"role": "user", "content": "hello you"}],
                seed=4,
                logprobs=True,
                top_logprobs=2,
                stream=True,
                stream_options={"include_usage": True},
            )
            events = list(stream)
    said = [event.choices[0] for event in events if event.choices]
    assert "".join(choice.delta.content or "" for choice in said) == texts(whole)[0]
    assert said[-1].finish_reason == "stop"
    logprobs = [choice.logprobs.content[0].logprob for choice in said if choice.logprobs]
    assert logprobs == [e["logprob"] for e in whole["choices"][0]["logprobs"]["content"]]
    assert events[-1].usage is not None
    assert events[-1].usage.completion_tokens == whole["usage"]["completion_tokens"]


def test_the_models_are_listed() -> None:
    with (
        serving(models=("a", "b")) as server,
        openai.OpenAI(api_key="x", base_url=server.url) as client,
    ):
        assert [model.id for model in client.models.list()] == ["a", "b"]


def test_a_schema_keeps_to_answers_that_satisfy_it() -> None:
    schema = {"type": "object", "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    brain = Choosing(lambda messages: {"no": 0.5, '{"a": 1}': 0.25, '{"b": 1}': 0.25})
    with ScriptedServer(brain) as server:
        assert set(texts(chat(server, n=20, response_format=form))) == {'{"a": 1}'}
        form = {"type": "json_object", "schema": schema}
        assert set(texts(chat(server, n=20, response_format=form))) == {'{"a": 1}'}
        status, _, _ = post(
            server, "/v1/chat/completions", {**CHAT, "response_format": {"type": 1}}
        )
        assert status == 400
    with serving() as server:
        body = {**CHAT, "response_format": form}
        status, _, reply = post(server, "/v1/chat/completions", body)
    assert status == 400 and "satisfies" in reply["error"]["message"]


@pytest.mark.parametrize("line", ["go north", "go", "take lamp", "A", "go south"])
def test_a_text_is_scored_line_by_line(line: str) -> None:
    body = {"model": "scripted", "echo": True, "logprobs": 1, "max_tokens": 0}
    with serving() as server:
        prompt = f"You are here.\n\nWhich way?\n{line}\n"
        _, _, reply = post(server, "/v1/completions", {**body, "prompt": [prompt, prompt]})
    first, second = reply["choices"]
    assert (first["index"], second["index"]) == (0, 1)
    assert first["text"] == prompt == "".join(first["logprobs"]["tokens"])
    held = first["logprobs"]
    assert held == second["logprobs"]
    begin = prompt.index(line)
    logprob = sum(
        value
        for value, offset in zip(held["token_logprobs"], held["text_offset"], strict=True)
        if offset >= begin
    )
    if line in POLICY:
        assert math.isclose(logprob, math.log(POLICY[line]), abs_tol=1e-9)
    else:
        assert logprob <= -50


def test_a_text_is_continued_to_the_end_of_its_line() -> None:
    body = {"model": "scripted", "prompt": "Which way?\ngo", "max_tokens": 8, "logprobs": 2}
    with serving() as server:
        said = {
            choice["text"]
            for choice in post(server, "/v1/completions", {**body, "n": 40})[2]["choices"]
        }
    assert said == {" north\n", "\n"}


def test_the_ids_of_a_text_are_told_and_stay() -> None:
    with serving() as server:
        told = [
            post(server, "/tokenize", {"model": "scripted", "prompt": text})[2]["tokens"]
            for text in ("A", "go north", "north", "go north")
        ]
    assert told[0] == [65]
    assert told[1] == told[3] and len(told[1]) == 2
    assert told[2] != told[1][1:]  # " north" is another token


def test_a_tokenizer_of_characters_splits_a_label_of_two() -> None:
    with ScriptedServer(Choosing(lambda messages: {"A1": 1.0}, tokens=characters)) as server:
        reply = chat(server, logprobs=True, top_logprobs=1)
    assert [e["token"] for e in reply["choices"][0]["logprobs"]["content"]] == ["A", "1"]


@pytest.mark.parametrize(
    ("lacks", "path", "body", "status"),
    [
        ({"schema": False}, "/v1/chat/completions", {"response_format": {"type": "x"}}, 400),
        ({"top_logprobs": 5}, "/v1/chat/completions", {"logprobs": True, "top_logprobs": 6}, 400),
        ({"sequence": False}, "/v1/completions", {"prompt": "x"}, 404),
        ({"tokenize": False}, "/tokenize", {"prompt": "x"}, 404),
        ({}, "/v1/embeddings", {}, 404),
        ({}, "/v1/chat/completions", {"model": "other"}, 404),
        ({}, "/v1/chat/completions", {"logit_bias": {"9999999": 1}}, 400),
        ({}, "/v1/chat/completions", {"messages": [{"role": "user", "content": 1}]}, 400),
    ],
)
def test_what_it_cannot_do_is_refused(lacks: Any, path: str, body: Any, status: int) -> None:
    with serving(capabilities=replace(ABLE, **lacks)) as server:
        got, _, reply = post(server, path, {**CHAT, **body})
    assert got == status
    assert reply["error"]["message"]


def test_what_servers_ignore_it_ignores() -> None:
    lacking = replace(ABLE, logprobs=False, logit_bias=False, several=False)
    with serving(capabilities=lacking) as server:
        reply = chat(
            server, n=3, logprobs=True, top_logprobs=20, logit_bias={"66": 100}, temperature=0
        )
    assert texts(reply) == ["go north"]
    assert reply["choices"][0]["logprobs"] is None


def test_a_key_a_context_and_the_name_of_a_limit_can_be_demanded() -> None:
    path = "/v1/chat/completions"
    with serving(key="secret") as server:
        assert post(server, path, CHAT, Authorization="Bearer wrong")[0] == 401
        assert post(server, path, CHAT, Authorization="Bearer secret")[0] == 200
    with serving(context=2) as server:
        status, _, reply = post(server, path, CHAT)
        assert (status, reply["error"]["code"]) == (400, "context_length_exceeded")
    with serving(limit="max_completion_tokens") as server:
        assert post(server, path, {**CHAT, "max_tokens": 3})[0] == 400
        assert post(server, path, {**CHAT, "max_completion_tokens": 3})[0] == 200


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_status_can_be_put_in_the_way_of_one_request(status: int) -> None:
    with serving() as server:
        server.faults.append(Fault("status", status, retry_after="7"))
        got, headers, reply = post(server, "/v1/chat/completions", CHAT)
        assert (got, headers["Retry-After"]) == (status, "7")
        assert reply["error"]["message"]
        chat(server)


@pytest.mark.parametrize("kind", ["drop", "drop_midway", "half_body"])
def test_a_reply_can_be_lost_or_cut(kind: Any) -> None:
    with serving() as server:
        server.faults.append(Fault(kind))
        with pytest.raises((http.client.HTTPException, ValueError, ConnectionError)):
            post(server, "/v1/chat/completions", CHAT)
        chat(server)


def test_an_answer_can_be_cut_bare_or_refused() -> None:
    with ScriptedServer(Fixed(["abcd"])) as server:
        server.faults.extend([Fault("half_answer"), Fault("no_logprobs"), Fault("refusal")])
        replies = [chat(server, logprobs=True, top_logprobs=1)["choices"][0] for _ in range(3)]
    assert (replies[0]["message"]["content"], replies[0]["finish_reason"]) == ("ab", "length")
    assert replies[1]["logprobs"] is None and replies[1]["message"]["content"] == "abcd"
    assert replies[2]["message"]["content"] is None and replies[2]["message"]["refusal"]


def test_a_hanging_request_ends_with_the_client_or_the_server() -> None:
    with serving() as server:
        server.faults.extend([Fault("hang"), Fault("hang")])
        with socket.create_connection(address(server)) as client:
            send(client)
            assert server.wait(lambda server: server.in_flight == 1)
        assert server.wait(lambda server: server.abandoned == 1 and server.in_flight == 0)
        with socket.create_connection(address(server)) as waiting:
            send(waiting)
            assert server.wait(lambda server: server.in_flight == 1)
            server.__exit__(None, None, None)
            assert waiting.recv(1) == b""


def send(client: socket.socket) -> None:
    body = json.dumps(CHAT).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)


def test_requests_are_logged_with_their_headers() -> None:
    with serving() as server:
        post(server, "/v1/chat/completions", {**CHAT, "seed": 5}, Authorization="Bearer abc")
        (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer abc"
    assert request.body["seed"] == 5


def test_requests_at_once_are_counted() -> None:
    gate = threading.Barrier(5)

    def together(messages: object) -> dict[str, float]:
        gate.wait(10)
        return {"A": 1.0}

    with ScriptedServer(Choosing(together)) as server:
        threads = [threading.Thread(target=chat, args=(server,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (server.most_in_flight, server.in_flight) == (5, 0)


def test_a_brain_that_fails_is_told() -> None:
    def failing(messages: object) -> dict[str, float]:
        raise KeyError("room")

    with ScriptedServer(Choosing(failing)) as server:
        status, _, reply = post(server, "/v1/chat/completions", CHAT)
    assert status == 500 and "KeyError('room')" in reply["error"]["message"]


def test_a_client_that_goes_in_the_middle_of_a_request_is_no_news(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with serving() as server:
        with socket.create_connection(address(server)) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 9\r\n\r\n{")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""  # the server has done with it
        assert server.requests == []
    assert capfd.readouterr() == ("", "")


def test_the_address_is_known_while_it_runs() -> None:
    server = serving()
    with pytest.raises(InvalidValue, match="url"):
        _ = server.url
    with server:
        assert server.url.startswith("http://127.0.0.1:")
    with pytest.raises(InvalidValue, match="delay"):
        serving(delay=-1)


@settings(max_examples=25)
@given(st.text(max_size=40))
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(words(text)) == "".join(characters(text)) == text
