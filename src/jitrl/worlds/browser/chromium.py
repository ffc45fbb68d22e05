"""Finding a Chromium."""

from __future__ import annotations

import os
import re
import shutil
import socket
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
_PATIENCE = 5.0  # seconds that a display may take to answer
_X_PORT = 6000  # of the first X server of a host


def find(named: str | Path | None = None, *, visible: bool = False) -> Path:
    """Return the Chromium that is named, or in $JITRL_CHROMIUM, or on the path.

    A headless shell is preferred where there is one, unless it shall be seen. Raises WorldError
    where there is none, the named one is no program, or it shall be seen and no display answers.
    """
    if visible and sys.platform == "linux" and not _is_shown():
        named = os.environ.get("DISPLAY", "")
        raise WorldError(f"no display answers (DISPLAY is {named!r}): leave --visible out")
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


def _is_shown() -> bool:
    """Say whether a Wayland compositor or an X server answers."""
    wayland = os.environ.get("WAYLAND_DISPLAY")
    if wayland and _answers(str(Path(os.environ.get("XDG_RUNTIME_DIR", "/"), wayland))):
        return True
    host, _, screen = os.environ.get("DISPLAY", "").rpartition(":")
    number = screen.partition(".")[0]
    if not number.isdecimal():
        return False
    if host not in ("", "unix"):
        return _answers((host, _X_PORT + int(number)))
    path = f"/tmp/.X11-unix/X{number}"
    return _answers(path) or _answers(f"\0{path}")


def _answers(address: str | tuple[str, int]) -> bool:
    """Say whether somebody listens at a host's port, or at a socket's path."""
    try:
        if isinstance(address, str):
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(_PATIENCE)
                one.connect(address)
        else:
            socket.create_connection(address, _PATIENCE).close()
    except (OSError, OverflowError):  # nobody there, or no such address or port
        return False
    return True


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
