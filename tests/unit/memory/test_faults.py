"""The n-th change of a file fails, the disk is full, or the process dies there: nothing is lost.

The processes are real: this file, run as a program under a library that fails on demand, plays the
parts named by `part_*`.
"""

from __future__ import annotations

import sys
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from damage_kit import quick
from faults_kit import library, preloaded, rounds
from index_kit import ALL, RETURNS, ROOM, by_definition, by_index
from sqlite_kit import episode, step

from jitrl.errors import MemoryUnavailable
from jitrl.memory import Cap, Index, Selection, SqliteMemory
from jitrl.memory.repair import repair
from jitrl.records import State

__all__ = ["quick"]
HELD = ["old-1", "old-2", "old-3"]
SECRET = "the cellar key is under the mat"


def opened(folder, **options):
    return closing(SqliteMemory(folder / "m.db", clock=count(1.8e9).__next__, **options))


def long(id):
    """An episode of more than a page."""
    text = f"{SECRET} {id}" if id == "old-2" else f"room of {id}"
    steps = [step(t, state=State(room=f"{text} {t} " * 40)) for t in range(3)]
    return episode(id, *steps)


def prepared(folder):
    """A memory with some episodes."""
    with opened(folder) as memory:
        for id in HELD:
            memory.append(long(id))
        memory.snapshot("first")


def assert_sound(folder, there=(), maybe=()):
    """All of `there`, none but `maybe` besides, each whole and once."""
    with opened(folder) as memory:
        found = [finding.what for finding in memory.verify()]
        assert not found or (maybe and "vacuum the memory" in found[0] and len(found) == 1)
        held = {episode.id: episode for episode in memory.episodes()}
        assert len(held) == len(memory)
    assert all(episode == long(id) for id, episode in held.items())
    assert set(there) <= held.keys() <= {*there, *maybe}


def assert_excused(outcome):
    """What failed says that it is the disk."""
    assert outcome.died or outcome.error == "" or outcome.error.startswith("MemoryUnavailable")


# --- the parts -----------------------------------------------------------------------------------


def part_append(fresh, work, *kinds):
    prepared(fresh)
    new = ["new-1", "new-2"]

    def act(folder, acknowledge):
        with opened(folder) as memory:
            for id in new:
                assert memory.append(long(id))
                acknowledge(id)

    def check(folder, outcome):
        assert_excused(outcome)
        assert_sound(folder, [*HELD, *outcome.acknowledged], new)

    rounds(fresh, work, act, check, kinds)


def part_begin(fresh, work, *kinds):
    fresh.mkdir(exist_ok=True)

    def act(folder, acknowledge):
        with opened(folder, durability="power") as memory:
            memory.append(long("new"))
            acknowledge("new")

    def check(folder, outcome):
        assert_excused(outcome)
        left = [file.name for file in folder.iterdir() if not file.name.startswith("m.db")]
        assert not left or outcome.died or outcome.error
        assert_sound(folder, outcome.acknowledged, ["new"])

    rounds(fresh, work, act, check, kinds)


def part_govern(fresh, work, *kinds):
    prepared(fresh)

    def act(folder, acknowledge):
        with opened(folder) as memory:
            memory.snapshot("second")
            acknowledge("snapshot")
            memory.quarantine(Selection(id="old-1"), "why")
            acknowledge("quarantine")
            memory.set_cap(Cap(2))
            acknowledge("cap")

    def check(folder, outcome):
        assert_excused(outcome)
        with opened(folder) as memory:
            assert list(memory.verify()) == []
            names = [snapshot.name for snapshot in memory.snapshots()]
            assert names in (["first"], ["first", "second"])
            done = {"snapshot": "second" in names, "cap": memory.cap is not None}
            done["quarantine"] = next(memory.catalogue(Selection(id="old-1"))).quarantined == "why"
            assert all(done[what] for what in outcome.acknowledged)
            assert [entry.id for entry in memory.catalogue()] == HELD

    rounds(fresh, work, act, check, kinds)


