"""A memory in a database: the contract of `jitrl.memory` in SQL, but for the dialect.

An episode is one transaction: it is stored whole or not at all. Distinct states are stored once.
There is nothing in the tables but numbers and text, and everything read is checked against the
digests that were written with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from jitrl.checks import scores as checked
from jitrl.checks import text, texts
from jitrl.errors import InvalidValue
from jitrl.memory.contract import WHOSE, Head, Pulse, Trail
from jitrl.memory.redaction import Redaction
from jitrl.memory.sql import directory, eviction, rows, tables
from jitrl.memory.sql.governance import Governance
from jitrl.memory.sql.rows import Damage, Packed
from jitrl.memory.sql.schema import Sql
from jitrl.memory.sql.seam import transaction
from jitrl.memory.sql.tables import Meta
from jitrl.records import Episode, State

_STRETCH = 1000  # revisions looked at in one query of an iteration


class SqlMemory(Governance):
    """The part of `jitrl.memory.Memory` that all databases share; see there.

    A back end offers what `jitrl.memory.sql.seam.Seam` asks for, and sets `path`, `_clock` and
    `redaction`.
    """

    redaction: Redaction | None = None

    @transaction
    def append(self, episode: Episode) -> bool:
        """Store an episode in one transaction; see `jitrl.memory.Memory.append`."""
        if self.redaction is not None:
            episode = self.redaction.episode(episode)
        packed = rows.pack(episode)
        stored = self._now()
        with self.change() as (db, held):
            if directory.find(db, directory.IDS, rows.digest_of(packed.id)) is not None:
                return False
            store(db, held, packed, stored)
            eviction.evict(db, held)
            return True

    @transaction
    def judge(
        self,
        id: str,
        scores: Sequence[float | None],
        provenance: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Fill in the scores of an episode in one transaction; see `jitrl.memory.Memory.judge`."""
        id, added = text("id", id), texts("provenance", provenance)
        for name in added:
            if name in WHOSE:
                raise InvalidValue("provenance", name, "must not be of whose the episode is")
        if self.redaction is not None:
            added = {name: self.redaction.text(value) for name, value in added.items()}
        with self.change() as (db, held):
            number = directory.find(db, directory.IDS, rows.digest_of(id))
            if number is None:
                raise InvalidValue("id", id, "must be that of a stored episode")
            line = tables.sure_line(db, number)
            given = checked(scores, line.length)
            steps = tables.steps(db, line)
            new = [
                (t, rows.score(score))
                for t, score in enumerate(given)
                if score is not None and steps[t][-1] is None
            ]
            if new:
                revision = tables.turn(db, held, "judge", [number])
                digest = tables.judge(db, line, steps, new)
                changes = {"revision": revision, "digest": digest, **rows.told(line, added)}
                tables.set_line(db, replace(line, **changes))  # type: ignore[arg-type]
            return bool(new)

    def episodes(self, after: int = 0) -> Iterator[Episode]:
        """Iterate over the episodes that are present; see `jitrl.memory.Memory.episodes`.

        Each episode is read when it is asked for: nothing is held in between.
        """
        after = max(after, 0)
        while True:
            upto, numbers = self._stored(after)
            for number in numbers:
                found = self._present(number)
                if found is not None:
                    yield found
            if upto <= after:
                return
            after = upto

    @transaction
    def get(self, id: str) -> Episode | None:
        """Return the stored episode of that id; see `jitrl.memory.Memory.get`."""
        key = rows.digest_of(text("id", id))
        with self.look() as db:
            number = directory.find(db, directory.IDS, key)
            return None if number is None else tables.episode(db, tables.sure_line(db, number))

    @transaction
    def __len__(self) -> int:
        with self.look() as db:
            return tables.meta(db).present

    @transaction
    def pulse(self) -> Pulse:
        """Return where the memory stands."""
        with self.look() as db:
            held = tables.meta(db)
        return Pulse(held.epoch, held.revision, held.episodes)

    @transaction
    def mark(self, revision: int) -> str:
        """Return what a revision is known by; see `jitrl.memory.Memory.mark`."""
        with self.look() as db:
            if not 0 < revision <= tables.meta(db).revision:
                return ""
            (told,) = tables.revisions(db, revision - 1, revision)
        return told.mark.hex()

    def changes(self, after: int) -> Iterator[Trail]:
        """Iterate over what changed after a revision; see `jitrl.memory.Memory.changes`."""
        after = max(after, 0)
        for number in self._changed(after):
            trail = self._trail(number, after)
            if trail is not None:
                yield trail

    @transaction
    def states(self, numbers: Iterable[int]) -> dict[int, State]:
        """Return the states of these numbers; those that are gone are missing."""
        with self.look() as db:
            given = range(1, tables.meta(db).states + 1)
            wanted = sorted({number for number in numbers if number in given})
            found = tables.some_states(db, wanted)
            missing = set(wanted) - found.keys()
            if missing and (lost := missing & tables.used_states(db, tables.meta(db))):
                raise Damage(f"state {min(lost)} is missing")
        return found

    @transaction
    def heads(self, numbers: Iterable[int]) -> dict[int, Head]:
        """Return id, task and provenance of the episodes of these numbers."""
        with self.look() as db:
            given = range(1, tables.meta(db).revision + 1)
            wanted = sorted({number for number in numbers if number in given})
            found = {number: tables.line(db, number) for number in wanted}
            return {
                number: Head(line.id, line.task, rows.provenance(line))
                for number, line in found.items()
                if line is not None
            }

    @transaction
    def _stored(self, after: int) -> tuple[int, list[int]]:
        """Look at a stretch of revisions: up to which one, and the episodes stored in it."""
        with self.look() as db:
            upto = min(tables.meta(db).revision, after + _STRETCH)
            told = tables.revisions(db, after, upto) if upto > after else []
        return upto, [one.revision for one in told if one.episode and one.gone is None]

    @transaction
    def _changed(self, after: int) -> list[int]:
        """Return the numbers of the episodes that changed after a revision."""
        numbers: set[int] = set()
        with self.look() as db:
            for stretch in tables.stretches(db, after, tables.meta(db).revision):
                for one in stretch:
                    if one.episode:
                        numbers.add(one.revision)
                    elif after:
                        numbers.update(rows.numbers(one.changed))
        return sorted(numbers)

    @transaction
    def _trail(self, number: int, after: int) -> Trail | None:
        with self.look() as db:
            return _trail(db, number, after)

    @transaction
    def _present(self, number: int) -> Episode | None:
        with self.look() as db:
            line = tables.line(db, number)
            return None if line is None or not line.present else tables.episode(db, line)


