"""Tasks of a benchmark behind the contract of a suite: `BrowserWorld`."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jitrl.checks import boolean, count, finite
from jitrl.errors import InvalidValue, MissingExtra, UnknownName, WorldError
from jitrl.records import Observation, State
from jitrl.worlds import Defaults, Grader, Task
from jitrl.worlds.browser import chromium
from jitrl.worlds.browser.address import normalised, on_site, outside
from jitrl.worlds.browser.benchmark import Benchmark
from jitrl.worlds.browser.grammar import Grammar
from jitrl.worlds.browser.page import Page, unpack
from jitrl.worlds.browser.process import BrowserGone, BrowserProcess, BrowserSlow
from jitrl.worlds.browser.proposals import proposals
from jitrl.worlds.browser.slots import Slots
from jitrl.worlds.browser.text import cut, shown

__all__ = ["DEFAULTS", "BrowserWorld", "Options", "chosen", "installed", "needs"]

DEFAULTS = Defaults(preset="web", steps=10)
"""Of every kind of web task."""

_SECONDS = (
    ("settle", 0, 60),
    ("step_timeout", 1, 100_000),
    ("episode_timeout", 1, 1_000_000),
)  # name, least, most
_LONGEST = 300  # characters of one reason, and of an address that is shown
_TABS = 20  # that are shown
_HIGHEST_SEED = 2**31 - 1
_UNBEGUN = 3  # attempts in a row that cannot begin
_MESSAGES = ("send_msg_to_user(", "report_infeasible(")


@dataclass(frozen=True)
class Options:
    """How browsers are started and how long they may take.

    chromium      the program; None: $JITRL_CHROMIUM, or as found
    visible       with a window
    settle        seconds to wait after an action before the page is read
    step_timeout, episode_timeout   seconds
    page_tokens   about so many tokens of a page are shown to a model
    screenshot    with a picture of every page
    uploads       a folder whose files may be uploaded; None: there is no uploading

    Raises InvalidValue.
    """

    chromium: str | Path | None = None
    visible: bool = False
    settle: float = 0.1
    step_timeout: float = 60.0
    episode_timeout: float = 900.0
    page_tokens: int = 4000
    screenshot: bool = False
    uploads: str | Path | None = None

    def __post_init__(self) -> None:
        for name, least, most in _SECONDS:
            value = finite(name, getattr(self, name))
            if not least <= value <= most:
                raise InvalidValue(name, value, f"must be seconds in [{least}, {most}]")
        boolean("visible", self.visible)
        boolean("screenshot", self.screenshot)
        count("page_tokens", self.page_tokens, least=100)
        if self.uploads is not None and not _is_folder(self.uploads):
            raise InvalidValue("uploads", self.uploads, "must be a folder that exists")


def installed(package: str, install: str) -> Distribution:
    """Return what is known of a package. Raises MissingExtra, with the command that installs it."""
    try:
        return distribution(package)
    except PackageNotFoundError as error:
        raise MissingExtra(f"{package} is not installed: {install}") from error


def needs(
    *packages: str, extra: str = "web", beside: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Raise MissingExtra, with all that is missing, unless these packages are installed.

    packages  that an extra of ours brings
    beside    package -> the command that installs it, for others
    """
    missing = [package for package in (*packages, *beside) if not _there(package)]
    commands = [f"pip install 'jitrl[{extra}]'"] if set(packages) & set(missing) else []
    commands += [command for package, command in beside.items() if package in missing]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        told = f"{', '.join(missing)} {verb} not installed"
        raise MissingExtra(f"{told}: {' && '.join(dict.fromkeys(commands))}")


