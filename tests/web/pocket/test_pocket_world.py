"""The pocket web as a suite: real sites, a real browser, WebArena's own evaluators."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from process_kit import Process, all_end, children

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import read
from jitrl.bench.grading import graded
from jitrl.bench.language import Access
from jitrl.errors import BadReply, InvalidValue
from jitrl.memory import open as open_memory
from jitrl.models.ledger import Ledger
from jitrl.models.scripted import ScriptedModel
from jitrl.worlds import make
from jitrl.worlds.pocket.world import PocketWeb

# how one product's price is found and told, as it is remembered
PRICE = (
    'fill(searchbox("Search"), task("the product _ $"))',
    'press(searchbox("Search"), "Enter")',
    'click(link(task("the product _ $")))',
    'send_msg_to_user(beside(task("is the _ of the")))',
)


@pytest.fixture(scope="module")
def world() -> Iterator[PocketWeb]:
    opened = make("pocket-web:all")
    assert isinstance(opened, PocketWeb)
    yield opened
    opened.close()


def played(world: PocketWeb, number: int, actions: tuple[str, ...]) -> tuple[float, str]:
    shown = world.reset(1, f"pocket-web:{number}", limit=len(actions))
    for action in actions:
        assert not shown.terminated, shown.reason
        shown = world.step(action)
        assert "not executed" not in shown.reason, shown.reason
    return shown.score, shown.reason


def test_there_are_tasks_of_many_templates_on_four_sites(world: PocketWeb) -> None:
    assert len(world.tasks) > 40
    assert len({task.template for task in world.tasks}) > 10
    sites = {site for task in world.tasks for site in task.sites}
    assert sites == {"shopping", "shopping_admin", "wikipedia", "gitlab"}
    with pytest.raises(InvalidValue):
        make("pocket-web:100000")


@pytest.mark.parametrize("number", [0, 1, 2, 6])
def test_what_solved_one_task_solves_the_others_of_its_template(
    world: PocketWeb, number: int
) -> None:
    assert played(world, number, PRICE) == (1.0, "")


def test_a_wrong_answer_is_none(world: PocketWeb) -> None:
    score, _ = played(world, 0, (*PRICE[:3], 'send_msg_to_user("nothing at all")'))
    assert score == 0.0


def test_states_are_known_without_ports_and_ids(world: PocketWeb) -> None:
    shown = world.reset(1, "pocket-web:0")
    assert shown.state["url"] == "shopping/"
    for action in PRICE[:2]:
        shown = world.step(action)
    assert shown.state["url"] == "shopping/catalogsearch/result/?q"
    assert shown.state["history"] == "\n".join(PRICE[:2])


def test_every_attempt_finds_the_same_web(world: PocketWeb) -> None:
    first = world.reset(1, "pocket-web:19").text
    world.step('click(link("My Cart"))')
    again = world.reset(1, "pocket-web:19").text
    assert first == again


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


def test_a_grader_that_fails_is_no_verdict_and_the_next_attempt_begins(world: PocketWeb) -> None:
    """Task 7 cannot be done: whoever says so in other words is judged by a language model."""

    def refuses(messages: object) -> str:
        raise BadReply("the grader said nothing")

    asking = make("pocket-web:7")
    assert isinstance(asking, PocketWeb)
    assert asking.may_ask_grader
    try:
        asking.grader = refuses
        asking.reset(1)
        shown = asking.step('send_msg_to_user("There is no such product.")')
        assert (shown.score, shown.terminated) == (0.0, True)
        assert "the grader gave no grade: the grader said nothing" in shown.reason
        assert asking.reset(2).actions
        shown = asking.step('send_msg_to_user("N/A")')
        assert (shown.score, shown.reason) == (1.0, "")  # so much is exact
    finally:
        asking.close()


def test_without_a_grader_there_is_no_verdict_where_one_is_needed(world: PocketWeb) -> None:
    score, reason = played(world, 7, ('send_msg_to_user("There is no such product.")',))
    assert score == 0.0
    assert "needs a grader" in reason


def test_a_run_counts_what_its_grader_is_asked(tmp_path: Path) -> None:
    configuration = Configuration("pocket-web:7", preset="web", steps=1, grader="any/kind")
    access = Access(opener=lambda name, **_: ScriptedModel(["the same"], name=name))
    opened = make("pocket-web:7")
    try:
        with (
            closing(Ledger(tmp_path / "calls.jsonl")) as ledger,
            graded(opened, configuration, access, ledger),
        ):
            opened.reset(1)
            shown = opened.step('send_msg_to_user("There is no such product.")')
        assert shown.score == 1.0
        assert ledger.roles["grade"].usage.calls == 1
    finally:
        opened.close()
    other = make("miniwob:click-test")
    elsewhere = replace(configuration, world="miniwob:click-test")
    with (
        closing(Ledger(None)) as ledger,
        pytest.raises(InvalidValue, match="grader"),
        graded(other, elsewhere, access, ledger),
    ):
        pass


def test_processes_that_share_a_memory_play_and_resume_real_tasks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jitrl.cli", "run", "pocket-web:0,77", "--steps", "2"]
    command += ["--workers", "2", "--out", str(tmp_path / "run"), "--order", "passes"]
    for attempts in ("1", "2"):
        more = ["--attempts", attempts, *(["--resume"] if attempts == "2" else [])]
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, cwd=tmp_path, timeout=200
        )
        assert done.returncode == 0, done.stderr
    run = read(tmp_path / "run")
    assert sorted(p.task for p in run.episodes) == 2 * ["pocket-web:0"] + 2 * ["pocket-web:77"]
    with closing(open_memory(tmp_path / "run" / "memory.db")) as memory:
        assert len({episode.id for episode in memory.episodes()}) == 4


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
