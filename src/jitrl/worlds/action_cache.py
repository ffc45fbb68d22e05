"""Lists of valid actions, kept in one SQLite file that any number of processes share.

Finding the valid actions of a text game takes a hundred times longer than a step, and agents come
back to the same places: what was found once is looked up from then on. The file is a cache and no
more: a damaged, foreign, locked or unwritable one costs time, never an answer and never a crash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from jitrl.cache import cache_folder

__all__ = ["ActionCache", "default_path"]

_log = logging.getLogger(__name__)
_APPLICATION = 0x4A524143  # "JRAC", marks the file as ours
_LAYOUT = 1
_BUSY_SECONDS = 5.0
_IN_MEMORY = 100_000  # lists kept by one object, a kilobyte or less each


def default_path() -> Path:
    """Return the file of valid actions in the cache folder of all worlds."""
    return cache_folder() / "jericho-actions.db"


class ActionCache:
    """A mapping from a key (any strings, in order) to a list of actions, in memory and in a file.

    `path` None keeps it in memory only. Not for two threads at once; after a fork the child opens
    the file anew. Nothing here raises because of the file: what goes wrong with it is logged as a
    warning, once, and this object goes on without it. The file itself is never moved or deleted:
    it may be somebody's, named by mistake.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self._lists: dict[bytes, tuple[str, ...]] = {}
        self._file: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._owner = os.getpid()
        self._open()

    def get(self, *key: str) -> tuple[str, ...] | None:
        """Return the list stored under `key`, or None."""
        digest = _digest(key)
        found = self._lists.get(digest)
        if found is None:
            row = self._run("SELECT actions, digest FROM found WHERE key = ?", digest)
            if row is not None:
                found = self._decoded(*row)
        if found is not None:
            self._keep(digest, found)
        return found

    def put(self, actions: Iterable[str], *key: str) -> None:
        """Store a list under `key`; in the file, what was stored first stays."""
        digest, listed = _digest(key), tuple(actions)
        text = json.dumps(listed)
        self._keep(digest, listed)
        self._run("INSERT OR IGNORE INTO found VALUES (?, ?, ?)", digest, text, _digest((text,)))

    def close(self) -> None:
        """Let go of the file; calling it twice is harmless."""
        self._close()
        self.path = None

    def _keep(self, digest: bytes, actions: tuple[str, ...]) -> None:
        if len(self._lists) >= _IN_MEMORY:
            del self._lists[next(iter(self._lists))]
        self._lists[digest] = actions

    def _decoded(self, text: object, digest: object) -> tuple[str, ...] | None:
        if isinstance(text, str) and digest == _digest((text,)):
            return tuple(json.loads(text))
        self._give_up("an entry does not match its checksum")
        return None

    def _run(self, statement: str, *values: object) -> tuple[object, object] | None:
        if self._owner != os.getpid():
            # A connection must not cross a fork, nor be closed on the other side of one.
            self._owner = os.getpid()
            if self._file is not None:
                self._inherited.append(self._file)
                self._file = None
                self._open()
        if self._file is None:
            return None
        try:
            row: tuple[object, object] | None = self._file.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            self._give_up(str(error))
            return None
        return row

    def _open(self) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            trouble = _prepare(self._file)
        except (OSError, sqlite3.Error) as error:
            trouble = str(error)
        if trouble:
            self._give_up(trouble)

    def _give_up(self, why: str) -> None:
        _log.warning(
            "the cache of valid actions %s is not used any more, so finding them takes longer: %s; "
            "delete the file, or name another one (cache=, $JITRL_CACHE)",
            self.path,
            why,
        )
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None and self._owner == os.getpid():
            file.close()


def _digest(parts: Iterable[str]) -> bytes:
    """Return 16 bytes for a sequence of strings."""
    return hashlib.blake2b(json.dumps(list(parts)).encode(), digest_size=16).digest()


def _prepare(file: sqlite3.Connection) -> str:
    """Create or check the layout; return what is wrong with the file, or ""."""
    _use_write_ahead_log(file)
    file.execute("PRAGMA synchronous = NORMAL")
    file.execute("BEGIN IMMEDIATE")
    try:
        (application,) = file.execute("PRAGMA application_id").fetchone()
        (layout,) = file.execute("PRAGMA user_version").fetchone()
        (tables,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            file.execute(f"PRAGMA application_id = {_APPLICATION}")
            file.execute(f"PRAGMA user_version = {_LAYOUT}")
            file.execute(
                "CREATE TABLE found (key BLOB PRIMARY KEY, actions TEXT, digest BLOB) WITHOUT ROWID"
            )
        elif application != _APPLICATION:
            return "it is a database of something else"
        elif layout != _LAYOUT:
            return f"it has layout {layout}, this version of jitrl reads {_LAYOUT}"
    finally:
        file.execute("COMMIT")
    return ""


def _use_write_ahead_log(file: sqlite3.Connection) -> None:
    """Switch to the mode in which readers and a writer do not wait for each other."""
    (tables,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = file.execute("PRAGMA application_id").fetchone()
    if tables and application != _APPLICATION:
        return  # not ours: leave it as it is
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            file.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # SQLite does not wait by itself when two processes switch at the same moment
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
