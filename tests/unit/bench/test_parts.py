"""Runs whose tasks several processes share out: nothing is lost or doubled, whoever dies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from language_kit import Opener, says, silent_judge
from process_kit import Process

from jitrl.agents.player import Played
from jitrl.bench.codec import episode_line
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, find, judged, read
from jitrl.bench.language import Access
from jitrl.bench.parts import play_parts
from jitrl.bench.rejudge import judge_run, unscored
from jitrl.bench.report import FILES, write
from jitrl.bench.runner import Listener, open_world, run
from jitrl.bench.statistics import groups
from jitrl.bench.suites import of_group, results
from jitrl.bench.usage import usage_rows
from jitrl.errors import BadRun, RunError
from jitrl.memory import SqliteMemory
from jitrl.models.budget import Budget
from jitrl.records import Observation
from jitrl.worlds import World

ORDERS = ["tasks", "passes"]
ATTEMPTS = 4
CLOSED: dict[str, object] = {"options": {"closed": True}}  # for a model that chooses from a list


def what(**choices: object) -> Configuration:
    values = {"world": "locks:jammed-5", "attempts": ATTEMPTS, "steps": 5, "workers": 3, **choices}
    return Configuration(**values)  # type: ignore[arg-type]


def play(
    path: Path,
    *,
    resume: bool = False,
    opener: Callable[[Configuration], World] = open_world,
    listener: Listener | None = None,
    access: Access | None = None,
    **choices: object,
) -> Run:
    wanted = what(**choices)
    with closing(open_world(wanted)) as world:
        return play_parts(
            wanted, path, world, resume=resume, opener=opener, listener=listener, access=access
        )


def mortal(deaths: dict[int, int], configuration: Configuration) -> World:
    """Open a world that kills its process, kill -9, at the n-th step of the part that is named."""
    world = open_world(configuration)
    left, step = deaths.get(configuration.part or 0, 10_000), world.step

    def dying(action: str) -> Observation:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(action)

    world.step = dying  # type: ignore[method-assign]
    return world


def stored(path: Path) -> list[str]:
    with closing(SqliteMemory(path, readonly=True)) as memory:
        return [episode.id for episode in memory.episodes()]


def told(episodes: list[Played]) -> list[dict[str, object]]:
    """The episodes without what a repetition changes: seconds, and the name of the run."""
    found = [json.loads(episode_line(one)) for one in episodes]
    return [{key: one[key] for key in one if key not in ("seconds", "id")} for one in found]


def check_whole(found: Run, path: Path, attempts: int = ATTEMPTS) -> None:
    """Check that every attempt was made once, and that the memory holds these and no others."""
    places = [found.manifest.plan.place(one.number) for one in found.episodes]
    assert sorted(places) == [(task, attempt) for task in range(5) for attempt in range(attempts)]
    assert len({one.id for one in found.episodes}) == 5 * attempts
    assert [one.task for one in found.episodes] == [
        found.manifest.tasks[task].name for task, _ in places
    ]
    steps = {(one.number, t) for one in found.episodes for t in range(one.steps)}
    assert set(find(found, steps)) == steps
    if found.configuration.agent == "jitrl":
        assert sorted(stored(path / "memory.db")) == sorted(
            one.id for one in found.episodes if one.steps
        )


@pytest.mark.parametrize("order", ORDERS)
def test_three_processes_play_what_one_plays(tmp_path: Path, order: str) -> None:
    alone = what(agent="static", order=order, workers=1)
    one = run(alone, tmp_path / "one", open_world(alone))
    heard: list[int] = []

    class Hearing(Listener):
        def begun(self, finished: list[Played], episodes: int) -> None:
            heard.append(episodes)

        def played(self, played: Played) -> None:
            heard.append(played.number)

    three = play(tmp_path / "three", agent="static", order=order, listener=Hearing())
    assert told(three.episodes) == told(one.episodes)
    assert heard[0] == 20
    assert sorted(heard[1:]) == list(range(20))
    assert not (tmp_path / "three" / "memory.db").exists()
    for part in three.parts:
        assert read(part.path).episodes == part.episodes  # each is a run folder like any other


def test_the_processes_learn_from_each_other(tmp_path: Path) -> None:
    found = play(tmp_path / "run", order="passes", attempts=8)
    check_whole(found, tmp_path / "run", attempts=8)
    part_of = {one.id: k for k, part in enumerate(found.parts) for one in part.episodes}
    places = {(one.number, 0) for one in found.episodes if one.steps}
    shared = {
        (part_of[step.id], part_of[near.episode])
        for step in find(found, places).values()
        for near in step.decision.neighbours
    }
    assert any(ours != theirs for ours, theirs in shared)


@pytest.mark.parametrize(
    ("order", "agent"), [("tasks", "jitrl"), ("passes", "jitrl"), ("passes", "static")]
)
def test_processes_that_are_killed_lose_and_repeat_nothing(
    tmp_path: Path, order: str, agent: str
) -> None:
    rng, path = random.Random(order + agent), tmp_path / "run"
    for deaths in ({0: rng.randrange(3), 1: rng.randrange(2), 2: 0}, {1: rng.randrange(2)}):
        with pytest.raises(RunError, match="its process died") as caught:
            play(path, order=order, agent=agent, resume=True, opener=partial(mortal, deaths))
        named = [part for part in deaths if f"part {part} ('{path}/" in str(caught.value)]
        assert named if order == "passes" else named == list(deaths)
        assert "\n" not in str(caught.value)
        assert len(read(path).episodes) < 20
    found = play(path, order=order, agent=agent, resume=True)
    check_whole(found, path)
    if agent == "static":
        assert told(found.episodes) == told(play(tmp_path / "w", order=order, agent=agent).episodes)


def test_a_part_that_dies_leaves_the_others_finishing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"part 1 .*its process died: what is finished is kept"):
        play(tmp_path / "run", opener=partial(mortal, {1: 0}))
    left = read(tmp_path / "run")
    assert [len(part.episodes) for part in left.parts] == [8, 0, 4]
    assert results(of_group(groups([left])[0])).attempts == 12  # and they are results already


def test_by_passes_the_others_finish_the_pass_and_wait_no_longer(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"part 1 .* wait for the next pass: 0, 2"):
        play(tmp_path / "run", order="passes", opener=partial(mortal, {1: 0}))
    left = read(tmp_path / "run")
    assert [len(part.episodes) for part in left.parts] == [2, 0, 1]
    check_whole(play(tmp_path / "run", order="passes", resume=True), tmp_path / "run")


def test_no_pass_begins_before_the_last_has_ended_and_the_sites_are_reset(tmp_path: Path) -> None:
    log, path = tmp_path / "log", tmp_path / "run"
    choices = {
        "order": "passes",
        "reset_command": f"sh -c 'echo reset >> {log}'",
        "options": {"log": str(log), "slow": 0.01},
    }
    with pytest.raises(RunError, match="died"):
        play(path, opener=partial(mortal, {2: 1}), **choices)
    play(path, resume=True, **choices)
    done = log.read_text().split()
    passes = [names.split() for names in " ".join(done).split("reset")[1:]]
    assert len(passes) == ATTEMPTS
    for names in passes:
        assert set(names) == {"locks:0", "locks:1", "locks:2", "locks:3", "locks:jam"}
    assert sum(map(len, passes)) == 5 * ATTEMPTS + 1  # the one that died was begun twice


def test_a_reset_that_fails_ends_all_before_the_pass(tmp_path: Path) -> None:
    choices = {"order": "passes", "reset_command": "sh -c 'echo down; exit 3'"}
    with pytest.raises(RunError, match=r"before pass 0.*ended with 3.*down"):
        play(tmp_path / "run", **choices)
    assert read(tmp_path / "run").episodes == []


def begin(path: Path, *words: str) -> subprocess.Popen[str]:
    """Start `jitrl run` in three processes, and return it."""
    slow = ("--option", "slow=0.05", "--option", "hard=true")
    command = [sys.executable, "-m", "jitrl.cli", "run", "locks:jammed-5", "--workers", "3", *slow]
    options = ["--attempts", str(ATTEMPTS), "--steps", "5", "--out", str(path), *words]
    return Process([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_episode(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"finished {number}/"):
            return
    raise AssertionError("the run ended early")


def descendants(pid: int) -> list[int]:
    """Return the worker processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_a_killed_run_goes_on_at_once_and_loses_and_repeats_nothing(
    tmp_path: Path, order: str
) -> None:
    path = tmp_path / "run"
    with begin(path, "--order", order) as process:
        await_episode(process, number := random.randrange(1, 6))
        assert len(descendants(process.pid)) == 3
        process.kill()
    first = read(path).episodes
    with begin(path, "--order", order, "--resume") as again:  # the orphans may still be at work
        await_episode(again, 12)
        again.kill()
    second = read(path).episodes
    with begin(path, "--order", order, "--resume") as last:
        out, err = last.communicate()
    assert (last.returncode, err) == (0, "")
    assert "pass@any" in out
    assert len(first) >= number and len(second) >= 12
    found = read(path)
    check_whole(found, path)
    # none of these was played again: it would have taken other seconds
    assert all(one in found.episodes for one in (*first, *second))


