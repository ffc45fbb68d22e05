"""The report in a real browser: nothing is cut, nothing comes from outside, nothing complains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from synthetic import episode, made_up

from jitrl.bench import report
from jitrl.bench.folder import Run
from jitrl.worlds import Task

_CUT = """() => [document.documentElement, ...document.querySelectorAll(".scroll, pre")]
    .filter(box => box.scrollWidth > box.clientWidth).map(box => box.className || box.tagName)"""


def suite(agent: str, seed: int) -> Run:
    """Three tasks on two sites, two attempts each; one never began."""
    tasks = tuple(Task(f"pocket-web:shop.buy.{n}", ("shop", "wiki")[: n + 1]) for n in range(3))
    choices = {"attempts": 2, "order": "passes", "world": "pocket-web:shop.*", "agent": agent}
    run = made_up([], seed=seed, max_score=1.0, path=f"runs/pocket-web-{agent}-{seed}", **choices)
    found = [episode(n, float(n % 2), task=tasks[n % 3].name) for n in range(5)]
    never = (episode(5, 0.0, unbegun=True, steps=0, task=tasks[2].name, reason="the site is down"),)
    return Run(run.path, replace(run.manifest, tasks=tasks), found, unbegun=never)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (961, 800), (768, 1024), (390, 844)])
def test_a_report_of_games_and_suites_is_whole_on_every_screen(
    browser: Browser, tmp_path: Path, width: int, height: int
) -> None:
    games = [
        made_up([1, 2, 3], seed, agent=agent, path=f"runs/corridor-{agent}-default-{seed}")
        for agent in ("static", "jitrl")
        for seed in range(2)
    ]
    suites = [suite(agent, seed) for agent in ("static", "jitrl") for seed in range(2)]
    report.write([*games, *suites], tmp_path)
    page = browser.new_page(viewport={"width": width, "height": height})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    address = (tmp_path / "report.html").as_uri()
    page.goto(address)
    assert page.locator("table").count() >= 5
    assert page.evaluate(_CUT) == []
    assert [line for line in said if line != address and not line.startswith("data:")] == []
    page.close()
