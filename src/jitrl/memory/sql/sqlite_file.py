"""The file of an embedded memory: what is at a path, how it is created, how it is opened."""

from __future__ import annotations

import ctypes
import errno
import os
import sqlite3
import uuid
import weakref
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from jitrl.errors import MemoryUnavailable, NotAMemory
from jitrl.memory.sql import networks, schema, swap, tables, wal
from jitrl.memory.sql.rows import Row, Value

APPLICATION_ID = 0x4A497452  # "JItR", in the file's header
SCHEMA_VERSION = 3  # 1 had no `judged`, 2 no seals
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP)
_SMALLEST = 512  # bytes of a database that is not empty
_TYPES = {
    "integer": "INTEGER",
    "real": "REAL",
    "text": "TEXT",
    "bytes": "BLOB",
    "clustered": " WITHOUT ROWID",
}
_SCHEMA = schema.SCHEMA.strip().format_map(_TYPES).split(";\n")


class Transaction:
    """SQL on a connection (`jitrl.memory.sql.schema.Sql`)."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def execute(self, query: str, values: Sequence[Value] = ()) -> list[Row]:
        """Return the rows that a statement gives."""
        return self._db.execute(query, values).fetchall()

    def many(self, query: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute a statement once for each row of values."""
        self._db.executemany(query, rows)

    def each(self, query: str, rows: Iterable[Sequence[Value]]) -> list[list[Row]]:
        """Return the rows that a statement gives for each row of values."""
        return [self._db.execute(query, values).fetchall() for values in rows]


def _tables() -> dict[str, str]:
    """Return the tables and how SQLite remembers them."""
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in _SCHEMA:
            db.execute(statement)
        return dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))


TABLES = _tables()
"""The statement that made each table, as SQLite remembers it."""


def make(db: sqlite3.Connection) -> None:
    """Create an empty memory in a database."""
    for statement in _SCHEMA:
        db.execute(statement)
    tables.create(Transaction(db), uuid.uuid4().hex, uuid.uuid4().hex)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def open_database(target: str, wait: float, file: Path | None = None) -> Connection:
    """Open a database without reading it; autocommit, so that transactions are ours alone.

    wait  seconds for which a lock is waited for
    file  that it is in, None for none of ours
    """
    place = None if file is None else place_of(file)
    db = sqlite3.connect(
        target,
        uri=True,
        timeout=wait,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    db.place = place
    _OPEN.add(db)
    return db


def place_of(file: Path) -> tuple[int, int]:
    """Return device and inode of a file. Raises OSError."""
    told = file.stat()
    return told.st_dev, told.st_ino


def _abandon() -> None:
    """Let nobody close, in a forked child, what the parent has open, nor open the same file.

    SQLite in the child believes that it holds the parent's locks. At its end it would take a log
    that others have begun since for its own, and delete it; and the parent would not see that the
    child has the file open, and delete its log: what was acknowledged in there would be lost. So
    the child keeps the connections until it ends, and `connect` refuses their files.
    """
    for db in list(_OPEN):
        if db.place is not None:
            _INHERITED.add(db.place)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))


class Connection(sqlite3.Connection):
    """A connection that a forked child does not close; it can be referred to weakly.

    place  device and inode of its file, None for none, and once it is closed
    """

    place: tuple[int, int] | None = None

    def close(self) -> None:
        """Close it."""
        super().close()
        self.place = None


_OPEN: weakref.WeakSet[Connection] = weakref.WeakSet()
_INHERITED: set[tuple[int, int]] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon)


def connect(path: str | None, *, readonly: bool, power: bool, wait: float) -> sqlite3.Connection:
    """Open the memory at a path, created if it is missing; None: an empty database in RAM.

    power  what is written must survive a power failure
    wait   seconds for which a lock is waited for
    """
    if path is None:
        return open_database(":memory:", wait)
    if "\0" in path:
        raise MemoryUnavailable(f"memory {path!r} cannot be a path: leave out the NUL character")
    try:
        target = _target(Path(path), readonly, power)
        if place_of(Path(path)) in _INHERITED:
            raise MemoryUnavailable(
                f"memory {path!r} was open when this process was forked from another one: fork "
                "before it is opened, or start processes by spawn"
            )
        return open_database(target, wait, Path(path))
    except OSError as error:
        raise MemoryUnavailable(f"memory {path!r}: {error.strerror}: check the path") from error


def followed(path: Path) -> Path:
    """Return the file that a symbolic link leads to: SQLite puts the log beside that one."""
    return path.resolve() if path.is_symlink() else path


def _target(path: Path, readonly: bool, power: bool) -> str:
    """Return the address of the file for SQLite, after a look at what is there."""
    path = followed(path)
    folder = path.absolute().parent
    if readonly and not path.exists():
        raise MemoryUnavailable(f"no memory at {str(path)!r}: check the path")
    if not folder.is_dir():
        raise MemoryUnavailable(f"the folder of memory {str(path)!r} does not exist: create it")
    if path.exists() and not path.is_file():
        raise MemoryUnavailable(f"memory {str(path)!r} is a folder or a device: name a file")
    networks.check(path)
    swap.check(path)
    if not path.exists():
        _no_log(path)
        _create(path, power)
    size = path.stat().st_size
    if not size:
        raise NotAMemory(f"memory {str(path)!r} is empty: delete it to begin a new memory")
    if size < _SMALLEST:
        raise NotAMemory(no_memory(repr(str(path)), "too short"))  # SQLite overwrites one byte
    if not readonly and not os.access(path, os.W_OK):
        raise MemoryUnavailable(
            f"memory {str(path)!r} is read-only: make it writable, or open it frozen"
        )
    wal.check(path, power=power)
    target = f"file:{quote(os.fsencode(path.absolute()))}?mode={'ro' if readonly else 'rw'}"
    if readonly and at_rest(path):
        target += "&immutable=1"  # no place for the shared-memory file of WAL mode
    return target


def at_rest(path: Path) -> bool:
    """Return whether a file has no log, and lies where a reader can make none."""
    return not os.access(path.absolute().parent, os.W_OK) and not wal.log_of(path).exists()


def stamp(path: Path) -> tuple[int, ...]:
    """Return what tells whether a file that is read as immutable has changed."""
    held = path.stat()
    log = int(wal.log_of(path).exists())
    return held.st_dev, held.st_ino, held.st_size, held.st_mtime_ns, log


def _no_log(path: Path) -> None:
    """Raise where the log of a memory that is gone would be taken for that of a new one."""
    log = wal.log_of(path)
    if log.exists() and log.stat().st_size and not path.exists():  # else: somebody made it now
        raise MemoryUnavailable(
            f"memory {str(path)!r} is gone, and its log {log.name} is there: put it back, or "
            "delete the log to begin a new memory"
        )


def _create(path: Path, power: bool) -> None:
    """Create the file, whole or not at all: it gets its name when everything is in it."""
    with closing(open_database(":memory:", 0.0)) as db:
        make(db)
        content = bytearray(db.serialize())
    content[18:20] = b"\2\2"  # in WAL mode
    new = path.absolute().parent / f".jitrl-{uuid.uuid4().hex}"
    try:
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster
            os.link(new, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise MemoryUnavailable(
            f"memory {str(path)!r}: its file system knows no hard links: choose another folder"
        ) from error
    finally:
        new.unlink(missing_ok=True)
    if power:
        folder = os.open(new.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def no_memory(name: str, what: str) -> str:
    """Return the message for what is none."""
    return (
        f"{name} is not a memory of jitrl, or it is damaged ({what}): "
        "name another path, or restore a copy"
    )
