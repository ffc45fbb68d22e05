"""BrowserGym's environment, as a host uses it: our Chromium, no chat window, verdicts when asked.

Imported in the process of the browser only.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from browsergym.core import _get_global_playwright
from browsergym.core import env as core_env
from browsergym.core.action.functions import check, uncheck
from browsergym.core.action.highlevel import HighLevelActionSet
from browsergym.core.env import BrowserEnv
from browsergym.core.observation import (
    _post_extract,
    _pre_extract,
    extract_dom_extra_properties,
    extract_dom_snapshot,
    extract_merged_axtree,
    extract_screenshot,
)
from browsergym.core.task import AbstractBrowserTask
from playwright.sync_api import Error

from jitrl.errors import WorldError

__all__ = ["on_driver_end", "open_env"]

_FOCUS = re.compile(r"tab_focus\((\d+)\)")
_READINGS = 12  # of a page that changes while it is read
_PATIENT = 6  # of these: with every frame, and with a tab that was opened meanwhile
_PAUSE = 0.25  # seconds before the next
_UNMARK = """name => {
    const unmark = root => {
        for (const element of root.querySelectorAll("*")) {
            element.removeAttribute(name);
            if (element.shadowRoot) unmark(element.shadowRoot);
        }
    };
    unmark(document);
}"""
_SUBSETS = ["chat", "infeas", "bid", "coord", "nav", "tab", "custom"]


class Chat:
    """The conversation with the user as a list, without the window that BrowserGym opens for it."""

    def __init__(self, **_: Any) -> None:
        self.messages: list[dict[str, Any]] = []

    def add_message(self, role: str, msg: str) -> None:
        """Add a message; "info" is for the window alone."""
        if role != "info":
            self.messages.append({"role": role, "timestamp": time.time(), "message": msg})

    def close(self) -> None:
        """Nothing is open."""


class Env(BrowserEnv):  # type: ignore[misc]
    """BrowserGym's environment whose evaluator is asked after each step, or only by `verdict`.

    An action is executed in the tab that was shown. A tab comes to the front when it is opened,
    when the agent chooses it, or when the one before it is closed: not when its page calls for
    attention. A page that changes while it is read is read again.
    """

    def __init__(self, judge: bool, screenshot: bool, **given: Any) -> None:
        super().__init__(**given)
        self._judge, self._screenshot = judge, screenshot
        self.page_history: dict[Any, None] = {}  # tabs in the order they came to the front
        self._shown: Any = None  # the tab of the last observation
        self._reading = False
        self._came: Any = None  # a tab that was opened while another was read

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Execute an action in the tab that was shown; one that is closed by now takes none."""
        self.page = self._shown
        chosen, tabs = _FOCUS.fullmatch(action), self.context.pages
        if chosen and int(chosen[1]) < len(tabs):
            self._activate(tabs[int(chosen[1])])
        return super().step(action)  # type: ignore[no-any-return]

    def verdict(self) -> tuple[float, str]:
        """Return the evaluator's score, and what it says went wrong."""
        self.page = self._shown
        self._active_page_check()
        score, _, _, info = super()._task_validate()
        return float(score), str((info or {}).get("error", ""))

    def process(self) -> int | None:
        """Return the id of the browser's process, None where it does not tell."""
        session = self.browser.new_browser_cdp_session()
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return next((int(p["id"]) for p in found if p["type"] == "browser"), None)

    def _activate_page_from_js(self, page: Any) -> None:
        if page not in self.page_history:
            self._activate(page)

    def _activate(self, page: Any) -> None:
        if self._reading:
            self._came = page
        else:
            super()._activate_page_from_js(page)

    def _active_page_check(self) -> None:
        """Choose the tab that was at the front last, or a new one, where this one is closed."""
        tabs = self.context.pages
        self.page_history = {tab: None for tab in self.page_history if tab in tabs}
        if self.page not in tabs:
            last = [*tabs, *self.page_history]
            self.page = last[-1] if last else self.context.new_page()

    def _get_obs(self) -> dict[str, Any]:
        """Return what is shown, all of it by one tab."""
        for reading in range(1, _READINGS + 1):
            self._active_page_check()
            self._reading, self._came = True, None
            try:
                shown = self._read(lenient=reading > _PATIENT)
            except Exception as error:
                if reading == _READINGS or not self.browser.is_connected():
                    raise
                if "already used in element" in str(error):
                    self._unmark()
                if not self.page.is_closed():
                    time.sleep(_PAUSE)
                continue
            finally:
                self._reading = False
            if self._came is None or reading > _PATIENT:
                break
            self._activate(self._came)
        self._shown = self.page
        return shown

    def _read(self, lenient: bool) -> dict[str, Any]:
        """Return of BrowserGym's observation what is used, which asks nothing of the other tabs.

        lenient  pass over frames that came while the page was marked
        """
        page = self.page
        try:
            _pre_extract(page, tags_to_mark=self.tags_to_mark, lenient=lenient)
            dom = extract_dom_snapshot(page)
            tree = extract_merged_axtree(page)
        finally:
            _post_extract(page)
        picture = extract_screenshot(page) if self._screenshot else None
        title, tabs = dom["documents"][0]["title"], self.context.pages
        if page not in tabs:
            raise WorldError("the tab was closed while it was read")
        return {
            "goal": core_env._try_to_extract_legacy_goal(self.goal_object),
            "open_pages_urls": tuple(tab.url for tab in tabs),
            "active_page_index": [tabs.index(page)],
            "url": page.url,
            "title": dom["strings"][title] if title >= 0 else "",
            "screenshot": picture,
            "axtree_object": tree,
            "extra_element_properties": extract_dom_extra_properties(dom, scale_factor=1.0),
            "last_action_error": self.last_action_error,
        }

    def _unmark(self) -> None:
        """Remove the ids that a page has given to its elements itself, in BrowserGym's name."""
        for frame in self.page.frames:
            with suppress(Error):  # it may be gone
                frame.evaluate(_UNMARK, core_env.BROWSERGYM_ID_ATTRIBUTE)

    def _task_validate(self) -> tuple[float, bool, str, dict[str, Any]]:
        if self._judge:
            return super()._task_validate()  # type: ignore[no-any-return]
        return 0.0, False, "", {}


def on_driver_end(then: Callable[[], None]) -> None:
    """Have `then` called where Playwright's driver ends: whatever is asked later waits for ever.

    Starts it, where it does not run.
    """
    transport = _get_global_playwright()._impl_obj._connection._transport
    transport.on_error_future.add_done_callback(lambda _: then())


def open_env(
    entry: type[AbstractBrowserTask],
    arguments: dict[str, Any],
    *,
    executable: str,
    headless: bool,
    settle: float,
    screenshot: bool,
    context: dict[str, Any],
    judge: bool,
) -> Env:
    """Return an environment for one task, to be reset.

    judge  ask the task after each step
    """
    logging.getLogger(core_env.__name__).setLevel(logging.ERROR)  # it warns of what we set
    core_env.Chat = Chat
    actions = HighLevelActionSet(
        subsets=_SUBSETS, custom_actions=[check, uncheck], multiaction=False, strict=True
    )
    return Env(
        judge=judge,
        screenshot=screenshot,
        task_entrypoint=entry,
        task_kwargs=arguments,
        headless=headless,
        slow_mo=0,
        action_mapping=actions.to_python_code,
        pre_observation_delay=settle,
        pw_chromium_kwargs={"executable_path": executable},
        pw_context_kwargs=context,
        terminate_on_infeasible=False,
    )
