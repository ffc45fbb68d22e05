"""The embedded memory: one SQLite file that several threads and processes may share.

The file is in WAL mode. Writers wait for each other, readers wait for nobody.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from jitrl.errors import InvalidValue, MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.memory.contract import Progress
from jitrl.memory.redaction import DEFAULT, Redaction
from jitrl.memory.sql import checkpoint, migration, seam
from jitrl.memory.sql.checkpoint import Checkpointer
from jitrl.memory.sql.rows import Damage, Row
from jitrl.memory.sql.schema import Sql
from jitrl.memory.sql.seam import damaged
from jitrl.memory.sql.sqlite_file import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    TABLES,
    Transaction,
    at_rest,
    connect,
    followed,
    make,
    no_memory,
    open_database,
    place_of,
    stamp,
)
from jitrl.memory.sql.store import SqlMemory

Durability = Literal["process", "power"]
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.001  # between two looks whether a lock is free
_LOG_PAGES = 4000  # of writes, where the checkpointer does not keep up: 16 MB
_INSTRUCTIONS = 1_000_000  # of SQLite's, between two looks at whether it was interrupted


class SqliteMemory(SqlMemory):
    """A memory in one SQLite file (WAL mode), or in RAM.

    path        of the file, created if it is missing; None for a memory in RAM
    durability  "process": acknowledged episodes survive the death of the process;
                "power": they survive a power failure as well, at some milliseconds an episode
    readonly    open an existing file and never write it
    clock       seconds since 1970, for when an episode was stored
    redaction   takes secrets out of what is stored; None: nothing is taken out

    A file of an older schema version is brought up to date when it is opened for writing, in one
    transaction; opened to be read it stays as it is, and shows what was in it at that moment.

    Raises NotAMemory, NewerMemory or MemoryUnavailable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "process",
        readonly: bool = False,
        clock: Callable[[], float] = time.time,
        redaction: Redaction | None = DEFAULT,
    ) -> None:
        if durability not in ("process", "power"):
            raise InvalidValue("durability", durability, 'must be "process" or "power"')
        self.path = None if path is None else os.fspath(path)
        self._file = None if path is None else Path(path).absolute()  # whatever becomes of the cwd
        self._clock = clock
        self.redaction = redaction
        self._readonly = readonly
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._db: sqlite3.Connection | None = None
        self._checkpointer: Checkpointer | None = None
        self._old: _OldFile | None = None  # what is in RAM is a copy of it
        self._identity: tuple[int, int] | None = None  # of the file: device and inode
        self._at_rest: tuple[int, ...] | None = None  # how it looked, if read without locks
        try:
            with self._errors(), self._named():
                self._open(durability)
        except BaseException:
            self.close()
            raise

    @property
    def beside(self) -> Path | None:
        """The folder for what is derived from the memory; None for a memory in RAM."""
        return None if self._file is None else self._file.with_name(f"{self._file.name}-index")

    def close(self) -> None:
        """Close the file; calling it twice is harmless."""
        if self._pid != os.getpid():
            return  # the connection belongs to the process that opened it
        if self._checkpointer is not None:
            self._checkpointer.wait()
        with self._lock:
            for open in (self._db, self._old):
                if open is not None:
                    open.close()
            self._db = self._old = None

    @contextmanager
    def reading(self) -> Iterator[Sql]:
        """Look at the memory as it is at one moment."""
        with self._errors():
            db = self._connection()
            if db.in_transaction:
                yield Transaction(db)
                return
            self._check_place()
            if self._at_rest is not None and self._at_rest != self._stamp():
                self.close()  # somebody has written to it
                self._at_rest = None
                self._open("process")
                db = self._connection()
            if self._old is not None and self._old.changed():
                db = self._follow(self._old)
            with self._transaction(db, _look):
                yield Transaction(db)

    @contextmanager
    def writing(self) -> Iterator[Sql]:
        """Hold the write lock of the file; commit at the end, roll back on any exception."""
        with self._errors():
            db = self._connection()
            if self._readonly:
                raise seam.read_only(self._name)
            with self._transaction(db, _lock):
                self._check_place()
                yield Transaction(db)
            if self._checkpointer is not None:
                self._checkpointer.begin()

    def sweep(self, progress: Progress | None) -> None:
        """Write the file anew without its free pages, and empty the log of writes."""
        with self._errors():
            db = self._connection()
            _long(db, "VACUUM", "writing the file anew", progress)
            deadline = time.monotonic() + _WAIT_SECONDS
            while db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
                if time.monotonic() > deadline:
                    raise MemoryUnavailable(
                        f"memory {self._name}: what was deleted is no longer in the memory, but a "
                        "reader still keeps it in the files: end that one, and vacuum the memory"
                    )
                time.sleep(0.005)  # SQLite waits for readers, but not for another checkpoint

    def faults(self, progress: Progress | None) -> list[str]:
        """Return what SQLite finds wrong with the file."""
        with self._errors():
            db = self._connection() if self._old is None else self._old.db
            found = _long(db, "PRAGMA integrity_check", "asking SQLite", progress)
        return [_short(text) for (text,) in found if text != "ok"]

    def _bytes(self, _: Sql) -> int | None:
        if self._file is None:
            return None
        found = 0
        for end in ("", "-wal"):
            with suppress(FileNotFoundError):
                file = followed(self._file)
                found += file.with_name(file.name + end).stat().st_size
        return found

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise seam.closed(self._name)
        return self._db

    def _there(self) -> tuple[int, int] | None:
        """Return which file is at the path, None where there is none."""
        if self._file is None:
            return None
        try:
            return place_of(self._file)
        except OSError:
            return None

    def _check_place(self) -> None:
        """Raise where the file was deleted or replaced: SQLite would go on with it in silence."""
        if self._file is not None and (self._identity is None or self._there() != self._identity):
            name = self._file.name
            raise MemoryUnavailable(
                f"memory {self._name} was deleted, moved or replaced while it was open: put it "
                f"back, or delete {name}-wal and {name}-shm before another one takes its place"
            )

    @contextmanager
    def _transaction(
        self, db: sqlite3.Connection, begin: Callable[[sqlite3.Connection], object]
    ) -> Iterator[None]:
        """Commit at the end, roll back on any exception."""
        try:
            begin(db)
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # some failures, such as a full disk, roll back themselves
                db.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Hold the lock of this object; turn SQLite's errors into ours."""
        if self._pid != os.getpid():  # before the lock: a fork may have copied it held, for ever
            raise seam.forked(self._name)
        with self._lock:
            try:
                yield
            except UnicodeDecodeError as error:  # even SQLite's message quotes the damaged text
                raise NotAMemory(damaged(self._name, "a text that cannot be decoded")) from error
            except sqlite3.Error as error:
                raise _translated(error, self._name) from error

    def _open(self, durability: Durability) -> None:
        self._at_rest = self._stamp()  # before it is opened: what changes meanwhile is noticed
        self._db = connect(
            self.path, readonly=self._readonly, power=durability == "power", wait=_WAIT_SECONDS
        )
        self._identity = self._there()
        self._prepare(durability)

    def _stamp(self) -> tuple[int, ...] | None:
        """Return how the file looks, where a reader takes it for immutable; else None."""
        if self._file is None or not (self._readonly and self._file.exists()):
            return None
        if self._at_rest is None and not at_rest(self._file):
            return None
        return stamp(self._file)

    def _prepare(self, durability: Durability) -> None:
        db = self._connection()
        if self._file is None:
            make(db)
            return
        version = self._version()
        if self._readonly:
            if version < SCHEMA_VERSION:
                self._read_old(version)
            return
        _patiently(db, "PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {checkpoint.LARGE}")
        self._checkpointer = Checkpointer(followed(self._file))
        if version < SCHEMA_VERSION:
            with self._transaction(db, _lock):
                version = self._version()  # of several processes at once, the first one does it
                if version < SCHEMA_VERSION:
                    self._bring_up_to_date(version)

    def _version(self) -> int:
        """Return the schema version, after a look at whether the tables are what it says."""
        db = self._connection()
        with self.reading():
            mark = db.execute("PRAGMA application_id").fetchone()[0]
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            held = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        if mark != APPLICATION_ID:
            raise NotAMemory(
                f"{self._name} is a database, but not a memory of jitrl: choose another path"
            )
        if version > SCHEMA_VERSION:
            raise NewerMemory(
                f"memory {self._name} has schema version {version}, this jitrl reads up to "
                f"{SCHEMA_VERSION}: install a newer jitrl"
            )
        old = set(held) == set(migration.TABLES)
        if not (
            old if 1 <= version < SCHEMA_VERSION else version and TABLES.items() <= held.items()
        ):
            raise Damage("its tables are not those of its version")
        return version

    def _read_old(self, version: int) -> None:
        """Read an older file into RAM, brought up to date there."""
        self._old = _OldFile(self._connection())
        self._db = open_database(":memory:", _WAIT_SECONDS)
        make(self._db)
        with self._old.reading() as file:
            names = {name: name for name in migration.TABLES}
            migration.copy(file, Transaction(self._db), names, version, self._now())

    def _follow(self, old: _OldFile) -> sqlite3.Connection:
        """Read an older file again, which somebody has written to, or brought up to date."""
        self._connection().close()
        self._db, self._old = old.db, None
        version = self._version()
        if version < SCHEMA_VERSION:
            self._read_old(version)
        return self._connection()

    def _bring_up_to_date(self, version: int) -> None:
        db = self._connection()
        names = {name: f"old_{name}" for name in migration.TABLES}
        for name, old in names.items():
            db.execute(f"ALTER TABLE {name} RENAME TO {old}")
        make(db)
        migration.copy(Transaction(db), Transaction(db), names, version, self._now())
        for old in ("old_steps", "old_episodes", "old_states"):
            db.execute(f"DROP TABLE {old}")


