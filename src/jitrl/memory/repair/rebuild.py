"""A memory made anew of what could be salvaged of a damaged one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from jitrl.memory.contract import Finding, Progress
from jitrl.memory.repair.salvage import Salvage, Whole
from jitrl.memory.sql import directory, migration, rows, tables
from jitrl.memory.sql.directory import IDS, STATES
from jitrl.memory.sql.rows import Damage, Line, Value
from jitrl.memory.sql.schema import Sql, insertion
from jitrl.memory.sql.tables import Meta, Revision

_LOST_CHANGE = "a later change to it was lost in damage: release it if it is sound"


@dataclass
class Rebuild:
    """Fills an empty memory within one transaction; `findings` grow as it goes.

    held  the row of the new memory; to be written by whoever began the transaction
    now   for episodes of an older version that do not say when they were stored: ISO 8601
    """

    salvage: Salvage
    db: Sql
    held: Meta
    now: str
    progress: Progress | None = None
    findings: list[Finding] = field(default_factory=list)
    _stored: set[int] = field(default_factory=set)
    _states: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Store what is whole; find what is not."""
        if self.salvage.sealed:
            self._episodes()
            self._log()
            self._snapshots()
            self._rest()
        if not self.salvage.sealed or (self._lost() and not self._deleted()):
            self._older()

    def _episodes(self) -> None:
        changes = self.salvage.later_changes()
        numbers = self.salvage.numbers()
        for done, number in enumerate(numbers):
            if self.progress is not None and done % 100 == 0:
                self.progress("storing episodes", done, len(numbers))
            try:
                whole = self.salvage.episode(number)
            except Damage as lacks:
                self._find(str(lacks), number, lost=True)
                continue
            line = whole.line
            change = changes.get(number)
            if change is not None and change.revision > line.revision:
                line = self._without(line, change)
            self._store(whole, line)

    def _without(self, line: Line, change: Revision) -> Line:
        """Return the line of an episode whose last change is lost: what it was is not known."""
        what = f"episode {line.number} ({line.id!r}): its last change ({change.what}) is lost"
        if change.what == "judge":
            self._find(what, line.number, lost=True)
            return line
        self._find(f"{what}: it is in quarantine until you release it", line.number, lost=True)
        return replace(line, quarantined=line.quarantined or _LOST_CHANGE)

    def _store(self, whole: Whole, line: Line) -> None:
        key = rows.digest_of(line.id)
        if directory.add(self.db, IDS, [key], line.number)[key] != line.number:
            what = f"episode {line.number} ({line.id!r}): another one has this id"
            self._find(what, line.number, lost=True)
            return
        for number, stored in whole.states.items():
            if number not in self._states:
                self._states.add(number)
                self._insert("states", (number, stored))
                directory.add(self.db, STATES, [rows.digest_of(stored)], number)
        tables.put_steps(self.db, line.number, whole.steps)
        tables.put_line(self.db, line)
        self._stored.add(line.number)
        self.held.episodes += 1
        self.held.steps += line.length
        self.held.count(line, 1)

    def _insert(self, table: str, values: Sequence[Value]) -> None:
        """Write a row and its seal."""
        self.db.execute(insertion(table, len(values) + 1), (*values, rows.seal(*values)))

    def _log(self) -> None:
        """Write a row for every revision, the repair as the last one."""
        top, log = self.salvage.top, self.salvage.log
        for number in range(1, top + 1):
            told = log.get(number)
            if number in self._stored:
                told = Revision(number, tables.APPEND, "[]", None, b"")
            elif told is None:
                told = Revision(number, "lost", "[]", None, b"")
            elif told.episode and told.gone is None:
                told = replace(told, gone=top + 1)
            tables.put_revision(self.db, replace(told, mark=tables.new_mark()))
        self.held.revision = top
        self.held.forgot = tables.turn(self.db, self.held, "repair")
        named = {finding.number for finding in self.findings} | self._stored | log.keys()
        unknown = [number for number in range(1, top + 1) if number not in named]
        if unknown and self._missing() != 0:
            which = ", ".join(_ranges(unknown))
            self._find(f"revisions {which}: an episode that was stored there is lost", lost=True)

    def _missing(self) -> int | None:
        """Return how many episodes are lost beside those that were found so; None: nobody knows."""
        meta = self.salvage.meta
        if meta is None or meta.revision < self.salvage.top:
            return None
        return meta.episodes - len(self._stored) - len(self._lost())

    def _lost(self) -> set[int]:
        found = {one.number for one in self.findings if one.number is not None and one.lost}
        return found - self._stored

    def _deleted(self) -> bool:
        """Whether an episode was deleted: then an older version must not bring it back."""
        meta = self.salvage.meta
        gone = any(told.gone is not None for told in self.salvage.log.values())
        return gone or meta is None or meta.forgot > 0

    def _snapshots(self) -> None:
        meta = self.salvage.meta
        for named in self.salvage.snapshots():
            tables.put_snapshot(self.db, self.held, named)
        if meta is not None and self.held.snapshots < meta.snapshots:
            lost = meta.snapshots - self.held.snapshots
            self._find(f"{lost} of its {meta.snapshots} snapshots are lost", lost=True)

    def _rest(self) -> None:
        self.held.states = self.salvage.highest_state
        meta = self.salvage.meta
        if meta is None:
            self._find("its cap, if it had one, is lost: set it anew", lost=True)
        else:
            self.held.uuid, self.held.cap = meta.uuid, meta.cap

    def _older(self) -> None:
        """Store the episodes of schema version 1 or 2 that are whole, as far as can be told."""
        numbers, called = self.salvage.old()
        states = {}
        for number, stored in self.salvage.execute(f"SELECT id, fields FROM {called['states']}"):
            states[number] = rows.state_of(stored, number)
        for number in numbers:
            try:
                episode = migration.read(self.salvage, called, 2, number, states)
                if directory.find(self.db, IDS, rows.digest_of(episode.id)) is None:
                    migration.put(self.db, self.held, episode, self.now)
            except Damage as lacks:
                self._find(str(lacks), number, lost=True)

    def _find(self, what: str, number: int | None = None, *, lost: bool = False) -> None:
        self.findings.append(Finding(what, number, lost))


def _ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Iterate over rising numbers as ranges.

    >>> list(_ranges([1, 2, 3, 7]))
    ['1-3', '7']
    """
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        held = [number for _, number in run]
        yield f"{held[0]}-{held[-1]}" if len(held) > 1 else str(held[0])
