"""The pocket web as a suite: real sites, a real browser, WebArena's own evaluators."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from pocket_player_kit import act, attempt
from pocket_solutions import solution
from process_kit import Process, all_end, children
from writing_kit import Writing

from jitrl import Learner
from jitrl.agents.player import play
from jitrl.bench.configuration import Configuration
from jitrl.bench.grading import graded
from jitrl.bench.language import Access
from jitrl.errors import BadReply, InvalidValue
from jitrl.models import Request
from jitrl.models.ledger import Ledger
from jitrl.models.scripted import ScriptedModel
from jitrl.worlds import make
from jitrl.worlds.pocket.tasks import tasks
from jitrl.worlds.pocket.world import PocketWeb

# how one product's price is found and told, as it is remembered
PRICE = (
    'fill(searchbox("Search"), task("the product _ $"))',
    'press(searchbox("Search"), "Enter")',
    'click(link(task("the product _ $")))',
    'send_msg_to_user(beside(task("is the _ of the")))',
)
TASKS = tasks()
FIRST = [next(group) for _, group in groupby(TASKS, key=lambda task: task["intent_template_id"])]


@pytest.fixture(scope="module")
def world() -> Iterator[PocketWeb]:
    opened = make("pocket-web:all", settle=0.02)  # its pages do nothing by themselves
    assert isinstance(opened, PocketWeb)
    yield opened
    opened.close()


def test_there_are_tasks_of_many_templates_on_four_sites(world: PocketWeb) -> None:
    assert len(world.tasks) > 40
    assert len({task.template for task in world.tasks}) > 10
    sites = {site for task in world.tasks for site in task.sites}
    assert sites == {"shopping", "shopping_admin", "wikipedia", "gitlab"}
    with pytest.raises(InvalidValue):
        make("pocket-web:100000")


@pytest.mark.parametrize("task", FIRST, ids=lambda task: str(task["task_id"]))
def test_a_task_of_each_template_is_done_in_the_world(
    world: PocketWeb, task: dict[str, Any]
) -> None:
    name, values = f"pocket-web:{task['task_id']}", task["instantiation_dict"]
    shown = attempt(world, name, solution(task), values)
    assert (shown.score, shown.reward, shown.terminated, shown.reason) == (1.0, 1.0, True, "")


@pytest.mark.parametrize(
    ("number", "other"),
    [(26, {"order": "Name"}), (33, {"value": "01904 555124"})],
    ids=["address", "page"],
)
def test_what_is_nearly_right_is_no_success(
    world: PocketWeb, number: int, other: dict[str, str]
) -> None:
    task = TASKS[number]
    values = task["instantiation_dict"] | other
    shown = attempt(world, f"pocket-web:{number}", solution(task), values)
    assert (shown.score, shown.terminated, shown.reason) == (0.0, True, "")


def test_what_solved_one_task_solves_another_of_its_template(world: PocketWeb) -> None:
    shown = world.reset(1, "pocket-web:6")
    assert shown.state["url"] == "shopping/"
    for action in PRICE[:2]:
        shown = act(world, shown, action)
    # known without ports and ids
    assert shown.state["url"] == "shopping/catalogsearch/result/?q"
    assert shown.state["history"] == "\n".join(PRICE[:2])
    for action in PRICE[2:]:
        shown = act(world, shown, action)
    assert (shown.score, shown.reason) == (1.0, "")


def test_messages_are_known_by_what_they_say(world: PocketWeb) -> None:
    """Each is judged by its words, and is another action to the memory."""
    right, wrong = 'send_msg_to_user("$10.75")', 'send_msg_to_user("$10.76")'
    attempts = [(*PRICE[:3], right), (wrong,), (right,)]
    with Learner(None, "web", seed=1) as learner:
        for number, written in enumerate(attempts):
            asyncio.run(
                play(world, learner, Writing(*written), steps=9, number=number, task="pocket-web:0")
            )
        last = [episode.steps[-1] for episode in learner.memory.episodes()]
    assert [(step.action, step.reward) for step in last] == [
        ('send_msg_to_user(beside(task("is the _ of the")))', 1.0),  # where it stood on the page
        (wrong, 0.0),
        (right, 1.0),
    ]


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('1) "Ratchet Screwdriver", $9; 2) Oak Chopping Board,\n3) Ash Handled Spade', 1.0),
        ("1) Ratchet Screwdriver, 2) Oak Chopping Board", 0.0),
    ],
)
def test_an_answer_in_parts_is_judged_whole(world: PocketWeb, answer: str, score: float) -> None:
    shown = world.reset(1, "pocket-web:14")
    shown = act(world, shown, f"send_msg_to_user({answer!r})")
    assert (shown.score, shown.reason) == (score, "")


@pytest.mark.parametrize(
    ("site", "number", "link"),
    [("shopping", 8, "My Orders"), ("shopping_admin", 51, "Customers"), ("gitlab", 98, "Profile")],
)
def test_a_login_that_expires_is_recorded_and_made_again(
    world: PocketWeb, site: str, number: int, link: str
) -> None:
    world.reset(1, f"pocket-web:{number}")
    world._pocket.expire(site)
    shown = world.step(f'click(link("{link}"))')
    assert f"a login is asked for: {site}" in shown.reason
    assert shown.actions
    world.reset(1, f"pocket-web:{number}")
    assert "asked for" not in world.step(f'click(link("{link}"))').reason


def test_without_a_grader_nobody_is_asked_least_of_all_the_model_that_acts(
    world: PocketWeb, tmp_path: Path
) -> None:
    acting = ScriptedModel(["the same"])
    configuration = Configuration(
        "pocket-web:7", preset="web", steps=1, model="any/kind", scores="labels"
    )
    access = Access(opener=lambda name, **_: acting)
    with (
        closing(Ledger(tmp_path / "calls.jsonl")) as ledger,
        graded(world, configuration, access, ledger),
    ):
        shown = act(world, world.reset(1, "pocket-web:7"), 'send_msg_to_user("There is none.")')
    assert (shown.score, shown.terminated) == (0.0, True)
    assert "needs a grader" in shown.reason
    assert acting.requests == []


def test_a_grader_is_told_the_answer_and_one_that_fails_gives_no_verdict(tmp_path: Path) -> None:
    """Task 7 cannot be done: whoever says so in other words is judged by a language model."""
    answer = 'There is "none", neither for $9\nnor: for more.'

    def replies(request: Request) -> str:
        if len(model.requests) == 1:
            raise BadReply("the grader said nothing")
        return "the same"

    model = ScriptedModel(replies)
    configuration = Configuration("pocket-web:7", preset="web", steps=1, grader="any/kind")
    access = Access(opener=lambda name, **_: model)
    opened = make("pocket-web:7")
    assert isinstance(opened, PocketWeb)
    assert opened.may_ask_grader
    try:
        with (
            closing(Ledger(tmp_path / "calls.jsonl")) as ledger,
            graded(opened, configuration, access, ledger),
        ):
            opened.reset(1)
            shown = opened.step(f"send_msg_to_user({answer!r})")
            assert (shown.score, shown.terminated) == (0.0, True)
            assert "the grader gave no grade: the grader said nothing" in shown.reason
            assert opened.reset(2).actions
            shown = opened.step(f"send_msg_to_user({answer!r})")
            assert (shown.score, shown.reason) == (1.0, "")
            opened.reset(3)
            shown = opened.step('send_msg_to_user("N/A")')
            assert (shown.score, shown.reason) == (1.0, "")  # so much is exact
        assert ledger.roles["grade"].usage.calls == 2
    finally:
        opened.close()
    told = [request.messages[-1].content for request in model.requests]
    assert len(told) == 2 and all(answer.lower() in text for text in told)


def test_a_grader_has_no_meaning_where_none_is_asked() -> None:
    world = make("miniwob:click-test")
    configuration = Configuration(world.name, preset="web", steps=1, grader="any/kind")
    with (
        closing(Ledger(None)) as ledger,
        pytest.raises(InvalidValue, match="grader"),
        graded(world, configuration, Access(), ledger),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process_and_no_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    kept = tmp_path / "tmp"
    kept.mkdir()
    command = [sys.executable, "-m", "jitrl.cli", "run", "pocket-web:0", "--attempts", "99"]
    command += ["--steps", "2", "--out", str(tmp_path / "run")]
    environment = os.environ | {"TMPDIR": str(kept)}
    with Process(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert any("2/99" in line for line in run.stdout)
        left = children(run.pid)
        assert any(kept.iterdir())
        run.send_signal(number)
        run.wait()
    assert all_end(left)
    assert not list(kept.iterdir())
