"""WebArena-Lite: `make("all")`, the 165 tasks of VisualAgentBench, as corrected there.

Their numbers are WebArena's, their texts, rules and evaluators are their own.
"""

from __future__ import annotations

from typing import Any

from jitrl.worlds.browser.arena.arena import WORDS, Arena, of_package, plain
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen

__all__ = ["DEFAULTS", "benchmark", "make"]


def make(which: str, **options: Any) -> BrowserWorld:
    """Open tasks; `which` and the options are those of `jitrl.worlds.browser.arena.webarena`."""
    told, browsers = chosen(plain(options), *WORDS)
    return BrowserWorld("webarena-lite", which, benchmark(which, **told), __name__, told, browsers)


def benchmark(which: str, **options: Any) -> Arena:
    """Return the benchmark; see `make`."""
    return of_package("webarena-lite", which, **options)
