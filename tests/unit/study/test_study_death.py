"""Studies played by a command that is interrupted and killed, or whose workers are."""

from __future__ import annotations

import os
import random
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
episodes = 6
"""
POINTS = 10
BLOWS = (signal.SIGKILL, signal.SIGTERM, "a worker", signal.SIGINT)


def begin(folder: Path) -> subprocess.Popen[str]:
    """Start `jitrl bench` on the plan in a folder."""
    command = [sys.executable, "-m", "jitrl.cli", "bench", str(folder / "plan.toml")]
    return Process(
        [*command, "--out", str(folder / "out"), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def size(out: Path) -> int:
    """Return the bytes of all steps of a study."""
    return sum(path.stat().st_size for path in out.glob("runs/*/*/steps.jsonl"))


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
    """Hit the command, or one of its workers; return whether it is to be started again."""
    below = children(process.pid)
    if isinstance(blow, str):
        for worker in workers(process)[:1]:
            os.kill(worker, signal.SIGKILL)
        return False
    process.send_signal(blow)
    _, said = process.communicate()
    if blow == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert said.startswith("jitrl: interrupted: finished episodes are kept; continue with: ")
        assert said.count("\n") == 1
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
        whole = size(tmp_path / "whole")
        points = sorted(draw.randrange(1, whole * 9 // 10) for _ in range(POINTS))
        struck, process = 0, begin(tmp_path)
        for number, point in enumerate(points):
            while process.poll() is None and size(tmp_path / "out") < point:
                pass
            assert process.returncode is None, process.communicate()
            struck += 1
            if strike(process, BLOWS[number % len(BLOWS)]):
                process = begin(tmp_path)
        _, said = process.communicate()
        assert (process.returncode, said, struck) == (0, "", POINTS)
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_a_study_that_is_played_already_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN.replace("25", "2000").partition("[[arm]]")[0])
    with (tmp_path / "plan.toml").open("a") as file:
        file.write('[[arm]]\nagent = "static"\n')
    with begin(tmp_path) as first:
        while first.poll() is None and not size(tmp_path / "out"):
            pass
        with begin(tmp_path) as second:
            _, said = second.communicate()
        first.send_signal(signal.SIGTERM)
        first.communicate()
    assert second.returncode == 1
    assert "another process is writing" in said
    assert said.count("\n") == 1
    assert first.returncode == 130
