"""Worlds as another package would bring them: a corridor, and locks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"


@contextmanager
def installed() -> Iterator[None]:
    """Install them, here and in the processes that are started meanwhile."""
    held = os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGIN))
        patch.setenv("PYTHONPATH", str(PLUGIN) + (os.pathsep + held if held else ""))
        yield
    for name in ("corridor_world", "locks_world"):
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    """Install them for each test of the folder whose conftest imports this."""
    with installed():
        yield
