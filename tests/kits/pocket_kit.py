"""A browser beside the pocket web, and how somebody signs in with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from jitrl.worlds.browser.chromium import find

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


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
