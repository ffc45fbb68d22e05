"""Reading run folders as bytes, to compare one run with another, and breaking runs off."""

from __future__ import annotations

import json
from pathlib import Path

from jitrl.bench.runner import Listener


def log_of(path: Path) -> tuple[bytes, list[dict[str, object]]]:
    """Return the steps to the byte, and the episodes without their seconds."""
    episodes = [json.loads(line) for line in (path / "episodes.jsonl").read_text().splitlines()]
    for episode in episodes:
        del episode["seconds"]
    return (path / "steps.jsonl").read_bytes(), episodes


def cut(path: Path, end: int) -> None:
    """Keep the first `end` bytes of a file; a negative number leaves out so many at the end."""
    path.write_bytes(path.read_bytes()[:end])


def drop_lines(path: Path, count: int) -> None:
    """Leave out the last lines of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) - count]))


class Interrupting(Listener):
    """Breaks a run off at its n-th step."""

    def __init__(self, after: int) -> None:
        self.left = after

    def stepped(self, number: int, t: int, score: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
