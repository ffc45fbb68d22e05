from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from folders import Interrupting, cut, drop_lines, log_of

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, RunFolder, find, read
from jitrl.bench.runner import Listener, describe_run, open_world, run
from jitrl.errors import BadRun, MemoryUnavailable, NotAMemory, RunError
from jitrl.memory import SqliteMemory

Play = Callable[..., Run]


def stored(path: Path) -> list[str]:
    memory = SqliteMemory(path, readonly=True)
    try:
        return [episode.id for episode in memory.episodes()]
    finally:
        memory.close()


def test_a_run_leaves_a_folder_that_tells_all(tmp_path: Path, play: Play) -> None:
    played = play(tmp_path / "run", overrides={"beta": 3})
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["format"] == 3
    assert manifest["configuration"]["overrides"] == {"beta": 3}
    assert manifest["preset"]["beta"] == 3
    assert manifest["world"] == {"corridor": "1.0"}
    assert {"jitrl", "python", "numpy", "platform"} == manifest["versions"].keys()
    assert [episode.number for episode in played.episodes] == list(range(6))
    steps = (tmp_path / "run" / "steps.jsonl").read_text().split("\n")[:-1]
    assert len(steps) == sum(episode.steps for episode in played.episodes)
    assert stored(tmp_path / "run" / "memory.db") == [e.id for e in played.episodes]


def test_a_lie_in_a_shared_memory_counts_as_no_more_than_the_world_can_pay(
    tmp_path: Path, play: Play
) -> None:
    path, shared = tmp_path / "memory.db", {"memory": str(tmp_path / "memory.db")}
    play(tmp_path / "a", **shared)
    memory = SqliteMemory(path)
    for episode in list(memory.episodes()):
        steps = tuple(replace(step, reward=1e6) for step in episode.steps)
        memory.append(replace(episode, id=f"{episode.id} forged", steps=steps))
    memory.close()
    found = find(
        play(tmp_path / "b", **shared, overrides={"gamma": 1.0}),
        {(n, t) for n in range(6) for t in range(12)},
    )
    returns = [near.return_ for step in found.values() for near in step.decision.neighbours]
    assert max(returns) == 10.0  # the corridor's highest score: 12 steps of 3 would be 36


def test_the_same_seed_gives_the_same_log(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "a")
    play(tmp_path / "b")
    play(tmp_path / "c", seed=1)
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")
    assert log_of(tmp_path / "a") != log_of(tmp_path / "c")


@pytest.mark.parametrize("preset", ["default", "paper", "released"])
def test_a_static_run_is_the_base_policy_and_keeps_no_memory(
    tmp_path: Path, play: Play, preset: str
) -> None:
    played = play(tmp_path / "run", agent="static", preset=preset)
    assert not (tmp_path / "run" / "memory.db").exists()
    for episode in played.episodes:
        assert (episode.kl, episode.changed, episode.abstained) == (0.0, 0, episode.steps)
    for step in find(played, {(n, t) for n in range(6) for t in range(12)}).values():
        assert step.decision.before == step.decision.after


def test_a_logged_decision_is_the_one_that_was_taken(tmp_path: Path, play: Play) -> None:
    played = play(tmp_path / "run", episodes=3)
    step = find(played, {(2, 3)})[2, 3]
    assert step.id == played.episodes[2].id
    assert sum(step.decision.after.values()) == pytest.approx(1.0)
    assert step.decision.neighbours
    assert "chose" in str(step.decision)


@pytest.mark.parametrize("preset", ["default", "paper", "released"])
def test_a_longer_run_continues_a_shorter_one(tmp_path: Path, play: Play, preset: str) -> None:
    play(tmp_path / "whole", preset=preset)
    play(tmp_path / "parts", preset=preset, episodes=1)
    play(tmp_path / "parts", preset=preset, episodes=4, resume=True)
    play(tmp_path / "parts", preset=preset, resume=True)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "run")
    before = log_of(tmp_path / "run")
    play(tmp_path / "run", resume=True)
    play(tmp_path / "run", episodes=2, resume=True)
    assert log_of(tmp_path / "run") == before


@pytest.mark.parametrize("agent", ["jitrl", "static"])
@pytest.mark.parametrize("after", [1, 11, 12, 13, 30])
def test_a_run_broken_off_in_an_episode_is_continued_to_the_byte(
    tmp_path: Path, play: Play, after: int, agent: str
) -> None:
    play(tmp_path / "whole", agent=agent)
    wanted = Configuration("corridor:5", agent=agent, episodes=6, steps=12)
    with pytest.raises(KeyboardInterrupt):
        run(wanted, tmp_path / "run", open_world(wanted), listener=Interrupting(after))
    play(tmp_path / "run", agent=agent, resume=True)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("agent", ["jitrl", "static"])
