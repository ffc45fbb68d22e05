"""What the tests of `jitrl memory` share: the command line, and a memory of three runs."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import cli_kit
import pytest
from cli_kit import Cli, Outcome

from jitrl.memory import SqliteMemory
from jitrl.records import Episode, State, Step

DAY = 86_400.0
NOON = 1_795_521_600.0  # 2026-11-24T12:00:00Z


def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> Cli:
    """Return what calls `jitrl memory` in a folder, without a terminal: (code, stdout, stderr)."""
    monkeypatch.chdir(folder)
    return cli_kit.command_line(monkeypatch, capsys, "memory")


def told(outcome: Outcome):
    """Return what a command with --json said."""
    assert (outcome[0], outcome[2]) == (0, ""), outcome
    return json.loads(outcome[1])


def ids(outcome: Outcome) -> list[str]:
    return [entry["id"] for entry in told(outcome)]


def step(t: int, room: str, reward: float = 0.0, action: str = "go east") -> Step:
    policy = {action: 0.5, "wait": 0.5}
    state = State(room=f"You stand in {room} number {t} of the old house.", inventory="a lamp")
    return Step(state, action, reward, -0.7, policy, policy, False, "default", 0)


def episode(id: str, run: str, *steps: Step, task: str = "house", **provenance: str) -> Episode:
    return Episode(
        id,
        task,
        steps or (step(0, "hall"), step(1, "hall", 1.0)),
        True,
        None,
        {"run": run, **provenance},
    )


EPISODES = (
    episode("a-0", "a"),
    episode("a-1", "a", step(0, "cellar"), step(1, "cellar", -2.0, "open the red door")),
    episode("b-0", "b", task="garden"),
    episode("c-0", "c", source="team C"),
)


def fill(path: Path | str, episodes: tuple[Episode, ...] = EPISODES) -> None:
    """Store episodes, one a day from 24 November 2026 on."""
    days = iter(range(len(episodes)))
    with closing(SqliteMemory(path, clock=lambda: NOON + DAY * next(days))) as memory:
        for one in episodes:
            memory.append(one)


def present(path: Path | str) -> list[str]:
    with closing(SqliteMemory(path, readonly=True)) as memory:
        return [one.id for one in memory.episodes()]


class Terminal:
    """A command of `jitrl memory` on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process, self._screen = process, screen
        self.seen = b""
        self._interrupted = False

    def until(self, text: str) -> None:
        """Read on until a text is on the screen."""
        while text.encode() not in self.seen:
            read = self._read()
            assert read, self.seen
            self.seen += read

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does, and again where nothing follows.

        Python's `input` does not hear a signal that comes just before it begins to wait.
        """
        self._interrupted = True
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Return (exit code, all that was on the screen)."""
        while read := self._read():
            self.seen += read
        return self.process.wait(60), self.seen.decode()

    def _read(self) -> bytes:
        while self._interrupted and not select.select([self._screen], [], [], 3.0)[0]:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            return os.read(self._screen, 65536)
        except OSError:  # the other side is closed
            return b""


@contextmanager
def terminal(folder: Path, *words: object) -> Iterator[Terminal]:
    screen, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jitrl.cli", "memory", *map(str, words)],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait(60)
        os.close(screen)
