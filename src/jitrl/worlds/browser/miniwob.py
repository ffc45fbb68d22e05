"""MiniWoB++: small tasks on small pages, from its package alone: `make("click-test-2")`.

Several tasks are named with commas, all of them by "all". The page says itself when a task is done;
BrowserGym's verdict holds: 1 for a positive reward of the page, else 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from jitrl.errors import InvalidValue, MissingExtra, UnknownName, WorldError
from jitrl.worlds import Task
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen, needs

if TYPE_CHECKING:
    from browsergym.core.task import AbstractBrowserTask

__all__ = ["DEFAULTS", "MiniWob", "benchmark", "make"]

_PACKAGES = ("browsergym-core", "browsergym-miniwob", "miniwob", "playwright")


def make(which: str, **options: Any) -> BrowserWorld:
    """Open tasks by name, such as "click-test-2" or "click-test-2,login-user".

    options  those of `jitrl.worlds.browser.world.Options`

    Raises MissingExtra without the packages; InvalidValue for an option that does not exist;
    UnknownName for such a task; WorldError without a Chromium.
    """
    _, browsers = chosen(options)
    return BrowserWorld("miniwob", which, benchmark(which), __name__, {}, browsers)


def benchmark(which: str) -> MiniWob:
    """Return the benchmark; see `make`."""
    return MiniWob(which)


class MiniWob:
    """The contract is that of `jitrl.worlds.browser.benchmark.Benchmark`."""

    verdict: Literal["step", "end"] = "step"
    guarded = False
    messages = False
    login_forms: Mapping[str, tuple[str, str]] = MappingProxyType({})

    def __init__(self, which: str) -> None:
        pages = _pages()
        known = _known(pages)
        wanted = known if which == "all" else [name.strip() for name in which.split(",")]
        for name in wanted:
            if name not in known:
                raise UnknownName("MiniWoB++ task", name, known)
            if wanted.count(name) > 1:
                raise InvalidValue("tasks", which, f"must name each task once, not {name} twice")
        self.tasks = tuple(Task(f"miniwob:{name}", template=name) for name in wanted)
        # a page each, since a number at the end of a name ("click-test-2") is no id
        self.sites: Mapping[str, str] = MappingProxyType(
            {f"miniwob/{name}": (pages / f"{name}.html").as_uri() for name in wanted}
        )
        self._folder = pages.as_uri() + "/"
        self.version: Mapping[str, str] = {package: version(package) for package in _PACKAGES}

    def entry(self, task: str) -> tuple[type[AbstractBrowserTask], dict[str, Any]]:
        """Return BrowserGym's class of a task."""
        from browsergym.miniwob import all as every

        name = task.partition(":")[2]
        found = [c for c in vars(every).values() if getattr(c, "subdomain", None) == name]
        return found[0], {"base_url": self._folder}

    def context(self, task: str) -> dict[str, Any]:
        """Nothing is needed."""
        return {}


def _pages() -> Path:
    """Return the folder of MiniWoB++'s pages."""
    needs(*_PACKAGES)
    spec = find_spec("miniwob")
    if spec is None or spec.origin is None:
        raise MissingExtra("miniwob is not installed: pip install 'jitrl[web]'")
    pages = Path(spec.origin).parent / "html" / "miniwob"
    if not pages.is_dir():
        raise WorldError(f"miniwob has no pages in {str(pages)!r}: install it again")
    return pages


@cache
def _known(pages: Path) -> list[str]:
    """Return the tasks that BrowserGym knows and that have a page; nothing is imported."""
    spec = find_spec("browsergym.miniwob")
    source = Path(str(spec.origin)).parent / "all.py" if spec is not None else None
    if source is None or not source.is_file():
        raise MissingExtra("browsergym-miniwob is not installed: pip install 'jitrl[web]'")
    named = re.findall(r'^\s+subdomain = "([a-z0-9-]+)"', source.read_text(), re.MULTILINE)
    return sorted({name for name in named if (pages / f"{name}.html").is_file()})
