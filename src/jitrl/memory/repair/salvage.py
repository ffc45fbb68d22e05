"""What is whole of a damaged memory: gathered row by row, checked by its seals."""

from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jitrl.memory.contract import Progress
from jitrl.memory.repair.pages import Found, Image
from jitrl.memory.sql import rows
from jitrl.memory.sql.rows import Damage, Line, Row, Value, seal
from jitrl.memory.sql.tables import APPEND, Meta, Named, Revision

_SEALED = {"memory": 14, "log": 6, "states": 3, "episodes": 16, "snapshots": 6}
"""Tables whose rows have a seal, and the number of their columns."""
_OLD = {3: "old_states", 7: "old_episodes"}
"""Tables of schema versions 1 and 2, likewise."""
_STEP = 12
_OLD_TABLES = {
    "states": ("old_states", "c0", ("id", "digest", "fields")),
    "episodes": (
        "old_episodes",
        "c0",
        ("seq", "id", "task", "terminated", "final_state", "provenance", "length"),
    ),
    "steps": ("steps", "c0, c1", ("episode", *rows.STEP)),
}
"""What each was called, the columns that name a row, and all of them."""
_REALS = {"episodes": (10,), "steps": (4, 5, 11)}
"""Columns of real numbers: SQLite writes whole ones as integers."""
_MOST_CHOICES = 256


@dataclass(frozen=True, slots=True)
class Whole:
    """An episode of which everything is there: its row, its steps, and the JSON of its states."""

    line: Line
    steps: list[Row]
    states: dict[int, str]


class Salvage:
    """The rows of a damaged memory that may be used, in a database of their own.

    A page may be there in several versions, and a row with it. The versions are numbered by
    `images`, the likeliest first; of two rows the later revision counts, then the likelier version.
    """

    def __init__(self, images: Sequence[Image], progress: Progress | None = None) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # in a file that nobody else sees
        self._db.execute("PRAGMA journal_mode = OFF")
        columns = {**_SEALED, **{name: n for n, name in _OLD.items()}, "steps": _STEP}
        for name, n in columns.items():
            named = ", ".join(f"c{i}" for i in range(n))
            self._db.execute(f"CREATE TABLE {name} (image, {named})")
        total, done = sum(len(image.numbers) for image in images), 0
        for version, image in enumerate(images):
            for number in image.numbers:
                for found in image.rows(number):
                    self._put(version, found)
                done += 1
                if progress is not None and done % 1000 == 0:
                    progress("reading pages", done, total)
        for name in columns:
            self._db.execute(f"CREATE INDEX of_{name} ON {name} (c0, c1)")
        self.meta = self._meta()
        self.log = self._log()

    def close(self) -> None:
        """Free what it holds."""
        self._db.close()

    def _put(self, version: int, found: Found) -> None:
        known = _recognised(found)
        if known is not None:
            table, values = known
            marks = ", ".join("?" * (1 + len(values)))
            self._db.execute(f"INSERT INTO {table} VALUES ({marks})", (version, *values))

    def _meta(self) -> Meta | None:
        """Return the latest row of `memory`, None where none is whole."""
        found = self._db.execute("SELECT * FROM memory ORDER BY c3 DESC, image LIMIT 1").fetchone()
        return None if found is None else Meta(*found[2:-1])

    def _log(self) -> dict[int, Revision]:
        """Return the rows of `log` by revision. What is deleted in one version is deleted."""
        order = "SELECT * FROM log ORDER BY c0, c3 IS NULL, image"
        known: dict[int, Revision] = {}
        for row in self._db.execute(order):
            known.setdefault(row[1], Revision(*row[1:-1]))
        return known

    @property
    def top(self) -> int:
        """The highest revision that anything tells of."""
        query = "SELECT max(max(c0), max(c11)) FROM episodes"
        (line,) = self._db.execute(query).fetchone()
        return max(line or 0, max(self.log, default=0), self.meta.revision if self.meta else 0)

    @property
    def sealed(self) -> bool:
        """Whether there is a row of a version with seals."""
        return self.meta is not None or bool(self.log) or self.top > 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing of a memory."""
        return not self.sealed and not self.execute("SELECT 1 FROM old_episodes LIMIT 1")

    @property
    def highest_state(self) -> int:
        """The highest number that a state is known to have."""
        (state,) = self._db.execute("SELECT max(c0) FROM states").fetchone()
        return max(state or 0, self.meta.states if self.meta else 0)

    def numbers(self) -> list[int]:
        """Return the numbers that are those of episodes, or may be; they rise."""
        query = "SELECT c0 FROM episodes UNION SELECT c0 FROM steps"
        found = {number for (number,) in self._db.execute(query) if number <= self.top}
        found.update(number for number, told in self.log.items() if told.what == APPEND)
        return sorted(n for n in found if n not in self.log or self._there(self.log[n]))

    def _there(self, told: Revision) -> bool:
        return told.what == APPEND and told.gone is None

    def later_changes(self) -> dict[int, Revision]:
        """Return by number the last revision that changed an episode after it was stored."""
        found = {}
        for told in self.log.values():
            for number in rows.numbers(told.changed):
                found[number] = told
        return found

    def id_of(self, number: int) -> str | None:
        """Return the id of an episode, if that is known."""
        line = next(iter(self._lines(number)), None)
        return None if line is None else line.id

    def episode(self, number: int) -> Whole:
        """Return an episode that is whole; raises Damage with what it lacks."""
        lacks = f"episode {number}: its row is damaged or missing"
        for line in self._lines(number):
            lacks = f"episode {number} ({line.id!r}): "
            steps = self._steps(line)
            if isinstance(steps, str):
                lacks += steps
                continue
            wanted = {int(row[1]) for row in steps}
            if line.final_state is not None:
                wanted.add(line.final_state)
            states = {n: stored for n in wanted if (stored := self._state(n)) is not None}
            if len(states) == len(wanted):
                return Whole(line, steps, states)
            lacks += f"state {min(wanted - states.keys())} is damaged or missing"
        raise Damage(lacks)

    def _lines(self, number: int) -> Iterator[Line]:
        """Iterate over the different rows of an episode.

        Of one that is in no log, only rows of the present epoch: it may have been forgotten.
        """
        query = "SELECT * FROM episodes WHERE c0 = ? ORDER BY c11 DESC, image"
        seen = set()
        for row in self._db.execute(query, (number,)).fetchall():
            if row[-1] not in seen and (number in self.log or self._present_epoch(row[0])):
                seen.add(row[-1])
                yield Line(*row[1:-1])

    def _present_epoch(self, version: int) -> bool:
        query = "SELECT c2 FROM memory WHERE image = ?"
        epochs = {epoch for (epoch,) in self._db.execute(query, (version,))}
        return self.meta is None or not epochs or self.meta.epoch in epochs

    def _steps(self, line: Line) -> list[Row] | str:
        """Return the steps that an episode was sealed with, or what they lack."""
        query = "SELECT * FROM steps WHERE c0 = ? ORDER BY c1, image"
        held: list[list[Row]] = [[] for _ in range(line.length)]
        for row in self._db.execute(query, (line.number,)):
            if 0 <= row[2] < line.length and row[2:] not in held[row[2]]:
                held[row[2]].append(row[2:])
        missing = held.count([])
        if missing:
            return f"{missing} of its {line.length} steps are damaged or missing"
        for steps in _choices(held):
            if seal(line.number, steps) == line.digest:
                return steps
        return "a byte of its steps has changed"

    def _state(self, number: int) -> str | None:
        query = "SELECT c1 FROM states WHERE c0 = ? ORDER BY image LIMIT 1"
        found = self._db.execute(query, (number,)).fetchone()
        return None if found is None else found[0]

    def snapshots(self) -> list[Named]:
        """Return the snapshots, oldest first; not more than there were at the end."""
        found: dict[int, Named] = {}
        for row in self._db.execute("SELECT * FROM snapshots ORDER BY image, c0"):
            if self.meta is None or len(found) < self.meta.snapshots:
                found.setdefault(row[1], Named(*row[1:-1]))
        return [found[place] for place in sorted(found)]

    # --- versions without seals

    def old(self) -> tuple[list[int], dict[str, str]]:
        """Return the numbers of the episodes of version 1 or 2, and what their tables are called.

        The tables are those of version 2, one row of each name: to be asked by `execute`.
        """
        called = {}
        for table, (source, key, columns) in _OLD_TABLES.items():
            called[table] = f"like_{table}"
            named = ", ".join(f"c{i} AS {name}" for i, name in enumerate(columns))
            query = f"SELECT {named}, min(image) FROM {source} GROUP BY {key}"
            self._db.execute(f"CREATE TABLE {called[table]} AS {query}")
            self._db.execute(f"CREATE INDEX in_{table} ON {called[table]} ({columns[0]})")
        query = f"SELECT seq FROM {called['episodes']} ORDER BY seq"
        return [number for (number,) in self._db.execute(query)], called

    def execute(self, query: str, values: Sequence[Value] = ()) -> list[Row]:
        """Answer a query to the tables of `old`."""
        return self._db.execute(query, values).fetchall()

    def many(self, query: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute a statement once for each."""
        self._db.executemany(query, rows)

    def each(self, query: str, rows: Iterable[Sequence[Value]]) -> list[list[Row]]:
        """Answer a query once for each."""
        return [self.execute(query, values) for values in rows]


