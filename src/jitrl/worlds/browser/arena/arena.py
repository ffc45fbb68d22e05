"""Tasks in WebArena's format, with sites, logins and the evaluators of their benchmark."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from jitrl.cache import cache_folder
from jitrl.checks import finite, option_text
from jitrl.errors import InvalidValue, UnknownName
from jitrl.worlds import Grader, Task
from jitrl.worlds.browser.arena import evaluators, task_files
from jitrl.worlds.browser.arena.judging import Judge
from jitrl.worlds.browser.arena.logins import LOGINS, Login, Logins
from jitrl.worlds.browser.arena.packages import PACKAGES, require
from jitrl.worlds.browser.arena.sites import ACCOUNTS, SITES, Account, addresses
from jitrl.worlds.browser.arena.sites import accounts as who_logs_in

if TYPE_CHECKING:
    from browsergym.core.task import AbstractBrowserTask

__all__ = ["OPTIONS", "WORDS", "Arena", "checked", "of_file", "of_package", "plain"]

WORDS = ("sites", "accounts", "accounts_file", "logins_folder", "evaluator_pause")
"""What a benchmark of WebArena's may be told in words; `webarena.make` says what each means."""
OPTIONS = (*WORDS, "grader")
_PATHS = ("accounts_file", "logins_folder", "interpreter", "keep")


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
    options   logins_folder, evaluator_pause, grader, as for `webarena.make`
    """
    given = {
        label: {"username": a.username, "password": a.password} for label, a in accounts.items()
    }
    chosen = checked(kind, options) | {"sites": sites, "accounts": given, "environment": {}}
    file, known = task_files.read(path), tuple(sites)
    return Arena(kind, which, file, logins=logins, known=known, packages=version, **chosen)


def of_package(kind: str, which: str, **options: Any) -> Arena:
    """Return tasks of "webarena" or "webarena-lite"; the options are those of `webarena.make`.

    Raises MissingExtra without its package.
    """
    require(kind)
    package, chosen = PACKAGES[kind], checked(kind, options)
    packages = {package.name: package.version}
    return Arena(kind, which, package.read(), packages=packages, **chosen)


class Arena:
    """Tasks with sites, logins and evaluators. The contract is that of `Benchmark`.

    grader  asked where the benchmark asks a language model: its messages (`role`, `content`) in,
            the reply out, which the benchmark reads by its own rule; None: such a verdict is none.
            It may be set at any time before the verdict
    """

    guarded = True
    verdict: Literal["step", "end"] = "end"
    messages = True

    def __init__(
        self,
        kind: str,
        which: str,
        file: task_files.TaskFile,
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
        evaluator_pause: float | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        numbers = task_files.choose(which, file.tasks, named)
        self._configs = {f"{kind}:{n}": file.tasks[n] for n in numbers}
        needed = [s for c in self._configs.values() for s in task_files.sites_of(c, known)]

        def without(lacking: Sequence[str]) -> str:
            """Return what to write instead, so that no task needs these sites; "" for nothing."""
            other = ",".join([which, *(f"-site:{site}" for site in lacking)])
            try:
                task_files.choose(other, file.tasks, named)
            except InvalidValue:
                return ""
            return f", or leave their tasks out: {kind}:{other}"

        self.sites: Mapping[str, str] = addresses(needed, known, sites, environment, without)
        defaults = ACCOUNTS if known is SITES else {}
        self._accounts: Mapping[str, Account] = MappingProxyType(
            who_logs_in(accounts, accounts_file, environment, defaults)
        )
        folder = Path(logins_folder) if logins_folder is not None else cache_folder() / "logins"
        self._logins = Logins(folder, self.sites, self._accounts, logins)
        self.login_forms: Mapping[str, tuple[str, str]] = MappingProxyType(
            {
                site: (logins[site].password, logins[site].button)
                for site in self._logins.sites(self.sites)
            }
        )
        self._evaluators = kind if kind == "webarena-lite" else "webarena"
        self.grader = grader
        self._pause = None if evaluator_pause is None else _seconds(evaluator_pause)
        self.tasks = tuple(_task(name, config) for name, config in self._configs.items())
        self.version: Mapping[str, str] = MappingProxyType(
            {**(packages or {}), "tasks": file.digest}
            | ({} if self._pause is None else {"evaluator pause": f"{self._pause:g} s"})
        )

    def entry(self, task: str) -> tuple[type[AbstractBrowserTask], dict[str, Any]]:
        """Return BrowserGym's class of a task and its arguments but for `seed`.

        Raises MissingExtra without the evaluators' packages, InvalidValue for an unknown task.
        """
        from jitrl.worlds.browser.arena.gym_tasks import ArenaTask

        return ArenaTask, {
            "config": task_files.fill(self._config(task), self.sites),
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
        return task_files.needs_grader(self._config(task))

    @cached_property
    def _judge(self) -> Judge:
        def pause(seconds: float) -> None:
            time.sleep(seconds if self._pause is None else self._pause)

        load = partial(evaluators.load, self._evaluators, self.sites, self._accounts, sleep=pause)
        return Judge(load, lambda: self.grader)

    def _config(self, task: str) -> task_files.Config:
        if task not in self._configs:
            raise UnknownName("task", task, [f"{next(iter(self._configs))} ..."])
        return self._configs[task]


def plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they can be told to another process: paths as texts."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}


def _seconds(value: float) -> float:
    seconds = finite("evaluator_pause", value)
    if seconds < 0:
        raise InvalidValue("evaluator_pause", value, "must be seconds, at least 0")
    return seconds


def checked(
    kind: str, options: Mapping[str, Any], known: Sequence[str] = OPTIONS
) -> dict[str, Any]:
    """Return options; raises InvalidValue for one that is not known, or a path that is no text."""
    for name, value in options.items():
        if name not in known:
            raise InvalidValue(name, value, f"is no option of {kind} ({', '.join(known)})")
        if name in _PATHS and value is not None and not isinstance(value, Path):
            option_text(name, value)
    return dict(options)


def _task(name: str, config: task_files.Config) -> Task:
    template = str(config.get("intent_template_id", ""))
    return Task(name, tuple(config["sites"]), template)
