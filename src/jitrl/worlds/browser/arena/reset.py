"""Bringing WebArena's sites back to where they began, through their own reset server.

    python -m jitrl.worlds.browser.arena.reset [ADDRESS]     by default $WA_FULL_RESET

Most tasks that change something can be attempted only once between two resets. WebArena's images
come with a small server ($WA_FULL_RESET) that restarts all of them, which takes minutes.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Callable
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from jitrl.errors import WorldError

__all__ = ["Fetched", "fetch", "reset"]

Fetched = tuple[int, str]
"""Status and text of an answer."""

_READY = "Ready for duty!"
_BEGUN = (200, 418)  # 418: it is under way already


def fetch(address: str, seconds: float = 10.0) -> Fetched:
    """Return what an address answers. Raises WorldError where it does not, within `seconds`."""
    try:
        with urlopen(address, timeout=seconds) as answer:
            return answer.status, answer.read().decode("utf-8", errors="replace")
    except HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", errors="replace")
    except (URLError, OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise WorldError(f"{address} does not answer: {why}") from error


def reset(
    address: str,
    patience: float = 600.0,
    every: float = 20.0,
    ask: Callable[[str], Fetched] = fetch,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Reset every site, and wait until they are ready.

    address   of the reset server: $WA_FULL_RESET
    patience  seconds to wait, in which it is asked `every` so many
    Raises WorldError where it does not begin, or does not end.
    """
    base = address.rstrip("/")
    status, text = ask(f"{base}/reset")
    if status not in _BEGUN:
        raise WorldError(f"{base}/reset refuses ({status}): {' '.join(text.split())[:200]}")
    waited = 0.0
    while True:
        status, text = ask(f"{base}/status")
        if status != 200:
            raise WorldError(f"{base}/status fails ({status}): {' '.join(text.split())[:200]}")
        if text.strip() == _READY:
            return
        if waited >= patience:
            raise WorldError(f"the sites are not ready after {patience:g} s: {text.strip()[:200]}")
        sleep(every)
        waited += every


def main() -> None:
    """Reset the sites; exit code 1, with why, where that does not work."""
    named = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("WA_FULL_RESET", "")
    if not named:
        sys.exit("reset: name the address of the reset server, or set WA_FULL_RESET")
    try:
        reset(named)
    except WorldError as error:
        sys.exit(f"reset: {error}")


if __name__ == "__main__":
    main()
