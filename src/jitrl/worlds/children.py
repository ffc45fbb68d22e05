"""Processes of our own: started so that they import what this one imports."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["command", "environment"]


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter.

    The folder that the user is in is not searched: a `random.py` of theirs would be taken for the
    library's.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Return the environment for it: modules are sought where this process seeks them."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    }
