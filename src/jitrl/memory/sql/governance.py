"""A memory in a database, governed: looked into, bounded, cleaned, brought back."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from jitrl.checks import text
from jitrl.errors import InvalidValue, MemoryUnavailable, UnknownName
from jitrl.memory.contract import (
    Cap,
    Difference,
    Entry,
    Finding,
    Progress,
    Selection,
    Size,
    Snapshot,
)
from jitrl.memory.sql import eviction, rows, selecting, tables, verification
from jitrl.memory.sql.rows import Line
from jitrl.memory.sql.schema import Sql
from jitrl.memory.sql.seam import Seam, transaction
from jitrl.memory.sql.tables import Meta, Named

_STRETCH = 1000  # revisions looked at in one transaction of a catalogue
_TRIES = 20  # to delete the index while others write to it
_EVERYTHING = Selection()


class Governance(Seam):
    """The part of `jitrl.memory.Governed` that a learner does not need; see there."""

    def catalogue(self, selection: Selection = _EVERYTHING) -> Iterator[Entry]:
        """Iterate over what is stored; see `jitrl.memory.Governed.catalogue`."""
        chooser = selecting.Chooser(selection)
        after = 0
        while True:
            upto, entries = self._entries(chooser, after)
            if upto <= after:
                return
            yield from entries
            after = upto

    def quarantine(self, selection: Selection, why: str) -> int:
        """Let episodes take no part; see `jitrl.memory.Governed.quarantine`."""
        text("why", why)
        return self._set(selection, "quarantine", lambda line: line.quarantined is None, why)

    def release(self, selection: Selection) -> int:
        """Let episodes out of quarantine; see `jitrl.memory.Governed.release`."""
        return self._set(selection, "release", lambda line: line.quarantined is not None, None)

    def forget(self, selection: Selection, progress: Progress | None = None) -> int:
        """Delete episodes for good; see `jitrl.memory.Governed.forget`.

        The rows go first. Where what is left of them in free pages cannot be overwritten at once,
        MemoryUnavailable says so; to forget again, or to vacuum, makes good for it.
        """
        _not_empty(selection)
        gone, unswept = self._delete(selection, progress)
        if unswept:
            self._clean(progress)
        return gone

    def vacuum(self, progress: Progress | None = None) -> None:
        """Give back free space; see `jitrl.memory.Governed.vacuum`."""
        self._clean(progress, index=self._drop_unused(progress))

    @transaction
    def _entries(self, chooser: selecting.Chooser, after: int) -> tuple[int, list[Entry]]:
        """Look at a stretch of revisions: up to which one, and what is meant of it."""
        with self.look() as db:
            upto = min(tables.meta(db).revision, after + _STRETCH)
            lines = tables.lines(db, after, upto) if upto > after else []
            return upto, [_entry(line) for line in lines if chooser.meant(db, line)]

    @transaction
    def _delete(self, selection: Selection, progress: Progress | None) -> tuple[int, bool]:
        """Delete episodes: how many, and whether there is something to clean up."""
        with self.change() as (db, held):
            doomed = list(selecting.chosen(db, selection, held.revision))
            if doomed:
                revision = tables.turn(db, held, "forget")
                for done, line in enumerate(doomed):
                    _tell(progress, "deleting episodes", done, len(doomed))
                    _delete(db, held, line, revision)
                _tell(progress, "deleting states", 0, 0)
                tables.drop_unused_states(db, held)
                held.epoch, held.forgot, held.unswept = uuid.uuid4().hex, revision, 1
            return len(doomed), bool(held.unswept)

    @transaction
    def _drop_unused(self, progress: Progress | None) -> bool:
        """Delete states of nobody; say whether something that was forgotten is to be swept up."""
        with self.change() as (db, held):
            _tell(progress, "deleting states", 0, 0)
            tables.drop_unused_states(db, held)
            unswept, held.unswept = held.unswept, 1
            return bool(unswept)

    @transaction
    def snapshot(self, name: str) -> Snapshot:
        """Name what is present; see `jitrl.memory.Governed.snapshot`."""
        made = self._now()
        with self.change() as (db, held):
            named = tables.snapshots(db, held)
            if not text("name", name) or name in {one.name for one in named}:
                raise InvalidValue("name", name, "must be new, and not empty")
            place = named[-1].place + 1 if named else 1
            lines = list(_flags(db, held))
            members = [number for number, present in lines if present]
            ranges = rows.spans(members, [number for number, present in lines if not present])
            tables.put_snapshot(db, held, Named(place, name, made, len(members), ranges))
        return Snapshot(name, made, len(members))

    @transaction
    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots, oldest first."""
        with self.look() as db:
            named = tables.snapshots(db, tables.meta(db))
        return [Snapshot(one.name, one.made, one.episodes) for one in named]

    @transaction
    def drop_snapshot(self, name: str) -> None:
        """Drop a snapshot; no episode is touched. Raises UnknownName."""
        with self.change() as (db, held):
            tables.drop_snapshot(db, held, _named(db, held, name).place)

    @transaction
    def diff(self, old: str | None, new: str | None = None) -> Difference:
        """Return what one has and the other lacks; see `jitrl.memory.Governed.diff`."""
        with self.look() as db:
            held = tables.meta(db)
            lines = {line.number: line for line in tables.every_line(db, held.revision)}
            before, after = (_members(db, held, name, lines.values()) for name in (old, new))
        return _difference(lines, before, after)

    @transaction
    def rollback(self, name: str) -> Difference:
        """Make present what a snapshot names; see `jitrl.memory.Governed.rollback`."""
        with self.change() as (db, held):
            lines = {line.number: line for line in tables.every_line(db, held.revision)}
            before = _members(db, held, None, lines.values())
            members = _members(db, held, name, lines.values())
            changed = [
                line
                for n, line in lines.items()
                if (not line.active if n in members else line.present)
            ]
            if changed:
                revision = tables.turn(db, held, "rollback", [line.number for line in changed])
            for line in changed:
                lines[line.number] = _replaced(
                    db, held, line, active=int(line.number in members), revision=revision
                )
            after = _members(db, held, None, lines.values())
        return _difference(lines, before, after)

    @property
    @transaction
    def cap(self) -> Cap | None:
        """The cap in force, None for none."""
        with self.look() as db:
            return eviction.load(tables.meta(db).cap)

    @transaction
    def set_cap(self, cap: Cap | None) -> int:
        """Set or lift the cap, and apply it; returns how many episodes went."""
        if not isinstance(cap, Cap | None):
            raise InvalidValue("cap", cap, "must be a jitrl.memory.Cap, or None")
        with self.change() as (db, held):
            held.cap = eviction.dump(cap)
            return eviction.evict(db, held)

    @transaction
    def size(self) -> Size:
        """Return how much room the memory takes; see `jitrl.memory.Governed.size`."""
        with self.look() as db:
            return Size(tables.count_states(db), self._bytes(db))

    def verify(self, progress: Progress | None = None) -> Iterator[Finding]:
        """Check every checksum and every invariant; see `jitrl.memory.Governed.verify`."""
        yield from self._verified(progress)

    @transaction
    def _verified(self, progress: Progress | None) -> list[Finding]:
        return list(verification.verify(self, progress))

    @transaction
    def _set(
        self, selection: Selection, what: str, wanted: Callable[[Line], bool], why: str | None
    ) -> int:
        _not_empty(selection)
        with self.change() as (db, held):
            found = [
                line for line in selecting.chosen(db, selection, held.revision) if wanted(line)
            ]
            if found:
                revision = tables.turn(db, held, what, [line.number for line in found])
            for line in found:
                _replaced(db, held, line, quarantined=why, revision=revision)
        return len(found)

    def _clean(self, progress: Progress | None, index: bool = True) -> None:
        """Delete what is derived, and overwrite what was deleted."""
        if index and self.beside is not None and self.beside.exists():
            _tell(progress, "deleting the index", 0, 0)
            try:
                _remove(self.beside)
            except OSError as error:
                raise MemoryUnavailable(
                    f"{str(self.beside)!r}: {error.strerror or error}: delete it, and vacuum "
                    "the memory"
                ) from error
        self.sweep(progress)
        self._swept()

    @transaction
    def _swept(self) -> None:
        with self.change() as (_, held):
            held.unswept = 0


