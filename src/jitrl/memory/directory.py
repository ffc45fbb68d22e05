"""The directory: keys in order, each with the one that follows, so that it can be proven that one
is not there."""

from __future__ import annotations

from jitrl.memory.rows import Damage, seal, sealed
from jitrl.memory.schema import Sql, insertion

IDS, STATES = 1, 2
"""Kinds of keys: the SHA-256 of an episode's id, and of a state."""

_ENTRY = "SELECT key, following, number, seal FROM directory WHERE kind = ? AND key"


def find(db: Sql, kind: int, key: bytes) -> int | None:
    """Return the number that goes with a key; None where there is none."""
    held, following, number = _entry(db, kind, "<=", key)
    if held == key:
        return number
    _check_gap(held, key, following)
    return None


def number_of(db: Sql, kind: int, key: bytes, number: int) -> tuple[int, bool]:
    """Return the number that goes with a key: `number`, and True, where it is new."""
    held, following, held_number = _entry(db, kind, "<=", key)
    if held == key:
        return held_number, False
    _check_gap(held, key, following)
    _link(db, kind, held, key, held_number)
    put(db, kind, key, following, number)
    return number, True


def drop(db: Sql, kind: int, key: bytes) -> None:
    """Take out a key that is there."""
    held, following, _ = _entry(db, kind, "<=", key)
    before, held_next, before_number = _entry(db, kind, "<", key)
    if not held == held_next == key:
        raise Damage("the directory lacks an entry")
    db.execute("DELETE FROM directory WHERE kind = ? AND key = ?", (kind, key))
    _link(db, kind, before, following, before_number)


def entries(db: Sql, kind: int) -> dict[bytes, int]:
    """Return every key of a kind with its number."""
    query = "SELECT kind, key, following, number, seal FROM directory WHERE kind = ? ORDER BY key"
    found = [sealed(row, "an entry of the directory") for row in db.execute(query, (kind,))]
    keys = [row[1] for row in found]
    if keys[:1] != [b""] or [row[2] for row in found] != [*keys[1:], b""]:
        raise Damage("the directory has a gap")
    return {row[1]: row[3] for row in found[1:]}


def _check_gap(held: bytes, key: bytes, following: bytes) -> None:
    if held > key or (following and following <= key):
        raise Damage("the directory is out of order")


def _entry(db: Sql, kind: int, relation: str, key: bytes) -> tuple[bytes, bytes, int]:
    found = db.execute(f"{_ENTRY} {relation} ? ORDER BY key DESC LIMIT 1", (kind, key))
    if not found:
        raise Damage("the directory lacks its beginning")
    held, following, number = sealed((kind, *found[0]), "an entry of the directory")[1:]
    return held, following, number


def put(db: Sql, kind: int, key: bytes, following: bytes, number: int) -> None:
    """Write a key, and the one that follows; no other is changed."""
    values = (kind, key, following, number)
    db.execute(insertion("directory", 5), (*values, seal(*values)))


def _link(db: Sql, kind: int, key: bytes, following: bytes, number: int) -> None:
    query = "UPDATE directory SET following = ?, seal = ? WHERE kind = ? AND key = ?"
    db.execute(query, (following, seal(kind, key, following, number), kind, key))
