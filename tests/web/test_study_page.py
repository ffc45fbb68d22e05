"""A study's report in a real browser: whole on every screen, and nothing from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from plugin_kit import installed
from test_report_page import _CUT

from jitrl.bench.jobs import Processes
from jitrl.study import report
from jitrl.study.plan import parse
from jitrl.study.play import play
from jitrl.study.results import load

PLAN = """
title = "Two corridors and the locks"
seeds = 2
steps = 6
[[world]]
name = "corridor:4"
episodes = 4
[[world]]
name = "corridor:5"
label = "corridor of a very long name, learned before"
episodes = 4
[[world]]
name = "locks:3"
[[arm]]
agent = "static"
[[arm]]
label = "jitrl with a long label, beta 5"
agent = "jitrl"
set = { beta = 5 }
[[arm]]
agent = "shuffled"
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    with installed():
        assert play(parse(PLAN), out, lambda: Processes(2)).failed == {}
        report.write(report.findings(load(out)), out)
    return out / "report.html"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (961, 800), (390, 844)])
def test_a_studys_report_is_whole_on_every_screen(
    browser: Browser, page: Path, width: int, height: int
) -> None:
    opened = browser.new_page(viewport={"width": width, "height": height})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url))
    opened.goto(page.as_uri())
    assert opened.locator("table").count() >= 4
    assert opened.evaluate(_CUT) == []
    assert [line for line in said if line != page.as_uri() and not line.startswith("data:")] == []
    picture = opened.locator("img").screenshot()
    assert len(set(picture)) > 100  # there is something to see
    opened.close()
