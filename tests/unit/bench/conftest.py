"""Runs that play a world as another package would bring it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from plugin_kit import plugin

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.bench.runner import open_world, run

Play = Callable[..., Run]
__all__ = ["Play", "play", "plugin"]


@pytest.fixture
def play() -> Play:
    """Play the corridor, or what is left of it."""

    def played(path: Path, *, resume: bool = False, **choices: object) -> Run:
        values = {"world": "corridor:5", "episodes": 6, "steps": 12, **choices}
        configuration = Configuration(**values)  # type: ignore[arg-type]
        return run(configuration, path, open_world(configuration), resume=resume)

    return played