class _OldFile:
    """A file of an older version, open to be read."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._seen = self._stamp()

    def changed(self) -> bool:
        """Return whether somebody has written to it since it was opened here."""
        return self._stamp() != self._seen

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def reading(self) -> Iterator[Sql]:
        self.db.execute("BEGIN")
        try:
            yield Transaction(self.db)
        finally:
            self.db.execute("ROLLBACK")

    def _stamp(self) -> int:
        return int(self.db.execute("PRAGMA data_version").fetchone()[0])


def _long(
    db: sqlite3.Connection, statement: str, what: str, progress: Progress | None
) -> list[Row]:
    """Execute a statement that takes long, and can be interrupted."""
    raised: list[BaseException] = []

    def tell() -> int:
        try:
            if progress is not None:
                progress(what, 0, 0)
        except BaseException as error:  # noqa: BLE001  (SQLite would lose it)
            raised.append(error)
        return len(raised)

    if tell():
        raise raised[0]
    db.set_progress_handler(tell, _INSTRUCTIONS)
    try:
        return db.execute(statement).fetchall()
    except sqlite3.OperationalError as error:
        if raised:
            raise raised[0] from None
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:  # it came before `tell` could try
            raise KeyboardInterrupt from error
        raise
    finally:
        db.set_progress_handler(None, 0)


def _look(db: sqlite3.Connection) -> None:
    """Begin to read."""
    db.execute("BEGIN")


def _lock(db: sqlite3.Connection) -> None:
    """Begin to write. SQLite would look the less often the longer it waits: a late one starved."""
    db.execute("PRAGMA busy_timeout = 0")
    try:
        _patiently(db, "BEGIN IMMEDIATE")
    finally:
        db.execute(f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000:.0f}")


def _patiently(db: sqlite3.Connection, statement: str) -> None:
    """Execute a statement for which SQLite does not wait as long as it should."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            db.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)


def _translated(error: sqlite3.Error, name: str) -> Exception:
    """Return our exception for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code, without its details
    if code == sqlite3.SQLITE_NOTADB:
        return NotAMemory(no_memory(name, _short(error)))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
        return NotAMemory(damaged(name, _short(error)))
    if not code and isinstance(error, sqlite3.OperationalError):  # a text that is not UTF-8
        return NotAMemory(damaged(name, "a text that cannot be decoded"))
    remedies = {
        sqlite3.SQLITE_FULL: "free some disk space and store again",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable, or open it frozen",
        sqlite3.SQLITE_BUSY: f"another writer held it for over {_WAIT_SECONDS:g} s: end that one",
        sqlite3.SQLITE_CANTOPEN: "check the path and the rights of its folder",
        sqlite3.SQLITE_IOERR: "check the disk: its quota, its space, its health",
    }
    remedy = remedies.get(code, "nothing was stored by this call")
    return MemoryUnavailable(f"memory {name}: {_short(error)}: {remedy}")


def _short(message: object) -> str:
    """Return a message of SQLite in one line; it may quote damaged text."""
    shown = " ".join(str(message).split())
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
