"""Commands on a terminal of their own: a real pseudo-terminal, with keys and Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Terminal:
    """A command of `jitrl` on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process, self._screen = process, screen
        self.seen = b""
        self._interrupted = False

    def until(self, text: str) -> None:
        """Read on until a text is on the screen."""
        while text.encode() not in self.seen:
            read = self._read()
            assert read, self.seen
            self.seen += read

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does, and again where nothing follows.

        Python's `input` does not hear a signal that comes just before it begins to wait.
        """
        self._interrupted = True
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Return (exit code, all that was on the screen)."""
        while read := self._read():
            self.seen += read
        return self.process.wait(60), self.seen.decode()

    def _read(self) -> bytes:
        while self._interrupted and not select.select([self._screen], [], [], 3.0)[0]:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            return os.read(self._screen, 65536)
        except OSError:  # the other side is closed
            return b""


@contextmanager
def terminal(
    folder: Path, *words: object, width: int = 100, height: int = 25
) -> Iterator[Terminal]:
    """Start `jitrl` with some words, in a folder, on a terminal of so many columns and lines."""
    screen, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jitrl.cli", *map(str, words)],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": str(width), "LINES": str(height), "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait(60)
        os.close(screen)