def store(db: Sql, held: Meta, packed: Packed, stored: str) -> None:
    """Store an episode whose id is new."""
    texts = packed.states if packed.final is None else (*packed.states, packed.final)
    states = tables.intern(db, held, texts)
    number = tables.turn(db, held, tables.APPEND)
    steps = [
        (t, states[state], *step)
        for t, (state, step) in enumerate(zip(packed.states, packed.steps, strict=True))
    ]
    digest = tables.put_steps(db, number, steps)
    final = None if packed.final is None else states[packed.final]
    line = rows.line(number, packed, final, stored, digest)
    tables.put_line(db, line)
    key = rows.digest_of(packed.id)
    if directory.add(db, directory.IDS, [key], number) != {key: number}:
        raise Damage(f"episode {packed.id!r} is stored twice")
    held.episodes += 1
    held.steps += line.length
    held.count(line, 1)


def _trail(db: Sql, number: int, after: int) -> Trail | None:
    """Return an episode as an index reads it; None where there is nothing to tell."""
    line = tables.line(db, number)
    if line is None:
        ((told,), forgot) = tables.revisions(db, number - 1, number), tables.meta(db).forgot
        if told.gone is None or not 0 < max(after, forgot) < told.gone or not after:
            return None
        return Trail(number, told.gone, False)
    if line.revision <= after:
        raise Damage(f"episode {number} lacks a change")
    steps = tables.steps(db, line)
    return Trail(
        number=number,
        revision=line.revision,
        present=line.present,
        states=tuple(row[1] for row in steps),
        actions=tuple(row[2] for row in steps),
        rewards=tuple(row[3] for row in steps),
        judged=tuple(row[10] for row in steps),
    )
