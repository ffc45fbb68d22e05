"""BrowserGym's environment, as a host uses it: our Chromium, no chat window, verdicts when asked.

Imported in the process of the browser only.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from browsergym.core import env as core_env
from browsergym.core.action.functions import check, uncheck
from browsergym.core.action.highlevel import HighLevelActionSet
from browsergym.core.env import BrowserEnv
from browsergym.core.task import AbstractBrowserTask

__all__ = ["open_env"]

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
    """BrowserGym's environment whose evaluator is asked after each step, or only by `verdict`."""

    def __init__(self, judge: bool, **given: Any) -> None:
        super().__init__(**given)
        self._judge = judge

    def verdict(self) -> tuple[float, str]:
        """Return the evaluator's score, and what it says went wrong."""
        score, _, _, info = super()._task_validate()
        return float(score), str((info or {}).get("error", ""))

    def process(self) -> int | None:
        """Return the id of the browser's process, None where it does not tell."""
        session = self.browser.new_browser_cdp_session()
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return next((int(p["id"]) for p in found if p["type"] == "browser"), None)

    def _task_validate(self) -> tuple[float, bool, str, dict[str, Any]]:
        if self._judge:
            return super()._task_validate()  # type: ignore[no-any-return]
        return 0.0, False, "", {}


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
    if not screenshot:
        core_env.extract_screenshot = lambda page: None
    actions = HighLevelActionSet(
        subsets=_SUBSETS, custom_actions=[check, uncheck], multiaction=False, strict=True
    )
    return Env(
        judge=judge,
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
