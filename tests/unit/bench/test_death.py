"""Runs in processes of their own, that are killed, interrupted, or run out of disk."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import log_of
from process_kit import Process

from jitrl.bench.folder import Run, read

Play = Callable[..., Run]
CHOICES = {"episodes": 40, "steps": 20, "preset": "paper"}


def begin(path: Path, *words: str, room: int | None = None) -> subprocess.Popen[str]:
    """Start `jitrl run` on what CHOICES say; `room`: bytes that a file may grow to."""

    def limit() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    options = [word for name, value in CHOICES.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "jitrl.cli", "run", "corridor:5", *options]
    return Process(
        [*command, "--out", str(path), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def await_steps(process: subprocess.Popen[str], path: Path, episodes: int, size: int) -> None:
    """Return once so many episodes are told of, and the log has grown by `size` bytes since."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"finished {episodes}/"):
            break
    log = path / "steps.jsonl"
    begun = log.stat().st_size
    while process.poll() is None and log.stat().st_size < begun + size:
        pass


@pytest.mark.parametrize("episodes", [1, 4, 9])
def test_a_killed_run_continues_to_the_byte(tmp_path: Path, play: Play, episodes: int) -> None:
    play(tmp_path / "whole", **CHOICES)
    with begin(tmp_path / "run") as process:
        await_steps(process, tmp_path / "run", episodes, random.randrange(20_000))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert episodes <= len(read(tmp_path / "run").episodes) < 40
    play(tmp_path / "run", resume=True, **CHOICES)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


def test_a_run_killed_again_and_again_comes_to_its_end(tmp_path: Path, play: Play) -> None:
    play(tmp_path / "whole", **CHOICES)
    for episodes in (3, 6, 9):
        with begin(tmp_path / "run", "--resume") as process:
            await_steps(process, tmp_path / "run", episodes, random.randrange(20_000))
            process.kill()
    play(tmp_path / "run", resume=True, **CHOICES)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_says_what_is_kept_and_how_to_continue(
    tmp_path: Path, play: Play, number: signal.Signals
) -> None:
    with begin(tmp_path / "run") as process:
        await_steps(process, tmp_path / "run", 3, 100)
        process.send_signal(number)
        _, said = process.communicate()
    kept = len(read(tmp_path / "run").episodes)
    assert process.returncode == 130
    assert said.startswith(f"jitrl: interrupted: {kept} finished episodes kept; continue with:")
    assert said.endswith("--resume\n")
    assert said.count("\n") == 1
    play(tmp_path / "run", resume=True, **CHOICES)
    play(tmp_path / "whole", **CHOICES)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("room", [1, 5_000, 130_000, 400_000])
def test_a_run_out_of_disk_fails_in_one_line_and_continues(
    tmp_path: Path, play: Play, room: int
) -> None:
    with begin(tmp_path / "run", room=room) as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert said.startswith("jitrl: ")
    assert said.count("\n") == 1
    play(tmp_path / "run", resume=True, **CHOICES)
    play(tmp_path / "whole", **CHOICES)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with begin(tmp_path / "run") as first:
        await_steps(first, tmp_path / "run", 1, 1)
        first.send_signal(signal.SIGSTOP)
        with begin(tmp_path / "run", "--resume") as second:
            _, said = second.communicate()
        first.kill()
    assert second.returncode == 1
    assert "another process is writing" in said


def test_an_interrupted_demo_ends_its_workers_and_continues(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jitrl.cli", "demo", "--world", "corridor:5", "--out"]
    options = ["--seeds", "2", "--steps", "30", "--episodes", "40"]
    with Process(
        [*command, str(tmp_path / "demo"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("static, seed"):
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()  # both workers have let go of its pipes
    assert process.returncode == 130
    assert said.startswith("jitrl: interrupted: finished episodes are kept")
    assert said.count("\n") == 1
    again = subprocess.run(
        [*command, str(tmp_path / "demo"), *options], capture_output=True, text=True, check=True
    )
    assert "jitrl default \u2212 static" in again.stdout
    for run in ("static-0", "static-1", "jitrl-0", "jitrl-1"):
        assert len(read(tmp_path / "demo" / run).episodes) == 40
