"""Runs that are recorded, killed, continued and replayed without a server: bytes do not change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from folders import log_of
from language_kit import asked, corridor, ledger_of, serving
from process_kit import Process

from jitrl.bench.folder import Run, read
from jitrl.bench.language import Access
from jitrl.errors import InvalidValue, NotRecorded
from jitrl.testing import ScriptedServer

KEY = "sk-do-not-tell-0123456789"
CHOICES = {
    "episodes": 6,
    "steps": 8,
    "scores": "labels-direct",
    "judge_model": "openai/scripted",
    "credit": "mixed",
    "overrides": {"beta": 5},
}


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def whole(tmp_path: Path, server: ScriptedServer) -> Path:
    """A run that was recorded to whole.rec, and never killed."""
    play(tmp_path / "whole", Access(record=tmp_path / "whole.rec"), server)
    return tmp_path / "whole"


def play(path: Path, access: Access, server: ScriptedServer, **choices: object) -> Run:
    return corridor(path, access, **{**CHOICES, **at(server), **choices})


def at(server: ScriptedServer) -> dict[str, str]:
    return {"base_url": server.url, "judge_url": server.url}


def command(path: Path, server: ScriptedServer, *words: str) -> list[str]:
    """Return the command that plays CHOICES."""
    return [
        *(sys.executable, "-m", "jitrl.cli", "run", "corridor:3", "--out", str(path)),
        *("--episodes", "6", "--steps", "8", "--set", "beta=5", "--scores", "labels-direct"),
        *("--model", "openai/scripted", "--judge-model", "openai/scripted", "--credit", "mixed"),
        *("--base-url", server.url, "--judge-url", server.url, *words),
    ]


def begin(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    env = os.environ | environment
    return Process(arguments, stdout=pipe, stderr=pipe, text=True, env=env)


def logs(path: Path) -> tuple[object, bytes]:
    return log_of(path), (path / "judged.jsonl").read_bytes()


def test_a_recorded_run_is_replayed_to_the_byte_and_counted_as_it_was(
    tmp_path: Path, whole: Path, server: ScriptedServer
) -> None:
    before = len(server.requests)
    play(tmp_path / "again", Access(replay=tmp_path / "whole.rec"), server)
    assert len(server.requests) == before
    assert logs(tmp_path / "again") == logs(whole)
    assert ledger_of(tmp_path / "again").roles == ledger_of(whole).roles
    play(tmp_path / "unrecorded", Access(), server)
    assert logs(tmp_path / "unrecorded") == logs(whole)


@pytest.mark.parametrize("calls", [3, 24])
def test_a_killed_run_is_continued_recorded_and_replayed_to_the_byte(
    tmp_path: Path, whole: Path, calls: int
) -> None:
    recording = str(tmp_path / "run.rec")
    with serving(delay=0.01) as server:
        with begin(command(tmp_path / "run", server, "--record", recording)) as process:
            assert server.wait(lambda server: len(server.requests) >= calls, 60)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        killed = asked(server)
        play(tmp_path / "run", Access(record=Path(recording)), server, resume=True)
        counted = ledger_of(tmp_path / "run").total.usage.calls
        # what was on its way when the process was killed is known to the server alone
        assert counted <= asked(server) <= counted + 1
        assert killed + 1 < asked(server)
    assert logs(tmp_path / "run") == logs(whole)
    gone = {"base_url": None, "judge_url": None}  # and no network is needed
    corridor(tmp_path / "again", Access(replay=Path(recording)), **{**CHOICES, **gone})
    assert logs(tmp_path / "again") == logs(whole)


def test_a_run_is_continued_where_its_server_is_now(tmp_path: Path, whole: Path) -> None:
    for episodes in (2, 6):
        with serving() as server:
            play(tmp_path / "run", Access(), server, episodes=episodes, resume=episodes > 2)
    assert logs(tmp_path / "run") == logs(whole)


def test_nothing_of_a_key_is_written_anywhere(tmp_path: Path) -> None:
    recording = tmp_path / "run.rec"
    with serving(key=KEY) as server:
        words = command(tmp_path / "run", server, "--record", str(recording))
        with begin(words, JITRL_API_KEY=KEY, OPENAI_API_KEY="sk-other-987654321") as process:
            out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        assert {request.headers["authorization"] for request in server.requests} == {
            f"Bearer {KEY}"
        }
    files = [recording, *(path for path in (tmp_path / "run").rglob("*") if path.is_file())]
    assert len(files) > 6
    for content in (out.encode(), *(file.read_bytes() for file in files)):
        assert b"do-not-tell" not in content and b"sk-other" not in content
        assert b"Bearer" not in content and b"API_KEY" not in content


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"window": 1}, "another messages"),
        ({"seed": 1}, "another .*seed"),
        ({"scores": "stated"}, "another"),
        ({"episodes": 7}, "nothing is recorded there"),
        ({"summarise": True}, "nothing is recorded there"),
    ],
)
def test_a_replay_of_something_else_is_an_error_that_names_it(
    tmp_path: Path, whole: Path, server: ScriptedServer, changed: dict[str, object], named: str
) -> None:
    before = len(server.requests)
    with pytest.raises(NotRecorded, match=f"{named}.*; replay with the options"):
        play(tmp_path / "again", Access(replay=tmp_path / "whole.rec"), server, **changed)
    assert len(server.requests) == before
    kept = read(tmp_path / "again").episodes
    assert len(kept) == (6 if "episodes" in changed else 0)


def test_a_replay_with_another_model_is_refused_before_anything_is_written(
    tmp_path: Path, whole: Path, server: ScriptedServer
) -> None:
    replayed = Access(replay=tmp_path / "whole.rec")
    with pytest.raises(InvalidValue, match=r"recording of openai/other, not of openai/scripted"):
        play(tmp_path / "again", replayed, server, model="openai/other")
    assert not (tmp_path / "again").exists()


def test_a_judge_elsewhere_has_a_recording_beside_that_of_the_player(
    tmp_path: Path, server: ScriptedServer
) -> None:
    with serving(models=("umpire",)) as other:
        elsewhere = {"judge_model": "openai/umpire", "judge_url": other.url, "episodes": 2}
        play(tmp_path / "run", Access(record=tmp_path / "rec"), server, **elsewhere)
        assert len(other.requests) == 2
        play(tmp_path / "again", Access(replay=tmp_path / "rec"), server, **elsewhere)
        assert len(other.requests) == 2
    assert (tmp_path / "rec.judge").exists()
    assert logs(tmp_path / "run") == logs(tmp_path / "again")


def test_a_probed_run_is_replayed_with_its_probe(tmp_path: Path, server: ScriptedServer) -> None:
    choices = {"scores": "labels-server", "episodes": 2}
    play(tmp_path / "run", Access(record=tmp_path / "rec"), server, **choices)
    before = len(server.requests)
    play(tmp_path / "again", Access(replay=tmp_path / "rec"), server, **choices)
    assert len(server.requests) == before
    assert logs(tmp_path / "run") == logs(tmp_path / "again")


def test_a_recording_in_the_run_folder_is_part_of_it(
    tmp_path: Path, server: ScriptedServer
) -> None:
    access = Access(record=tmp_path / "run" / "calls.rec")
    play(tmp_path / "run", access, server, episodes=1)
    play(tmp_path / "run", access, server, episodes=2, resume=True)
    play(tmp_path / "again", Access(replay=access.record), server, episodes=2)
    assert logs(tmp_path / "run") == logs(tmp_path / "again")
