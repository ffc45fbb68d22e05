"""A page of your own, and what shall be done there: `make("http://127.0.0.1:8000/", goal="...")`.

There is no verdict on what the agent does: the score stays 0, and a judge model has to say what was
good (`jitrl run web:ADDRESS --judge-model ...`). The attempt ends with a message to the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from jitrl.checks import boolean, option_text
from jitrl.errors import InvalidValue
from jitrl.worlds import Task
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen, needs

if TYPE_CHECKING:
    from browsergym.core.task import AbstractBrowserTask

__all__ = ["DEFAULTS", "OpenEnded", "benchmark", "make"]


def make(which: str, **options: Any) -> BrowserWorld:
    """Open a page by its address.

    goal     what shall be done, in words
    guarded  the agent may not leave the address's host: the attempt ends there; default True
    options  the others are those of `jitrl.worlds.browser.world.Options`

    Raises MissingExtra without BrowserGym, InvalidValue for a wrong address or option, WorldError
    without a Chromium.
    """
    told, browsers = chosen(options, "goal", "guarded")
    return BrowserWorld("web", which, benchmark(which, **told), __name__, told, browsers)


def benchmark(which: str, goal: str = "", guarded: bool = True) -> OpenEnded:
    """Return the benchmark; see `make`."""
    return OpenEnded(which, goal, guarded)


class OpenEnded:
    """The contract is that of `jitrl.worlds.browser.benchmark.Benchmark`."""

    verdict: Literal["step", "end"] = "end"
    messages = True
    login_forms: Mapping[str, tuple[str, str]] = MappingProxyType({})

    def __init__(self, which: str, goal: str, guarded: bool) -> None:
        needs("browsergym-core")
        try:
            parts = urlsplit(which)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidValue("address", which, f"is no address ({error})") from error
        if any(character.isspace() for character in which):
            raise InvalidValue("address", which, "must hold no white space")
        if "@" in parts.netloc:  # it would stand in the run folder
            raise InvalidValue("address", parts.hostname, "must hold no user and no password")
        if not host or parts.scheme not in ("http", "https"):
            raise InvalidValue("address", which, "must begin with http:// or https:// and a host")
        self._address, self._goal = which, option_text("goal", goal)
        if not self._goal.strip():
            raise InvalidValue("goal", goal, "must say what shall be done: --option goal=TEXT")
        self.guarded = boolean("guarded", guarded)
        self.tasks: tuple[Task, ...] = (Task(f"web:{which}", verdict=False),)
        self.sites: Mapping[str, str] = MappingProxyType(
            {"site": f"{parts.scheme}://{parts.netloc}"}
        )
        self.version: Mapping[str, str] = {"browsergym-core": version("browsergym-core")}

    def entry(self, task: str) -> tuple[type[AbstractBrowserTask], dict[str, Any]]:
        """Return BrowserGym's open-ended task."""
        from browsergym.core.task import OpenEndedTask

        return OpenEndedTask, {"start_url": self._address, "goal": self._goal}

    def context(self, task: str) -> dict[str, Any]:
        """Nothing is needed."""
        return {}
