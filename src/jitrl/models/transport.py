"""Calls over the `openai` SDK: how many at once, how long, how often, and what a failure means.

The SDK's own retries are off: it takes its jitter from no seed, does not try again after half a
reply, and tries again although the money is spent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from jitrl.errors import BadReply, MissingExtra, ModelError, ModelUnavailable, RequestRejected
from jitrl.seeds import generator

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["Refused", "Transport", "together"]

_LOG = logging.getLogger("jitrl.models")
_FIRST, _LONGEST = 1.0, 60.0  # seconds: the first wait; no wait is longer, whatever a server says
_AGAIN = frozenset({408, 409, 429})
_CONTEXT = re.compile(r"context.{0,9}(length|window|size)|maximum context|too many tokens", re.I)
# llama.cpp says that it sees no images with status 500: no other attempt will do
_BLIND = re.compile(r"image_url|images?\b.{0,20}not support|mmproj|multimodal", re.I)
_SAID = 240
_YEAR = 3e7
_T = TypeVar("_T")


class Refused(RequestRejected):
    """What the server refused, for those who may ask otherwise: status, parameter, its words."""

    def __init__(self, line: str, status: int, param: str, said: str) -> None:
        super().__init__(line)
        self.status = status
        self.said = said
        self.param = param

    def blames(self, field: str) -> bool:
        """Return whether the refusal is about a field of the request."""
        if self.status not in (400, 422) or _CONTEXT.search(self.said):
            return False
        return self.param == field or bool(re.search(rf"(?<![\w\\]){field}\b", self.said))


@dataclass(frozen=True, slots=True)
class _Failure:
    """One attempt that failed: what to raise in the end, whether and when to try again."""

    error: ModelError
    again: bool
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class _Opened:
    """What belongs to one event loop; `lifetime` ends with it and closes the client."""

    loop: asyncio.AbstractEventLoop
    client: AsyncOpenAI
    places: asyncio.Semaphore
    lifetime: AsyncGenerator[None, None]
    kept: asyncio.TimerHandle


class Transport:
    """Posts JSON to one server.

    key       sent as a bearer token, "" for none; in no message, whatever the server says
    variable  environment variable that holds the key, for messages
    timeout   seconds for one attempt, from connecting to the last byte read
    retries   attempts after the first: on 408, 409, 429, 5xx, loss of connection, time-out, half a
              reply. The wait doubles from 1 s, less up to a half by chance (of `seed`); a server's
              Retry-After is waited for instead; never longer than a minute.
    concurrency  calls at once; the others wait in order. A call keeps its place while it retries.

    Connections belong to an event loop and are closed with it; a later loop gets new ones.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        variable: str,
        *,
        timeout: float,
        retries: int,
        concurrency: int,
        seed: int = 0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra(
                "this model needs the package openai: pip install 'jitrl[models]'"
            ) from error
        self._sdk = openai
        self.base_url = base_url
        self._key = key
        self._variable = variable
        self._timeout = timeout
        self._retries = retries
        self._concurrency = concurrency
        self._rng = generator(seed, 0, "retries")
        self._sleep = sleep
        self._clock = clock
        self._opened: _Opened | None = None

    def __repr__(self) -> str:
        return f"Transport({self.base_url!r})"

    async def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Return the JSON object that the server answers.

        path  after the base URL, or a whole URL

        Raises ModelUnavailable, Refused (a RequestRejected), or BadReply where it is no object.
        """
        opened = await self._open()
        async with opened.places:
            for attempt in itertools.count():
                outcome = await self._attempt(opened.client, path, body)
                if not isinstance(outcome, _Failure):
                    return outcome
                if not outcome.again or attempt == self._retries:
                    raise outcome.error
                wait = self._wait(attempt) if outcome.wait is None else outcome.wait
                _LOG.info("%s; trying again in %.1f s", outcome.error, wait)
                await self._sleep(wait)
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        opened, self._opened = self._opened, None
        if opened is not None and opened.loop is asyncio.get_running_loop():
            opened.kept.cancel()
            await opened.lifetime.aclose()

    async def _open(self) -> _Opened:
        loop = asyncio.get_running_loop()
        if self._opened is None or self._opened.loop is not loop:
            client = self._connecting()
            lifetime = _until_the_end(client)
            # The loop itself holds on to it: the model may be gone before the loop ends.
            kept = loop.call_later(_YEAR, id, lifetime)
            places = asyncio.Semaphore(self._concurrency)
            self._opened = _Opened(loop, client, places, lifetime, kept)
            await anext(lifetime)
        return self._opened

    def _connecting(self) -> AsyncOpenAI:
        plain = None
        if self.base_url.startswith("http://"):  # spares reading certificates, 65 ms a loop
            plain = self._sdk.DefaultAsyncHttpxClient(verify=False, follow_redirects=False)
        return self._sdk.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self.base_url,
            max_retries=0,
            timeout=None,
            http_client=plain,
        )

    async def _attempt(
        self, client: AsyncOpenAI, path: str, body: Mapping[str, object]
    ) -> dict[str, Any] | _Failure:
        """Try once. Failures are returned, so that nothing raised later drags the request along."""
        import httpx2

        try:
            async with asyncio.timeout(self._timeout):
                response = await client.post(path, cast_to=httpx2.Response, body=body)
        except TimeoutError:
            line = f"no answer within {self._timeout:g} s: raise the time-out, or use another model"
            return self._unavailable(line)
        except self._sdk.APIStatusError as error:
            return self._refused(error.status_code, error.response.text, error.response.headers)
        except self._sdk.APIConnectionError as error:
            why = self._clean(str(error.__cause__ or error)) or "the connection was lost"
            return self._unavailable(f"{why}: check that it runs, and its address")
        return self._parsed(response.text, response.headers)

    def _parsed(self, text: str, headers: Mapping[str, str]) -> dict[str, Any] | _Failure:
        try:
            reply = json.loads(text)
        except ValueError:
            reply = None
        if isinstance(reply, dict):
            return reply
        line = f"answered what is no JSON object: {self._clean(text)!r}: check the base URL"
        again = "json" in headers.get("content-type", "")  # a page of HTML stays one
        return _Failure(BadReply(f"{self.base_url} {line}"), again)

    def _refused(self, status: int, text: str, headers: Mapping[str, str]) -> _Failure:
        said, code, param = _said(text)
        said = self._clean(said)
        if (status in _AGAIN or status >= 500) and not _BLIND.search(said):
            if "insufficient_quota" in code:
                return self._unavailable(f"the quota is spent: {said}: check the account", False)
            why = "is overloaded" if status == 429 else "failed"
            line = f"{why} with status {status}: {said or 'no reason given'}: try again later"
            return self._unavailable(line, wait=self._retry_after(headers))
        line = f"{self.base_url} said no ({status}): {said or 'no reason given'}"
        return _Failure(
            Refused(f"{line}: {self._remedy(status, said)}", status, param, said), False
        )

    def _remedy(self, status: int, said: str) -> str:
        if status in (401, 403):
            return f"check the key in {self._variable}, and what it may use"
        if status == 404:
            return "check the model's name and the base URL"
        if _CONTEXT.search(said):
            return "shorten the prompt, or use a model with a longer context"
        if _BLIND.search(said):
            return "use a model that sees images, or leave the screenshot out"
        return "change the request, or use another model"

    def _unavailable(self, line: str, again: bool = True, wait: float | None = None) -> _Failure:
        return _Failure(ModelUnavailable(f"{self.base_url}: {line}"), again, wait)

    def _clean(self, text: str) -> str:
        """Return the beginning of a server's words on one line, without the key."""
        return _one_line(text.replace(self._key, "***") if self._key else text)

    def _wait(self, attempt: int) -> float:
        longest = min(_FIRST * 2.0**attempt, _LONGEST)
        return longest * (1.0 - 0.5 * float(self._rng.random()))

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Return the seconds that the server asks for: a number, or a date."""
        asked = headers.get("retry-after", "").strip()
        try:
            seconds = float(asked)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(asked).timestamp() - self._clock()
            except ValueError:
                return None
        return min(max(seconds, 0.0), _LONGEST) if seconds == seconds else None


async def _until_the_end(client: AsyncOpenAI) -> AsyncGenerator[None, None]:
    """Close a client with its event loop, which ends every asynchronous generator it has seen."""
    try:
        yield
    finally:
        await client.close()


async def together(calls: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return what the calls return, in order; the first failure ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _said(text: str) -> tuple[str, str, str]:
    """Return (message, code, parameter) of a refusal, in whichever form the server has."""
    try:
        body = json.loads(text)
    except ValueError:
        return text, "", ""
    if isinstance(body, list) and body:  # Gemini's
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error), "", ""
    message = error.get("message") or error.get("detail") or text
    code = f"{error.get('code') or ''} {error.get('type') or ''}"
    return str(message), code, str(error.get("param") or "")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else line[: _SAID - 3] + "..."
