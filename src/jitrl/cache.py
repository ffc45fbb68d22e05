"""Where is kept what can be made again: compiled games, lists of valid actions, an index."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $JITRL_CACHE, or jitrl in the user's cache folder; it may not exist yet."""
    if named := os.environ.get("JITRL_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jitrl"
