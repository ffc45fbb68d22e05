"""What was used and what it cost: every call, by role, by episode, by step."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from jitrl.errors import BadRun, NotRecorded, RequestRejected
from jitrl.models import (
    Capabilities,
    Message,
    Model,
    Purpose,
    Reply,
    Request,
    SequenceScores,
    Usage,
)
from jitrl.models.lines import Lines, read
from jitrl.models.prices import Prices

__all__ = ["Ledger", "Metered", "Total"]

_BEGINS = b'{"role":'
_USAGE = ("calls", "input", "cached", "output")
_Key = TypeVar("_Key", bound=Hashable)
_Answer = TypeVar("_Answer", Reply, SequenceScores)


@dataclass(frozen=True, slots=True)
class Total:
    """What some calls used together.

    known_dollars  the cost of those calls whose cost is known
    unpriced       calls whose cost is unknown
    """

    usage: Usage = field(default_factory=Usage)
    known_dollars: float = 0.0
    unpriced: int = 0

    @property
    def dollars(self) -> float | None:
        """What all of it cost; None as soon as the cost of one call is unknown."""
        return None if self.unpriced else self.known_dollars

    @property
    def tokens(self) -> int:
        """Input and output tokens; cached ones are among the input."""
        return self.usage.input + self.usage.output

    def __add__(self, other: Total) -> Total:
        return Total(
            self.usage + other.usage,
            self.known_dollars + other.known_dollars,
            self.unpriced + other.unpriced,
        )


class Ledger:
    """The calls of a run, counted: in a file that grows by a line per call, or in memory alone.

    total     of all calls
    roles     role -> total: "act", "judge" and so on, as `jitrl.models.Purpose` has them
    episodes  number of the episode -> total; None for calls of no episode
    steps     (episode, t) -> total

    A file that is there is continued, by one process at a time. Raises BadRun where it is damaged
    or something else, RunError where it cannot be written. `Ledger.read(path)` only looks at one,
    whoever is writing it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.total = Total()
        self.roles: dict[str, Total] = {}
        self.episodes: dict[int | None, Total] = {}
        self.steps: dict[tuple[int | None, int | None], Total] = {}
        self._path = path
        self._lines = None if path is None else Lines(path, _BEGINS, self._take)

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Return a ledger in memory with the whole lines of a file.

        Raises BadRun for a damaged line, InvalidValue where there is no file.
        """
        ledger = cls()
        ledger._path = path
        read(path, _BEGINS, ledger._take)
        return ledger

    def add(self, purpose: Purpose, model: str, usage: Usage, dollars: float | None) -> None:
        """Enter one call; None where nobody knows what it cost. Raises RunError."""
        if self._lines is not None:
            used = {name: getattr(usage, name) for name in _USAGE}
            place = {"role": purpose.role, "episode": purpose.episode, "t": purpose.t}
            line = place | {"model": model} | used | {"dollars": dollars}
            self._lines.append(json.dumps(line, separators=(",", ":"), allow_nan=False))
        self._count(purpose, usage, dollars)

    def close(self) -> None:
        """Let go of the file; calling it twice is harmless."""
        if self._lines is not None:
            self._lines.close()

    def _count(self, purpose: Purpose, usage: Usage, dollars: float | None) -> None:
        unpriced = max(usage.calls, 1) if dollars is None else 0
        one = Total(usage, dollars or 0.0, unpriced)
        self.total += one
        _add(self.roles, purpose.role, one)
        _add(self.episodes, purpose.episode, one)
        _add(self.steps, (purpose.episode, purpose.t), one)

    def _take(self, number: int, line: bytes) -> None:
        try:
            got = json.loads(line)
            purpose = Purpose(_text(got["role"]), _place(got["episode"]), _place(got["t"]))
            _text(got["model"])
            usage = Usage(*(_whole(got[name]) for name in _USAGE))
            dollars = None if got["dollars"] is None else _dollars(got["dollars"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadRun(
                f"{str(self._path)!r}: line {number} is damaged ({error!r}): restore the file"
            ) from error
        self._count(purpose, usage, dollars)


class Metered:
    """A model whose calls are entered into a ledger, at `prices`; without them, price unknown.

    A call that fails is entered as well. What it used is taken from the `usage` of its error, if
    it has one; a rejected request used nothing; otherwise its cost is unknown. A request that a
    recording does not hold was no call. `model` is the model itself.
    """

    def __init__(self, model: Model, ledger: Ledger, prices: Prices | None = None) -> None:
        self.name = model.name
        self.model = model
        self._ledger = ledger
        self._prices = prices

    @property
    def capabilities(self) -> Capabilities:
        """Those of the model."""
        return self.model.capabilities

    @capabilities.setter
    def capabilities(self, capabilities: Capabilities) -> None:
        self.model.capabilities = capabilities

    async def complete(self, request: Request) -> Reply:
        """Return what the model replies, counted."""
        return await self._counted(request.purpose, self.model.complete(request))

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        """Return the model's scores, counted."""
        return await self._counted(purpose, self.model.score(messages, continuations, purpose))

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return what the model says: it is no call."""
        return await self.model.tokenize(text)

    async def close(self) -> None:
        """Close the model. The ledger stays open: it may be another model's too."""
        await self.model.close()

    async def _counted(self, purpose: Purpose, call: Awaitable[_Answer]) -> _Answer:
        try:
            answer = await call
        except NotRecorded:
            raise
        except BaseException as error:  # cancelled calls cost money too
            usage = getattr(error, "usage", None)
            known = isinstance(usage, Usage) or isinstance(error, RequestRejected)
            self._enter(purpose, usage if isinstance(usage, Usage) else Usage(calls=1), known)
            raise
        self._enter(purpose, answer.usage, True)
        return answer

    def _enter(self, purpose: Purpose, usage: Usage, known: bool) -> None:
        dollars = self._prices.cost(self.name, usage) if known and self._prices else None
        self._ledger.add(purpose, self.name, usage, dollars)

    def entered(self, usage: Usage, purpose: Purpose) -> None:
        """Enter a call of the model's that was not made through this object."""
        self._enter(purpose, usage, True)


def _add(totals: dict[_Key, Total], key: _Key, one: Total) -> None:
    totals[key] = totals.get(key, Total()) + one


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"no count: {value!r}")
    return value


def _place(value: object) -> int | None:
    return None if value is None else _whole(value)


def _dollars(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"no dollars: {value!r}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"no dollars: {value!r}")
    return float(value)
