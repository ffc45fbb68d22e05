"""Checks of what users pass in: each returns the value, or raises InvalidValue that names it."""

from __future__ import annotations

import math

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


def text(name: str, value: object) -> str:
    """Return `value` if it is a str that can be stored as UTF-8."""
    if not isinstance(value, str):
        raise InvalidValue(name, value, "must be a text (str)")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(name, value, "must be encodable as UTF-8") from error
    return value