def test_an_episode_that_reached_the_memory_alone_is_not_played_twice(
    tmp_path: Path, play: Play, agent: str
) -> None:
    play(tmp_path / "whole", agent=agent, steps=40)
    play(tmp_path / "run", agent=agent, steps=40, episodes=4)
    drop_lines(tmp_path / "run" / "episodes.jsonl", 1)
    continued = play(tmp_path / "run", agent=agent, steps=40, resume=True)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    assert (continued.episodes[3].seconds == {}) == (agent == "jitrl")
    if agent == "jitrl":
        assert stored(tmp_path / "run" / "memory.db") == [e.id for e in continued.episodes]


def test_torn_last_lines_are_cut_away(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "whole")
    shuffled = random.Random(0)
    line = (tmp_path / "whole" / "episodes.jsonl").read_bytes().splitlines(keepends=True)[3]
    for end in shuffled.sample(range(1, len(line)), 5):
        path = tmp_path / f"run-{end}"
        play(path, episodes=4)
        cut(path / "episodes.jsonl", -end)
        play(path, resume=True)
        assert log_of(path) == log_of(tmp_path / "whole")
    play(tmp_path / "static", agent="static")
    path = tmp_path / "run"
    play(path, agent="static", episodes=4)
    drop_lines(path / "episodes.jsonl", 1)
    cut(path / "steps.jsonl", -17)
    play(path, agent="static", resume=True)
    assert log_of(path) == log_of(tmp_path / "static")


def test_a_folder_in_the_making_is_begun(tmp_path: Path, play: Play) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "lock").touch()
    (path / "run.json.new").write_text("{")
    play(path, resume=True)
    play(tmp_path / "whole")
    assert log_of(path) == log_of(tmp_path / "whole")


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "run")
    with pytest.raises(BadRun, match=r"already holds a run.*--resume"):
        play(tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"world": "corridor:6"}, "world"),
        ({"agent": "static"}, "agent"),
        ({"preset": "paper"}, "preset"),
        ({"overrides": {"beta": 2}}, "hyper-parameter beta.*wanted is 2"),
        ({"seed": 1}, "seed.*0.*1"),
        ({"steps": 13}, "steps.*12.*13"),
        ({"proposals": 2}, "proposals"),
    ],
)
def test_resuming_with_another_configuration_is_refused_by_name(
    tmp_path: Path, play: Play, changed: dict[str, object], named: str
) -> None:
    play(tmp_path / "run", episodes=1)
    with pytest.raises(BadRun, match=f"another {named}"):
        play(tmp_path / "run", resume=True, **changed)


def test_resuming_with_another_game_under_the_same_name_is_refused(
    tmp_path: Path, play: Play
) -> None:
    play(tmp_path / "run", episodes=1)
    configuration = Configuration("corridor:5", steps=12)
    world = open_world(configuration)
    world.version = {"corridor": "2.0"}
    with pytest.raises(BadRun, match=r"world's corridor.*'1.0'.*'2.0'"):
        run(configuration, tmp_path / "run", world, resume=True)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, play: Play) -> None:
    (tmp_path / "letter.txt").write_text("dear all")
    with pytest.raises(BadRun, match="holds files, but no run"):
        play(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.txt"]


def test_two_processes_cannot_write_one_folder(tmp_path: Path, play: Play) -> None:
    configuration = Configuration("corridor:5", episodes=6, steps=12)
    world = open_world(configuration)
    manifest = describe_run(configuration, tmp_path / "run", world, lambda: 0.0)
    with RunFolder(tmp_path / "run", manifest), pytest.raises(RunError, match="another process"):
        play(tmp_path / "run", resume=True)
    play(tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": "x"}', '{"format": 1, "a": 2}']
)
def test_a_damaged_run_json_is_told(tmp_path: Path, play: Play, content: str) -> None:
    play(tmp_path / "run", episodes=1)
    (tmp_path / "run" / "run.json").write_text(content)
    with pytest.raises(BadRun):
        read(tmp_path / "run")
    with pytest.raises(BadRun):
        play(tmp_path / "run", resume=True)


def test_a_run_of_a_later_version_is_told(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "run", episodes=1)
    file = tmp_path / "run" / "run.json"
    file.write_text(file.read_text().replace('"format": 3', '"format": 4'))
    with pytest.raises(BadRun, match="newer jitrl"):
        read(tmp_path / "run")


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadRun, match="is no run folder"):
        read(tmp_path)


