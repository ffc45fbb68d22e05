"""Environments behind one contract, found by name: `make("jericho:detective")`.

A world of another package is found through the entry-point group `jitrl.worlds`: a function
`make(name: str, **options) -> World`, called with the part after the colon.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Protocol, cast, runtime_checkable

from jitrl.errors import UnknownName, WorldError
from jitrl.records import Observation
from jitrl.registry import registered

__all__ = ["Defaults", "Graded", "Grader", "Suite", "Task", "World", "defaults", "make", "names"]

Grader = Callable[[Sequence[Mapping[str, str]]], str]
"""A language model that an evaluator may ask: messages (`role`, `content`) in, its reply out."""


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


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a suite.

    name      as `Suite.reset` takes it, and as it is reported: "webarena:17"
    sites     the sites it plays on, where there are several in the suite
    template  tasks that differ only in their parameters share one; "" where nobody knows
    verdict   somebody says whether an attempt succeeded; otherwise its score, 0, says nothing
    """

    name: str
    sites: tuple[str, ...] = ()
    template: str = ""
    verdict: bool = True


@runtime_checkable
class Suite(World, Protocol):
    """A world of several tasks: an episode attempts one of them. A score of 1 is success.

    tasks  in their order, at least one
    """

    tasks: tuple[Task, ...]

    def reset(self, seed: int, task: str | None = None, limit: int | None = None) -> Observation:
        """Begin an attempt at a task: by default the first.

        limit  >= 1: at most so many steps will be taken; the last one is `truncated` unless it
               ends the world, and its reward includes the verdict on where the agent got to

        An attempt that cannot begin is `truncated` here, with a `reason`: it is no result, and is
        made again when the run is continued.
        """


@runtime_checkable
class Graded(Protocol):
    """A world where a verdict may depend on what a language model says.

    grader  is asked there, if it was set before the first reset; None: such a verdict is none
    """

    grader: Grader | None

    @property
    def may_ask_grader(self) -> bool:
        """Whether the verdict on a task of this world can depend on it."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a run of a kind of world uses unless the user says otherwise: preset, steps."""

    preset: str = "default"
    steps: int = 50


def defaults(name: str) -> Defaults:
    """Return the defaults of the world `kind:which`: `DEFAULTS` of the module that makes it.

    Raises UnknownName for a kind that is not installed.
    """
    function = _point(name).load()
    found = getattr(sys.modules[function.__module__], "DEFAULTS", Defaults())
    return cast(Defaults, found)


def names() -> list[str]:
    """Return the kinds of world that are installed: the word before the colon."""
    return list(registered("jitrl.worlds"))


def make(name: str, **options: object) -> World:
    """Open the world `kind:which`, for instance "textworld:7" or "jericho:zork1".

    Raises UnknownName for a kind that is not installed, WorldError for one that cannot be opened.
    """
    point = _point(name)
    _, colon, which = name.partition(":")
    if not colon or not which:
        kind = point.name
        raise WorldError(f"world {name!r} does not say which {kind}: write {kind}:NAME")
    return cast(World, point.load()(which, **options))


def _point(name: str) -> EntryPoint:
    """Return the entry point of the word before the colon."""
    points = registered("jitrl.worlds")
    kind = name.partition(":")[0]
    if kind not in points:
        raise UnknownName("world", name, [f"{known}:..." for known in points])
    return points[kind]
