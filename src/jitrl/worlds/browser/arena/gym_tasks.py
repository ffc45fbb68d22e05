"""A task as BrowserGym plays it: logged in and opened, and judged when the agent acts no more.

Imported in the process of the browser only.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from browsergym.core.task import AbstractBrowserTask
from playwright.sync_api import Error

from jitrl.errors import WorldError
from jitrl.worlds.browser.address import outside
from jitrl.worlds.browser.arena import recording
from jitrl.worlds.browser.arena.judging import answer_in
from jitrl.worlds.browser.arena.logins import Logins
from jitrl.worlds.browser.arena.task_files import Config
from jitrl.worlds.browser.arena.verified import ANSWER

__all__ = ["ArenaTask", "VerifiedTask"]

_REST = 3000  # ms that a page may take to come to rest before it is judged


class ArenaTask(AbstractBrowserTask):  # type: ignore[misc]
    """One task in WebArena's format, filled with addresses.

    config  as the task file describes it
    sites   label -> address of every site that the agent may visit
    judge   who says the score: `judging.Judge`, or `verified.Referee`
    """

    def __init__(
        self, seed: int, config: Config, sites: dict[str, str], logins: Logins, judge: Any
    ) -> None:
        super().__init__(seed)
        self.viewport = {"width": 1280, "height": 720}
        self.slow_mo = 0
        self.timeout = 10_000  # ms, BrowserGym's for WebArena
        self._config = config
        self._sites = sites
        self._logins = logins
        self._judge = judge

    @classmethod
    def get_task_id(cls) -> str:
        """Refuse: the class plays every task of a file."""
        raise NotImplementedError

    def setup(self, page: Any) -> tuple[str, dict[str, Any]]:
        """Log in where needed and open the start pages, each in a tab; the first is in front.

        Raises WorldError where a login or a page fails.
        """
        context = page.context
        if self._config.get("require_login", True):
            self._logins.ensure(context, self._config["sites"])
        if self._config.get("geolocation"):
            context.set_geolocation(self._config["geolocation"])
        self._begin()
        for i, url in enumerate(self.start_urls):
            tab = page if i == 0 else context.new_page()
            try:
                tab.goto(url)
            except Exception as error:
                why = str(error).strip().splitlines()[0]
                raise WorldError(f"the start page {url} cannot be opened: {why}") from error
        page.bring_to_front()
        return self._config["intent"], self._notes()

    @property
    def start_urls(self) -> list[str]:
        """The pages that are open when the task begins; none: a blank one."""
        start = self._config["start_url"]
        return start.split(" |AND| ") if start else []

    def validate(
        self, page: Any, chat_messages: list[dict[str, Any]]
    ) -> tuple[float, bool, str, dict[str, Any]]:
        """Return (score, True, "", what is known of it), once the agent acts no more.

        Raises WorldError where there is no verdict.
        """
        left = outside((tab.url for tab in page.context.pages), self._sites)
        if left is not None:
            return 0.0, True, "", {"error": f"left the sites of the task: {left}"}
        return self._verdict(page, chat_messages), True, "", {}

    def teardown(self) -> None:
        """Do nothing: the context is closed with all that was opened in it."""

    def _begin(self) -> None:
        """Prepare for the verdict, before the first page is opened."""

    def _notes(self) -> dict[str, Any]:
        """Return what else an agent has to know."""
        return {}

    def _verdict(self, page: Any, messages: list[dict[str, Any]]) -> float:
        return float(self._judge.verdict(self._config, page, answer_in(messages)))


class VerifiedTask(ArenaTask):
    """One task of WebArena-Verified, filled with addresses; the judge is its referee.

    record  file where the context was told to record, see `recording.options`
    """

    def __init__(self, seed: int, record: Path, **task: Any) -> None:
        super().__init__(seed, **task)
        self._record = record
        self._since = ""

    @property
    def start_urls(self) -> list[str]:
        """The pages that are open when the task begins."""
        return list(self._config["start_urls"])

    def _begin(self) -> None:
        self._since = recording.now()  # what went before is our logging in, passwords included

    def _notes(self) -> dict[str, Any]:
        return {"note": ANSWER}

    def _verdict(self, page: Any, messages: list[dict[str, Any]]) -> float:
        """Return the score. The context is closed first: only then is the record written."""
        last = messages[-1] if messages else {"role": "user"}
        # Why a task cannot be done is an answer like others, and said in the same form.
        answer = last["message"] if last["role"] in ("assistant", "infeasible") else None
        with suppress(Error):  # a page that never rests is not waited for
            page.wait_for_load_state("networkidle", timeout=_REST)
        page.context.close()
        heard = recording.har(self._record, self._since)
        self._record.unlink()
        places = {site: self._sites[site] for site in self._config["sites"]}
        return float(self._judge.score(self._config["task_id"], places, answer, heard))
