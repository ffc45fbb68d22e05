"""The kit accepts what keeps the contract, and names what is broken in what does not."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from plain_memory import EVERYTHING, PlainMemory

from jitrl.memory import SqliteMemory
from jitrl.records import Episode
from jitrl.testing import check_governance


class Governed(PlainMemory):
    """The plain memory with progress, and nothing to verify or give back."""

    def forget(self, selection, progress=None):
        self.tell(progress, "forget")
        return super().forget(selection)

    def verify(self, progress=None):
        self.tell(progress, "verify")
        return iter(())

    def vacuum(self, progress=None):
        self.tell(progress, "vacuum")

    def tell(self, progress, what):
        if progress is not None:
            progress(what, 0, 0)


def test_the_plain_memory_keeps_the_contract():
    check_governance(Governed)


def test_the_sqlite_memory_keeps_the_contract_in_a_file(tmp_path):
    check_governance(lambda: SqliteMemory(tmp_path / "memory.db"))


def test_the_sqlite_memory_keeps_the_contract_in_ram():
    check_governance(SqliteMemory)


class LooksIntoNothing(Governed):
    def catalogue(self, selection=EVERYTHING):
        return super().catalogue(replace(selection, text=None))


class LooksIntoJson(Governed):
    def _meant(self, held, selection):
        escaped = {"u0022": 'a "quoted" word\n'}
        text = escaped.get(selection.text, selection.text)
        return super()._meant(held, replace(selection, text=text))


class OverlooksTheEnd(Governed):
    def _meant(self, held, selection):
        cut = replace(held, episode=replace(held.episode, final_state=None))
        return super()._meant(cut, selection)


class TakesAnythingForMeant(Governed):
    def _selected(self, selection):
        return [held for held in self.held.values() if self._meant(held, selection)]


class ShowsWhatIsInQuarantine(Governed):
    def episodes(self, after=0):
        return (held.episode for held in self.held.values() if held.active)


class QuarantinesInSilence(Governed):
    def quarantine(self, selection, why):
        revision = self.revision
        count = super().quarantine(selection, why)
        self.revision = revision
        return count


class ForgetsWhy(Governed):
    def quarantine(self, selection, why):
        return super().quarantine(selection, "")


class OverwritesSnapshots(Governed):
    def snapshot(self, name):
        self.named.pop(name, None)
        return super().snapshot(name)


class SnapshotsQuarantine(Governed):
    def snapshot(self, name):
        made = super().snapshot(name)
        self.named[name] = (self.named[name][0], set(self.held))
        return replace(made, episodes=len(self.held))


class DeletesWhenRollingBack(Governed):
    def rollback(self, name):
        changed = super().rollback(name)
        self.held = {n: held for n, held in self.held.items() if held.active}
        return changed


class RollsBackIntoQuarantine(Governed):
    def rollback(self, name):
        changed = super().rollback(name)
        for held in self.held.values():
            held.quarantined = None
        return changed


class KeepsTheEpoch(Governed):
    def forget(self, selection, progress=None):
        epoch = self.epoch
        count = super().forget(selection, progress)
        self.epoch = epoch
        return count


class UsesNumbersTwice(Governed):
    def append(self, episode):
        stored = super().append(episode)
        if episode.id == "e4" and self.revision > 10:
            self.held[5] = replace(self.held.pop(self.revision), number=5)
        return stored


class DeletesWhatASnapshotNames(Governed):
    def _evict(self):
        named, self.named = self.named, {}
        count = super()._evict()
        self.named = named
        return count


class GoesOneByOne(Governed):
    def _order(self, active):
        return sorted(active)


class NeverCaps(Governed):
    def _evict(self):
        return 0


class TellsNothingOfTheGone(Governed):
    def changes(self, after):
        return (trail for trail in super().changes(after) if trail.number in self.held)


class ForgetsInSilence(Governed):
    def tell(self, progress, what):
        pass


class FindsFault(Governed):
    def verify(self, progress=None):
        yield from ["a fault"]


BROKEN = [
    (LooksIntoNothing, r"catalogue\(Selection\(text='a \"quoted\" word\\n'\)\): must be \['e2'\]"),
    (LooksIntoJson, r"catalogue\(Selection\(text='u0022'\)\): must be \[\], got \['e2'\]"),
    (OverlooksTheEnd, r"catalogue\(Selection\(text='the end of e1'\)\): must be \['e1'\]"),
    (TakesAnythingForMeant, r"quarantine\(\) of an empty selection must raise InvalidValue"),
    (ShowsWhatIsInQuarantine, r"episodes\(\) after quarantine\(\): must be \['e1', 'e3', 'e5'\]"),
    (QuarantinesInSilence, r"quarantine\(\) must raise the revision"),
    (ForgetsWhy, r"why in the catalogue: must be \['doubtful'"),
    (OverwritesSnapshots, r"a name in use must raise InvalidValue"),
    (SnapshotsQuarantine, r"snapshot\(\): must be \('five', 5\), got \('five', 6\)"),
    (DeletesWhenRollingBack, r"forward again: must be \(\('e1', 'e6'\), \(\)\), got"),
    (RollsBackIntoQuarantine, r"episodes\(\) after rollback\(\): must be \['e0', 'e3'"),
    (KeepsTheEpoch, r"forget\(\) must begin an epoch"),
    (UsesNumbersTwice, r"numbers must not be used twice: 5 after"),
    (DeletesWhatASnapshotNames, r"what a snapshot names must be rolled back, not deleted"),
    (GoesOneByOne, r"episodes\(\) by usefulness: must be"),
    (NeverCaps, r"set_cap\(\): must be 2, got 0"),
    (TellsNothingOfTheGone, r"changes\(\) must tell of what is gone"),
    (ForgetsInSilence, r"forget\(\) must tell of its progress"),
    (FindsFault, r"verify\(\): must be \[\], got \['a fault'\]"),
]


@pytest.mark.parametrize(
    ("kind", "violation"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_is_broken_is_named(kind, violation):
    with pytest.raises(AssertionError, match=violation):
        check_governance(kind)


class Elsewhere(Governed):
    path = "each handle another one"


def test_what_does_not_survive_reopening_is_named():
    with pytest.raises(AssertionError, match="the catalogue must survive reopening"):
        check_governance(Elsewhere)


def test_a_store_that_is_in_use_is_refused(tmp_path):
    with closing(SqliteMemory(tmp_path / "memory.db")) as memory:
        memory.append(Episode("e", "", ()))
    with pytest.raises(AssertionError, match=r"an empty store, len\(\) is 1"):
        check_governance(lambda: SqliteMemory(tmp_path / "memory.db"))
