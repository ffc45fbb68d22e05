"""Every task can be done, and is not done before: judged as an attempt of an agent is."""

from __future__ import annotations

from typing import Any

import pytest
from pocket_solutions import solution
from reader_kit import Reader, solve
from visitor_kit import Visitor

from jitrl.worlds.browser.arena.arena import Arena
from jitrl.worlds.pocket.accounts import FORMS
from jitrl.worlds.pocket.pocket import Pocket
from jitrl.worlds.pocket.tasks import tasks
from jitrl.worlds.pocket.world import benchmark

TASKS = tasks()


@pytest.fixture(scope="module")
def arena(web: Pocket, tmp_path_factory: pytest.TempPathFactory) -> Arena:
    folder = str(tmp_path_factory.mktemp("logins"))
    made = benchmark("all", sites=web.addresses, logins_folder=folder)
    made.grader = lambda messages: "incorrect, different"
    return made


@pytest.fixture(scope="module")
def visitor(web: Pocket) -> Visitor:
    """Return somebody who is signed in wherever a task begins so."""
    somebody = Visitor(web.addresses["shopping"])
    for site, address in web.addresses.items():
        if site != "wikipedia":
            account, form = web.accounts[site], FORMS[site]
            fields = {"name": account.username, "username": account.username, "next": "/"}
            somebody.address = address
            somebody.submit(form, form, password=account.password, **fields)
    return somebody


@pytest.fixture(scope="module")
def page(browser: Any, visitor: Visitor) -> Any:
    """Return a page of a browser that holds the cookies of the visitor."""
    context = browser.new_context()
    context.add_cookies(
        [
            {"name": each.name, "value": each.value, "domain": each.domain, "path": each.path}
            for each in visitor.cookies
        ]
    )
    return context.new_page()


def judged(arena: Arena, task: dict[str, Any], page: Any, answer: str) -> float:
    kind, arguments = arena.entry(f"pocket-web:{task['task_id']}")
    messages = [{"role": "assistant", "message": answer}]
    return float(kind(seed=1, **arguments).validate(page, messages)[0])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task["task_id"]))
def test_a_task_is_done_by_its_solution_and_not_before(
    task: dict[str, Any], web: Pocket, arena: Arena, visitor: Visitor, page: Any
) -> None:
    site = task["sites"][0]
    rules = task["eval"]
    # that an agent ended somewhere matters to few: no page is opened for nothing
    where = rules["reference_url"] or "last" in {each["url"] for each in rules["program_html"]}
    web.reset()
    if where:
        page.goto(web.addresses[site])
    assert judged(arena, task, page, "something else") == 0
    somebody = Visitor(web.addresses[site], None if site == "wikipedia" else visitor.cookies)
    reader, steps = Reader(somebody), solution(task)
    answer = solve(reader, steps, task["instantiation_dict"])
    assert len(steps) <= 10
    if where:
        page.goto(reader.url)
    assert judged(arena, task, page, answer) == 1
