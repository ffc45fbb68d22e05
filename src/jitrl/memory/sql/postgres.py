"""The shared memory: tables on a PostgreSQL server, for many processes on many machines.

Writers wait for each other: each one locks the only row of `memory` first, so that the order of
commits is the order of revisions. Readers wait for nobody, and see one moment.

A connection that is lost is opened again, and the transaction done again. Where it was lost at the
very end, the server is asked whether the transaction was committed: nothing is done twice.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from jitrl.cache import cache_folder
from jitrl.checks import finite
from jitrl.errors import InvalidValue, MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.memory.address import shown
from jitrl.memory.contract import Progress
from jitrl.memory.redaction import DEFAULT, Redaction
from jitrl.memory.sql import seam, tables
from jitrl.memory.sql.driver import (
    Connection,
    Lost,
    Patience,
    Session,
    connect,
    psycopg,
    translated,
)
from jitrl.memory.sql.rows import Damage
from jitrl.memory.sql.schema import SCHEMA, TABLES, Sql
from jitrl.memory.sql.sqlite import Durability
from jitrl.memory.sql.sqlite_file import SCHEMA_VERSION
from jitrl.memory.sql.store import SqlMemory

T = TypeVar("T")

_KEY = 0x4A497452  # of the advisory lock under which a memory is created
_MARK = "memory of jitrl, schema version "
_TYPES = {
    "integer": "bigint",
    "real": "double precision",
    "text": "text",
    "bytes": "bytea",
    "clustered": "",
}
_SCHEMA = SCHEMA.strip().format_map(_TYPES).split(";\n")
_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_WRITE = b"BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE"
_LOCK = b"SELECT pg_current_xact_id()::text FROM memory FOR UPDATE"
_STATUS = b"SELECT pg_xact_status(%b::text::xid8)"
_HELD = b"""
SELECT c.relname::text, obj_description(c.oid, 'pg_class'),
       ARRAY(SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum),
       has_table_privilege(c.oid, 'SELECT'),
       has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
           AND has_table_privilege(c.oid, 'DELETE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind <> 'c' AND c.relname = ANY(%b::text[])
"""
_FOREIGN = b"""
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = ANY(%b::text[]) AND NOT
"""
_KEYS = b"""
SELECT c.relname::text FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indrelid = c.oid
WHERE n.nspname = current_schema() AND i.indisprimary AND i.indisvalid
"""
_SIZE = f"""
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname IN ({", ".join(map(repr, TABLES))})
"""

log = logging.getLogger(__name__)


class PostgresMemory(SqlMemory):
    """A memory in one schema of a PostgreSQL database (13 or newer, encoded in UTF8).

    address     postgresql://user@host/database, with what libpq knows of parameters. Where no
                password is needed, or PGPASSWORD or ~/.pgpass holds it, none should stand in it.
                The tables are made in the first schema of the search path, if there are none:
                "?options=-csearch_path%3Dname" chooses another one, which must exist
    durability  "process": as the server is set; "power": with synchronous_commit on at least
    readonly    look at a memory that is there, and never write it
    clock       seconds since 1970, for when an episode was stored
    redaction   takes secrets out of what is stored; None: nothing is taken out
    patience    seconds, > 0: how long to go on trying to reach a server that was lost, and to wait
                for another writer

    `path` is the address without passwords. `forget` and `vacuum` write the tables anew, for which
    the user must own them; what archives of the write-ahead log, replicas that lag, and backups of
    the server hold is out of reach, and so is the log itself until the server has used it up.

    Raises NotAMemory, NewerMemory or MemoryUnavailable.
    """

    def __init__(
        self,
        address: str,
        *,
        durability: Durability = "process",
        readonly: bool = False,
        clock: Callable[[], float] = time.time,
        redaction: Redaction | None = DEFAULT,
        patience: float = 60.0,
    ) -> None:
        if durability not in ("process", "power"):
            raise InvalidValue("durability", durability, 'must be "process" or "power"')
        if finite("patience", patience) <= 0:
            raise InvalidValue("patience", patience, "must be > 0")
        self.path = shown(address)
        self._address = address
        self._durability = durability
        self._readonly = readonly
        self._clock = clock
        self.redaction = redaction
        self._patience = patience
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._uuid: str | None = None
        self._closed = False
        with self._errors(), self._named():
            self._db = self._connected()

    @property
    def beside(self) -> Path | None:
        """The folder on this machine for what is derived from the memory."""
        return None if self._uuid is None else cache_folder() / "memories" / self._uuid

    def close(self) -> None:
        """Close the connection; calling it twice is harmless."""
        if self._pid != os.getpid():
            return  # the connection belongs to the process that opened it
        with self._lock:
            self._closed = True
            self._db.close()

    @contextmanager
    def reading(self) -> Iterator[Sql]:
        """Look at the memory as it is at one moment."""
        with self._errors():
            db = self._connection()
            if db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                with db.transaction():  # a savepoint: where this fails, the rest can be looked at
                    yield Session(db)
                return
            with self._undone(db):
                db.execute(_READ)
                yield Session(db)
                db.execute(b"COMMIT")

    @contextmanager
    def writing(self) -> Iterator[Sql]:
        """Hold the row of the whole memory; commit at the end, roll back on any exception."""
        with self._errors():
            db = self._connection()
            if self._readonly:
                raise seam.read_only(self._name)
            with self._undone(db):
                db.execute(_WRITE)
                locked = db.execute(_LOCK).fetchall()
                if len(locked) != 1:
                    raise Damage(f"{len(locked)} rows say where it stands")
                yield Session(db)
                self._commit(db, locked[0][0])

    def sweep(self, progress: Progress | None) -> None:
        """Write the tables anew, without what was deleted."""
        self._run(self._check_owner)
        for done, table in enumerate(TABLES):
            if progress is not None:
                progress("writing the tables anew", done, len(TABLES))
            self._run(lambda table=table: self._rewrite(table))  # type: ignore[misc]

    def faults(self, progress: Progress | None) -> list[str]:
        """Return the tables whose primary key is missing, or waits to be built anew."""
        with self._errors():
            keyed = {name for (name,) in self._connection().execute(_KEYS).fetchall()}
        return [f"table {name} has no valid primary key" for name in TABLES if name not in keyed]

    def _bytes(self, db: Sql) -> int | None:
        return int(db.execute(_SIZE)[0][0])

    # --- connections

    def _run(self, call: Callable[[], T]) -> T:
        """Return what a transaction returns; where its connection is lost, it is run anew."""
        patience, told = Patience(self._patience), False
        while True:
            try:
                return call()
            except Lost as error:
                log.log(logging.DEBUG if told else logging.WARNING, "%s: trying again", error)
                told = True
                if not patience.wait():
                    raise

    def _connection(self) -> Connection:
        if self._closed:
            raise seam.closed(self._name)
        if self._db.closed:
            try:
                self._db = self._connected()
            except psycopg.Error as error:
                lost = isinstance(error, psycopg.OperationalError)
                raise translated(error, self._name, lost) from error
        return self._db

    def _connected(self) -> Connection:
        settings = {"lock_timeout": f"{max(1, round(1000 * self._patience))}ms"}
        if self._readonly:
            settings["default_transaction_read_only"] = "on"
        db = connect(self._address, settings)
        try:
            if self._durability == "power":
                _make_sure(db)
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: Connection) -> None:
        """Look at the tables, and make them if there are none; raises if they are another's."""
        if not self._found(db):
            self._check_schema(db)
            if self._readonly or self._uuid is not None:
                raise MemoryUnavailable(f"no memory at {self._name}: check the address")
            with db.transaction():  # of several processes at once, the first one does it
                db.execute(b"SELECT pg_advisory_xact_lock(%b)", [_KEY])
                if not self._found(db):
                    _make(db)
        named = [name for (name,) in Session(db).execute("SELECT uuid FROM memory")]
        if self._uuid is not None and named != [self._uuid]:
            raise NotAMemory(f"{self._name} is another memory than it was: open it anew")
        self._uuid = named[0] if len(named) == 1 and re.fullmatch("[0-9a-f]+", named[0]) else None

    def _check_schema(self, db: Connection) -> None:
        query = b"SELECT current_schema(), current_setting('search_path')"
        ((schema, searched),) = db.execute(query).fetchall()
        if schema is None:
            raise MemoryUnavailable(
                f"memory {self._name}: no schema of its search path ({searched}) is there for user "
                f"{db.info.user!r}: create one, or grant USAGE on it"
            )

    def _found(self, db: Connection) -> bool:
        """Return whether the tables are there; raises if they are not ours, or out of reach."""
        held = {row[0]: row[1:] for row in db.execute(_HELD, [list(TABLES)]).fetchall()}
        if not held:
            return False
        mark = held["memory"][0] if "memory" in held else None
        version = re.fullmatch(f"{_MARK}([0-9]+)", mark or "")
        if version is None:
            raise NotAMemory(
                f"{self._name} has tables ({', '.join(sorted(held))}) that are not a memory of "
                "jitrl: name another schema, by ?options=-csearch_path%3DNAME"
            )
        if int(version[1]) > SCHEMA_VERSION:
            raise NewerMemory(
                f"memory {self._name} has schema version {version[1]}, this jitrl reads up to "
                f"{SCHEMA_VERSION}: install a newer jitrl"
            )
        if {table: columns for table, (_, columns, *_) in held.items()} != _COLUMNS:
            raise Damage("its tables are not those of its version")
        for right, (name, remedy) in enumerate(_RIGHTS.items(), 2):
            if not all(row[right] for row in held.values()) and (right == 2 or not self._readonly):
                raise MemoryUnavailable(
                    f"memory {self._name} may not be {name} by user {db.info.user!r}: {remedy}"
                )
        return True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Hold the lock of this object; turn PostgreSQL's errors into ours."""
        if self._pid != os.getpid():  # before the lock: a fork may have copied it held, for ever
            raise seam.forked(self._name)
        with self._lock:
            try:
                yield
            except UnicodeDecodeError as error:
                raise NotAMemory(
                    seam.damaged(self._name, "a text that cannot be decoded")
                ) from error
            except psycopg.Error as error:
                raise translated(error, self._name, self._lost()) from error

    def _lost(self) -> bool:
        return hasattr(self, "_db") and self._db.closed

    @contextmanager
    def _undone(self, db: Connection) -> Iterator[None]:
        """Roll back on any exception."""
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):  # the server rolls back what it has lost sight of
                db.execute(b"ROLLBACK")
            if db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                db.close()
            raise

    def _commit(self, db: Connection, transaction: str) -> None:
        """Commit; where the connection is lost meanwhile, find out whether it was done."""
        try:
            said = db.execute(b"COMMIT").statusmessage
        except psycopg.Error as error:
            if not db.closed:
                raise
            lost = translated(error, self._name, lost=True)
            log.warning("%s: asking whether it was committed", lost)
            if not self._committed(transaction):
                raise lost from error
        else:
            if said != "COMMIT":
                raise MemoryUnavailable(f"memory {self._name}: nothing was committed: do it again")

    def _committed(self, transaction: str) -> bool:
        """Ask the server what became of a transaction."""
        patience = Patience(self._patience)
        while True:
            with suppress(Lost, psycopg.OperationalError):
                (status,) = self._connection().execute(_STATUS, [transaction]).fetchall()[0]
                if status != "in progress":  # the server may not know yet that we are gone
                    return bool(status == "committed")
            if not patience.wait():
                raise MemoryUnavailable(
                    f"memory {self._name}: the server was lost at the end of a transaction, and "
                    "nobody knows whether it was committed: look, and do it again if it was not"
                )

    # --- free space

    def _check_owner(self) -> None:
        with self._errors():
            db = self._connection()
            if self._readonly:
                raise seam.read_only(self._name)
            mine = b"pg_has_role(c.relowner, 'USAGE')"
            if db.info.server_version >= 170000:
                mine = b"(" + mine + b" OR has_table_privilege(c.oid, 'MAINTAIN'))"
            others = db.execute(_FOREIGN + mine, [list(TABLES)]).fetchall()
        if others:
            raise MemoryUnavailable(
                f"memory {self._name}: what was deleted is no longer in the memory, but still in "
                f"the server's files, as user {db.info.user!r} does not own the tables: vacuum it "
                "as their owner"
            )

    def _rewrite(self, table: str) -> None:
        """Write a table anew; waits for those who may still look at what was deleted."""
        left: list[int] = []

        def hear(said: psycopg.errors.Diagnostic) -> None:
            rows = re.match("[0-9]+", said.message_detail or "")  # "3 dead rows cannot be ..."
            left.append(int(rows[0]) if rows else 0)

        patience = Patience(self._patience)
        with self._errors(), suppress(psycopg.errors.LockNotAvailable):
            db = self._connection()
            while not left or (any(left) and patience.wait()):
                left.clear()
                db.add_notice_handler(hear)
                try:
                    db.execute(f"VACUUM (FULL, VERBOSE) {table}".encode())
                finally:
                    db.remove_notice_handler(hear)
            if not any(left):
                return
        raise MemoryUnavailable(
            f"memory {self._name}: what was deleted is no longer in the memory, but a transaction "
            "of somebody's keeps it in the server's files (backend_xmin in pg_stat_activity): end "
            "that one, and vacuum the memory"
        )