def test_a_damaged_line_in_the_middle_is_told(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "run")
    file = tmp_path / "run" / "episodes.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"number":2', b'"number":"', 1))
    with pytest.raises(BadRun, match="damaged line"):
        read(tmp_path / "run")


def test_missing_lines_of_finished_episodes_are_told(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "run")
    drop_lines(tmp_path / "run" / "steps.jsonl", 1)
    with pytest.raises(BadRun, match="lacks step 11 of episode 5"):
        play(tmp_path / "run", episodes=8, resume=True)


def test_a_memory_that_lost_finished_episodes_is_told(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "run")
    for file in (tmp_path / "run").glob("memory.db*"):
        file.unlink() if file.is_file() else shutil.rmtree(file)
    with pytest.raises(BadRun, match="the memory lacks episode 0"):
        play(tmp_path / "run", episodes=8, resume=True)


def test_an_episode_whose_steps_are_lost_is_told(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "run")
    drop_lines(tmp_path / "run" / "episodes.jsonl", 1)
    drop_lines(tmp_path / "run" / "steps.jsonl", 1)
    with pytest.raises(BadRun, match="its steps are lost"):
        play(tmp_path / "run", episodes=8, resume=True)


def test_runs_can_share_a_memory_and_both_are_kept(tmp_path: Path, play: Play) -> None:
    memory = tmp_path / "shared.db"
    first = play(tmp_path / "a", memory=str(memory), episodes=2)
    second = play(tmp_path / "b", memory=str(memory), episodes=2)
    assert stored(memory) == [e.id for e in (*first.episodes, *second.episodes)]
    assert second.episodes[0].abstained < first.episodes[0].abstained
    drop_lines(tmp_path / "b" / "episodes.jsonl", 1)
    play(tmp_path / "b", memory=str(memory), episodes=3, resume=True)
    assert len(stored(memory)) == 5


def test_a_shared_memory_that_is_none_is_told_before_anything_is_written(
    tmp_path: Path, play: Play
) -> None:
    (tmp_path / "m.db").write_text("a diary, and no database at all, long enough to be read as one")
    with pytest.raises(NotAMemory):
        play(tmp_path / "run", memory=str(tmp_path / "m.db"))
    assert not (tmp_path / "run").exists()


def test_a_failure_to_store_is_an_error_and_no_failed_episode(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "whole")
    play(tmp_path / "run", episodes=2)
    database = sqlite3.connect(tmp_path / "run" / "memory.db")
    database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON episodes BEGIN SELECT raise(FAIL, 'no'); END"
    )
    with pytest.raises(MemoryUnavailable):
        play(tmp_path / "run", resume=True)
    assert len(read(tmp_path / "run").episodes) == 2
    database.execute("DROP TRIGGER full")
    database.close()
    play(tmp_path / "run", resume=True)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


def test_an_episode_without_steps_is_finished_all_the_same(tmp_path: Path, play: Play) -> None:
    played = play(tmp_path / "run", world="corridor:0", episodes=3)
    assert [episode.steps for episode in played.episodes] == [0, 0, 0]
    assert len(play(tmp_path / "run", world="corridor:0", episodes=5, resume=True).episodes) == 5


def test_progress_is_told_with_what_was_finished_before(tmp_path: Path, play: Play) -> None:
    class Noting(Listener):
        heard: list[object]

        def begun(self, finished: list[object], episodes: int) -> None:  # type: ignore[override]
            self.heard = [(len(finished), episodes)]

        def played(self, played: object) -> None:
            self.heard.append(played)

    play(tmp_path / "run", episodes=2)
    listener = Noting()
    wanted = Configuration("corridor:5", episodes=4, steps=12)
    done = run(wanted, tmp_path / "run", open_world(wanted), resume=True, listener=listener)
    assert listener.heard == [(2, 4), *done.episodes[2:]]


def test_steps_of_an_unfinished_episode_can_be_found(tmp_path: Path) -> None:
    wanted = Configuration("corridor:5", episodes=6, steps=12)
    with pytest.raises(KeyboardInterrupt):
        run(wanted, tmp_path / "run", open_world(wanted), listener=Interrupting(14))
    unfinished = read(tmp_path / "run")
    assert len(unfinished.episodes) == 1
    assert set(find(unfinished, {(1, 1), (1, 2)})) == {(1, 1)}


def test_a_rebuilt_episode_knows_the_score_it_began_with(tmp_path: Path, play: Play) -> None:
    whole = play(tmp_path / "run")
    begun = [episode.start_score for episode in whole.episodes]
    assert len(set(begun)) > 1
    drop_lines(tmp_path / "run" / "episodes.jsonl", 1)
    assert play(tmp_path / "run", resume=True).episodes[-1].start_score == begun[-1]
