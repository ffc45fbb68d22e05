"""Move the log of writes into the file in a thread of its own, so that no writer waits for it."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from jitrl.memory.sql.sqlite_file import open_database
from jitrl.memory.sql.wal import log_of

log = logging.getLogger(__name__)
LARGE = 4 << 20
"""Bytes by which a log grows until it is moved; one that is begun anew is no larger."""


_FAR = 8 * LARGE  # others write all the time: they are kept off for a moment, if that can be had
_MOVING = threading.Lock()  # no fork meanwhile: SQLite's own locks would stay held in the child
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_MOVING.acquire,
        after_in_parent=_MOVING.release,
        after_in_child=_MOVING.release,
    )


class Checkpointer:
    """Keeps the log of a file small. SQLite does it as well, in the midst of a write, if need be.

    file  the database, whose log lies beside it
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._target = f"file:{quote(os.fsencode(file))}?mode=rw"
        self._log = log_of(file)
        self._moved = 0  # its size when it was last moved
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to move the log, if it has grown, and that is not under way."""
        if self._thread is not None and self._thread.is_alive():
            return
        with suppress(OSError, RuntimeError):  # there is no log; the process is about to end
            size = self._log.stat().st_size
            if size < self._moved or size <= LARGE:  # it was begun anew
                self._moved = 0
            if size > self._moved + LARGE:
                self._moved = size
                thread = threading.Thread(target=self._move, name="jitrl-checkpoint")
                thread.start()
                self._thread = thread  # one that could not be started is not waited for

    def wait(self) -> None:
        """Wait for what is under way."""
        if self._thread is not None:
            self._thread.join()

    def _move(self) -> None:
        try:
            far = self._moved > _FAR
            with _MOVING, closing(open_database(self._target, 0.0, self._file)) as db:
                # neither waits for anybody: to wait with the lock of writers held would starve them
                db.execute(f"PRAGMA wal_checkpoint({'RESTART' if far else 'PASSIVE'})")
        except (OSError, sqlite3.Error) as error:
            log.debug("the log %s was not moved: %s", self._log, error)
