"""Calls of a model recorded to a file, and replayed from it bit for bit, without a network.

The file is a line that names the model, then a line per call: what was asked, for what purpose,
what was replied, or how it failed. Nothing else is in it: no key, no header, no address; of an
image that was shown its SHA-256. Equal
requests for the same purpose are told apart by the order in which they were issued. Every line
carries a check sum, so that a recording is replayed as it was or not at all.

Where calls are also counted, `Recorder(Metered(model, ...), path)` counts what is paid, and
`Metered(Replay(path), ...)` what was paid when it was recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from jitrl.errors import (
    BadReply,
    InvalidValue,
    ModelError,
    ModelUnavailable,
    NotRecorded,
    RequestRejected,
)
from jitrl.models import (
    Capabilities,
    Message,
    Model,
    Purpose,
    Reply,
    Request,
    SequenceScores,
    calls,
)
from jitrl.models.lines import Lines, read

__all__ = ["Recorder", "Replay"]

FORMAT = 1
_BEGINS = b'{"check":"'
_BODY = len(_BEGINS) + 16 + len('",')
_FAILURES: dict[str, type[ModelError]] = {
    kind.__name__: kind for kind in (ModelUnavailable, RequestRejected, BadReply)
}
_Answer = TypeVar("_Answer")


class Recorder:
    """A model whose calls are recorded to a file that this process alone writes.

    A file that is there is continued: what it holds is served from it instead of being asked for
    again, so a run that was killed ends with the recording of one that was not. Calls that failed
    are asked for again; a replay fails where they did, unless a later answer is there.

    `capabilities` are those that the model told of when the recording began: whoever looks at them
    decides alike in the recording, in its continuation and in the replay.

    Raises InvalidValue where the file is damaged, is none of ours, or is another model's; RunError
    where it cannot be written.
    """

    def __init__(self, model: Model, path: Path) -> None:
        self._model = model
        self._held = _Recording(path)
        self._lines = Lines(path, _BEGINS, self._held.take)
        try:
            if self._held.model is None:
                self._lines.append(_header(model))
                self._held.model, self._held.capabilities = model.name, model.capabilities
            elif self._held.model != model.name:
                rule = f"must be a recording of {model.name}, not of {self._held.model}"
                raise InvalidValue("recording", str(path), f"{rule}: name another file")
        except BaseException:
            self._lines.close()
            raise
        self.name = model.name
        self.capabilities = self._held.capabilities

    async def complete(self, request: Request) -> Reply:
        """Return what is recorded, or else what the model replies."""
        call = calls.completion(request)
        return await self._once(
            call, lambda: self._model.complete(request), calls.write_reply, calls.read_reply
        )

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        """Return what is recorded, or else the model's scores."""
        call = calls.scoring(messages, continuations, purpose)
        return await self._once(
            call,
            lambda: self._model.score(messages, continuations, purpose),
            calls.write_scores,
            calls.read_scores,
        )

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return what is recorded, or else what the model says."""
        call = calls.tokenizing(text)
        return await self._once(
            call, lambda: self._model.tokenize(text), calls.write_ids, calls.read_ids
        )

    async def close(self) -> None:
        """Close the file and the model; calling it twice is harmless."""
        self._lines.close()
        await self._model.close()

    async def _once(
        self,
        call: calls.Call,
        ask: Callable[[], Awaitable[_Answer]],
        write: Callable[[_Answer], object],
        parse: Callable[[Any], _Answer],
    ) -> _Answer:
        place = self._held.issue(call)
        if place not in self._held.replies:
            try:
                answer = await ask()
            except tuple(_FAILURES.values()) as error:
                self._lines.append(_line(call, place, _failure(error)))
                raise
            if place not in self._held.replies:  # a text may be tokenised twice at once
                reply = write(answer)
                self._lines.append(_line(call, place, reply))
                self._held.replies[place] = reply
            return answer
        return parse(self._held.replies[place])


class Replay:
    """The model of a recording: it answers what it answered then, without a network.

    A request that the recording does not hold raises NotRecorded. `name` and `capabilities` are
    the recorded model's.

    Raises InvalidValue where the file is missing or damaged, or is no recording.
    """

    def __init__(self, path: Path) -> None:
        self._held = _Recording(path)
        read(path, _BEGINS, self._held.take)
        if self._held.model is None:
            raise InvalidValue("recording", str(path), "must hold a recording: record it first")
        self.name = self._held.model
        self.capabilities = self._held.capabilities

    async def complete(self, request: Request) -> Reply:
        """Return the recorded reply."""
        return calls.read_reply(self._held.answer(calls.completion(request)))

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        """Return the recorded scores."""
        return calls.read_scores(self._held.answer(calls.scoring(messages, continuations, purpose)))

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return the recorded ids."""
        return calls.read_ids(self._held.answer(calls.tokenizing(text)))

    async def close(self) -> None:
        """Do nothing: the file is closed."""


