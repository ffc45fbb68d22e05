"""The embedded memory: one SQLite file that several threads and processes may share.

An episode is one transaction: it is stored whole or not at all. Writers wait for each other.
Distinct states are stored once. There is nothing in the file but numbers and text.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from jitrl.checks import count, finite, scores, text, texts
from jitrl.errors import InvalidValue, MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.records import Episode, State, Step

Durability = Literal["process", "power"]
APPLICATION_ID = 0x4A497452  # "JItR", in the file's header
SCHEMA_VERSION = 2  # 1 had no `judged`
_WAIT_SECONDS = 60.0
_SMALLEST = 512  # bytes of a database that is not empty
_SCHEMA = """
CREATE TABLE states (
    id      INTEGER PRIMARY KEY,
    digest  BLOB NOT NULL UNIQUE,     -- SHA-256 of `fields`
    fields  TEXT NOT NULL             -- JSON: field name -> text
);
CREATE TABLE episodes (
    seq          INTEGER PRIMARY KEY, -- order of storing, from 1
    id           TEXT NOT NULL UNIQUE,
    task         TEXT NOT NULL,
    terminated   INTEGER NOT NULL,
    final_state  INTEGER REFERENCES states,
    provenance   TEXT NOT NULL,       -- JSON: name -> text
    length       INTEGER NOT NULL     -- steps
);
CREATE TABLE steps (
    episode            INTEGER NOT NULL REFERENCES episodes,
    t                  INTEGER NOT NULL,
    state              INTEGER NOT NULL REFERENCES states,
    action             TEXT NOT NULL,
    reward             REAL NOT NULL,
    behaviour_logprob  REAL NOT NULL,
    policy_before      TEXT NOT NULL, -- JSON: action -> probability
    policy_after       TEXT NOT NULL,
    changed            INTEGER NOT NULL,
    preset             TEXT NOT NULL,
    seed               INTEGER NOT NULL,
    judged             REAL,          -- NULL: not scored
    PRIMARY KEY (episode, t)
) WITHOUT ROWID;
"""
_FROM_VERSION_1 = "ALTER TABLE steps ADD COLUMN judged REAL"


class SqliteMemory:
    """A memory in one SQLite file (WAL mode), or in RAM.

    path        of the file, created if it is missing; None for a memory in RAM
    durability  "process": acknowledged episodes survive the death of the process;
                "power": they survive a power failure as well, at some milliseconds an episode
    readonly    open an existing file and never write it

    A file of an older schema version is brought up to date when it is opened for writing, in one
    transaction, and read as it is otherwise.

    Raises NotAMemory, NewerMemory or MemoryUnavailable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "process",
        readonly: bool = False,
    ) -> None:
        if durability not in ("process", "power"):
            raise InvalidValue("durability", durability, 'must be "process" or "power"')
        self.path = None if path is None else os.fspath(path)
        self._readonly = readonly
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._db: sqlite3.Connection | None = None
        try:
            with self._errors():
                self._db = _connect(self.path, readonly)
                self._prepare(durability)
        except BaseException:
            self.close()
            raise

    def append(self, episode: Episode) -> bool:
        """Store an episode in one transaction; see `jitrl.memory.Memory.append`."""
        with self._transaction() as db:
            held = db.execute("SELECT 1 FROM episodes WHERE id = ?", (episode.id,)).fetchone()
            if held is None:
                try:
                    _insert(db, episode)
                except (
                    TypeError,
                    ValueError,
                    OverflowError,
                    sqlite3.ProgrammingError,
                ) as error:
                    raise InvalidValue(
                        "episode", episode.id, f"cannot be stored: {error}"
                    ) from error
            return held is None

    def judge(
        self,
        id: str,
        scores: Sequence[float | None],
        provenance: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Fill in the scores of an episode in one transaction; see `jitrl.memory.Memory.judge`."""
        id, added = text("id", id), texts("provenance", provenance)
        with self._transaction() as db:
            filled = _judge(db, id, scores)
            if filled and added:
                _add_provenance(db, id, added)
            return filled

    def episodes(self, after: int = 0) -> Iterator[Episode]:
        """Iterate over the stored episodes; see `jitrl.memory.Memory.episodes`.

        Each episode is read when it is asked for: no lock is held in between.
        """
        after = max(after, 0)
        while True:
            with self._errors():
                stored = len(self)  # before the look: others may store at any time
                episode = _read(self._connection(), after + 1, self._name)
            if episode is None:
                if after < stored:
                    raise NotAMemory(_damaged(self._name, f"episode {after + 1} is missing"))
                return
            yield episode
            after += 1

    def __len__(self) -> int:
        with self._errors():
            row = self._connection().execute("SELECT max(seq) FROM episodes").fetchone()
            if not isinstance(row[0], int | None):
                raise NotAMemory(_damaged(self._name, "an episode without a number"))
            return row[0] or 0

    def close(self) -> None:
        """Close the file; calling it twice is harmless."""
        if self._pid != os.getpid():
            return  # the connection belongs to the process that opened it
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise MemoryUnavailable(f"memory {self._name} is closed: open it again")
        return self._db

    def _not_forked(self) -> None:
        if self._pid != os.getpid():
            raise MemoryUnavailable(
                f"memory {self._name} was opened before this process was forked: open it anew here"
            )

    @property
    def _name(self) -> str:
        return "in RAM" if self.path is None else repr(self.path)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the file; commit at the end, roll back on any exception."""
        with self._errors():
            db = self._connection()
            if self._readonly:
                raise MemoryUnavailable(f"memory {self._name} is open to be read: open it to write")
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # some failures, such as a full disk, roll back themselves
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Hold the lock of this object; turn SQLite's errors into ours."""
        self._not_forked()  # before the lock: a fork may have copied it held, for ever
        with self._lock:
            try:
                yield
            except UnicodeDecodeError as error:  # even SQLite's message quotes the damaged text
                raise NotAMemory(_damaged(self._name, "a text that cannot be decoded")) from error
            except sqlite3.Error as error:
                raise _translated(error, self._name) from error

    def _prepare(self, durability: Durability) -> None:
        db = self._connection()
        db.execute("BEGIN")  # one look at all three: another process may be creating the file
        held = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute("COMMIT")
        if mark != APPLICATION_ID and (held or mark or version or self._readonly):
            raise NotAMemory(
                f"{self._name} is a database, but not a memory of jitrl: choose another path"
            )
        if version > SCHEMA_VERSION:
            raise NewerMemory(
                f"memory {self._name} has schema version {version}, this jitrl reads up to "
                f"{SCHEMA_VERSION}: install a newer jitrl"
            )
        if self._readonly:
            return
        _use_wal(db)
        db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        db.execute("PRAGMA foreign_keys = ON")
        with self._transaction():  # of several processes at once, the first one does it
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                for statement in _SCHEMA.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif db.execute("PRAGMA user_version").fetchone()[0] == 1:
                db.execute(_FROM_VERSION_1)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _connect(path: str | None, readonly: bool) -> sqlite3.Connection:
    """Open the file without reading it; autocommit, so that transactions are ours alone."""
    if path is None:
        target = ":memory:"
    elif "\0" in path:
        raise MemoryUnavailable(f"memory {path!r} cannot be a path: leave out the NUL character")
    else:
        try:
            target = _target(Path(path), readonly)
        except OSError as error:
            raise MemoryUnavailable(f"memory {path!r}: {error.strerror}: check the path") from error
    return sqlite3.connect(
        target,
        uri=True,
        timeout=_WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _target(path: Path, readonly: bool) -> str:
    """Return the address of the file for SQLite, after a look at what is there."""
    folder = path.absolute().parent
    if readonly and not path.is_file():
        raise MemoryUnavailable(f"no memory at {str(path)!r}: check the path")
    if not folder.is_dir():
        raise MemoryUnavailable(f"the folder of memory {str(path)!r} does not exist: create it")
    if path.is_dir():
        raise MemoryUnavailable(f"memory {str(path)!r} is a folder: name a file")
    if path.is_file() and 0 < path.stat().st_size < _SMALLEST:
        raise NotAMemory(_damaged(repr(str(path)), "too short"))  # SQLite overwrites one byte
    if not readonly and path.exists() and not os.access(path, os.W_OK):
        raise MemoryUnavailable(
            f"memory {str(path)!r} is read-only: make it writable, or open it frozen"
        )
    target = f"file:{quote(os.fsencode(path.absolute()))}?mode={'ro' if readonly else 'rwc'}"
    log = path.with_name(f"{path.name}-wal")
    if readonly and not os.access(folder, os.W_OK) and not log.exists():
        target += "&immutable=1"  # no place for the shared-memory file of WAL mode
    return target


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL mode. SQLite does not wait for other openers here, so this does."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _translated(error: sqlite3.Error, name: str) -> Exception:
    """Return our exception for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code, without its details
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
        return NotAMemory(_damaged(name, str(error)))
    if not code and isinstance(error, sqlite3.OperationalError):  # a text that is not UTF-8
        return NotAMemory(_damaged(name, "a text that cannot be decoded"))
    remedies = {
        sqlite3.SQLITE_FULL: "free some disk space and store again",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable, or open it frozen",
        sqlite3.SQLITE_BUSY: f"another writer held it for over {_WAIT_SECONDS:g} s: end that one",
        sqlite3.SQLITE_CANTOPEN: "check the path and the rights of its folder",
        sqlite3.SQLITE_IOERR: "check the disk: its quota, its space, its health",
    }
    remedy = remedies.get(code, "nothing was stored by this call")
    return MemoryUnavailable(f"memory {name}: {error}: {remedy}")


def _damaged(name: str, what: str) -> str:
    return (
        f"{name} is not a memory of jitrl, or it is damaged ({what}): "
        "name another path, or restore a copy"
    )


def _insert(db: sqlite3.Connection, episode: Episode) -> None:
    final = None if episode.final_state is None else _intern(db, episode.final_state)
    seq = db.execute("SELECT coalesce(max(seq), 0) + 1 FROM episodes").fetchone()[0]
    db.execute(
        "INSERT INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            seq,
            episode.id,
            episode.task,
            episode.terminated,
            final,
            _dump(episode.provenance),
            len(episode.steps),
        ),
    )
    rows = (
        (
            seq,
            t,
            _intern(db, step.state),
            step.action,
            finite("reward", step.reward),
            finite("behaviour_logprob", step.behaviour_logprob),
            _dump(step.before),
            _dump(step.after),
            bool(step.changed),
            step.preset,
            int(step.seed),
            None if step.judged is None else finite("judged", step.judged),
        )
        for t, step in enumerate(episode.steps)
    )
    db.executemany("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _judge(db: sqlite3.Connection, id: str, given: Sequence[float | None]) -> bool:
    """Fill in the scores that are missing; say whether there was one to fill in."""
    row = db.execute("SELECT seq, length FROM episodes WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise InvalidValue("id", id, "must be that of a stored episode")
    seq, length = row
    found = [(x, seq, t) for t, x in enumerate(scores(given, length)) if x is not None]
    fill = "UPDATE steps SET judged = ? WHERE episode = ? AND t = ? AND judged IS NULL"
    return sum(db.execute(fill, score).rowcount for score in found) > 0


def _add_provenance(db: sqlite3.Connection, id: str, added: Mapping[str, str]) -> None:
    query = "SELECT provenance FROM episodes WHERE id = ?"
    held = _mapping(db.execute(query, (id,)).fetchone()[0], str)
    for name, value in added.items():
        if value not in held.setdefault(name, value).split("; "):
            held[name] += f"; {value}"
    db.execute("UPDATE episodes SET provenance = ? WHERE id = ?", (_dump(held), id))


def _intern(db: sqlite3.Connection, state: State) -> int:
    """Return the number of a state, storing it if it is new."""
    fields = _dump(state)
    digest = sha256(fields.encode()).digest()
    row = db.execute("SELECT id FROM states WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        row = db.execute(
            "INSERT INTO states (digest, fields) VALUES (?, ?) RETURNING id",
            (digest, fields),
        ).fetchone()
    return int(row[0])


def _read(db: sqlite3.Connection, seq: int, name: str) -> Episode | None:
    try:
        return _parsed(db, seq)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotAMemory(_damaged(name, f"episode {seq}: {error}")) from error


def _parsed(db: sqlite3.Connection, seq: int) -> Episode | None:
    head = db.execute(
        "SELECT episodes.id, task, terminated, fields, provenance, final_state, length "
        "FROM episodes LEFT JOIN states ON states.id = final_state WHERE seq = ?",
        (seq,),
    ).fetchone()
    if head is None:
        return None
    id, task, terminated, final, provenance, final_state, length = head
    rows = db.execute(
        "SELECT t, fields, action, reward, behaviour_logprob, policy_before, policy_after, "
        f"changed, preset, seed, {_judged_column(db)} "
        "FROM steps LEFT JOIN states ON states.id = state WHERE episode = ? ORDER BY t",
        (seq,),
    ).fetchall()
    if [row[0] for row in rows] != list(range(length)):
        raise ValueError(f"{len(rows)} of its {length} steps are there")
    return Episode(
        id=text("id", id),
        task=text("task", task),
        steps=tuple(_step(*row[1:]) for row in rows),
        terminated=bool(terminated),
        final_state=None if final_state is None else State(**_mapping(final, str)),
        provenance=_mapping(provenance, str),
    )


def _judged_column(db: sqlite3.Connection) -> str:
    """Return the column of that name; NULL for a file of version 1, which is only read."""
    query = "SELECT count(*) FROM pragma_table_info('steps') WHERE name = 'judged'"
    return "judged" if db.execute(query).fetchone()[0] else "NULL"


def _step(
    fields: str,
    action: str,
    reward: float,
    logprob: float,
    before: str,
    after: str,
    changed: int,
    preset: str,
    seed: int,
    judged: float | None,
) -> Step:
    """Return a stored step; raises TypeError or ValueError for what cannot have been stored."""
    return Step(
        state=State(**_mapping(fields, str)),
        action=text("action", action),
        reward=finite("reward", reward),
        behaviour_logprob=finite("behaviour_logprob", logprob),
        before=_mapping(before, int | float),
        after=_mapping(after, int | float),
        changed=bool(changed),
        preset=text("preset", preset),
        seed=count("seed", seed),
        judged=None if judged is None else finite("judged", judged),
    )


def _mapping(stored: str, kind: Any) -> dict[str, Any]:
    """Return a JSON object whose values are all of one kind."""
    value = json.loads(stored)
    if not isinstance(value, dict) or not all(isinstance(held, kind) for held in value.values()):
        raise ValueError("a value of another type than was stored")
    return value


def _dump(value: Mapping[str, object]) -> str:
    return json.dumps(dict(value), allow_nan=False, separators=(",", ":"))
