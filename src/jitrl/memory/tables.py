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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from jitrl.memory import rows
from jitrl.memory.rows import Damage, Line, Row, Value, seal, sealed
from jitrl.records import Episode, State

SCHEMA = """
CREATE TABLE memory (
    place      {integer} PRIMARY KEY, -- 1: the only row
    uuid       {text} NOT NULL,
    epoch      {text} NOT NULL,
    revision   {integer} NOT NULL,
    forgot     {integer} NOT NULL,    -- revision at which the epoch began
    episodes   {integer} NOT NULL,    -- rows of `episodes`; of these
    active     {integer} NOT NULL,    --   not rolled back,
    present    {integer} NOT NULL,    --   and not in quarantine
    steps      {integer} NOT NULL,
    states     {integer} NOT NULL,    -- the highest number ever given to a state
    snapshots  {integer} NOT NULL,
    cap        {text},                -- JSON, NULL for none
    unswept    {integer} NOT NULL,    -- 1: what was forgotten may still be in free pages
    seal       {bytes} NOT NULL
);
CREATE TABLE log (
    revision   {integer} PRIMARY KEY, -- 1, 2, 3 ...
    what       {text} NOT NULL,       -- "append": the episode of this number was stored
    changed    {text} NOT NULL,       -- numbers of the others that it changed, JSON: [first, last]s
    gone       {integer},             -- of an episode: the revision that deleted it
    seal       {bytes} NOT NULL
);
CREATE TABLE states (
    number     {integer} PRIMARY KEY,
    fields     {text} NOT NULL,       -- JSON: field name -> text
    seal       {bytes} NOT NULL
);
CREATE TABLE episodes (
    number       {integer} PRIMARY KEY,
    id           {text} NOT NULL,
    task         {text} NOT NULL,
    run          {text} NOT NULL,
    source       {text} NOT NULL,
    stored       {text} NOT NULL,     -- ISO 8601, UTC
    terminated   {integer} NOT NULL,
    final_state  {integer},
    provenance   {text} NOT NULL,     -- JSON: name -> text
    length       {integer} NOT NULL,  -- steps
    reward       {real} NOT NULL,     -- their sum
    revision     {integer} NOT NULL,  -- of the last change
    active       {integer} NOT NULL,  -- 0: rolled back
    quarantined  {text},              -- why; NULL: it is not
    digest       {bytes} NOT NULL,    -- of number and steps
    seal         {bytes} NOT NULL
);
CREATE TABLE steps (
    episode            {integer} NOT NULL,
    t                  {integer} NOT NULL,
    state              {integer} NOT NULL,
    action             {text} NOT NULL,
    reward             {real} NOT NULL,
    behaviour_logprob  {real} NOT NULL,
    policy_before      {text} NOT NULL, -- JSON: action -> probability
    policy_after       {text} NOT NULL,
    changed            {integer} NOT NULL,
    preset             {text} NOT NULL,
    seed               {integer} NOT NULL,
    judged             {real},          -- NULL: not scored
    PRIMARY KEY (episode, t)
){clustered};
CREATE TABLE snapshots (
    place      {integer} PRIMARY KEY, -- rises
    name       {text} NOT NULL,
    made       {text} NOT NULL,       -- ISO 8601, UTC
    episodes   {integer} NOT NULL,    -- how many it named then
    members    {text} NOT NULL,       -- JSON: [first, last]s of their numbers
    seal       {bytes} NOT NULL
);
CREATE TABLE directory (
    kind       {integer} NOT NULL,    -- 1: ids of episodes, 2: states
    key        {bytes} NOT NULL,      -- SHA-256; empty: where the circle begins
    following  {bytes} NOT NULL,      -- the next one, empty after the last
    number     {integer} NOT NULL,
    seal       {bytes} NOT NULL,
    PRIMARY KEY (kind, key)
){clustered}
"""
"""To be filled in with the types of a database; statements end in ";" and a line break."""

TABLES = ("memory", "log", "states", "episodes", "steps", "snapshots", "directory")
IDS, STATES = 1, 2
APPEND = "append"
_STRETCH = 1000  # revisions looked at in one query