def test_a_worker_that_is_killed_from_outside_is_named_with_the_way_on(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with begin(path) as process:
        await_episode(process, 3)
        os.kill(descendants(process.pid)[0], signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == 1
    assert said.startswith("jitrl: part ")
    assert "its process died: what is finished is kept, continue with --resume" in said
    assert said.count("\n") == 1
    with begin(path, "--resume") as again:
        again.communicate()
    check_whole(read(path), path)


def test_ctrl_c_ends_the_processes_and_says_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with begin(path) as process:
        await_episode(process, 4)
        workers = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    kept = len(read(path).episodes)
    assert process.returncode == 130
    assert said.startswith(f"jitrl: interrupted: {kept} finished episodes kept; continue with:")
    assert said.endswith("--resume\n")
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_report_and_the_table_of_calls_take_the_parts_as_one_run(tmp_path: Path) -> None:
    path = tmp_path / "run"
    access = Access(opener=Opener(says))
    model = {"model": "openai/scripted", "scores": "stated", "order": "passes", **CLOSED}
    found = play(path, access=access, **model)
    check_whole(found, path)
    _, rows = usage_rows(found)
    assert int(rows[-1][1]) == sum(one.steps for one in found.episodes)
    files = write([found], path)
    assert [file.name for file in files] == [*FILES, "attempts.csv"]
    assert len(files[-1].read_text().splitlines()) == 21


def test_a_run_in_parts_can_be_judged_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "run"
    model = {"model": "openai/scripted", "judge_model": "openai/judge", "credit": "judged"}
    few = {"scores": "stated", "world": "locks:2", "workers": 2, "attempts": 1, **CLOSED}
    found = play(path, access=Access(opener=Opener(silent_judge)), **model, **few)
    assert unscored(found) == 2
    done = judge_run(path, Access(opener=Opener(says)))
    assert (done.episodes, done.unscored, done.failure) == (2, 0, None)
    assert unscored(read(path)) == 0
    assert set(judged(read(path))) == {0, 1}


def test_a_budget_is_shared_out_and_may_be_raised(tmp_path: Path) -> None:
    path, opener = tmp_path / "run", Opener(says)
    model = {"model": "openai/scripted", "scores": "stated", "world": "locks:5", **CLOSED}
    with pytest.raises(RunError, match=r"budget spent: .* of 1,000 tokens.*--budget-tokens"):
        play(path, access=Access(budget=Budget(tokens=3_000), opener=opener), **model)
    assert 0 < len(read(path).episodes) < 20
    found = play(path, access=Access(opener=opener), resume=True, **model)
    check_whole(found, path)


def test_a_part_of_another_run_is_not_counted(tmp_path: Path) -> None:
    few = {"attempts": 1, "world": "locks:2", "workers": 2}
    play(tmp_path / "one", **few)
    play(tmp_path / "two", **few)
    (tmp_path / "one" / "part-1").rename(tmp_path / "away")
    (tmp_path / "two" / "part-1").rename(tmp_path / "one" / "part-1")
    with pytest.raises(BadRun, match="part of another run"):
        read(tmp_path / "one")


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    few = {"attempts": 1, "world": "locks:2"}
    play(tmp_path / "run", workers=2, **few)
    with pytest.raises(BadRun, match="another workers"):
        play(tmp_path / "run", workers=1, resume=True, **few)
    with pytest.raises(BadRun, match="already holds a run"):
        play(tmp_path / "run", workers=2, **few)
