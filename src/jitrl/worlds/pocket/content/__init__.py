"""What the small web holds: the same on every machine, computed from one seed, nothing drawn twice.

    goods   the shop: products, customers, orders, reviews
    land    the wiki: an island that does not exist, its towns, rivers, hills, birds and people
    code    the Git host: repositories with their files and commits, issues, members

Numbers come from a hash of what they are for, so that adding one thing changes no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TypeVar

__all__ = ["SEED", "TODAY", "choose", "day", "draw", "slug"]

SEED = 1
TODAY = date(2026, 3, 2)
"""The day on which everything happens that visitors do."""

T = TypeVar("T")


def draw(low: int, high: int, *purpose: object) -> int:
    """Return the number in [low, high] for a purpose.

    >>> draw(1, 6, "dice") == draw(1, 6, "dice")
    True
    """
    text = "\x1f".join(map(str, (SEED, *purpose)))
    word = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return low + word % (high - low + 1)


def choose(options: Sequence[T], *purpose: object) -> T:
    """Return the option for a purpose."""
    return options[draw(0, len(options) - 1, *purpose)]


def day(last: int, first: int, *purpose: object) -> date:
    """Return a day between `first` and `last` days before today; both >= 0, last <= first."""
    return TODAY - timedelta(days=draw(last, first, *purpose))


def slug(name: str) -> str:
    """Return a name as it stands in an address.

    >>> slug("Copper Kettle")
    'copper-kettle'
    """
    return "-".join(name.lower().replace("'", "").split())