_RIGHTS = {
    "read": "grant SELECT on its tables",
    "written": "grant INSERT, UPDATE and DELETE on its tables, or open it frozen",
}
_COLUMNS = {
    re.findall(r"CREATE TABLE (\w+)", statement)[0]: [
        f"{name} {_TYPES[kind]}"
        for name, kind in re.findall(r"(?m)^    (\w+) +\{(\w+)\}", statement)
    ]
    for statement in SCHEMA.strip().split(";\n")
}


def _make(db: Connection) -> None:
    """Create an empty memory. No statistics of texts: they would outlive what is forgotten."""
    for statement in _SCHEMA:
        db.execute(statement.encode())
    for table, columns in _COLUMNS.items():
        kept = [column.split()[0] for column in columns if column.endswith(" text")]
        for name in kept:
            db.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS 0".encode())
    db.execute(f"COMMENT ON TABLE memory IS '{_MARK}{SCHEMA_VERSION}'".encode())
    tables.create(Session(db), uuid.uuid4().hex, uuid.uuid4().hex)


def _make_sure(db: Connection) -> None:
    """Let commits reach the server's disk, if they do not already."""
    held = db.execute(b"SHOW synchronous_commit").fetchone()
    if held not in (("on",), ("remote_apply",)):
        db.execute(b"SET synchronous_commit = on")
