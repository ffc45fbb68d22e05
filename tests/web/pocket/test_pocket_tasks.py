"""Every task can be done, and is not done before: judged by WebArena's own evaluators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pocket_kit import SIGN_IN, Judge, play, sign_in
from pocket_solutions import IMPOSSIBLE, SOLUTIONS

from jitrl.worlds.pocket.pocket import Pocket
from jitrl.worlds.pocket.tasks import tasks

TASKS = tasks()


@pytest.fixture(scope="module")
def judge(web: Pocket, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(web.addresses, web.accounts, tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def visitors(web: Pocket, browser: Any) -> dict[str, Any]:
    """Return a browser context for each site: signed in, but for the wiki's."""
    contexts = {}
    for site, address in web.addresses.items():
        contexts[site] = browser.new_context()
        contexts[site].set_default_timeout(8000)
        if site != "wikipedia":
            page = contexts[site].new_page()
            sign_in(page, address, web.accounts[site], SIGN_IN[site])
            page.close()
    return contexts


@pytest.fixture
def page(web: Pocket, visitors: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    site = request.getfixturevalue("task")["sites"][0]
    web.reset()
    if site == "wikipedia":
        visitors[site].clear_cookies()
    opened = visitors[site].new_page()
    opened.goto(web.addresses[site])
    yield opened
    opened.close()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task["task_id"]))
def test_a_task_is_done_by_its_solution_and_not_before(
    task: dict[str, Any], page: Any, judge: Judge
) -> None:
    assert judge(task, page, "") == 0
    impossible = task["eval"].get("reference_answer_raw_annotation") == "N/A"
    steps = IMPOSSIBLE if impossible else SOLUTIONS[task["intent_template"]]
    answer = play(page, steps, task["instantiation_dict"])
    assert len(steps) <= 10
    assert judge(task, page, answer) == 1