def _there(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def chosen(options: Mapping[str, Any], *own: str) -> tuple[dict[str, Any], Options]:
    """Return what a benchmark is told, of the names `own`, and how browsers are started.

    Raises InvalidValue for an option that is neither.
    """
    browsers = Options.__dataclass_fields__
    for name, value in options.items():
        if name not in browsers and name not in own:
            known = ", ".join([*own, *browsers])
            raise InvalidValue(name, value, f"is no option of this world ({known})")
    told = {name: value for name, value in options.items() if name in own}
    return told, Options(**{n: value for n, value in options.items() if n in browsers})


@dataclass
class _Attempt:
    """An attempt under way."""

    slots: Slots
    limit: int | None
    until: float
    page: Page
    last: Observation
    note: str = ""
    steps: int = 0
    history: list[str] = field(default_factory=list)
    idle: set[str] = field(default_factory=set)


class BrowserWorld:
    """The tasks of one benchmark, each attempt in a browser of its own.

    The contract is that of `jitrl.worlds.Suite`; what may go wrong in a browser (an answer that
    does not come, a crash, an evaluator that fails) ends the attempt with a `reason`, and the next
    one begins in a new browser. The state is the address without ids, the actions so far that
    changed the page, and the task's text. Not for two threads at once.

    grader  answers where the benchmark's evaluator asks a language model; to be set before the
            first reset. None: where it would ask, there is no verdict
    """

    grader: Grader | None = None

    @property
    def may_ask_grader(self) -> bool:
        """Whether the verdict on a task of this suite can depend on a language model."""
        needs = getattr(self._benchmark, "needs_grader", None)
        return needs is not None and any(needs(task.name) for task in self.tasks)

    def __init__(
        self,
        kind: str,
        which: str,
        benchmark: Benchmark,
        module: str,
        told: Mapping[str, Any],
        options: Options | None = None,
    ) -> None:
        """Keep what is needed to start a browser; nothing is started yet.

        module  where `benchmark(which, **told)` makes the same benchmark in the browser's process
        """
        self.name = f"{kind}:{which}"
        self.tasks: tuple[Task, ...] = benchmark.tasks
        self.max_score: float | None = 1.0
        self.reward_range: tuple[float, float] | None = (0.0, 1.0)
        self._benchmark = benchmark
        self._options = options or Options()
        self._program = chromium.find(self._options.chromium, visible=self._options.visible)
        self.version: Mapping[str, str] = dict(benchmark.version) | {
            "chromium": chromium.major(self._program)
        }
        self._settings = {
            "module": module,
            "which": which,
            "options": dict(told),
            "chromium": str(self._program),
            "headless": not self._options.visible,
            "settle": self._options.settle,
            "screenshot": self._options.screenshot,
        }
        self._process: BrowserProcess | None = None
        self._attempt: _Attempt | None = None
        self._unbegun = 0
        self._closed = False
        self._spent = {"total": 0.0, "actions": 0.0, "browser": 0.0, "page": 0.0, "verdict": 0.0}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds so far: "total" in reset and step. Of these "browser" waiting for the browser, of
        which "page" reading what the page shows (DOM, accessibility tree); "verdict" waiting for
        the evaluator; "actions" listing actions.
        """
        return MappingProxyType(dict(self._spent))

    def reset(self, seed: int, task: str | None = None, limit: int | None = None) -> Observation:
        """Begin an attempt; see `jitrl.worlds.Suite`.

        An attempt that cannot begin (the site does not answer, the login fails) is tried once more
        in a new browser, unless it timed out (after twice the `step_timeout`); then it is over
        before it began, with a `reason`. After three such
        attempts in a row WorldError is raised: that is no matter of one task.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or not 1 <= seed <= _HIGHEST_SEED:
            raise InvalidValue("seed", seed, f"must be an integer in [1, {_HIGHEST_SEED}]")
        names = [known.name for known in self.tasks]
        task = names[0] if task is None else task
        if task not in names:
            raise UnknownName("task", task, names)
        if limit is not None:
            count("limit", limit, least=1)
        self._open()
        started = time.perf_counter()
        self._attempt = None
        try:
            told = self._begun(task, seed)
        except BrowserGone as error:
            self._unbegun += 1
            if self._unbegun >= _UNBEGUN:
                raise WorldError(
                    f"{task} cannot begin, nor could the {_UNBEGUN - 1} attempts before: {error}: "
                    "see that the sites answer"
                ) from error
            why = f"could not begin: {error}"
            return Observation(State(), why, (), truncated=True, reason=why)
        finally:
            self._spent["total"] += time.perf_counter() - started
        self._unbegun = 0
        goal, page = told["goal"], _page(told)
        slots = Slots(goal)
        self._attempt = _Attempt(
            slots=slots,
            limit=limit,
            until=time.monotonic() + self._options.episode_timeout,
            page=page,
            last=Observation(State(), "", ()),
            note=str(told.get("note", "")),
        )
        return self._observe(told, started=time.perf_counter())

    def step(self, action: str) -> Observation:
        """Take an action, as remembered or as a model writes it; see `grammar`.

        What cannot be read or executed changes nothing, and the observation's `reason` says why.
        Raises InvalidValue for anything but a string, WorldError before the first reset, after the
        end of an attempt, and when closed.
        """
        if not isinstance(action, str):
            raise InvalidValue("action", action, "must be a string")
        self._open()
        attempt = self._attempt
        if attempt is None:
            raise WorldError(f"{self.name} has no episode to step: call reset(seed) first")
        if attempt.last.terminated or attempt.last.truncated:
            raise WorldError(f"the episode of {self.name} is over: call reset(seed)")
        started = time.perf_counter()
        attempt.steps += 1
        grammar = self._grammar(attempt)
        try:
            action = grammar.read(action)
            call = grammar.call(action)
        except InvalidValue as error:
            return self._stood_still(attempt, str(error), started)
        try:
            told = self._ask("step", attempt, call=call)
        except BrowserGone as error:
            return self._cut_off(attempt, str(error), started)
        before, attempt.page = attempt.page, _page(told)
        if attempt.page.fingerprint != before.fingerprint:
            attempt.history.append(action)
            attempt.idle.clear()
            if told["failed"].startswith("TimeoutError"):
                told["failed"] = ""  # it was done: what took more than half a second is the page
        else:
            attempt.idle.add(action)
        return self._observe(told, started, ended=action.startswith(_MESSAGES))

    def close(self) -> None:
        """Close the browser; calling it twice is harmless."""
        self._closed = True
        self._attempt = None
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _open(self) -> None:
        if self._closed:
            raise WorldError(f"{self.name} is closed: open it again with make")

    def _begun(self, task: str, seed: int) -> dict[str, Any]:
        """Return what the first page of an attempt shows.

        Where the browser goes a second one is tried, no third; none where the page hangs.
        """
        for last in (False, True):
            try:
                if self._process is None:
                    self._process = BrowserProcess(self._settings, self.grader)
                begun = time.perf_counter()
                told = self._process.ask(
                    "reset", 2 * self._options.step_timeout, task=task, seed=seed
                )
                self._spent["browser"] += time.perf_counter() - begun
                return told
            except BrowserGone as error:
                self._process = None
                if last or isinstance(error, BrowserSlow):
                    raise
        raise AssertionError("the loop returns or raises")

    def _ask(self, do: str, attempt: _Attempt, **request: Any) -> dict[str, Any]:
        """Ask the browser, within the time that is left; one that is gone is let go."""
        if self._process is None:
            raise BrowserGone("the browser is gone")
        left = attempt.until - time.monotonic()
        if left <= 0:
            raise BrowserGone(f"timed out: more than {self._options.episode_timeout:g} s in all")
        begun = time.perf_counter()
        try:
            return self._process.ask(do, min(left, self._options.step_timeout), **request)
        except BrowserGone:
            self._process = None
            raise
        finally:
            spent = time.perf_counter() - begun
            self._spent["verdict" if do == "verdict" else "browser"] += spent

    def _grammar(self, attempt: _Attempt) -> Grammar:
        return Grammar(
            attempt.page,
            attempt.slots,
            self._benchmark.sites,
            self._benchmark.messages,
            self._options.uploads,
            attempt.note,
        )

    def _observe(self, told: dict[str, Any], started: float, *, ended: bool = False) -> Observation:
        """Return what the browser told as an observation, with the verdict where it is due."""
        attempt = self._attempt
        assert attempt is not None
        self._spent["page"] += told["page"]
        reasons = [told.get("failed", ""), *told["notes"], told.get("error", "")]
        score = told["score"]
        terminated = bool(told["done"])
        sites = self._benchmark.sites
        if self._benchmark.guarded and (left := outside(attempt.page.tabs, sites)) is not None:
            terminated, score = True, 0.0
            reasons.append(f"left the allowed sites: {left}")
        elif self._benchmark.verdict == "end" and (ended or self._is_last(attempt)):
            terminated = ended
            score, why = self._verdict(attempt)
            reasons.append(why)
        if site := self._asks_for_login(attempt.page):
            reasons.append(f"a login is asked for: {site}")
        truncated = not terminated and self._is_last(attempt)
        return self._shown(attempt, score, terminated, truncated, reasons, started, told)

    def _is_last(self, attempt: _Attempt) -> bool:
        return attempt.limit is not None and attempt.steps >= attempt.limit

    def _verdict(self, attempt: _Attempt) -> tuple[float, str]:
        try:
            told = self._ask("verdict", attempt)
        except BrowserGone as error:
            return 0.0, f"there is no verdict: {error}"
        return min(max(float(told["score"]), 0.0), 1.0), told["error"]

    def _stood_still(self, attempt: _Attempt, why: str, started: float) -> Observation:
        """Return the same page again, for an action that was not executed."""
        told = {"page": 0.0, "score": attempt.last.score, "done": False}
        return self._observe(told | {"notes": [f"not executed: {why}"]}, started)

    def _cut_off(self, attempt: _Attempt, why: str, started: float) -> Observation:
        """Return the end of an attempt whose browser is gone: nobody can judge it."""
        return self._shown(attempt, attempt.last.score, False, True, [why], started, {})

    def _asks_for_login(self, page: Page) -> str:
        """Return the site whose login has expired, or was given up; "" where there is none."""
        site = on_site(page.url, self._benchmark.sites)
        form = self._benchmark.login_forms.get(site[0]) if site is not None else None
        if form is None:
            return ""
        there = {(node.editable, node.name) for node in page.elements}
        return site[0] if site and (True, form[0]) in there and (False, form[1]) in there else ""

    def _shown(
        self,
        attempt: _Attempt,
        score: float,
        terminated: bool,
        truncated: bool,
        reasons: list[str],
        started: float,
        told: Mapping[str, Any],
    ) -> Observation:
        grammar = self._grammar(attempt)
        over = terminated or truncated
        begun = time.perf_counter()
        weights = {} if over else proposals(grammar, attempt.history, attempt.idle)
        self._spent["actions"] += time.perf_counter() - begun
        reason = "; ".join(dict.fromkeys(cut(why, _LONGEST) for why in reasons if why))
        picture = told.get("image")
        attempt.last = Observation(
            state=State(
                url=normalised(attempt.page.url, self._benchmark.sites),
                history="\n".join(attempt.history),
                task=attempt.slots.text,
            ),
            text=self._text(attempt.page, reason),
            actions=tuple(weights),
            weights=tuple(weights.values()),
            reward=score - attempt.last.score,
            score=score,
            terminated=terminated,
            truncated=truncated,
            reason=reason,
            reader=None if over else grammar,
            image=None if picture is None else base64.b64decode(picture),
        )
        self._spent["total"] += time.perf_counter() - started
        return attempt.last

    def _text(self, page: Page, reason: str) -> str:
        """Return the page for a model: where it is, what went wrong, what it shows."""
        lines = [f"Address: {cut(page.url, _LONGEST)}", f"Title: {page.title}"]
        if len(page.tabs) > 1:
            tabs = [f"{i}: {cut(url, _LONGEST)}" for i, url in enumerate(page.tabs[:_TABS])]
            more = f" and {len(page.tabs) - _TABS} more" if len(page.tabs) > _TABS else ""
            lines.append(f"Tabs (this is {page.tab}): {', '.join(tabs)}{more}")
        if reason:
            lines.append(f"Note: {reason}")
        return "\n".join([*lines, "", shown(page, self._options.page_tokens)])


def _is_folder(named: object) -> bool:
    if not isinstance(named, str | Path) or not str(named).strip():
        return False
    try:
        return Path(named).is_dir()
    except (OSError, ValueError):  # too long, or with a null
        return False


def _page(told: Mapping[str, Any]) -> Page:
    return Page(
        url=told["url"],
        title=told["title"],
        tabs=tuple(told["tabs"]),
        tab=told["tab"],
        nodes=unpack(told["nodes"]),
    )
