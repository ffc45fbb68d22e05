"""WebArena's own evaluators for the pocket web, and a reader of solutions that drives a page."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from jitrl.worlds.browser.chromium import find

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
HARNESS = "webarena.evaluation_harness"


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a Chromium.

    Playwright notes who calls it, down to the lines of the source, for its error messages: that
    takes longer than the calls themselves, and is left out.
    """
    quick = SimpleNamespace(stack=list)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("playwright._impl._connection.inspect", quick)
        patch.setattr("playwright._impl._sync_base.inspect", quick)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
            yield browser
            browser.close()


class Judge:
    """The evaluators of libwebarena with addresses of ours.

    What they import and do not need for our tasks (WebArena's browser and agents, clients of
    language models) is left out; an answer that needs an outside grader counts as wrong.
    """

    def __init__(self, addresses: Mapping[str, str], accounts: Mapping[str, Any], folder: Path):
        self._addresses = addresses
        self._file = folder / "task.json"
        with pytest.MonkeyPatch.context() as patch:
            for name, module in _left_out(addresses, accounts).items():
                patch.setitem(sys.modules, name, module)
            for name in ("", ".helper_functions", ".evaluators"):
                patch.delitem(sys.modules, HARNESS + name, raising=False)
            self._rules = importlib.import_module(f"{HARNESS}.evaluators")
            for name in ("", ".helper_functions", ".evaluators"):
                del sys.modules[HARNESS + name]
        self._rules.time = SimpleNamespace(sleep=lambda seconds: None)
        self._rules.llm_ua_match = lambda pred, ref, intent: 0.0

    def __call__(self, task: Mapping[str, Any], page: Any, answer: str) -> float:
        """Return the score of an answer and of the page where somebody ended."""
        text = json.dumps(task)
        for site, address in self._addresses.items():
            text = text.replace(f"__{site.upper()}__", address)
        self._file.write_text(text)
        steps = [{}, {"answer": answer}]
        return float(self._rules.evaluator_router(self._file)(steps, self._file, page, None))


def _left_out(addresses: Mapping[str, str], accounts: Mapping[str, Any]) -> dict[str, ModuleType]:
    places = {site.upper(): addresses.get(site, "") for site in addresses}
    logins = {
        site: {"username": account.username, "password": account.password}
        for site, account in accounts.items()
    }
    contents: dict[str, dict[str, object]] = {
        "webarena.browser_env": {},
        "webarena.browser_env.actions": {"Action": dict},
        "webarena.browser_env.utils": {"StateInfo": dict},
        "webarena.browser_env.env_config": {"MAP": "", "REDDIT": "", "ACCOUNTS": logins} | places,
        "webarena.llms": {},
        "webarena.llms.providers": {},
        "webarena.llms.providers.openai_utils": {"generate_from_openai_chat_completion": None},
    }
    made = {}
    for name, known in contents.items():
        made[name] = ModuleType(name)
        vars(made[name]).update(known)
    return made


def sign_in(page: Any, form: str, account: Any, labels: tuple[str, str, str]) -> None:
    """Sign in at the address of a form: labels of name, password and button."""
    page.goto(form)
    page.get_by_label(labels[0], exact=True).fill(account.username)
    page.get_by_label(labels[1], exact=True).fill(account.password)
    with page.expect_navigation():
        page.get_by_role("button", name=labels[2], exact=True).click()


SIGN_IN = {
    "shopping": ("Email", "Password", "Sign In"),
    "shopping_admin": ("Username", "Password", "Sign in"),
    "wikipedia": ("Username", "Password", "Log in"),
    "gitlab": ("Username or email", "Password", "Sign in"),
}


def play(page: Any, steps: Iterable[tuple[str, ...]], values: Mapping[str, str]) -> str:
    """Do the steps on a page, parameters filled in; return what was said to the user."""
    answer = ""
    for kind, *words in steps:
        first, *rest = (word.format(**values) for word in words)
        page.wait_for_load_state()  # a click waits until the next page begins, no longer
        match kind:
            case "fill":
                page.get_by_label(first, exact=True).fill(rest[0])
            case "select":
                page.get_by_label(first, exact=True).select_option(rest[0])
            case "uncheck":
                page.get_by_label(first, exact=True).uncheck()
            case "link" | "button":
                page.get_by_role(kind, name=first, exact=True).click()
            case "follow":  # the link of what stands beside a label
                page.get_by_role("link", name=beside(page, first), exact=True).click()
            case "tell":  # what stands beside a label
                answer = beside(page, first)
            case "read":  # the text of the links within a part of the page
                page.locator(f"{first} a").first.wait_for()
                answer = ", ".join(page.locator(f"{first} a").all_inner_texts())
            case "say":
                answer = first
    return answer


def beside(page: Any, label: str) -> str:
    """Return the text that follows a label: in the same row, or as the next sibling."""
    found = page.get_by_text(label, exact=True).first.locator("xpath=following-sibling::*[1]")
    return str(found.inner_text()).strip()
