"""Reading run folders as bytes, to compare one run with another."""

from __future__ import annotations

import json
from pathlib import Path


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
