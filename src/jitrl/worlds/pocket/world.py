"""The pocket web's tasks as a suite: `make("0-100")` starts the sites, and ends them with itself.

Before every attempt all data are put back to the beginning, so that each finds the same web.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from jitrl.records import Observation
from jitrl.worlds.browser.arena.arena import Arena, of_file
from jitrl.worlds.browser.arena.logins import LOGINS
from jitrl.worlds.browser.arena.packages import require
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen
from jitrl.worlds.pocket.accounts import ACCOUNTS, FORMS
from jitrl.worlds.pocket.pocket import PACKAGES, Pocket, lacking
from jitrl.worlds.pocket.tasks import FILE

__all__ = ["DEFAULTS", "PocketWeb", "benchmark", "make"]


def make(which: str, **options: Any) -> PocketWeb:
    """Start the sites, and open tasks: "all", "0-100", "3,17", "site:shopping", "template:4",
    "all,-site:gitlab" (`task_files.choose`).

    options  those of `jitrl.worlds.browser.world.Options`

    Raises MissingExtra without the packages, InvalidValue for tasks or an option that cannot be,
    WorldError without a Chromium or where a site does not come up.
    """
    require("webarena", *PACKAGES, extra="pocket", beside=lacking())
    _, browsers = chosen(options)
    # what is wrong with the tasks shows before anything is started
    benchmark(which, sites=dict.fromkeys(FORMS, "http://127.0.0.1:1"), logins_folder="unused")
    pocket = Pocket().start()
    try:
        return PocketWeb(which, pocket, browsers)
    except BaseException:
        pocket.close()
        raise


def benchmark(which: str, *, sites: Mapping[str, str], logins_folder: str) -> Arena:
    """Return the benchmark on sites that run; the evaluators need not wait for them."""
    return of_file(
        "pocket-web",
        which,
        FILE,
        logins=MappingProxyType(
            {
                label: replace(LOGINS[label], form=form)
                for label, form in FORMS.items()
                if label in LOGINS
            }
        ),
        sites=sites,
        accounts=ACCOUNTS,
        version={"django": version("django"), "klaus": version("klaus")},
        logins_folder=logins_folder,
        evaluator_pause=0.0,
    )


class PocketWeb(BrowserWorld):
    """The contract is that of `jitrl.worlds.Suite`."""

    def __init__(self, which: str, pocket: Pocket, browsers: Any) -> None:
        self._pocket = pocket
        told: dict[str, Any] = {
            "sites": dict(pocket.addresses),
            "logins_folder": str(pocket.files / "logins"),
        }
        super().__init__("pocket-web", which, benchmark(which, **told), __name__, told, browsers)

    def reset(self, seed: int, task: str | None = None, limit: int | None = None) -> Observation:
        """Put the sites back to the beginning, and begin an attempt."""
        self._open()
        self._pocket.reset()
        return super().reset(seed, task, limit)

    def close(self) -> None:
        """Close the browser and end the sites; calling it twice is harmless."""
        super().close()
        self._pocket.close()
