"""A world as another package would bring it, and runs that play it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.bench.runner import open_world, run

PLUGIN = Path(__file__).parent / "plugin"

Play = Callable[..., Run]


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the corridor and the locks, here and in the processes that a test starts."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    held = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN) + (os.pathsep + held if held else ""))
    yield
    for name in ("corridor_world", "locks_world"):
        sys.modules.pop(name, None)


@pytest.fixture
def play() -> Play:
    """Play the corridor, or what is left of it."""

    def played(path: Path, *, resume: bool = False, **choices: object) -> Run:
        values = {"world": "corridor:5", "episodes": 6, "steps": 12, **choices}
        configuration = Configuration(**values)  # type: ignore[arg-type]
        return run(configuration, path, open_world(configuration), resume=resume)

    return played
