"""The directory: keys in order, each with the one that follows, so that it can be proven that one
is not there."""

from __future__ import annotations

from collections.abc import Sequence

from jitrl.memory.sql.rows import Damage, Row, seal, sealed
from jitrl.memory.sql.schema import Sql, insertion

IDS, STATES = 1, 2
"""Kinds of keys: the SHA-256 of an episode's id, and of a state."""

_ENTRY = "SELECT key, following, number, seal FROM directory WHERE kind = ? AND key"
_LAST = "ORDER BY key DESC LIMIT 1"
_UPDATE = "UPDATE directory SET following = ?, seal = ? WHERE kind = ? AND key = ?"


def find(db: Sql, kind: int, key: bytes) -> int | None:
    """Return the number that goes with a key; None where there is none."""
    held, following, number = _entry(db, kind, "<=", key)
    if held == key:
        return number
    _check_gap(held, key, following)
    return None


def add(db: Sql, kind: int, keys: Sequence[bytes], number: int) -> dict[bytes, int]:
    """Return the number that goes with each key; those that are new get `number` and on.

    keys  no one twice
    """
    numbers: dict[bytes, int] = {}
    gaps: dict[tuple[bytes, bytes, int], list[bytes]] = {}
    asked = [(kind, key) for key in keys]
    for key, found in zip(keys, db.each(f"{_ENTRY} <= ? {_LAST}", asked), strict=True):
        held, following, held_number = _checked(kind, found)
        if held == key:
            numbers[key] = held_number
            continue
        _check_gap(held, key, following)
        gaps.setdefault((held, following, held_number), []).append(key)
        numbers[key], number = number, number + 1
    changed: list[Row] = []
    new: list[Row] = []
    for (held, following, held_number), between in gaps.items():
        between.sort()
        changed.append((kind, held, between[0], held_number))
        for key, after in zip(between, [*between[1:], following], strict=True):
            new.append((kind, key, after, numbers[key]))
    db.many(_UPDATE, [(row[2], seal(*row), kind, row[1]) for row in changed])
    db.many(insertion("directory", 5), [(*row, seal(*row)) for row in new])
    return numbers


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
    return _checked(kind, db.execute(f"{_ENTRY} {relation} ? {_LAST}", (kind, key)))


def _checked(kind: int, found: Sequence[Row]) -> tuple[bytes, bytes, int]:
    if not found:
        raise Damage("the directory lacks its beginning")
    held, following, number = sealed((kind, *found[0]), "an entry of the directory")[1:]
    return held, following, number


def put(db: Sql, kind: int, key: bytes, following: bytes, number: int) -> None:
    """Write a key, and the one that follows; no other is changed."""
    values = (kind, key, following, number)
    db.execute(insertion("directory", 5), (*values, seal(*values)))


def _link(db: Sql, kind: int, key: bytes, following: bytes, number: int) -> None:
    db.execute(_UPDATE, (following, seal(kind, key, following, number), kind, key))
