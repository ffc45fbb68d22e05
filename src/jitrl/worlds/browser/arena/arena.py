"""WebArena, WebArena-Lite, and any file of tasks in their format, as benchmarks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import version as installed_version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from jitrl.cache import cache_folder
from jitrl.checks import finite
from jitrl.errors import InvalidValue, UnknownName
from jitrl.worlds import Task
from jitrl.worlds.browser.arena import tasks, theirs
from jitrl.worlds.browser.arena.judging import Grader, Judge
from jitrl.worlds.browser.arena.logins import LOGINS, Login, Logins
from jitrl.worlds.browser.arena.sites import ACCOUNTS, SITES, Account, addresses
from jitrl.worlds.browser.arena.sites import accounts as who_logs_in

if TYPE_CHECKING:
    from browsergym.core.task import AbstractBrowserTask

__all__ = ["Arena", "lite", "of_file", "webarena"]

OPTIONS = ("sites", "accounts", "accounts_file", "logins_folder", "grader", "settle")


def webarena(which: str, **options: Any) -> Arena:
    """Return tasks of WebArena: "all", "0-811", "17", "3,40-60", "site:shopping", "template:222".

    sites          label -> address, for those that no variable names (`sites.addresses`)
    accounts       label -> username and password (`sites.accounts`), or a file: accounts_file
    logins_folder  where logins are kept (default: a folder in jitrl's cache)
    grader         a model that grades answers where the benchmark asks one: messages -> reply
    settle         seconds that evaluators wait after opening a page (default: theirs, 3)

    Raises MissingExtra without its package; InvalidValue for an unknown task or option; WorldError
    where the address of a site that these tasks need is missing.
    """
    file = tasks.read(theirs.located("libwebarena", "webarena/test.raw.json"))
    packages = {"libwebarena": installed_version("libwebarena")}
    return Arena("webarena", which, file, packages=packages, **_known("webarena", options))


def lite(which: str, **options: Any) -> Arena:
    """Return tasks of WebArena-Lite, numbered as in WebArena; options as for `webarena`.

    The 165 tasks of VisualAgentBench, with their texts and rules as corrected there.
    """
    package = "browsergym-webarenalite"
    path = theirs.located(package, "browsergym/webarenalite/test_webarena_lite.raw.json")
    file = tasks.read(path, number="old_task_id")
    packages = {package: installed_version(package)}
    return Arena(
        "webarena-lite", which, file, packages=packages, **_known("webarena-lite", options)
    )


def of_file(
    kind: str,
    which: str,
    path: Path,
    *,
    logins: Mapping[str, Login],
    sites: Mapping[str, str],
    accounts: Mapping[str, Account],
    version: Mapping[str, str] | None = None,
    **options: Any,
) -> Arena:
    """Return tasks of a file in WebArena's format, judged by WebArena's evaluators.

    kind      how the tasks are named: "pocket-web" for "pocket-web:3"
    logins    label -> how one logs in there
    sites     label -> address, of every site that the tasks may use
    accounts  label -> who logs in there
    version   what else identifies the benchmark
    options   logins_folder, grader, settle, as for `webarena`
    """
    given = {
        label: {"username": a.username, "password": a.password} for label, a in accounts.items()
    }
    chosen = _known(kind, options) | {"sites": sites, "accounts": given, "environment": {}}
    return Arena(
        kind, which, tasks.read(path), logins=logins, known=tuple(sites), packages=version, **chosen
    )


class Arena:
    """Tasks with sites, logins and evaluators. The contract is that of `Benchmark`."""

    guarded = True
    verdict: Literal["step", "end"] = "end"
    messages = True

    def __init__(
        self,
        kind: str,
        which: str,
        file: tasks.TaskFile,
        *,
        known: tuple[str, ...] = SITES,
        logins: Mapping[str, Login] = LOGINS,
        packages: Mapping[str, str] | None = None,
        named: Mapping[str, Sequence[int]] | None = None,
        sites: Mapping[str, str] | None = None,
        accounts_file: str | Path | None = None,
        accounts: Mapping[str, Mapping[str, str]] | None = None,
        logins_folder: str | Path | None = None,
        grader: Grader | None = None,
        settle: float | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        numbers = tasks.choose(which, file.tasks, named)
        self._configs = {f"{kind}:{n}": file.tasks[n] for n in numbers}
        needed = [s for c in self._configs.values() for s in tasks.sites_of(c, known)]
        self.sites: Mapping[str, str] = addresses(needed, known, sites, environment)
        defaults = ACCOUNTS if known is SITES else {}
        self._accounts: Mapping[str, Account] = MappingProxyType(
            who_logs_in(accounts, accounts_file, environment, defaults)
        )
        folder = Path(logins_folder) if logins_folder is not None else cache_folder() / "logins"
        self._logins = Logins(folder, self.sites, self._accounts, logins)
        self._evaluators = kind if kind == "webarena-lite" else "webarena"
        self._grader = grader
        self._settle = None if settle is None else finite("settle", settle)
        self.tasks = tuple(_task(name, config) for name, config in self._configs.items())
        self.version: Mapping[str, str] = MappingProxyType(
            {**(packages or {}), "tasks": file.digest}
            | ({} if settle is None else {"settle": f"{self._settle:g} s"})
        )

    def entry(self, task: str) -> tuple[type[AbstractBrowserTask], dict[str, Any]]:
        """Return BrowserGym's class of a task and its arguments but for `seed`.

        Raises MissingExtra without the evaluators' packages, InvalidValue for an unknown task.
        """
        from jitrl.worlds.browser.arena.task import ArenaTask

        return ArenaTask, {
            "config": tasks.fill(self._config(task), self.sites),
            "sites": dict(self.sites),
            "logins": self._logins,
            "judge": self._judge,
        }

    def context(self, task: str) -> dict[str, Any]:
        """Return the logins that are kept for a task's sites, for browser.new_context."""
        state = self._logins.state(self._config(task)["sites"])
        return {} if state is None else {"storage_state": state}

    def needs_grader(self, task: str) -> bool:
        """Say whether a task's score can depend on what a grader says."""
        return tasks.needs_grader(self._config(task))

    @cached_property
    def _judge(self) -> Judge:
        pause: Callable[[float], object] = time.sleep
        if self._settle is not None:
            pause = partial(_pause, self._settle)
        load = partial(theirs.load, self._evaluators, self.sites, self._accounts, sleep=pause)
        return Judge(load, self._grader)

    def _config(self, task: str) -> tasks.Config:
        if task not in self._configs:
            raise UnknownName("task", task, [f"{next(iter(self._configs))} ..."])
        return self._configs[task]


def _pause(settle: float, _theirs: float) -> None:
    time.sleep(settle)


def _known(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if name not in OPTIONS:
            raise InvalidValue(name, value, f"is no option of {kind} ({', '.join(OPTIONS)})")
    return dict(options)


def _task(name: str, config: tasks.Config) -> Task:
    template = str(config.get("intent_template_id", ""))
    return Task(name, tuple(config["sites"]), template)
