"""Where tasks come from, and who judges them: the contract of a kind of web task.

A benchmark is small and cheap to make. It is made twice from the same words, `make(which,
**options)`: in the process of the learner, which asks what tasks there are, and in that of the
browser (`jitrl.worlds.browser.host`), which plays them. What needs a browser, or a package that is
an extra, is imported by `entry` only, which is called there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from jitrl.worlds import Task

if TYPE_CHECKING:
    from browsergym.core.task import AbstractBrowserTask

__all__ = ["Benchmark"]


class Benchmark(Protocol):
    """Tasks of one kind.

    tasks    in the order of the benchmark
    version  what identifies it exactly: package versions, hash of the task file ...
    sites    label -> address of each site, as configured ("http://127.0.0.1:7770"); a page on one
             of them is known by its label. Empty where a task may play anywhere
    guarded  the agent may not leave `sites`: the attempt ends there, with a score of 0
    verdict  "step": the page itself says after each step whether the task is done (MiniWoB++);
             "end": the evaluator is asked once, when the attempt is over: the agent has sent a
             message to the user or called the task infeasible, or its steps are used up
    messages the user reads messages: they end the attempt (with "end")
    login_forms  label -> names of the password's field and of the button, of sites where the agent
             is logged in: to be shown them in the midst of an attempt is recorded
    """

    tasks: tuple[Task, ...]
    version: Mapping[str, str]
    sites: Mapping[str, str]
    guarded: bool
    verdict: Literal["step", "end"]
    messages: bool
    login_forms: Mapping[str, tuple[str, str]]

    def entry(self, task: str) -> tuple[type[AbstractBrowserTask], dict[str, Any]]:
        """Return BrowserGym's class of a task and its arguments but for `seed`.

        Called in the process of the browser. The object's `setup(page)` opens the page and returns
        (goal, info), where info may hold a `note` that a model is told with how actions are
        written: how it has to answer. `validate(page, chat_messages)` returns (score, done,
        message, info). With verdict "end", `validate` is called once, when the agent acts no more.
        An exception of it is no verdict: the score is 0, and the reason is recorded.
        """

    def context(self, task: str) -> dict[str, Any]:
        """Return what Playwright's browser.new_context is given for a task: storage_state ..."""
