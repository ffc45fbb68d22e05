"""WebArena-Lite: `make("all")`, the 165 tasks of VisualAgentBench, as corrected there.

Their numbers are WebArena's, their texts, rules and evaluators are their own.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from jitrl.worlds.browser.arena import tasks
from jitrl.worlds.browser.arena.arena import WORDS, Arena, checked, plain
from jitrl.worlds.browser.arena.theirs import LIBRARIES, located
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen, needs

__all__ = ["DEFAULTS", "benchmark", "make"]

_PACKAGE = "browsergym-webarenalite"
_FILE = "browsergym/webarenalite/test_webarena_lite.raw.json"


def make(which: str, **options: Any) -> BrowserWorld:
    """Open tasks; `which` and the options are those of `jitrl.worlds.browser.arena.webarena`."""
    needs("browsergym-core", *LIBRARIES, extra="webarena")
    told, browsers = chosen(plain(options), *WORDS)
    return BrowserWorld("webarena-lite", which, benchmark(which, **told), __name__, told, browsers)


def benchmark(which: str, **options: Any) -> Arena:
    """Return the benchmark; see `make`."""
    file = tasks.read(located(_PACKAGE, _FILE), number="old_task_id")
    told = checked("webarena-lite", options)
    return Arena("webarena-lite", which, file, packages={_PACKAGE: version(_PACKAGE)}, **told)
