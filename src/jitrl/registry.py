"""What is installed in a group of entry points: worlds, models, sources of scores, arms.

>>> "textworld" in registered("jitrl.worlds")
True
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType


def registered(group: str) -> Mapping[str, EntryPoint]:
    """Return name -> entry point, in the order of names.

    Looking through all that is installed takes milliseconds: it is done once for each `sys.path`.
    """
    return _found(group, tuple(sys.path))


@lru_cache(maxsize=64)
def _found(group: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    return MappingProxyType({point.name: point for point in points})
