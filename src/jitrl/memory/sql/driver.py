"""What talks to PostgreSQL: connections, values as it keeps them, its errors in our words."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache

from jitrl.errors import MemoryUnavailable, MissingExtra, NotAMemory, StoreError
from jitrl.memory.address import shown
from jitrl.memory.sql.rows import Row, Value
from jitrl.memory.sql.seam import damaged

try:
    import psycopg
except ImportError as error:
    raise MissingExtra("psycopg is not installed: pip install 'jitrl[postgres]'") from error
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper

__all__ = ["Connection", "Lost", "Patience", "Session", "connect", "psycopg", "translated"]

Connection = psycopg.Connection[Row]

_OLDEST = 130000
_DEFAULTS: dict[str, str | int] = {
    "fallback_application_name": "jitrl",
    "connect_timeout": 10,
    "keepalives_idle": 15,  # a network that is cut is noticed within a minute
    "keepalives_interval": 5,
    "keepalives_count": 6,
    "tcp_user_timeout": 45_000,
}
_SETTINGS = {  # the server notices just so, and lets go of what a vanished writer held
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "6",
    "idle_in_transaction_session_timeout": "60s",
}
_LOST = re.compile("08...|57P0[1235]|25P03|40...")  # sqlstates of what may be tried again
_REMEDIES = {
    "25006": "it may only be read here: open it frozen, or name the server that is written to",
    "28...": "check user and password: PGPASSWORD or ~/.pgpass may hold the password",
    "3D000": "create the database",
    "3F000": "create the schema, or let the user use it",
    "42501": "give the user the right, or open the memory frozen",
    "53100": "free some disk space on the server and store again",
    "53300": "let the server have more connections, or end some",
    "53...": "give the server what it lacks",
    "55P03": "another one held it for too long: end that one",
    "57014": "the server's statement_timeout is too short: raise it for this user",
}
_DAMAGE = re.compile("22P0[235]|2202[13]|23...|42P01|42703|42804|42883|XX...")


class Lost(MemoryUnavailable):
    """The connection is lost, or the server wants it done again: nothing of it is stored."""


class Patience:
    """How long to go on trying: `wait` waits, longer each time, and says when it has an end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pause = 0.0
        self._end: float | None = None

    def wait(self) -> bool:
        """Wait, at first not at all; returns False, at once, where it would take too long."""
        if self._end is None:
            self._end = time.monotonic() + self._seconds
        if time.monotonic() + self._pause > self._end:
            return False
        time.sleep(self._pause)
        self._pause = min(max(2 * self._pause, 0.02), 2.0)
        return True


def connect(address: str, settings: dict[str, str]) -> Connection:
    """Open a connection that begins transactions only when told; raises psycopg's errors.

    settings  of the server, for this session
    """
    name = repr(shown(address))
    try:
        given = conninfo_to_dict(address)
    except psycopg.Error:  # the message may quote the password
        raise MemoryUnavailable(
            f"memory {name}: its address has a part that PostgreSQL does not know: see "
            "`connection URIs` in the manual of libpq"
        ) from None
    options = {name: value for name, value in _DEFAULTS.items() if name not in given}
    db: Connection = psycopg.connect(address, autocommit=True, client_encoding="UTF8", **options)  # type: ignore[arg-type]
    try:
        _check(db, name)
        db.adapters.register_dumper(int, Int8BinaryDumper)
        db.adapters.register_dumper(str, StrBinaryDumper)
        chosen = _SETTINGS | settings
        calls = ", ".join(["set_config(%b, %b, false)"] * len(chosen))
        db.execute(f"SELECT {calls}".encode(), [word for pair in chosen.items() for word in pair])
    except BaseException:
        db.close()
        raise
    return db


def _check(db: Connection, name: str) -> None:
    if db.info.server_version < _OLDEST:
        raise MemoryUnavailable(
            f"memory {name}: its server is PostgreSQL {db.info.server_version // 10000}: it must "
            f"be {_OLDEST // 10000} or newer"
        )
    encoding = db.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise MemoryUnavailable(
            f"memory {name}: its database is encoded in {encoding}: create one in UTF8"
        )


class Session:
    """SQL on a connection, within a transaction or without one."""

    def __init__(self, db: Connection) -> None:
        self._cursor = db.cursor(binary=True)

    def execute(self, query: str, values: Sequence[Value] = ()) -> list[Row]:
        """Return the rows that a statement gives."""
        cursor = self._cursor.execute(_translated(query), _told(values), prepare=True)
        return [] if cursor.description is None else [_read(row) for row in cursor.fetchall()]

    def many(self, query: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute a statement that gives no rows once for each, without waiting in between."""
        self._cursor.executemany(_translated(query), [_told(row) for row in rows])

    def each(self, query: str, rows: Iterable[Sequence[Value]]) -> list[list[Row]]:
        """Return the rows that a statement gives for each, without waiting in between."""
        told = [_told(row) for row in rows]
        if not told:
            return []
        self._cursor.executemany(_translated(query), told, returning=True)
        return [[_read(row) for row in found.fetchall()] for found in self._cursor.results()]


@lru_cache(maxsize=256)
def _translated(query: str) -> bytes:
    return query.replace("%", "%%").replace("?", "%b").encode()


def _told(values: Sequence[Value]) -> list[Value]:
    return [_escaped(value) if isinstance(value, str) else value for value in values]


def _read(row: Row) -> Row:
    return tuple(_plain(value) if isinstance(value, str) else value for value in row)


def _escaped(text: str) -> str:
    """Return a text as it is stored: PostgreSQL has no NUL character, so U+0001 stands before it.

    >>> _escaped("a\\0b\\1"), _plain(_escaped("a\\0b\\1"))
    ('a\\x01ab\\x01b', 'a\\x00b\\x01')
    """
    if "\0" in text or "\1" in text:
        return text.replace("\1", "\1b").replace("\0", "\1a")
    return text


def _plain(text: str) -> str:
    return text.replace("\1a", "\0").replace("\1b", "\1") if "\1" in text else text


def translated(error: psycopg.Error, name: str, lost: bool) -> StoreError:
    """Return our exception for one of PostgreSQL's.

    lost  the connection is gone
    """
    code, said = error.sqlstate or "", " ".join(str(error).split())
    if lost or _LOST.fullmatch(code):
        return Lost(f"memory {name}: {said}: see whether its server is up, and can be reached")
    if not code and isinstance(error, psycopg.OperationalError):
        remedy = "see whether its server is up, and check host, user and password"
        return MemoryUnavailable(f"memory {name}: {said}: {remedy}")
    if _DAMAGE.fullmatch(code) or isinstance(error, psycopg.DataError):
        return NotAMemory(damaged(name, said))
    for pattern, remedy in _REMEDIES.items():
        if re.fullmatch(pattern, code):
            return MemoryUnavailable(f"memory {name}: {said}: {remedy}")
    return MemoryUnavailable(f"memory {name}: {said}: nothing was stored by this call")
