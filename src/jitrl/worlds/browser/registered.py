"""Any other task that is registered with BrowserGym: `make("assistantbench.validation.3")`.

The package that registers it is named by the word before the first dot and is imported in the
process of the browser; the task's own `validate` is asked after each step, as BrowserGym does, and
nothing else watches where the agent goes. A package whose `validate` asks a language model is
refused: the calls would be counted nowhere, and nobody has named the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

from jitrl.errors import InvalidValue, UnknownName
from jitrl.worlds import Task
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen, needs

if TYPE_CHECKING:
    from browsergym.core.task import AbstractBrowserTask

__all__ = ["DEFAULTS", "Registered", "benchmark", "make"]

_OURS = {
    "miniwob": "miniwob:NAME",
    "openended": "web:ADDRESS",
    "webarena": "webarena:NUMBER",
    "webarenalite": "webarena-lite:NUMBER",
    "webarena_verified": "webarena-verified:NUMBER",
}
"""Package -> the world that plays its tasks here, and judges them as they have to be."""
_ASKING = ("visualwebarena", "safearena", "timewarp")
"""Packages whose `validate` asks a language model of its own choice, some after each step."""
_NAME = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_-]+)*")


def make(which: str, **options: Any) -> BrowserWorld:
    """Open tasks by BrowserGym's names, with commas between them.

    options  those of `jitrl.worlds.browser.world.Options`

    Raises MissingExtra where the package of a task is not installed, InvalidValue for a name or an
    option that cannot be or a package that asks a language model by itself, WorldError without a
    Chromium. An unknown task shows at the first reset.
    """
    _, browsers = chosen(options)
    return BrowserWorld("browsergym", which, benchmark(which), __name__, {}, browsers)


def benchmark(which: str) -> Registered:
    """Return the benchmark; see `make`."""
    return Registered(which)


class Registered:
    """The contract is that of `jitrl.worlds.browser.benchmark.Benchmark`."""

    verdict: Literal["step", "end"] = "step"
    guarded = False
    messages = True
    login_forms: Mapping[str, tuple[str, str]] = MappingProxyType({})
    sites: Mapping[str, str] = MappingProxyType({})

    def __init__(self, which: str) -> None:
        names = [name.strip() for name in which.split(",")]
        for name in names:
            if not _NAME.fullmatch(name) or names.count(name) > 1:
                raise InvalidValue("task", name, "must be a name such as miniwob.click-test, once")
        packages = sorted({name.partition(".")[0] for name in names})
        for package in packages:
            if package in _OURS:
                raise InvalidValue("task", which, f"must be named as {_OURS[package]}")
            if package in _ASKING:
                rule = f"cannot be played: browsergym-{package} asks a language model for verdicts"
                raise InvalidValue("task", which, f"{rule}, and no --grader can be named for it")
        lacking = [f"browsergym-{package}" for package in packages if not _found(package)]
        needs("browsergym-core", beside={name: f"pip install {name}" for name in lacking})
        self.tasks = tuple(Task(f"browsergym:{name}") for name in names)
        self.version: Mapping[str, str] = {
            f"browsergym-{package}": _version(f"browsergym-{package}")
            for package in ("core", *packages)
        }

    def entry(self, task: str) -> tuple[type[AbstractBrowserTask], dict[str, Any]]:
        """Return what BrowserGym registered under the name of a task."""
        import importlib

        import gymnasium

        name = task.partition(":")[2]
        importlib.import_module(f"browsergym.{name.partition('.')[0]}")
        found = gymnasium.registry.get(f"browsergym/{name}")
        if found is None:
            begin = f"browsergym/{name.partition('.')[0]}."
            known = [each for each in gymnasium.registry if each.startswith(begin)]
            shown = [each.partition("/")[2] for each in sorted(known)]
            raise UnknownName("BrowserGym task", name, shown)
        env: Any = gymnasium.make(f"browsergym/{name}").unwrapped
        return cast("type[AbstractBrowserTask]", env.task_entrypoint), dict(env.task_kwargs)

    def context(self, task: str) -> dict[str, Any]:
        """Nothing is needed."""
        return {}


def _found(package: str) -> bool:
    try:
        return find_spec(f"browsergym.{package}") is not None
    except ModuleNotFoundError:  # there is no browsergym at all
        return False


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of another package"
