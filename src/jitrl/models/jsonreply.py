"""JSON out of what a model writes: read strictly, asked for again once, or refused with a reason.

Prose and code fences around the JSON are tolerated, as long as one object or array stands there.
What is cut off in the middle, or stands beside another, is never guessed at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from jitrl.errors import BadReply
from jitrl.models import Model, Reply, Request

T = TypeVar("T")


def parse(text: str, what: str) -> object:
    """Return the one JSON value in `text`; raises BadReply, which calls the text `what`.

    Numbers are finite, and no object names a key twice. Prose may surround an object or an array.

    >>> parse('Here it is: ```json {"step": 3} ``` I hope it helps.', "the reply")
    {'step': 3}
    """
    try:
        return _parsed(text)
    except ValueError as error:
        raise BadReply(f"{what} {error}: {_UNUSABLE}") from error


async def ask_json(model: Model, request: Request, check: Callable[[object], T]) -> tuple[T, Reply]:
    """Ask for JSON; return what `check` makes of it, and the reply that it was read from.

    check  returns what the JSON means; raises ValueError with a reason where it cannot be used

    An unusable reply is sent back once, with what was wrong. The reply returned is the last one,
    with its own tokens and usage. Raises BadReply where that one cannot be used either, and at once
    for a refusal and for a reply that max_tokens cut off; ModelError as `complete` does.
    """
    reply = await _whole_reply(model, request)
    try:
        return _read(reply.text, check), reply
    except ValueError as error:
        reply = await _whole_reply(model, sent_back(request, reply.text, str(error)))
    try:
        return _read(reply.text, check), reply
    except ValueError as error:
        raise BadReply(f"the reply of {model.name} {error}: {_UNUSABLE}") from error


def sent_back(request: Request, said: str, problem: str) -> Request:
    """Return the request with the reply that cannot be used, and what is wrong with it."""
    return request.asking(
        f"Your answer cannot be used: it {problem}. Answer again, with the JSON alone.",
        after=said or "(an empty answer)",  # servers refuse a message without content
    )


def finished(reply: Reply, name: str) -> str:
    """Return the text of a reply; raises BadReply for a refusal, or one that was cut off."""
    finish = reply.completions[0].finish
    if finish == "refusal":
        said = f": it said {_short(reply.text)}" if reply.text else ""
        raise BadReply(f"{name} refuses to answer{said}: use another model, or another prompt")
    if finish == "length":
        raise BadReply(f"the reply of {name} is cut off ({_short(reply.text)}): raise max_tokens")
    return reply.text


async def _whole_reply(model: Model, request: Request) -> Reply:
    reply = await model.complete(request)
    finished(reply, model.name)
    return reply


def _read(text: str, check: Callable[[object], T]) -> T:
    value = _parsed(text)
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"is not what was asked for: {error}: {_short(text)}") from error


def _parsed(text: str) -> object:
    """Return the one JSON value in `text`; raises ValueError that says what `text` does instead."""
    try:
        return _STRICT.decode(text)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    found = list(_values(text))
    if not found:
        raise ValueError(f"holds no JSON ({reason}): {_short(text)}")
    if len(found) > 1:
        raise ValueError(f"holds {len(found)} JSON values where one is wanted: {_short(text)}")
    return found[0]


def _values(text: str) -> Iterator[object]:
    """Yield the objects and arrays in a text, leaving out what stands inside of broken ones."""
    place, depth = 0, 0
    while place < len(text):
        character = text[place]
        if character in "{[":
            if depth == 0:
                try:
                    value, place = _STRICT.raw_decode(text, place)
                except (ValueError, RecursionError):
                    pass  # an opening bracket of the prose, or of a value that is broken
                else:
                    yield value
                    continue
            depth += 1
        elif character in "}]":
            depth = max(0, depth - 1)
        place += 1


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names a key twice")
    return found


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is beyond the largest number")
    return number


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _short(text: str) -> str:
    shown = repr(" ".join(text.split()))
    return shown if len(shown) <= 120 else f"{shown[:116]}...{shown[0]}"


_STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_number, parse_constant=_no_number)
_UNUSABLE = "ask again, or use a model that keeps to JSON"
