"""Checks of what users pass in: each returns the value, or raises InvalidValue that names it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from jitrl.errors import InvalidValue

LARGEST = 1e100
"""Of rewards, beta and weights: beyond it, sums and squares would overflow."""


def finite(name: str, value: object, largest: float = math.inf) -> float:
    """Return `value` as a float if it is a finite real number within +-`largest`."""
    limit = "" if math.isinf(largest) else f" within +-{largest:g}"
    rule = f"must be a finite real number{limit}"
    if isinstance(value, bool | np.bool_ | str | bytes | bytearray):
        raise InvalidValue(name, value, rule)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidValue(name, value, rule) from error
    if not math.isfinite(number) or abs(number) > largest:
        raise InvalidValue(name, value, rule)
    return number


def count(name: str, value: object, least: int = 0) -> int:
    """Return `value` if it is an integer in [least, 2**63)."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
        raise InvalidValue(name, value, f"must be an integer in [{least}, 2**63)")
    return value


def boolean(name: str, value: object) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool):
        raise InvalidValue(name, value, "must be true or false")
    return value


def text(name: str, value: object) -> str:
    """Return `value` if it is a str that can be stored as UTF-8."""
    if not isinstance(value, str):
        raise InvalidValue(name, value, "must be a text (str)")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(name, value, "must be encodable as UTF-8") from error
    return value


def option_text(name: str, value: object) -> str:
    """Return the text of an option; one that looks like a number or a word of JSON needs quotes.

    >>> option_text("goal", 123)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    jitrl.errors.InvalidValue: goal must be a text, in quotes: --option 'goal="123"', actual ...
    """
    if not isinstance(value, str):
        plain = value is None or isinstance(value, bool | int | float)
        quoted = json.dumps(json.dumps(value)) if plain else '"TEXT"'
        raise InvalidValue(name, value, f"must be a text, in quotes: --option '{name}={quoted}'")
    return text(name, value)


def texts(name: str, given: object) -> dict[str, str]:
    """Return `given` as a dict if it is a mapping from text to text."""
    if not isinstance(given, Mapping):
        raise InvalidValue(name, given, "must be a mapping from name to text")
    return {text(name, key): text(f"{name} {key!r}", value) for key, value in given.items()}


def interval(name: str, given: object) -> tuple[float, float]:
    """Return `given` if it is (lowest, highest): two finite numbers, the lower one first."""
    rule = "must be two finite numbers, the lower one first"
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidValue(name, given, rule)
    low, high = (finite(name, end) for end in given)
    if not low < high:
        raise InvalidValue(name, given, rule)
    return low, high


def scores(given: object, steps: int) -> tuple[float | None, ...]:
    """Return `given` as floats if it holds one score, or None, for each of so many steps."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != steps:
        raise InvalidValue("scores", given, f"must be {steps} numbers or None: one for each step")
    return tuple(
        None if score is None else finite(f"score of step {t}", score, LARGEST)
        for t, score in enumerate(given)
    )


def moment(name: str, given: object) -> str:
    """Return a time as ISO 8601 with milliseconds in UTC; one without a zone is taken for UTC.

    >>> moment("since", "2026-11-24T13:00+01:00")
    '2026-11-24T12:00:00.000+00:00'
    """
    try:
        time = datetime.fromisoformat(text(name, given))
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(name, given, "must be a time such as 2026-11-24T12:00") from error
    return time.isoformat(timespec="milliseconds")
