"""The log of writes is moved into the file beside the work: it stays small, and nobody waits."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlite_kit import episode, step

from jitrl.memory import SqliteMemory
from jitrl.memory.sql import checkpoint, wal
from jitrl.records import State

LARGE = 500_000


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "LARGE", LARGE)
    return tmp_path / "m.db"


def long(i):
    return episode(str(i), *(step(t, state=State(room=f"room {i} {t} " * 200)) for t in range(5)))


def size(path):
    return wal.log_of(path).stat().st_size


def test_a_log_that_has_grown_is_moved_while_others_write(path):
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        largest = 0
        for i in range(60):
            writer = (memory, other)[i % 2]
            writer.append(long(i))
            largest = max(largest, size(path))
            writer._checkpointer.wait()
        assert largest < 2 * LARGE
        assert path.stat().st_size > 2 * largest
        assert list(memory.verify()) == []
    with closing(SqliteMemory(path)) as memory:
        assert list(memory.episodes()) == [long(i) for i in range(60)]


def test_closing_waits_for_what_is_under_way(path):
    memory = SqliteMemory(path)
    for i in range(30):
        memory.append(long(i))
    memory.close()
    assert not memory._checkpointer._thread.is_alive()
    assert not wal.log_of(path).exists()


def test_a_reader_moves_nothing(path):
    with closing(SqliteMemory(path)) as memory:
        for i in range(3):
            memory.append(long(i))
        with closing(SqliteMemory(path, readonly=True)) as reader:
            assert len(reader) == 3
            assert reader._checkpointer is None


def test_a_log_that_cannot_be_moved_costs_nothing(path, caplog):
    with closing(SqliteMemory(path)) as memory:
        memory._checkpointer._target = f"file:{path}-nowhere?mode=rw"
        for i in range(10):
            memory.append(long(i))
        memory._checkpointer.wait()
        assert len(memory) == 10
    assert caplog.text == ""
