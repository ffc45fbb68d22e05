"""WebArena's 812 tasks: `make("0-811")`, judged by its own evaluators."""

from __future__ import annotations

from typing import Any

from jitrl.worlds.browser.arena.arena import WORDS, Arena, of_package, plain
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen

__all__ = ["DEFAULTS", "benchmark", "make"]


def make(which: str, **options: Any) -> BrowserWorld:
    """Open tasks: "all", "0-811", "17", "3,40-60", "site:shopping", "template:222"; with a minus
    before it, what is left out: "all,-site:map", "0-811,-graded" (`task_files.choose`).

    sites            label -> address, for those that no variable names (`sites.addresses`)
    accounts         label -> username and password (`sites.accounts`), or a file: accounts_file
    logins_folder    where logins are kept (default: a folder in jitrl's cache)
    evaluator_pause  seconds that evaluators wait after opening a page (default: theirs, 3)
    and those of `jitrl.worlds.browser.world.Options`

    Raises MissingExtra without the packages; InvalidValue for an unknown task or option; WorldError
    without a Chromium, or where the address of a site that these tasks need is missing.
    """
    told, browsers = chosen(plain(options), *WORDS)
    return BrowserWorld("webarena", which, benchmark(which, **told), __name__, told, browsers)


def benchmark(which: str, **options: Any) -> Arena:
    """Return the benchmark; see `make`."""
    return of_package("webarena", which, **options)
