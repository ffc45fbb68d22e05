"""Studies played by a command that is interrupted and killed, or whose workers are."""

from __future__ import annotations

import os
import random
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from language_kit import serving
from process_kit import Process, all_end, children
from study_kit import Here, results

from jitrl.study.plan import parse
from jitrl.study.play import play

PLAN = """
seeds = 2
episodes = 25
steps = 16
[[world]]
name = "corridor:5"
[[world]]
name = "corridor:7"
start = "corridor:5"
[[arm]]
agent = "static"
[[arm]]
agent = "jitrl"
preset = "paper"
[[arm]]
agent = "reflexion"
model = "openai/scripted"
base_url = "{url}"
episodes = 4
"""
POINTS = 10
BLOWS = ("the tree", signal.SIGTERM, "a worker", signal.SIGINT, "the command")
TOLD = "jitrl: interrupted: finished episodes are kept; continue with: "


def begin(folder: Path) -> subprocess.Popen[str]:
    """Start `jitrl bench` on the plan in a folder; return once it is about to play."""
    words = ["bench", "plan.toml", "--out", str(folder / "out"), "--workers", "2"]
    process = Process(
        [sys.executable, "-m", "jitrl.cli", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("plan: 2 worlds")
    return process


def size(out: Path) -> int:
    """Return the bytes of all steps of a study."""
    return sum(path.stat().st_size for path in out.glob("runs/*/*/steps.jsonl"))


def await_size(process: subprocess.Popen[str], out: Path, wanted: int) -> None:
    """Return once so many bytes of steps are there, or the command has ended."""
    handle = os.pidfd_open(process.pid)
    try:
        while size(out) < wanted and not select.select([handle], [], [], 0.002)[0]:
            pass
    finally:
        os.close(handle)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the ids of the workers of a command."""
    found = []
    for child in children(process.pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if b"spawn_main" in words:
            found.append(child)
    return sorted(found)


def strike(process: subprocess.Popen[str], blow: signal.Signals | str) -> bool:
    """Hit the command, all of it or one of its workers; say whether it must be started again."""
    below = children(process.pid)
    if blow == "a worker":
        while not (found := workers(process)):
            assert process.poll() is None
        os.kill(found[0], signal.SIGKILL)
        return False
    if isinstance(blow, str):
        process.send_signal(signal.SIGSTOP)  # it starts no worker in between
        for victim in (process.pid, *children(process.pid)) if blow == "the tree" else ():
            os.kill(victim, signal.SIGKILL)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    else:
        process.send_signal(blow)
        _, said = process.communicate()
        assert process.returncode == 130, said
        assert said.startswith(TOLD), said
        assert said.count("\n") == 1
        command = shlex.split(said.removeprefix(TOLD))
        assert isinstance(process.args, list)
        assert command[1:] == process.args[3:]
    assert all_end(below)  # no worker outlives the command
    return True


def test_a_study_interrupted_at_ten_random_points_comes_to_what_it_would_have_been(
    tmp_path: Path,
) -> None:
    draw = random.Random(20)
    with serving() as server:
        text = PLAN.format(url=server.url)
        (tmp_path / "plan.toml").write_text(text)
        play(parse(text), tmp_path / "whole", Here)
        tenth = size(tmp_path / "whole") // (POINTS + 1)
        points = [draw.randrange(i * tenth, (i + 1) * tenth) for i in range(POINTS)]
        process = begin(tmp_path)
        try:
            for number, point in enumerate(points):
                await_size(process, tmp_path / "out", point)
                assert process.poll() is None, process.communicate()
                if strike(process, BLOWS[number % len(BLOWS)]):
                    process = begin(tmp_path)
            _, said = process.communicate()
        finally:
            process.kill()
        assert (process.returncode, said) == (0, "")
    whole = results(tmp_path / "whole")
    assert sum(place.endswith("steps.jsonl") for place in whole) == 12
    assert results(tmp_path / "out") == whole


def test_a_study_that_is_played_already_is_refused_in_one_line(tmp_path: Path) -> None:
    text = PLAN.replace("25", "2000").partition("[[arm]]")[0]
    (tmp_path / "plan.toml").write_text(text + '[[arm]]\nagent = "static"\n')
    with begin(tmp_path) as first:
        await_size(first, tmp_path / "out", 1)
        with begin(tmp_path) as second:
            _, said = second.communicate()
        first.send_signal(signal.SIGTERM)
        first.communicate()
    assert second.returncode == 1
    assert "another process is writing" in said
    assert said.count("\n") == 1
    assert first.returncode == 130
