"""Finding a Chromium."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from jitrl.errors import WorldError

__all__ = ["find", "major"]

_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)


def find(named: str | Path | None = None, *, visible: bool = False) -> Path:
    """Return the Chromium that is named, or in $JITRL_CHROMIUM, or on the path.

    A headless shell is preferred where there is one, unless it shall be seen. Raises WorldError
    where there is none, the named one is no program, or it shall be seen and there is no display.
    """
    if (
        visible
        and sys.platform == "linux"
        and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    ):
        raise WorldError("there is no display to show a browser on: leave --visible out")
    given = named or os.environ.get("JITRL_CHROMIUM")
    if given:
        path = shutil.which(str(given))
        if path is None:
            raise WorldError(f"no program {str(given)!r}: name a Chromium with --chromium PATH")
        return Path(path)
    for name in _NAMES[1:] if visible else _NAMES:
        if (path := shutil.which(name)) is not None:
            return Path(path)
    raise WorldError(
        "no Chromium is found: install one (Debian: apt-get install chromium), or name it with "
        "--chromium PATH or JITRL_CHROMIUM"
    )


def major(program: Path) -> str:
    """Return the major version of a Chromium, such as "156"; raises WorldError if it is none."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorldError(f"{str(program)!r} cannot be run: {error}") from error
    found = re.search(r"(\d+)\.\d+\.\d+", said)
    if found is None:
        raise WorldError(f"{str(program)!r} is no Chromium: name one with --chromium PATH")
    return found[1]