def part_forget(fresh, work, *kinds):
    prepared(fresh)
    (fresh / "m.db-index").mkdir()
    (fresh / "m.db-index" / "segment").write_text(SECRET)

    def act(folder, acknowledge):
        with opened(folder) as memory:
            memory.forget(Selection(text=SECRET))
            acknowledge("forgotten")

    def check(folder, outcome):
        assert_excused(outcome)
        assert_sound(folder, ["old-1", "old-3"], ["old-2"])
        with opened(folder) as memory:
            memory.forget(Selection(text=SECRET))
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert not any(SECRET.encode() in file.read_bytes() for file in files)

    rounds(fresh, work, act, check, kinds)


def part_repair(fresh, work, *kinds):
    prepared(fresh)
    path = fresh / "m.db"
    data = bytearray(path.read_bytes())
    place = data.index(b"room of old-3")
    data[place] ^= 1
    path.write_bytes(data)

    def act(folder, acknowledge):
        findings = repair(folder / "m.db")
        acknowledge(" ".join(str(finding.number) for finding in findings if finding.lost))

    def check(folder, outcome):
        assert_excused(outcome)
        if not outcome.acknowledged:
            repair(folder / "m.db")
        else:
            assert outcome.acknowledged == ["3"]
        assert_sound(folder, ["old-1", "old-2"])
        names = {file.name for file in folder.iterdir() if not file.name.startswith(".jitrl-")}
        assert names == {"m.db", "m.db.damaged-1"}
        assert (folder / "m.db.damaged-1").read_bytes() == data

    rounds(fresh, work, act, check, kinds)


def part_index(fresh, work, *kinds):
    prepared(fresh)
    asked = State(room="room of old-1 1 " * 39)

    def act(folder, acknowledge):
        with opened(folder) as memory, closing(Index(memory, ROOM, RETURNS)) as index:
            index.refresh()
            memory.append(long("new"))
            index.refresh()
            acknowledge("new")

    def check(folder, outcome):
        assert_excused(outcome)
        assert_sound(folder, [*HELD, *outcome.acknowledged], ["new"])
        for _ in range(2):  # what the first one saves, the second one reads
            with opened(folder) as memory, closing(Index(memory, ROOM, RETURNS)) as index:
                true = by_definition(memory.episodes(), ROOM, asked, ALL)
                assert by_index(index.refresh(), asked, ALL) == true
                assert len(true) >= 7  # those with a word in common

    rounds(fresh, work, act, check, kinds)


# --- the tests -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    return library(tmp_path_factory.mktemp("library"))


CALLS = {
    "begin": {"create", "write", "fsync", "link", "pwrite", "unlink"},
    "append": {"create", "pwrite", "fsync", "unlink"},
    "govern": {"create", "pwrite", "fsync", "unlink"},
    "forget": {"create", "pwrite", "fsync", "ftruncate", "unlink"},
    "repair": {"create", "pwrite", "fsync", "link", "rename", "unlink"},
    "index": {"create", "mkdir", "write", "fsync", "rename", "unlink"},
}
"""What each part does to files, at least."""
ROUNDS = [(part, kind) for part in CALLS for kind in ("io error", "killed")]
ROUNDS += [(part, "disk full") for part in ("append", "forget", "repair", "index")]
ROUNDS += [("append", "short write"), ("index", "short write")]


@pytest.mark.parametrize(("part", "kind"), ROUNDS)
def test_whichever_change_of_a_file_goes_wrong_nothing_is_lost(faulty, quick, part, kind):
    done = preloaded(faulty, __file__, part, quick / "fresh", quick / "work", kind)
    assert done["failures"] == []
    assert {call.split()[0] for call in done["calls"]} >= CALLS[part]


def test_a_medium_that_cannot_be_written_is_named(tmp_path):
    prepared(tmp_path)
    (tmp_path / "m.db").chmod(0o400)
    with opened(tmp_path, readonly=True) as memory:
        with pytest.raises(MemoryUnavailable, match="open to be read"):
            memory.append(long("new"))
        assert len(memory) == 3


if __name__ == "__main__":
    fresh, work = Path(sys.argv[2]), Path(sys.argv[3])
    fresh.mkdir(exist_ok=True)
    globals()[f"part_{sys.argv[1]}"](fresh, work, *sys.argv[4:])