class _Recording:
    """What a recording holds, and which requests were issued since it was opened.

    replies   (key, occurrence) -> the reply in terms of JSON
    failures  the same, for calls that failed
    """

    def __init__(self, path: Path) -> None:
        self.model: str | None = None
        self.capabilities = Capabilities()
        self.replies: dict[tuple[str, int], Any] = {}
        self.failures: dict[tuple[str, int], Any] = {}
        self._path = str(path)
        self._issued: Counter[str] = Counter()
        self._recorded: Counter[str] = Counter()
        self._asked: dict[tuple[str, Purpose], list[Mapping[str, object]]] = {}

    def take(self, number: int, line: bytes) -> None:
        """Take in a line of the file; raises InvalidValue if it is not as it was written."""
        body = b"{" + line[_BODY:]
        if line[:_BODY] != _BEGINS + _sum(body) + b'",':
            kind = "is damaged" if line.startswith(_BEGINS) else "is none of a recording"
            rule = f"must be as it was written, but its line {number} {kind}: restore it"
            raise InvalidValue("recording", self._path, rule)
        got = json.loads(body)
        if self.model is not None:
            call = calls.Call(got["kind"], Purpose(**got["purpose"]), got["request"])
            self._keep((got["key"], got["occurrence"]), got["reply"])
            self._asked.setdefault((call.kind, call.purpose), []).append(call.request)
        elif got.get("format") == FORMAT:
            self.model, self.capabilities = got["model"], Capabilities(**got["capabilities"])
        else:
            rule = f"must begin with a line of format {FORMAT}, the one that this jitrl reads"
            raise InvalidValue("recording", self._path, rule)

    def _keep(self, place: tuple[str, int], reply: Any) -> None:
        """Keep a reply, or that there was none: what was replied later comes first."""
        if place not in self.replies and place not in self.failures:
            self._recorded[place[0]] += 1
        if isinstance(reply, dict) and "failure" in reply:
            self.failures[place] = reply
        else:
            self.replies[place] = reply

    def issue(self, call: calls.Call) -> tuple[str, int]:
        """Return the key of a call that is made now, and which one of that key it is, from 0."""
        key = call.key
        occurrence = 0 if call.kind == "tokenize" else self._issued[key]  # its answers are alike
        self._issued[key] += 1
        return key, occurrence

    def answer(self, call: calls.Call) -> Any:
        """Return the reply to a call that is made now; raises NotRecorded, or how it failed."""
        place = self.issue(call)
        if place not in self.replies and place in self.failures:
            failed = self.failures[place]
            raise _FAILURES[failed["failure"]](failed["message"])
        if place not in self.replies:
            raise NotRecorded(
                f"{self._path!r} does not hold this request ({call}): {self._difference(call)}; "
                "replay with the options it was recorded with, or record anew"
            )
        return self.replies[place]

    def _difference(self, call: calls.Call) -> str:
        times = self._recorded[call.key]
        if times:
            return f"issued {self._issued[call.key]} times, it is recorded {times} times"
        others = self._asked.get((call.kind, call.purpose))
        if others is None:
            return "nothing is recorded there"
        names = min((_unlike(call.request, other) for other in others), key=len)
        return f"what is recorded there has another {', '.join(names)}"


def _failure(error: ModelError) -> dict[str, str]:
    kind = next(name for name, kind in _FAILURES.items() if isinstance(error, kind))
    return {"failure": kind, "message": str(error)}


def _unlike(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return [name for name in one if calls.dumps(one[name]) != calls.dumps(other.get(name))]


def _header(model: Model) -> str:
    return _checked(
        {"format": FORMAT, "model": model.name, "capabilities": asdict(model.capabilities)}
    )


def _line(call: calls.Call, place: tuple[str, int], reply: object) -> str:
    key, occurrence = place
    return _checked(
        {
            "key": key,
            "occurrence": occurrence,
            "kind": call.kind,
            "purpose": asdict(call.purpose),
            "request": call.request,
            "reply": reply,
        }
    )


def _checked(values: Mapping[str, object]) -> str:
    """Return a line: the check sum of what follows it, then the values."""
    body = calls.dumps(values)
    return f'{_BEGINS.decode()}{_sum(body.encode()).decode()}",{body[1:]}'


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()
