"""Every task can be done, and is not done before: judged by WebArena's own evaluators."""

from __future__ import annotations

from typing import Any

import pytest
from pocket_kit import SIGN_IN, Judge, play, sign_in
from pocket_solutions import IMPOSSIBLE, SOLUTIONS

from jitrl.worlds.pocket.accounts import FORMS
from jitrl.worlds.pocket.pocket import Pocket
from jitrl.worlds.pocket.tasks import tasks

TASKS = tasks()


@pytest.fixture(scope="module")
def judge(web: Pocket, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(web.addresses, web.accounts, tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def pages(web: Pocket, browser: Any) -> dict[str, Any]:
    """Return a page for each site, in a context of its own: signed in, but for the wiki's."""
    opened = {}
    for site, address in web.addresses.items():
        opened[site] = browser.new_context().new_page()
        if site != "wikipedia":
            sign_in(opened[site], address + FORMS[site], web.accounts[site], SIGN_IN[site])
    return opened


@pytest.fixture
def page(web: Pocket, pages: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    """Return a page where a task begins: a shared one, since a page of its own takes long."""
    site = request.getfixturevalue("task")["sites"][0]
    web.reset()
    if site == "wikipedia":
        pages[site].context.clear_cookies()
    pages[site].goto(web.addresses[site])
    return pages[site]


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