def _remove(folder: Path) -> None:
    """Delete a folder to which others write, or which they delete, at the same time.

    Where it is a link to a place elsewhere, that place is emptied.
    """
    for left in range(_TRIES, 0, -1):
        try:
            if folder.is_symlink():
                for inside in folder.iterdir():
                    shutil.rmtree(inside)
            else:
                shutil.rmtree(folder)
            return
        except OSError:
            if not folder.exists():
                return
            if left == 1:
                raise


def _entry(line: Line) -> Entry:
    return Entry(
        number=line.number,
        id=line.id,
        task=line.task,
        run=line.run,
        source=line.source,
        stored=line.stored,
        steps=line.length,
        reward=line.reward,
        terminated=bool(line.terminated),
        present=line.present,
        quarantined=line.quarantined,
    )


def _replaced(db: Sql, held: Meta, line: Line, **changes: int | str | None) -> Line:
    """Write changes of a line, and count it anew; returns it."""
    new = replace(line, **changes)  # type: ignore[arg-type]
    held.count(line, -1)
    held.count(new, 1)
    tables.set_line(db, new)
    return new


def _delete(db: Sql, held: Meta, line: Line, revision: int) -> None:
    held.count(line, -1)
    held.episodes -= 1
    held.steps -= line.length
    tables.delete(db, line, revision)


def _flags(db: Sql, held: Meta) -> Iterator[tuple[int, bool]]:
    return ((line.number, line.present) for line in tables.every_line(db, held.revision))


def _named(db: Sql, held: Meta, name: str) -> Named:
    named = tables.snapshots(db, held)
    for one in named:
        if one.name == name:
            return one
    raise UnknownName("snapshot", name, [one.name for one in named])


def _members(db: Sql, held: Meta, name: str | None, lines: Iterable[Line]) -> set[int]:
    """Return the numbers of the episodes of a snapshot that are still there; None: present ones."""
    if name is None:
        return {line.number for line in lines if line.present}
    return set(rows.within(_named(db, held, name).members, (line.number for line in lines)))


def _difference(lines: dict[int, Line], before: set[int], after: set[int]) -> Difference:
    added, removed = sorted(after - before), sorted(before - after)
    return Difference(
        tuple(lines[number].id for number in added), tuple(lines[number].id for number in removed)
    )


def _not_empty(selection: Selection) -> None:
    if not selection:
        raise InvalidValue("selection", selection, "must say which episodes")


def _tell(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress is not None:
        progress(what, done, total)
