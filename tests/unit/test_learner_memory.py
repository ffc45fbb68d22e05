"""The learner and its memory: frozen, in RAM, given, closed, full, or none at all."""

from __future__ import annotations

from contextlib import closing
from types import MappingProxyType

import pytest
from learner_kit import BOTH, HALL, one_line, play, stored
from plain_memory import PlainMemory

from jitrl import Learner, State
from jitrl.errors import InvalidValue, MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.memory import SqliteMemory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


# --- frozen, in RAM, given, closed ----------------------------------------------------


def test_a_frozen_learner_reads_and_never_writes(path):
    with Learner(path) as learner:
        for _ in range(3):
            play(learner, [1.0, 1.0])
    held = path.read_bytes()
    with Learner(path, frozen=True) as learner:
        for _ in range(3):
            episode = play(learner, [5.0])
            assert episode.id
        assert learner.episode().choose(HALL, BOTH).neighbours
        assert len(learner.memory) == 3
        assert path.read_bytes() == held
    assert path.read_bytes() == held


def test_a_frozen_learner_in_ram_stays_empty():
    learner = Learner(frozen=True)
    for _ in range(3):
        play(learner, [1.0])
    assert len(learner.memory) == 0
    assert learner.episode().choose(HALL, BOTH).neighbours == ()


def test_a_frozen_learner_leaves_a_given_memory_alone():
    memory = SqliteMemory()
    play(Learner(memory, frozen=True), [1.0])
    assert len(memory) == 0


def test_a_frozen_learner_sees_what_others_store(path):
    with Learner(path) as writer:
        play(writer, [1.0])
        with Learner(path, frozen=True, min_evidence=1) as reader:
            play(writer, [1.0], id="new")
            found = reader.episode().choose(HALL, BOTH).neighbours
            assert "new" in {step.episode for step in found}


def test_a_missing_memory_is_not_created_by_a_frozen_learner(path):
    with pytest.raises(MemoryUnavailable, match="no memory at"):
        Learner(path, frozen=True)
    assert not path.exists()


def test_without_a_path_the_memory_is_in_ram_and_its_learners_own():
    one, other = Learner(), Learner(memory=None)
    play(one, [1.0])
    assert (len(one.memory), len(other.memory)) == (1, 0)
    assert one.memory.path is None


def test_a_learner_closes_what_it_opened(path):
    with Learner(path) as learner:
        play(learner, [1.0])
    learner.close()
    for use in (lambda: learner.episode(), lambda: len(learner.memory)):
        with pytest.raises(MemoryUnavailable, match="is closed"):
            use()


def test_a_learner_does_not_close_a_memory_that_it_was_given():
    memory = SqliteMemory()
    with Learner(memory) as learner:
        play(learner, [1.0])
        assert learner.memory is memory
    learner.close()
    assert len(memory) == 1
    play(Learner(memory), [1.0])
    assert len(memory) == 2


def test_an_episode_that_is_open_when_its_learner_closes_is_not_silently_lost(path):
    learner = Learner(path)
    episode = learner.episode()
    episode.choose(HALL, BOTH)
    episode.record(1.0)
    learner.close()
    with pytest.raises(MemoryUnavailable, match="is closed"):
        episode.close()


class Listed(PlainMemory):
    """Somebody else's memory."""

    def judge(self, id, scores, provenance=MappingProxyType({})):
        raise AssertionError("nobody asked for it")

    def close(self):
        raise AssertionError("it is not the learner's to close")


def test_anybodys_memory_will_do():
    memory = Listed()
    with Learner(memory, min_evidence=1) as learner:
        play(learner, [1.0])
        assert learner.episode().choose(HALL, BOTH).neighbours
    assert len(memory.held) == 1


def test_durability_is_that_of_a_process_unless_power_is_named(path):
    for keyword, synchronous in ({}, 1), ({"durability": "power"}, 2):
        with Learner(path, **keyword) as learner:
            assert learner.memory._db.execute("PRAGMA synchronous").fetchone() == (synchronous,)


# --- no room --------------------------------------------------------------------------


def test_a_full_disk_loses_neither_what_is_stored_nor_the_live_episode(path):
    learner = Learner(path)
    play(learner, [1.0], id="before")
    db = learner.memory._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    big = State(room="word " * 20000)
    with pytest.raises(MemoryUnavailable, match="full: free some disk space") as caught:
        play(learner, [1.0, 2.0], state=big, id="never")
    assert str(path) in one_line(caught.value)
    episode = learner.episode(id="big")
    episode.choose(big, BOTH)
    episode.record(3.0)
    for _ in range(2):
        with pytest.raises(MemoryUnavailable):
            episode.close()
    assert [found.id for found in stored(learner)] == ["before"]
    db.execute("PRAGMA max_page_count = 1000000")
    episode.close()
    episode.close()
    play(learner, [1.0], id="after")
    learner.close()
    with closing(SqliteMemory(path)) as memory:
        assert [found.id for found in memory.episodes()] == ["before", "big", "after"]


# --- what is no memory ----------------------------------------------------------------


def test_a_file_that_is_no_memory_is_refused(path):
    path.write_text("my diary")
    with pytest.raises(NotAMemory) as caught:
        Learner(path)
    assert str(path) in one_line(caught.value)
    assert path.read_text() == "my diary"


def test_a_memory_of_a_later_version_is_refused(path):
    with Learner(path) as learner:
        learner.memory._db.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerMemory, match="install a newer jitrl"):
        Learner(path)


@pytest.mark.parametrize("memory", [5, b"memory.db", ["memory.db"], {}, object()])
def test_what_cannot_be_a_memory_is_refused(memory):
    with pytest.raises(InvalidValue, match="memory must be a path") as caught:
        Learner(memory)
    one_line(caught.value)
