"""Runs over the tasks of a suite in this process: order, resuming, resetting the sites."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import closing
from pathlib import Path

import pytest
from folders import Interrupting, drop_lines, log_of
from language_kit import Opener, corridor, ledger_of, says

from jitrl.agents.player import play as play_one
from jitrl.bench import report
from jitrl.bench.codec import read_episode
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, find, read
from jitrl.bench.language import Access
from jitrl.bench.runner import open_world, run
from jitrl.bench.statistics import groups
from jitrl.errors import BadRun, BudgetSpent, InvalidValue, RunError
from jitrl.learner import Learner
from jitrl.memory import SqliteMemory
from jitrl.models import Request
from jitrl.models.budget import Budget
from jitrl.scores.prior import Prior
from jitrl.testing import check_world
from jitrl.worlds import Suite, make

ORDERS = ["tasks", "passes"]


def what(**choices: object) -> Configuration:
    values = {"world": "locks:jammed-4", "attempts": 4, "steps": 5, "preset": "paper", **choices}
    return Configuration(**values)  # type: ignore[arg-type]


def play(path: Path, *, resume: bool = False, after: int = 0, **choices: object) -> Run:
    wanted = what(**choices)
    listener = Interrupting(after) if after else None
    with closing(open_world(wanted)) as world:
        return run(wanted, path, world, resume=resume, listener=listener)


def stored(path: Path) -> list[str]:
    with closing(SqliteMemory(path, readonly=True)) as memory:
        return [episode.id for episode in memory.episodes()]


def test_the_locks_keep_the_contract() -> None:
    for name in ("locks:4", "locks:jammed-1"):
        with closing(make(name)) as world:
            assert isinstance(world, Suite)
    check_world(lambda: make("locks:4"), steps=60)


def test_a_run_of_a_suite_tries_its_tasks_in_order_and_says_which(tmp_path: Path) -> None:
    for order in ORDERS:
        played = play(tmp_path / order, order=order)
        names = ["locks:0", "locks:1", "locks:2", "locks:jam"]
        wanted = [n for n in names for _ in range(4)] if order == "tasks" else names * 4
        assert [one.task for one in played.episodes] == wanted
        assert [one.number for one in played.episodes] == list(range(16))
        assert len({one.id for one in played.episodes}) == 16
        assert [task.name for task in read(tmp_path / order).manifest.tasks] == names
        with closing(SqliteMemory(tmp_path / order / "memory.db", readonly=True)) as memory:
            tasks = {episode.id: episode.task for episode in memory.episodes()}
        assert tasks == {one.id: one.task for one in played.episodes if one.steps}


def test_what_went_wrong_is_kept_with_the_attempt_and_the_step(tmp_path: Path) -> None:
    played = play(tmp_path / "run")
    jammed = [one for one in played.episodes if one.task == "locks:jam"]
    assert {one.reason.partition(":")[0] for one in jammed} == {"no such door", "time-out"}
    assert {one.steps for one in jammed} == {1}
    assert not any(one.success for one in jammed)
    late = jammed[-1]
    assert find(played, {(late.number, 0)})[late.number, 0].reason == late.reason
    assert all(not one.reason for one in played.episodes if one.task != "locks:jam")


@pytest.mark.parametrize("agent", ["jitrl", "static"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_run_broken_off_anywhere_is_continued_to_the_byte(
    tmp_path: Path, order: str, agent: str
) -> None:
    whole = play(tmp_path / "whole", order=order, agent=agent)
    steps = sum(one.steps for one in whole.episodes)
    for after in random.Random(order + agent).sample(range(1, steps), 3):
        path = tmp_path / f"run-{after}"
        with pytest.raises(KeyboardInterrupt):
            play(path, order=order, agent=agent, after=after)
        assert len(read(path).episodes) < 16
        play(path, order=order, agent=agent, resume=True)
        assert log_of(path) == log_of(tmp_path / "whole")
    if agent == "jitrl":
        ids = [one.id for one in whole.episodes if one.steps]
        assert stored(tmp_path / "whole" / "memory.db") == ids == stored(path / "memory.db")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("lost", [1, 14])
def test_an_attempt_that_reached_the_memory_alone_is_not_made_twice(
    tmp_path: Path, order: str, lost: int
) -> None:
    play(tmp_path / "whole", order=order, seed=1)
    play(tmp_path / "run", order=order, seed=1, episodes=lost)
    drop_lines(tmp_path / "run" / "episodes.jsonl", 1)
    play(tmp_path / "run", order=order, seed=1, resume=True)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


def test_more_attempts_by_passes_continue_fewer_to_the_byte_and_are_remembered(
    tmp_path: Path,
) -> None:
    whole = play(tmp_path / "whole", order="passes")
    play(tmp_path / "run", order="passes", attempts=1)
    play(tmp_path / "run", order="passes", attempts=4, resume=True, episodes=9)
    assert read(tmp_path / "run").manifest.plan.total == 9
    grown = play(tmp_path / "run", order="passes", attempts=4, resume=True)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    assert grown.manifest.plan.total == whole.manifest.plan.total == 16


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"attempts": 3}, "attempts"),
        ({"order": "passes"}, "order"),
        ({"options": {"hard": True}}, "option hard"),
        ({"world": "locks:4"}, "world"),
    ],
)
def test_resuming_something_else_is_refused_by_name(
    tmp_path: Path, changed: dict[str, object], named: str
) -> None:
    play(tmp_path / "run", episodes=1)
    with pytest.raises(BadRun, match=f"another {named}"):
        play(tmp_path / "run", resume=True, **changed)


def test_where_things_are_may_change(tmp_path: Path) -> None:
    log = tmp_path / "log"
    play(tmp_path / "run", episodes=3)
    play(tmp_path / "run", resume=True, episodes=5, options={"log": str(log)})
    assert log.read_text().split() == ["locks:0", "locks:1"]
    play(tmp_path / "whole", episodes=5)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


def test_the_sites_are_reset_once_before_each_pass(tmp_path: Path) -> None:
    log, path = tmp_path / "log", tmp_path / "run"
    command = f"sh -c 'echo reset >> {log}'"
    choices = {"order": "passes", "reset_command": command, "options": {"log": str(log)}}
    for after in (2, 4, 9):
        with pytest.raises(KeyboardInterrupt):
            play(path, resume=True, after=after, **choices)
    play(path, resume=True, **choices)
    lines = [json.loads(line) for line in (path / "passes.jsonl").read_text().splitlines()]
    assert [(line["pass"], line["exit"]) for line in lines] == [(n, 0) for n in range(4)]
    done = log.read_text().split()
    assert done.count("reset") == 4
    passes = " ".join(done).split("reset")[1:]
    assert all(set(names.split()) == {f"locks:{n}" for n in (0, 1, 2, "jam")} for names in passes)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [("sh -c 'echo no disk; exit 7'", 7, "ended with 7.*no disk"), ("/no/such", 127, "/no/such")],
)
def test_a_command_that_fails_ends_the_run_and_is_run_again(
    tmp_path: Path, command: str, code: int, said: str
) -> None:
    for _ in range(2):
        with pytest.raises(RunError, match=said) as caught:
            play(tmp_path / "run", order="passes", reset_command=command, resume=True)
        assert "\n" not in str(caught.value)
        assert read(tmp_path / "run").episodes == []
    lines = (tmp_path / "run" / "passes.jsonl").read_text().splitlines()
    assert [json.loads(line)["exit"] for line in lines] == [code, code]


def test_a_run_that_never_got_anywhere_has_no_result_least_of_all_an_older_one(
    tmp_path: Path,
) -> None:
    play(tmp_path / "old")
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path / "new", seed=1, after=1)
    with pytest.raises(BadRun, match="no finished episode"):
        groups([read(tmp_path / "new")])
    with pytest.raises(BadRun, match="already holds a run"):
        play(tmp_path / "old", seed=1)
    with pytest.raises(BadRun, match="another seed"):
        play(tmp_path / "old", seed=1, resume=True)


def test_a_complete_run_is_continued_without_doing_anything(tmp_path: Path) -> None:
    before = play(tmp_path / "run", order="passes")
    again = play(tmp_path / "run", order="passes", resume=True)
    assert again.episodes == before.episodes


def test_an_attempt_that_the_budget_ends_has_no_verdict_and_is_made_again(tmp_path: Path) -> None:
    options = {"hard": True, "closed": True}
    choices = {"world": "locks:3", "attempts": 3, "episodes": None, "options": options}
    opener = Opener(says)
    corridor(tmp_path / "whole", Access(opener=opener), **choices)
    tokens = ledger_of(tmp_path / "whole").total.tokens
    path = tmp_path / "run"
    for share in (0.2, 0.45, 0.7):
        access = Access(budget=Budget(tokens=int(tokens * share)), opener=opener)
        with pytest.raises(BudgetSpent):
            corridor(path, access, resume=True, **choices)
        kept = read(path).episodes
        assert not any(one.stopped for one in kept)
        assert stored(path / "memory.db") == [one.id for one in kept]
    corridor(path, Access(opener=opener), resume=True, **choices)
    assert log_of(path) == log_of(tmp_path / "whole")


def test_each_attempt_has_a_seed_of_its_own_whatever_the_order(tmp_path: Path) -> None:
    seeds: list[int] = []
    wanted = what()
    world = open_world(wanted)
    reset = world.reset
    world.reset = lambda seed, *a, **k: seeds.append(seed) or reset(seed, *a, **k)  # type: ignore
    run(wanted, tmp_path / "run", world)
    assert len(set(seeds)) == 16


def test_a_run_of_an_earlier_version_is_read_and_continued(tmp_path: Path) -> None:
    wanted = Configuration("corridor:5", episodes=4, steps=8)
    path = tmp_path / "run"
    run(wanted, path, open_world(wanted))
    before = log_of(path)
    manifest = json.loads((path / "run.json").read_text())
    manifest["format"] = 2
    del manifest["tasks"]
    for name in ("attempts", "order", "options", "reset_command", "workers", "part"):
        del manifest["configuration"][name]
    (path / "run.json").write_text(json.dumps(manifest))
    lines = [json.loads(line) for line in (path / "episodes.jsonl").read_text().splitlines()]
    old = [{key: line[key] for key in line if key not in ("task", "reason")} for line in lines]
    (path / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old[:3]))
    assert [read_episode(json.dumps(line)).task for line in old] == [""] * 4
    assert len(read(path).episodes) == 3
    run(wanted, path, open_world(wanted), resume=True)
    assert (log_of(path)[0], len(read(path).episodes)) == (before[0], 4)
    report.write([read(path)], path)


def test_a_task_that_is_not_there_is_refused(tmp_path: Path) -> None:
    world = make("corridor:3")
    with pytest.raises(InvalidValue, match="has no tasks"):
        asyncio.run(play_one(world, Learner(), Prior(), steps=2, number=0, task="w:1"))


def test_a_model_that_answers_nothing_usable_fails_the_attempt_and_not_the_run(
    tmp_path: Path,
) -> None:
    """What it cannot help ends the run as ever, and is no failure: see the budget above."""

    def now_and_then(request: Request) -> str:
        return "mumble" if request.purpose.t == 1 else says(request)

    options = {"hard": True, "closed": True}
    choices = {"world": "locks:2", "attempts": 4, "episodes": None, "options": options}
    path = tmp_path / "run"
    found = corridor(path, Access(opener=Opener(now_and_then)), **choices)
    assert len(found.episodes) == 8
    bad = [one for one in found.episodes if one.reason]
    assert bad
    assert {(one.steps, one.success, one.stopped) for one in bad} == {(1, False, False)}
    assert all(one.reason.startswith("bad reply: ") for one in bad)
    assert {one.id for one in bad} < set(stored(path / "memory.db"))
    choices |= {"episodes": bad[0].number + 1}  # the same, killed before the line of the last
    corridor(tmp_path / "cut", Access(opener=Opener(now_and_then)), **choices)
    drop_lines(tmp_path / "cut" / "episodes.jsonl", 1)
    again = corridor(tmp_path / "cut", Access(opener=Opener(says)), resume=True, **choices)
    assert (again.episodes[-1].number, again.episodes[-1].steps) == (bad[0].number, 1)
    assert again.episodes[-1].reason.startswith("ended early")
