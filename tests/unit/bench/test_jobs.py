from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from folders import log_of

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.jobs import Job, play_all
from jitrl.bench.runner import open_world, run
from jitrl.errors import RunError
from jitrl.worlds import World


def jobs(folder: Path, **choices: object) -> list[Job]:
    values = {"world": "corridor:5", "episodes": 3, "steps": 8, **choices}
    return [
        Job(Configuration(seed=seed, **values), folder / str(seed))  # type: ignore[arg-type]
        for seed in range(3)
    ]


def deadly(configuration: Configuration) -> World:
    """Open a world that takes the process down with it when it is left."""
    world = open_world(configuration)
    world.close = lambda: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    return world


def test_runs_in_workers_are_those_in_this_process(tmp_path: Path) -> None:
    heard: list[tuple[Path, int]] = []

    def note(job: Job, played: Played) -> None:
        heard.append((job.path, played.number))

    runs = play_all(jobs(tmp_path / "many"), on_episode=note)
    assert [found.configuration.seed for found in runs] == [0, 1, 2]
    assert sorted(heard) == [(job.path, n) for job in jobs(tmp_path / "many") for n in range(3)]
    for job in jobs(tmp_path / "one"):
        run(job.configuration, job.path, open_world(job.configuration))
        assert log_of(job.path) == log_of(tmp_path / "many" / job.path.name)
    again: list[int] = []
    play_all(jobs(tmp_path / "many"), on_episode=lambda job, played: again.append(played.number))
    assert sorted(again) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_worker_that_dies_is_told_and_its_runs_continue(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a worker process died"):
        play_all(jobs(tmp_path), world=deadly)
    runs = play_all(jobs(tmp_path))
    assert [len(found.episodes) for found in runs] == [3, 3, 3]


def test_a_run_that_fails_in_a_worker_is_told(tmp_path: Path) -> None:
    play_all(jobs(tmp_path))
    with pytest.raises(RunError, match="another steps"):
        play_all(jobs(tmp_path, steps=9))
