"""The tables of a memory in SQL, each row checked as it is read.

Nothing is believed because a look-up found it, or did not find it: an index may be damaged as well
as a row. Every row has a seal. That a row is missing is proven:

- `log` holds a row for each revision, without a gap. It says which episode was stored, and which
  were changed or deleted, so that it is known of each number whether there is an episode.
- `directory` holds the ids of the episodes and the digests of the states in order, each with the
  one that follows: where a gap is sealed, nothing lies in it.
- `memory` holds one row, with the revision and how much there is of everything.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from jitrl.memory.sql import directory, rows
from jitrl.memory.sql.directory import IDS, STATES
from jitrl.memory.sql.rows import Damage, Line, Row, Value, seal, sealed
from jitrl.memory.sql.schema import Sql, insertion
from jitrl.records import Episode, State

APPEND = "append"
_STRETCH = 1000  # revisions looked at in one query


# --- the memory as a whole -----------------------------------------------------------------------


@dataclass(slots=True)
class Meta:
    """The row of `memory`, to be changed and put back."""

    uuid: str
    epoch: str
    revision: int = 0
    forgot: int = 0
    episodes: int = 0
    active: int = 0
    present: int = 0
    steps: int = 0
    states: int = 0
    snapshots: int = 0
    cap: str | None = None
    unswept: int = 0

    def count(self, line: Line, by: int) -> None:
        """Count a line in (1) or out (-1)."""
        self.active += by * line.active
        self.present += by * line.present


_META = tuple(field.name for field in fields(Meta))


def create(db: Sql, uuid: str, epoch: str) -> Meta:
    """Fill the tables of a new memory."""
    made = Meta(uuid, epoch)
    values = tuple(getattr(made, name) for name in _META)
    db.execute(insertion("memory", len(_META) + 2), (1, *values, seal(1, *values)))
    for kind in (IDS, STATES):
        directory.put(db, kind, b"", b"", 0)
    return made


def meta(db: Sql) -> Meta:
    """Return the row of `memory`."""
    found = db.execute(f"SELECT place, {', '.join(_META)}, seal FROM memory")
    if len(found) != 1:
        raise Damage(f"{len(found)} rows say where it stands")
    return Meta(*sealed(found[0], "the row that says where it stands")[1:])


def put_meta(db: Sql, held: Meta) -> None:
    """Write the row of `memory`."""
    values = tuple(getattr(held, name) for name in _META)
    changes = ", ".join(f"{name} = ?" for name in (*_META, "seal"))
    db.execute(f"UPDATE memory SET {changes}", (*values, seal(1, *values)))


# --- the log -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Revision:
    """A row of `log`."""

    revision: int
    what: str
    changed: str
    gone: int | None
    mark: bytes

    @property
    def values(self) -> tuple[Value, ...]:
        """The values of the row, in the order of its columns."""
        return self.revision, self.what, self.changed, self.gone, self.mark

    @property
    def episode(self) -> bool:
        """Whether an episode was stored."""
        return self.what == APPEND


def turn(db: Sql, held: Meta, what: str, changed: Iterable[int] = ()) -> int:
    """Begin the next revision, and return it; `changed` rise."""
    held.revision += 1
    put_revision(db, Revision(held.revision, what, rows.spans(changed), None, new_mark()))
    return held.revision


def new_mark() -> bytes:
    """Return a mark for a revision."""
    return secrets.token_bytes(8)


def put_revision(db: Sql, told: Revision) -> None:
    """Write a row of the log."""
    db.execute(insertion("log", 6), (*told.values, seal(*told.values)))


def revisions(db: Sql, after: int, upto: int) -> list[Revision]:
    """Return the revisions in (after, upto], every one."""
    found = db.execute(
        "SELECT revision, what, changed, gone, mark, seal FROM log "
        "WHERE revision > ? AND revision <= ? ORDER BY revision",
        (after, upto),
    )
    told = [Revision(*sealed(row, "a row of the log")) for row in found]
    if [one.revision for one in told] != list(range(after + 1, upto + 1)):
        raise Damage(f"the log does not hold revisions {after + 1} to {upto}")
    return told


def stretches(db: Sql, after: int, upto: int) -> Iterator[list[Revision]]:
    """Iterate over the revisions in (after, upto], some at a time."""
    while after < upto:
        end = min(after + _STRETCH, upto)
        yield revisions(db, after, end)
        after = end


def delete(db: Sql, line: Line, revision: int) -> None:
    """Delete an episode; its states stay."""
    (told,) = revisions(db, line.number - 1, line.number)
    told = replace(told, gone=revision)
    update = "UPDATE log SET gone = ?, seal = ? WHERE revision = ?"
    db.execute(update, (told.gone, seal(*told.values), line.number))
    db.execute("DELETE FROM steps WHERE episode = ?", (line.number,))
    db.execute("DELETE FROM episodes WHERE number = ?", (line.number,))
    directory.drop(db, IDS, rows.digest_of(line.id))


# --- episodes ------------------------------------------------------------------------------------

_LINE = f"SELECT {', '.join(rows.LINE)}, seal FROM episodes"
_STEPS = f"SELECT {', '.join(rows.STEP)} FROM steps WHERE episode = ? ORDER BY t"


def line(db: Sql, number: int) -> Line | None:
    """Return the line of an episode; None where it is gone, or never was one."""
    found = db.execute(f"{_LINE} WHERE number = ?", (number,))
    if len(found) == 1:
        return Line(*sealed(found[0], f"episode {number}"))
    if not 1 <= number <= meta(db).revision:
        return None
    (told,) = revisions(db, number - 1, number)
    if found or (told.episode and told.gone is None):
        raise Damage(f"episode {number} is missing")
    return None


def sure_line(db: Sql, number: int) -> Line:
    """Return the line of an episode that must be there."""
    found = line(db, number)
    if found is None:
        raise Damage(f"episode {number} is missing")
    return found


def lines(db: Sql, after: int, upto: int) -> list[Line]:
    """Return the lines of all episodes whose number is in (after, upto]."""
    found = db.execute(f"{_LINE} WHERE number > ? AND number <= ? ORDER BY number", (after, upto))
    held = [Line(*sealed(row, f"episode {row[0]}")) for row in found]
    told = revisions(db, after, upto)
    wanted = [one.revision for one in told if one.episode and one.gone is None]
    if [one.number for one in held] != wanted:
        missing = sorted(set(wanted).symmetric_difference(one.number for one in held))
        raise Damage(f"episode {missing[0]} is missing" if missing else "episodes out of order")
    return held


def every_line(db: Sql, upto: int) -> Iterator[Line]:
    """Iterate over the lines of all episodes up to a number, within one transaction."""
    for after in range(0, upto, _STRETCH):
        yield from lines(db, after, min(after + _STRETCH, upto))


def counted_lines(db: Sql, held: Meta) -> list[Line]:
    """Return the lines of all episodes, at a cost that does not grow with those that are gone.

    Where `every_line` asks the log which ones there must be, this one only counts them.
    """
    found = [
        Line(*sealed(row, f"episode {row[0]}")) for row in db.execute(f"{_LINE} ORDER BY number")
    ]
    if len({line.number for line in found}) != held.episodes:
        raise Damage(f"{len(found)} of its {held.episodes} episodes are there")
    return found


def put_line(db: Sql, held: Line) -> None:
    """Write the line of a new episode."""
    values = held.values
    db.execute(insertion("episodes", len(values) + 1), (*values, seal(*values)))


def set_line(db: Sql, held: Line) -> None:
    """Write the line of an episode that is there."""
    values = held.values
    changes = ", ".join(f"{name} = ?" for name in (*rows.LINE[1:], "seal"))
    query = f"UPDATE episodes SET {changes} WHERE number = ?"
    db.execute(query, (*values[1:], seal(*values), held.number))


def steps(db: Sql, held: Line) -> list[Row]:
    """Return the steps of an episode as values in the order of `rows.STEP`."""
    found = [tuple(row) for row in db.execute(_STEPS, (held.number,))]
    if len(found) != held.length:
        what = f"{len(found)} of its {held.length} steps are there"
        raise Damage(f"episode {held.number}: {what}")
    if seal(held.number, found) != held.digest:
        raise Damage(f"episode {held.number}: a byte of its steps has changed")
    return found


def put_steps(db: Sql, number: int, steps: Sequence[Row]) -> bytes:
    """Write the steps of a new episode; returns their digest."""
    query = insertion("steps", 1 + len(rows.STEP))
    db.many(query, [(number, *step) for step in steps])
    return seal(number, steps)


def judge(
    db: Sql, held: Line, steps: Sequence[Row], new: Sequence[tuple[int, float | None]]
) -> bytes:
    """Write the scores of some steps, given as (t, score); returns the digest of all of them."""
    changed = list(steps)
    for t, judged in new:
        changed[t] = (*steps[t][:-1], judged)
    update = "UPDATE steps SET judged = ? WHERE episode = ? AND t = ?"
    db.many(update, [(judged, held.number, t) for t, judged in new])
    return seal(held.number, changed)


def episode(db: Sql, held: Line) -> Episode:
    """Return the episode of a line."""
    found = steps(db, held)
    named = {row[1] for row in found}
    if held.final_state is not None:
        named.add(held.final_state)
    states = some_states(db, named)
    if missing := named - states.keys():
        raise Damage(f"state {min(missing)} is missing")
    return rows.unpack(held, found, states)


# --- states --------------------------------------------------------------------------------------


_STATE = "SELECT number, fields, seal FROM states WHERE number = ?"


def fields_of(db: Sql, number: int) -> str | None:
    """Return a state as JSON; None where there is none of that number."""
    found = db.execute(_STATE, (number,))
    return str(sealed(found[0], f"state {number}")[1]) if found else None


def some_states(db: Sql, numbers: Iterable[int]) -> dict[int, State]:
    """Return the states of these numbers, no one twice; those that are not there are missing."""
    found: dict[int, State] = {}
    for held in filter(None, db.each(_STATE, [(number,) for number in numbers])):
        number, fields = sealed(held[0], f"state {held[0][0]}")
        found[number] = rows.state_of(fields, number)
    return found


def sure_state(db: Sql, number: int) -> State:
    """Return a state that must be there."""
    fields = fields_of(db, number)
    if fields is None:
        raise Damage(f"state {number} is missing")
    return rows.state_of(fields, number)


def intern(db: Sql, held: Meta, stored: Iterable[str]) -> dict[str, int]:
    """Return the number of each state, given as JSON; those that are new are stored."""
    keys = {rows.digest_of(text): text for text in stored}
    numbers = {
        keys[key]: number
        for key, number in directory.add(db, STATES, list(keys), held.states + 1).items()
    }
    new = [(number, text) for text, number in numbers.items() if number > held.states]
    db.many(insertion("states", 3), [(*row, seal(*row)) for row in new])
    held.states += len(new)
    return numbers


def count_states(db: Sql) -> int:
    """Return how many states there are."""
    (found,) = db.execute("SELECT COUNT(*) FROM directory WHERE kind = ?", (STATES,))
    return int(found[0]) - 1  # one entry is where the circle begins


def used_states(db: Sql, held: Meta) -> set[int]:
    """Return the numbers of the states that an episode names."""
    used: set[int] = set()
    for one in every_line(db, held.revision):
        found = db.execute("SELECT state FROM steps WHERE episode = ?", (one.number,))
        if len(found) != one.length:
            raise Damage(f"episode {one.number}: {len(found)} of its {one.length} steps are there")
        used.update(row[0] for row in found)
        if one.final_state is not None:
            used.add(one.final_state)
    return used


def drop_unused_states(db: Sql, held: Meta) -> int:
    """Delete the states that no episode names; returns how many."""
    used = used_states(db, held)
    unused = [n for (n,) in db.execute("SELECT number FROM states") if n not in used]
    for number in unused:
        fields = fields_of(db, number)
        if fields is None:
            raise Damage(f"state {number} is missing")
        directory.drop(db, STATES, rows.digest_of(fields))
        db.execute("DELETE FROM states WHERE number = ?", (number,))
    return len(unused)


# --- snapshots -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    """A row of `snapshots`."""

    place: int
    name: str
    made: str
    episodes: int
    members: str


def snapshots(db: Sql, held: Meta) -> list[Named]:
    """Return the snapshots, oldest first."""
    query = "SELECT place, name, made, episodes, members, seal FROM snapshots ORDER BY place"
    found = [Named(*sealed(row, f"snapshot {row[1]!r}")) for row in db.execute(query)]
    if len(found) != held.snapshots:
        raise Damage(f"{len(found)} of its {held.snapshots} snapshots are there")
    return found


def put_snapshot(db: Sql, held: Meta, made: Named) -> None:
    """Write a new snapshot."""
    values = (made.place, made.name, made.made, made.episodes, made.members)
    db.execute(insertion("snapshots", 6), (*values, seal(*values)))
    held.snapshots += 1


def drop_snapshot(db: Sql, held: Meta, place: int) -> None:
    """Delete a snapshot."""
    db.execute("DELETE FROM snapshots WHERE place = ?", (place,))
    held.snapshots -= 1
