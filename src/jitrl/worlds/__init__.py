"""Environments behind one contract, found by name: `make("jericho:detective")`.

A world of another package is found through the entry-point group `jitrl.worlds`: a function
`make(name: str, **options) -> World`, called with the part after the colon.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Protocol, cast

from jitrl.errors import UnknownName, WorldError
from jitrl.records import Observation

__all__ = ["World", "make", "names"]


class World(Protocol):
    """What an environment must offer. Run `jitrl.testing.check_world` on yours.

    name          as `make` takes it: "jericho:detective"
    max_score     the highest score possible, or None where nobody knows
    reward_range  (lowest, highest) reward of a single step, or None where nobody knows
    version       what identifies this world exactly (engine version, hash of the game file ...)
    seconds       seconds spent so far: "total" in reset and step, and of these "actions" in
                  searching valid actions
    """

    name: str
    max_score: float | None
    reward_range: tuple[float, float] | None
    version: Mapping[str, str]

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds spent so far, by what they were spent on."""

    def reset(self, seed: int) -> Observation:
        """Begin an episode. `seed` (>= 1) fixes all that is random in the world.

        Raises InvalidValue for a seed below 1.
        """

    def step(self, action: str) -> Observation:
        """Take one of the `actions` of the last observation.

        Raises WorldError after the end of an episode or before the first reset. Any other text is
        passed to the world as it is: it decides what to make of it.
        """

    def close(self) -> None:
        """Free what the world holds; calling it twice is harmless."""


def names() -> list[str]:
    """Return the kinds of world that are installed: the word before the colon."""
    return sorted({point.name for point in entry_points(group="jitrl.worlds")})


def make(name: str, **options: object) -> World:
    """Open the world `kind:which`, for instance "textworld:7" or "jericho:zork1".

    Raises UnknownName for a kind that is not installed, WorldError for one that cannot be opened.
    """
    kind, colon, which = name.partition(":")
    points = {point.name: point for point in entry_points(group="jitrl.worlds")}
    if kind not in points:
        raise UnknownName("world", name, [f"{known}:..." for known in sorted(points)])
    if not colon or not which:
        raise WorldError(f"world {name!r} does not say which {kind}: write {kind}:NAME")
    return cast(World, points[kind].load()(which, **options))
