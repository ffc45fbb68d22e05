"""A language-model server of a few lines: it speaks the OpenAI protocol on 127.0.0.1, for tests.

What it says comes from a brain (`jitrl.testing.brains`), so every probability is known; what it
can do, and what goes wrong on the way, is told to it.

    >>> from jitrl.models import make
    >>> from jitrl.testing import Choosing
    >>> with ScriptedServer(Choosing(lambda messages: {"A": 0.75, "B": 0.25})) as server:
    ...     model = make("openai/scripted", base_url=server.url)
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from jitrl.checks import finite
from jitrl.errors import InvalidValue
from jitrl.models import Capabilities
from jitrl.testing.brains import Brain
from jitrl.testing.engine import Engine, Refusal

__all__ = ["ABLE", "Fault", "Received", "ScriptedServer"]

ABLE = Capabilities(
    logprobs=True,
    top_logprobs=20,
    logit_bias=True,
    bias_shown="before",
    schema=True,
    several=True,
    sequence=True,
    tokenize=True,
)
"""A server that can do everything; `dataclasses.replace` one answer for one that cannot."""

_SAID: Mapping[int, tuple[str, str]] = {
    400: ("This model's maximum context length is 8 tokens", "context_length_exceeded"),
    401: ("Incorrect API key provided", "invalid_api_key"),
    403: ("You are not allowed to use this model", "forbidden"),
    404: ("The model does not exist", "model_not_found"),
    429: ("Rate limit reached", "rate_limit_exceeded"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request.

    kind         "status"       the HTTP status `status`, with an error of the protocol
                 "drop"         the connection is closed before a reply
                 "drop_midway"  ... in the middle of the reply's body
                 "half_body"    a whole reply, whose body is the first half of the JSON
                 "half_answer"  the first half of each answer's text, as if cut by max_tokens
                 "no_logprobs"  status 200, but no log-probabilities
                 "refusal"      the model refuses
                 "hang"         no reply until the client gives up or the server stops
    status       of "status"
    retry_after  header Retry-After of "status": seconds or an HTTP date
    message, code  of the error of "status"; empty for the usual ones
    """

    kind: Literal[
        "status",
        "drop",
        "drop_midway",
        "half_body",
        "half_answer",
        "no_logprobs",
        "refusal",
        "hang",
    ]
    status: int = 500
    retry_after: str = ""
    message: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came: path, headers (names in lower case), JSON body."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class ScriptedServer:
    """Serves a brain from a thread, between `with` and its end.

    brain         what it says
    capabilities  what it can do; what it cannot it ignores or refuses, as servers do
    models        names it knows; others get status 404
    key           where set, other keys get status 401
    context       most tokens of prompt and reply together; None for no limit
    limit         the only name it takes for the limit of tokens; "" for either
    delay         seconds that each request waits before it is answered
    seed          of what it draws, with the request's own seed or the order of arrival

    url           base URL for clients: "http://127.0.0.1:PORT/v1"
    faults        taken by the next requests, one each, oldest first; append to it at any time
    requests      what came in, in order (POST only)
    in_flight     requests that are being answered; `most_in_flight` at once so far
    abandoned     hanging requests that the client gave up
    """

    def __init__(
        self,
        brain: Brain,
        *,
        capabilities: Capabilities = ABLE,
        models: tuple[str, ...] = ("scripted",),
        key: str | None = None,
        context: int | None = None,
        limit: Literal["", "max_tokens", "max_completion_tokens"] = "",
        delay: float = 0.0,
        seed: int = 0,
    ) -> None:
        if finite("delay", delay) < 0:
            raise InvalidValue("delay", delay, "must be at least 0 seconds")
        self.engine = Engine(brain, capabilities, seed)
        self.models = models
        self.key = key
        self.context = context
        self.limit = limit
        self.delay = delay
        self.faults: deque[Fault] = deque()
        self.requests: list[Received] = []
        self.in_flight = self.most_in_flight = self.abandoned = 0
        self._changed = threading.Condition()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Base URL; InvalidValue unless the server runs."""
        if self._server is None:
            raise InvalidValue(
                "url", None, "is known between `with ScriptedServer(...)` and its end"
            )
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def wait(self, until: Callable[[ScriptedServer], bool], timeout: float = 10.0) -> bool:
        """Wait until something holds of the server; return whether it does.

        >>> from jitrl.testing import Fixed
        >>> with ScriptedServer(Fixed(["go north"])) as server:
        ...     server.wait(lambda server: not server.requests)
        True
        """
        with self._changed:
            return self._changed.wait_for(lambda: until(self), timeout)

    def note(self, request: Received) -> Fault | None:
        """Log a request that has come; return what goes wrong with it."""
        with self._changed:
            self.requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self._changed.notify_all()
            return self.faults.popleft() if self.faults else None

    def done(self, abandoned: bool) -> None:
        """Count a request that is over."""
        with self._changed:
            self.in_flight -= 1
            self.abandoned += abandoned
            self._changed.notify_all()

    def answer(self, request: Received) -> dict[str, Any]:
        """Return the reply's JSON. Raises Refusal."""
        if self.delay:
            time.sleep(self.delay)
        body = request.body
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            raise Refusal(401, *_SAID[401])
        if body.get("model") not in self.models:
            raise Refusal(404, f"The model `{body.get('model')}` does not exist", "model_not_found")
        if request.path == "/tokenize":
            return self.engine.tokenize(body)
        for name in ("max_tokens", "max_completion_tokens"):
            if self.limit and name in body and name != self.limit:
                message = f"Unsupported parameter: '{name}'. Use '{self.limit}' instead."
                raise Refusal(400, message, "unsupported_parameter", name)
        if request.path == "/v1/chat/completions":
            reply = self.engine.chat(body)
        elif request.path == "/v1/completions":
            reply = self.engine.completions(body)
        else:
            raise Refusal(404, f"Not Found: {request.path}")
        if self.context is not None and reply["usage"]["total_tokens"] > self.context:
            message = f"This model's maximum context length is {self.context} tokens"
            raise Refusal(400, message, "context_length_exceeded", "messages")
        return reply


