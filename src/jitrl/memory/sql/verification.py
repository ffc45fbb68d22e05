"""Every checksum and every invariant of a memory in a database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from jitrl.errors import NotAMemory
from jitrl.memory.contract import Finding, Progress
from jitrl.memory.sql import directory, eviction, rows, tables
from jitrl.memory.sql.directory import IDS, STATES
from jitrl.memory.sql.rows import Damage
from jitrl.memory.sql.schema import Sql
from jitrl.memory.sql.seam import Seam
from jitrl.memory.sql.tables import Meta

UNSWEPT = "what was deleted may still be in free pages: vacuum the memory"
"""What is found where something was forgotten, and the bytes of it were not overwritten yet."""

Check = Callable[[Sql], Iterable[Finding]]


def verify(memory: Seam, progress: Progress | None) -> Iterator[Finding]:
    """Yield what is wrong with a memory, all of it as it is at one moment."""
    findings: list[Finding] = []
    with memory.reading():
        tell = progress or (lambda what, done, total: None)
        findings += map(Finding, memory.faults(progress))
        checker = _Checker(memory, tell)
        for check in (
            checker.meta,
            checker.log,
            checker.states,
            checker.directory,
            checker.episodes,
            checker.snapshots,
            checker.totals,
        ):
            findings += checker.look(check)
    yield from findings


class _Checker:
    """What one look at a memory gathers."""

    def __init__(self, memory: Seam, tell: Progress) -> None:
        self._memory, self._tell = memory, tell
        self._held: Meta | None = None
        self._stored: set[int] | None = None  # episodes that are there, by the log
        self._states: dict[int, bytes] = {}  # number -> digest
        self._ids: dict[bytes, int] = {}
        self._directory: dict[int, dict[bytes, int]] = {}
        self._counted = Meta("", "")

    def look(self, check: Check, number: int | None = None, lost: bool = False) -> list[Finding]:
        """Return what a check finds; damage that it runs into is a finding as well."""
        try:
            with self._memory.look() as db:
                return list(check(db))
        except NotAMemory as error:
            return [Finding(str(error.__cause__ or error), number, lost)]

    def meta(self, db: Sql) -> Iterable[Finding]:
        self._held = held = tables.meta(db)
        eviction.load(held.cap)
        if held.unswept:
            yield Finding(UNSWEPT)

    def log(self, db: Sql) -> Iterable[Finding]:
        self._tell("checking the log", 0, 0)
        if self._held is None:
            return
        upto = self._held.revision
        told = [one for stretch in tables.stretches(db, 0, upto) for one in stretch]
        self._stored = {one.revision for one in told if one.episode and one.gone is None}
        last = db.execute("SELECT max(revision) FROM log")[0][0] or 0
        if last != upto:
            yield Finding(f"the log goes to revision {last}, the memory to {upto}")

    def states(self, db: Sql) -> Iterable[Finding]:
        numbers = [number for (number,) in db.execute("SELECT number FROM states ORDER BY number")]
        for done, number in enumerate(numbers):
            if done % 1000 == 0:
                self._tell("checking states", done, len(numbers))
            yield from self.look(partial(self._state, number=number))

    def _state(self, db: Sql, number: int) -> Iterable[Finding]:
        fields = tables.fields_of(db, number)
        if fields is None:
            yield Finding(f"state {number} is missing")
            return
        rows.state_of(fields, number)
        self._states[number] = rows.digest_of(fields)
        if self._held is not None and not 0 < number <= self._held.states:
            yield Finding(f"state {number} was never given that number")

    def directory(self, db: Sql) -> Iterable[Finding]:
        self._tell("checking the directory", 0, 0)
        for kind in (IDS, STATES):
            self._directory[kind] = directory.entries(db, kind)
        if self._directory[STATES] != {digest: n for n, digest in self._states.items()}:
            yield Finding("the directory names other states than there are")

    def episodes(self, db: Sql) -> Iterable[Finding]:
        held = {number for (number,) in db.execute("SELECT number FROM episodes")}
        if self._stored is not None:
            for number in sorted(self._stored - held):
                yield Finding(f"episode {number} is missing", number, lost=True)
            for number in sorted(held - self._stored):
                yield Finding(f"episode {number} was never stored, or deleted", number)
        for done, number in enumerate(sorted(held)):
            if done % 100 == 0:
                self._tell("checking episodes", done, len(held))
            yield from self.look(partial(self._episode, number=number), number, lost=True)
        if self._directory.get(IDS) != self._ids:
            yield Finding("the directory names other episodes than there are")

    def _episode(self, db: Sql, number: int) -> Iterable[Finding]:
        line = tables.sure_line(db, number)
        tables.episode(db, line)
        self._ids[rows.digest_of(line.id)] = number
        self._counted.episodes += 1
        self._counted.steps += line.length
        self._counted.count(line, 1)
        if self._held is not None and not number <= line.revision <= self._held.revision:
            yield Finding(f"episode {number} has revision {line.revision}", number)

    def snapshots(self, db: Sql) -> Iterable[Finding]:
        if self._held is None:
            return
        for named in tables.snapshots(db, self._held):
            try:
                members = rows.numbers(named.members)
            except (TypeError, ValueError, RecursionError) as error:
                raise Damage(f"snapshot {named.name!r}: {error}") from error
            if members and not 0 < members[0] <= members[-1] <= self._held.revision:
                yield Finding(f"snapshot {named.name!r} names episodes that never were")

    def totals(self, db: Sql) -> Iterable[Finding]:
        if self._held is None:
            return
        for name in ("episodes", "steps", "active", "present"):
            said, found = getattr(self._held, name), getattr(self._counted, name)
            if said != found:
                yield Finding(f"{found} {name} are there, and whole, of {said}")
        (rows_of_steps,) = db.execute("SELECT count(*) FROM steps")[0]
        if rows_of_steps != self._held.steps:
            yield Finding(f"{rows_of_steps} rows of steps are there, of {self._held.steps}")
