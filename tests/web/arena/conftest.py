"""A real Chromium for the tests of a module, and a site to play on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import arena_kit
import pytest
from playwright.sync_api import sync_playwright

from jitrl.worlds.browser.chromium import find


@pytest.fixture(scope="module")
def chromium():
    path = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def interpreter():
    """Python of the environment of WebArena-Verified, by default one inside ours."""
    named = Path(os.environ.get("WEBARENA_VERIFIED") or Path(sys.prefix) / "verified")
    python = named / "bin" / "python"
    assert python.exists(), f"webarena-verified needs an environment in {named}"
    return python


@pytest.fixture
def context(chromium):
    context = chromium.new_context()
    context.set_default_timeout(5000)
    yield context
    context.close()


@pytest.fixture
def page(context):
    return context.new_page()


@pytest.fixture
def reddit():
    with arena_kit.stands("reddit") as sites:
        yield sites["reddit"]


@pytest.fixture
def arena(reddit, tmp_path):
    """Make a benchmark of tasks on the site: `arena(task(0), ...)`."""
    from jitrl.worlds.browser.arena import of_file
    from jitrl.worlds.browser.arena.logins import LOGINS
    from jitrl.worlds.browser.arena.sites import ACCOUNTS

    def make(*tasks, which="all", **options):
        return of_file(
            "stand",
            which,
            arena_kit.written(tmp_path, *tasks),
            logins={"reddit": LOGINS["reddit"]},
            sites={"reddit": reddit.address},
            accounts={"reddit": ACCOUNTS["reddit"]},
            **{"evaluator_pause": 0, "logins_folder": tmp_path / "logins", **options},
        )

    return make


@pytest.fixture
def play(page):
    """Begin a task on the page; returns BrowserGym's object of it."""

    def begin(benchmark, name):
        kind, arguments = benchmark.entry(name)
        task = kind(seed=1, **arguments)
        task.setup(page)
        return task

    return begin
