"""What is there for a run of WebArena's tasks and what is missing: sites, logins, packages."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from jitrl.errors import InvalidValue, JitrlError, WorldError
from jitrl.worlds.browser import chromium
from jitrl.worlds.browser.arena import evaluators
from jitrl.worlds.browser.arena.logins import LOGINS, inside, log_in
from jitrl.worlds.browser.arena.packages import IMPORTED, PACKAGES
from jitrl.worlds.browser.arena.reset import Fetched, fetch
from jitrl.worlds.browser.arena.sites import SITES, Account, accounts, addresses, variable
from jitrl.worlds.browser.arena.task_files import Config, choose, needs_grader
from jitrl.worlds.browser.arena.verified import INSTALL, Referee

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["KINDS", "Finding", "examine", "opened", "packages", "playable", "sites"]

KINDS = ("webarena", "webarena-lite", "webarena-verified")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    what    "shopping", "shopping login", "Chromium"
    works   None where it was not tried, or is not needed
    said    what was found
    remedy  what to do; "" where nothing has to be done
    missing it does not work because it is not there
    """

    what: str
    works: bool | None
    said: str
    remedy: str = ""
    missing: bool = False


def examine(
    kind: str,
    *,
    program: str | None = None,
    log_in: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> list[Finding]:
    """Return what a run of `kind` would find: packages, sites, logins in a browser, and the command
    that plays the tasks which have all that they need.

    program  a Chromium; None for the one that is found
    log_in   try the logins too, in a browser
    Raises InvalidValue for an unknown kind.
    """
    if kind not in KINDS:
        raise InvalidValue("benchmark", kind, f"must be one of: {', '.join(KINDS)}")
    found = sites(environment)
    if log_in:
        found += _logins({site.what for site in found if site.works}, program, environment)
    try:
        tasks = [playable(kind, _tasks(kind), found)]
    except JitrlError:
        tasks = []  # their package is missing, as another row says
    return packages(kind, program) + found + tasks


def packages(kind: str, program: str | None = None) -> list[Finding]:
    """Return whether Chromium and the packages of a benchmark are there, and who has to grade."""
    found = [_chromium(program)]
    found += [_package(name) for name in ("browsergym-core", "playwright")]
    if kind == "webarena-verified":
        return [*found, _verified()]
    package = PACKAGES[kind]
    found.append(_package(package.name, package.install))
    return [*found, *map(_package, IMPORTED), *_sentences(), *_graded(kind)]


def sites(
    environment: Mapping[str, str] = os.environ, ask: Callable[[str], Fetched] = fetch
) -> list[Finding]:
    """Return of every site whether it has an address, and what answers there."""
    found = []
    for site in SITES:
        named = f"set {variable(site)}=http://HOST:PORT"
        try:
            address = addresses((), (site,), environment=environment).get(site)
        except InvalidValue as error:
            found.append(Finding(site, False, str(error), named))
            continue
        if address is None:
            found.append(Finding(site, None, "no address", named))
            continue
        found.append(_answers(site, address, ask))
    if all(finding.works is None for finding in found):
        remedy = "set those that you have"
        found.append(Finding("sites", False, "none has an address", remedy, missing=True))
    return found


def playable(kind: str, tasks: Mapping[int, Config], found: Sequence[Finding]) -> Finding:
    """Return how many tasks have all that they need, and the command that plays them.

    found  of `sites`, and of the logins that were tried
    """
    works = {finding.what: finding.works for finding in found}
    lacking = {site for site in SITES if not works[site] or works.get(f"{site} login") is False}
    needed = [site for site in SITES if any(site in task["sites"] for task in tasks.values())]
    parts = ["all", *(f"-site:{site}" for site in needed if site in lacking)]
    said = f"of {len(tasks)} can be played"
    if any(map(needs_grader, tasks.values())):
        parts.append("-graded")
        said += " without a grader"
    which = ",".join(parts)
    try:
        count = len(choose(which, tasks))
    except InvalidValue:  # it leaves no task
        if all(works[site] is None for site in needed):
            said = f"none of {len(tasks)}: no site has an address"
            return Finding("tasks", False, said, missing=True)
        return Finding("tasks", False, f"none {said}")
    return Finding("tasks", True, f"{count} {said}", f"jitrl run {kind}:{which}")


def _answers(site: str, address: str, ask: Callable[[str], Fetched]) -> Finding:
    started = time.perf_counter()
    start = f"start it, or correct {variable(site)}"
    try:
        status, _ = ask(address)
    except WorldError as error:
        return Finding(site, False, str(error), start)
    said = f"{address} answers {status} in {time.perf_counter() - started:.1f} s"
    return Finding(site, status < 400, said, "" if status < 400 else start)


def _logins(usable: set[str], program: str | None, environment: Mapping[str, str]) -> list[Finding]:
    try:
        known = accounts(environment=environment)
        places = addresses((), environment=environment)
    except JitrlError as error:
        return [Finding("accounts", False, str(error), "correct WA_ACCOUNTS and WA_..._PASSWORD")]
    wanted = [site for site in LOGINS if site in usable]
    if not wanted:
        return []
    try:
        with opened(program) as browser:
            tried = {site: _login(browser, site, places[site], known[site]) for site in wanted}
    except (JitrlError, ImportError) as error:
        return [Finding("logins", False, f"not tried: {error}", "see Chromium and playwright")]
    return list(tried.values())


def _login(browser: Browser, site: str, address: str, account: Account) -> Finding:
    context = browser.new_context()
    try:
        log_in(context, site, address, LOGINS[site], account)
        works = inside(context, address, LOGINS[site], account)
    except JitrlError as error:
        names = f"{variable(site)}_USERNAME, {variable(site)}_PASSWORD"
        return Finding(f"{site} login", False, str(error), f"check {names}")
    finally:
        context.close()
    return Finding(f"{site} login", works, f"as {account.username}")


@contextmanager
def opened(program: str | None = None) -> Iterator[Browser]:
    """Run a Chromium. Raises WorldError where there is none, or it does not start."""
    from playwright.sync_api import Error, sync_playwright

    path = chromium.find(program)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            why = str(error).strip().splitlines()[0]
            raise WorldError(f"{str(path)!r} does not start: {why}") from error
        try:
            yield browser
        finally:
            browser.close()


def _chromium(program: str | None) -> Finding:
    try:
        path = chromium.find(program)
        return Finding("Chromium", True, f"{path}, version {chromium.major(path)}")
    except WorldError as error:
        named = "apt-get install chromium, or --chromium PATH"
        return Finding("Chromium", False, str(error), named, missing=True)


def _package(name: str, install: str = "pip install 'jitrl[webarena]'") -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", install, missing=True)


def _sentences() -> list[Finding]:
    try:
        said = evaluators.sentences()
    except ImportError:
        return []  # nltk is missing, as another row says
    exact = said == "punkt_tab"
    words = "punkt_tab is installed" if exact else "ends of sentences are found without punkt_tab"
    return [Finding("NLTK data", True, words)]


def _graded(kind: str) -> list[Finding]:
    try:
        tasks = _tasks(kind)
    except JitrlError:
        return []  # its package is missing, as another row says
    count = sum(map(needs_grader, tasks.values()))
    said = f"{count} of {len(tasks)} tasks may ask a language model"
    leave_out = f"name one with --grader, or leave these tasks out: {kind}:all,-graded"
    return [Finding("grader", None, said, leave_out)]


def _tasks(kind: str) -> Mapping[int, Config]:
    return (Referee() if kind == "webarena-verified" else PACKAGES[kind]).read().tasks


def _verified() -> Finding:
    try:
        found: Any = Referee().version
    except JitrlError as error:
        said = str(error).partition(":")[0]
        return Finding("webarena-verified", False, said, INSTALL, missing=True)
    return Finding("webarena-verified", True, str(found))
