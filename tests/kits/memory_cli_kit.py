"""What the tests of `jitrl memory` share: the command line, and a memory of three runs."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, closing
from pathlib import Path

import cli_kit
import pytest
import terminal_kit
from cli_kit import Cli, Outcome
from terminal_kit import Terminal

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


def terminal(folder: Path, *words: object) -> AbstractContextManager[Terminal]:
    """Start `jitrl memory` on a terminal of its own."""
    return terminal_kit.terminal(folder, "memory", *words)