def _choices(held: list[list[Row]]) -> Iterator[list[Row]]:
    """Iterate over ways to choose one of each: all of them, or else the first and the last."""
    yield [rows[0] for rows in held]
    if math.prod(len(rows) for rows in held) <= _MOST_CHOICES:
        yield from (list(chosen) for chosen in itertools.product(*held))
    else:
        yield [rows[-1] for rows in held]


def _recognised(found: Found) -> tuple[str, Row] | None:
    """Return which table a row is of, and its values; None for what is no row of a memory."""
    n = len(found.values)
    if found.rowid is None:
        values = found.values if n == _STEP else (*found.values, None)  # version 1 had no score
        whole = len(values) == _STEP and all(isinstance(value, int) for value in values[:3])
        return ("steps", _real("steps", values)) if whole else None
    if found.values[0] is not None:
        return None
    values = (found.rowid, *found.values[1:])
    table = next((name for name, columns in _SEALED.items() if columns == n), None)
    if table == "log" and isinstance(values[4], str):  # a list of members, and no mark
        table = "snapshots"
    if table is not None:
        values = _real(table, values)
        if seal(*values[:-1]) == values[-1]:
            return table, values
    if n not in _OLD:
        return None
    if n == 3 and not (isinstance(values[2], str) and rows.digest_of(values[2]) == values[1]):
        return None
    return _OLD[n], values


def _real(table: str, values: Sequence[Value]) -> Row:
    at = _REALS.get(table, ())
    return tuple(
        float(value) if i in at and isinstance(value, int) else value
        for i, value in enumerate(values)
    )