class Sql(Protocol):
    """A transaction under way. Values are written as `?` in a statement."""

    def execute(self, query: str, values: Sequence[Value] = ()) -> list[Row]:
        """Return the rows that a statement gives."""

    def many(self, query: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute a statement that gives no rows once for each."""


def _insertion(table: str, columns: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})"


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
    db.execute(_insertion("memory", len(_META) + 2), (1, *values, seal(1, *values)))
    for kind in (IDS, STATES):
        _put_entry(db, kind, b"", b"", 0)
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

    @property
    def episode(self) -> bool:
        """Whether an episode was stored."""
        return self.what == APPEND


def turn(db: Sql, held: Meta, what: str, changed: Iterable[int] = ()) -> int:
    """Begin the next revision, and return it; `changed` rise."""
    held.revision += 1
    values = (held.revision, what, rows.spans(changed), None)
    db.execute(_insertion("log", 5), (*values, seal(*values)))
    return held.revision


def revisions(db: Sql, after: int, upto: int) -> list[Revision]:
    """Return the revisions in (after, upto], every one."""
    found = db.execute(
        "SELECT revision, what, changed, gone, seal FROM log "
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
    values = (line.number, told.what, told.changed, revision)
    update = "UPDATE log SET gone = ?, seal = ? WHERE revision = ?"
    db.execute(update, (revision, seal(*values), line.number))
    db.execute("DELETE FROM steps WHERE episode = ?", (line.number,))
    db.execute("DELETE FROM episodes WHERE number = ?", (line.number,))
    drop_entry(db, IDS, rows.digest_of(line.id))


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


def put_line(db: Sql, held: Line) -> None:
    """Write the line of a new episode."""
    values = held.values
    db.execute(_insertion("episodes", len(values) + 1), (*values, seal(*values)))


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
    query = _insertion("steps", 1 + len(rows.STEP))
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
    return rows.unpack(held, found, {number: sure_state(db, number) for number in named})


# --- states --------------------------------------------------------------------------------------


def state(db: Sql, number: int) -> State | None:
    """Return a state; None where there is none of that number."""
    found = db.execute("SELECT number, fields, seal FROM states WHERE number = ?", (number,))
    if not found:
        return None
    return rows.state_of(sealed(found[0], f"state {number}")[1], number)


def sure_state(db: Sql, number: int) -> State:
    """Return a state that must be there."""
    found = state(db, number)
    if found is None:
        raise Damage(f"state {number} is missing")
    return found


def intern(db: Sql, held: Meta, stored: Iterable[str]) -> dict[str, int]:
    """Return the number of each state, given as JSON; those that are new are stored."""
    numbers: dict[str, int] = {}
    for text in stored:
        if text in numbers:
            continue
        key = rows.digest_of(text)
        number = find(db, STATES, key)
        if number is None:
            held.states = number = held.states + 1
            db.execute(_insertion("states", 3), (number, text, seal(number, text)))
            add_entry(db, STATES, key, number)
        numbers[text] = number
    return numbers


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
        found = db.execute("SELECT number, fields, seal FROM states WHERE number = ?", (number,))
        if len(found) != 1:
            raise Damage(f"state {number} is missing")
        drop_entry(db, STATES, rows.digest_of(sealed(found[0], f"state {number}")[1]))
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
    db.execute(_insertion("snapshots", 6), (*values, seal(*values)))
    held.snapshots += 1


def drop_snapshot(db: Sql, held: Meta, place: int) -> None:
    """Delete a snapshot."""
    db.execute("DELETE FROM snapshots WHERE place = ?", (place,))
    held.snapshots -= 1


# --- the directory -------------------------------------------------------------------------------

_ENTRY = "SELECT key, following, number, seal FROM directory WHERE kind = ? AND key"


def find(db: Sql, kind: int, key: bytes) -> int | None:
    """Return the number that goes with a key; None where there is none."""
    held, following, number = _entry(db, kind, "<=", key)
    if held == key:
        return number
    if held > key or (following and following <= key):
        raise Damage("the directory is out of order")
    return None


def add_entry(db: Sql, kind: int, key: bytes, number: int) -> None:
    """Add a key that is not there."""
    before, following, before_number = _entry(db, kind, "<", key)
    _link(db, kind, before, key, before_number)
    _put_entry(db, kind, key, following, number)


def drop_entry(db: Sql, kind: int, key: bytes) -> None:
    """Take out a key that is there."""
    held, following, _ = _entry(db, kind, "<=", key)
    before, held_next, before_number = _entry(db, kind, "<", key)
    if not held == held_next == key:
        raise Damage("the directory lacks an entry")
    db.execute("DELETE FROM directory WHERE kind = ? AND key = ?", (kind, key))
    _link(db, kind, before, following, before_number)


def _entry(db: Sql, kind: int, relation: str, key: bytes) -> tuple[bytes, bytes, int]:
    found = db.execute(f"{_ENTRY} {relation} ? ORDER BY key DESC LIMIT 1", (kind, key))
    if not found:
        raise Damage("the directory lacks its beginning")
    held, following, number = sealed((kind, *found[0]), "an entry of the directory")[1:]
    return held, following, number


def _put_entry(db: Sql, kind: int, key: bytes, following: bytes, number: int) -> None:
    values = (kind, key, following, number)
    db.execute(_insertion("directory", 5), (*values, seal(*values)))


def _link(db: Sql, kind: int, key: bytes, following: bytes, number: int) -> None:
    query = "UPDATE directory SET following = ?, seal = ? WHERE kind = ? AND key = ?"
    db.execute(query, (following, seal(kind, key, following, number), kind, key))
