"""Episodes as rows of plain numbers and texts, and back; seals tell when a row is damaged.

A *seal* is the SHA-256 of the values of a row. What a row says is believed only if its seal agrees.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from jitrl.checks import count, finite, text, texts
from jitrl.errors import InvalidValue
from jitrl.records import Episode, State, Step
from jitrl.trust import source_of

Value = int | float | str | bytes | None
Row = tuple[Any, ...]
"""What a database answers: nobody knows the types until they are checked."""

_encode = json.JSONEncoder(separators=(",", ":"), default=bytes.hex).encode
_encode_finite = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Damage(Exception):
    """A row is not what was written, or is missing; the store says so as NotAMemory."""


def _no_number(value: str) -> float:
    raise ValueError(f"{value} is no finite number")


_decode = json.JSONDecoder(parse_constant=_no_number).decode


def seal(*values: Any) -> bytes:
    """Return the SHA-256 of values: numbers, texts, bytes, None, and sequences of these."""
    return sha256(_encode(values).encode()).digest()


def sealed(row: Row, what: str) -> Row:
    """Return a row without its last value, which must be the seal of the others."""
    if seal(*row[:-1]) != row[-1]:
        raise Damage(f"{what}: a byte of it has changed")
    return row[:-1]


def digest_of(stored: str) -> bytes:
    """Return the SHA-256 of a text, by which it is found."""
    return sha256(stored.encode()).digest()


# --- an episode ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A row of `episodes`; `digest` seals its steps, and a seal of its own this row.

    provenance   JSON: name -> text
    run, source  what the provenance says, "" for nothing
    stored       ISO 8601, UTC
    final_state  number of the state, None for none
    reward       sum over the steps; infinite where that overflows
    revision     of the memory when the episode was stored or last changed
    active       0: rolled back
    quarantined  why, None where it is not
    """

    number: int
    id: str
    task: str
    run: str
    source: str
    stored: str
    terminated: int
    final_state: int | None
    provenance: str
    length: int
    reward: float
    revision: int
    active: int
    quarantined: str | None
    digest: bytes

    @property
    def values(self) -> tuple[Value, ...]:
        """The values of the row, in the order of its columns."""
        return tuple(getattr(self, name) for name in LINE)

    @property
    def present(self) -> bool:
        """Whether it is read and learned from."""
        return bool(self.active) and self.quarantined is None


LINE = tuple(field.name for field in fields(Line))
STEP = (
    "t",
    "state",
    "action",
    "reward",
    "behaviour_logprob",
    "policy_before",
    "policy_after",
    "changed",
    "preset",
    "seed",
    "judged",
)
"""Columns of `steps` after `episode`, which is the number of the episode."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An episode ready to be stored: its states as JSON, its steps as values after `state`."""

    id: str
    task: str
    terminated: int
    provenance: Mapping[str, str]
    states: tuple[str, ...]
    final: str | None
    steps: tuple[tuple[Value, ...], ...]
    reward: float