class _Server(ThreadingHTTPServer):
    """The listening socket, and the connections that are open, so that stopping ends them."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, scripted: ScriptedServer) -> None:
        self.scripted = scripted
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = threading.current_thread()
        super().process_request_thread(request, client_address)
        with self._lock:
            del self._open[request]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of a brain that failed; a client that went away is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            still = dict(self._open)
        for connection, thread in still.items():
            with contextlib.suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5.0)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet a reply

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: `server.requests` is the log."""

    def do_GET(self) -> None:
        """Answer `/v1/models`."""
        if self.path == "/v1/models":
            known = [{"id": name, "object": "model"} for name in self.server.scripted.models]
            self._send(200, {"object": "list", "data": known})
        else:
            self._send(404, Refusal(404, f"Not Found: {self.path}").body)

    def do_POST(self) -> None:
        """Answer everything else, or let something go wrong."""
        scripted = self.server.scripted
        length = int(self.headers.get("content-length", 0))
        raw = self.rfile.read(length)
        if len(raw) < length:
            raise ConnectionResetError("the client went away in the middle of a request")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.path, headers, json.loads(raw))
        fault = scripted.note(request)
        if fault is not None and fault.kind in ("drop", "hang"):
            self.close_connection = True
            scripted.done(fault.kind == "hang" and self._given_up())
            return
        try:
            status, reply, extra = self._outcome(request, fault)
        finally:
            scripted.done(False)  # before the reply goes out: whoever has it may ask again
        if status == 200 and request.body.get("stream"):
            options = request.body.get("stream_options") or {}
            self._stream(reply, bool(options.get("include_usage")))
        else:
            self._send(status, reply, extra, "" if fault is None else fault.kind)

    def _given_up(self) -> bool:
        """Wait until the client goes, or the server stops."""
        try:
            return not self.connection.recv(1)
        except ConnectionError:
            return True

    def _outcome(
        self, request: Received, fault: Fault | None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return status, JSON and headers of the reply."""
        if fault is not None and fault.kind == "status":
            usual = _SAID.get(fault.status, ("The server had an error", "server_error"))
            message, code = fault.message or usual[0], fault.code or usual[1]
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return fault.status, Refusal(fault.status, message, code).body, headers
        try:
            reply = self.server.scripted.answer(request)
        except Refusal as refusal:
            return refusal.status, refusal.body, {}
        except Exception as error:
            message = f"the brain failed: {error!r}"
            closing = {"Connection": "close"}
            self._send(500, Refusal(500, message, "server_error").body, closing)
            raise
        for choice in reply.get("choices", ()):
            _spoil(choice, "" if fault is None else fault.kind)
        return 200, reply, {}

    def _send(
        self,
        status: int,
        reply: object,
        extra: Mapping[str, str] | None = None,
        spoiled: str = "",
    ) -> None:
        data = json.dumps(reply).encode()
        if spoiled == "half_body":
            data = data[: len(data) // 2]
        self.send_response(status)
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if spoiled == "drop_midway":
            data, self.close_connection = data[: len(data) // 2], True
        self.wfile.write(data)
        self.wfile.flush()

    def _stream(self, reply: dict[str, Any], with_usage: bool) -> None:
        """Send a reply of the chat as server-sent events, a token each."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        head = {**reply, "object": "chat.completion.chunk"}
        usage = head.pop("usage")
        events = [
            {**head, "choices": [event]}
            for choice in reply["choices"]
            for event in _events(choice, self.server.scripted.engine.brain)
        ]
        if with_usage:
            events.append({**head, "choices": [], "usage": usage})
        for event in events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.wfile.flush()


def _spoil(choice: dict[str, Any], kind: str) -> None:
    """Change a choice as a fault says."""
    if kind == "no_logprobs":
        choice["logprobs"] = None
    message = choice.get("message")
    if message is not None and kind == "half_answer":
        text = message["content"]
        message["content"], choice["finish_reason"] = text[: len(text) // 2], "length"
    if message is not None and kind == "refusal":
        message.update(content=None, refusal="I cannot help with that.")
        choice["logprobs"] = None


def _events(choice: dict[str, Any], brain: Brain) -> list[dict[str, Any]]:
    """Return a choice as the events of a stream."""
    index, reported = choice["index"], (choice["logprobs"] or {}).get("content")
    pieces = brain.tokens(choice["message"]["content"] or "")
    if reported is not None:
        pieces = [entry["token"] for entry in reported]
    events = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces), {}]
    result: list[dict[str, Any]] = [
        {"index": index, "delta": delta, "finish_reason": None, "logprobs": None}
        for delta in events
    ]
    for event, entry in zip(result[1:], reported or (), strict=False):
        event["logprobs"] = {"content": [entry], "refusal": None}
    result[-1]["finish_reason"] = choice["finish_reason"]
    return result