def pack(episode: Episode) -> Packed:
    """Return the values of an episode; raises InvalidValue for what cannot be stored."""
    try:
        steps = tuple(episode.steps)
        final = episode.final_state
        return Packed(
            id=text("id", episode.id),
            task=text("task", episode.task),
            terminated=int(bool(episode.terminated)),
            provenance=texts("provenance", episode.provenance),
            states=tuple(_state(step.state) for step in steps),
            final=None if final is None else _state(final),
            steps=tuple(_values(step) for step in steps),
            reward=float(sum(finite("reward", step.reward) for step in steps)),
        )
    except (TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise InvalidValue("episode", episode.id, f"cannot be stored: {error}") from error


def _state(state: State) -> str:
    return _encode_finite(texts("state", state))


def _values(step: Step) -> tuple[Value, ...]:
    return (
        text("action", step.action),
        finite("reward", step.reward) + 0.0,  # a database may lose the sign of zero
        finite("behaviour_logprob", step.behaviour_logprob) + 0.0,
        _policy("before", step.before),
        _policy("after", step.after),
        int(bool(step.changed)),
        text("preset", step.preset),
        count("seed", operator.index(step.seed)),
        score(step.judged),
    )


def score(judged: float | None) -> float | None:
    """Return a judge's score as it is stored."""
    return None if judged is None else finite("judged", judged) + 0.0


def _policy(name: str, given: Mapping[str, float]) -> str:
    policy = dict(given)
    if not {*map(type, policy.values())} <= {float}:
        policy = {action: finite(name, value) for action, value in policy.items()}
    if not {*map(type, policy)} <= {str}:
        raise InvalidValue(name, given, "must be a mapping from action to probability")
    return _encode_finite(policy)


def line(number: int, packed: Packed, final_state: int | None, stored: str, digest: bytes) -> Line:
    """Return the row of an episode that is new."""
    return Line(
        number=number,
        id=packed.id,
        task=packed.task,
        run=packed.provenance.get("run", ""),
        source=source_of(packed.provenance),
        stored=stored,
        terminated=packed.terminated,
        final_state=final_state,
        provenance=_encode_finite(packed.provenance),
        length=len(packed.steps),
        reward=packed.reward,
        revision=number,
        active=1,
        quarantined=None,
        digest=digest,
    )


def told(held: Line, added: Mapping[str, str]) -> dict[str, Value]:
    """Return the columns of a line once `added` was added to its provenance."""
    by = provenance(held)
    for name, value in added.items():
        if value not in by.setdefault(name, value).split("; "):
            by[name] += f"; {value}"
    run, source = by.get("run", ""), source_of(by)
    return {"provenance": _encode_finite(by), "run": run, "source": source}


def provenance(held: Line) -> dict[str, str]:
    """Return the provenance of an episode; raises Damage."""
    try:
        return mapping(held.provenance, str)
    except (TypeError, ValueError, RecursionError) as error:
        raise Damage(f"episode {held.number}: {error}") from error


def unpack(held: Line, steps: Iterable[Row], states: Mapping[int, State]) -> Episode:
    """Return the episode of a line and its steps; raises Damage for what cannot have been stored.

    steps   values in the order of `STEP`
    states  by number: every state that is named
    """
    try:
        final = held.final_state
        return Episode(
            id=text("id", held.id),
            task=text("task", held.task),
            steps=tuple(_step(states[row[1]], *row[2:]) for row in steps),
            terminated=bool(held.terminated),
            final_state=None if final is None else states[final],
            provenance=mapping(held.provenance, str),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise Damage(f"episode {held.number}: {error}") from error


def _step(
    state: State,
    action: str,
    reward: float,
    logprob: float,
    before: str,
    after: str,
    changed: int,
    preset: str,
    seed: int,
    judged: float | None,
) -> Step:
    return Step(
        state=state,
        action=text("action", action),
        reward=finite("reward", reward),
        behaviour_logprob=finite("behaviour_logprob", logprob),
        before=mapping(before, int | float),
        after=mapping(after, int | float),
        changed=bool(changed),
        preset=text("preset", preset),
        seed=count("seed", seed),
        judged=None if judged is None else finite("judged", judged),
    )


def state_of(stored: str, number: int) -> State:
    """Return a state that is stored as JSON; raises Damage."""
    try:
        return State(**mapping(stored, str))
    except (TypeError, ValueError, RecursionError) as error:
        raise Damage(f"state {number}: {error}") from error


def mapping(stored: str, kind: Any) -> dict[str, Any]:
    """Return a JSON object whose values are all of one kind; raises TypeError or ValueError."""
    value = _decode(stored)
    if not isinstance(value, dict) or not all(isinstance(held, kind) for held in value.values()):
        raise ValueError("a value of another type than was stored")
    return value


def time_of(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 with milliseconds in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


# --- sets of numbers -----------------------------------------------------------------------------


def spans(numbers: Iterable[int], gaps: Iterable[int] | None = None) -> str:
    """Return rising numbers as JSON ranges [first, last].

    gaps  rising numbers that no range may hold, where others that are not meant may lie in one;
          None: nothing else may

    >>> spans([1, 3, 4, 9]), spans([1, 3, 4, 9], gaps=[5])
    ('[[1,1],[3,4],[9,9]]', '[[1,4],[9,9]]')
    """
    found: list[list[int]] = []
    between = None if gaps is None else iter(gaps)
    gap = 0
    for number in numbers:
        last = found[-1][1] if found else number
        while between is not None and gap <= last:
            gap = next(between, 2**63)
        if found and (number == last + 1 if between is None else number < gap):
            found[-1][1] = number
        else:
            found.append([number, number])
    return _encode_finite(found)


def numbers(stored: str) -> list[int]:
    """Return the numbers of stored ranges.

    >>> numbers("[[1,1],[3,5]]")
    [1, 3, 4, 5]
    """
    return [number for first, last in _decode(stored) for number in range(first, last + 1)]


def within(stored: str, numbers: Iterable[int]) -> list[int]:
    """Return those of some rising numbers that lie in stored ranges.

    >>> within("[[1,4],[9,9]]", [1, 3, 4, 5, 9, 10])
    [1, 3, 4, 9]
    """
    ranges: Sequence[Sequence[int]] = _decode(stored)
    found, place = [], 0
    for number in numbers:
        while place < len(ranges) and ranges[place][1] < number:
            place += 1
        if place < len(ranges) and ranges[place][0] <= number:
            found.append(number)
    return found
