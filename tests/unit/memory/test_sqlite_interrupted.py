"""Ctrl-C while SQLite is at work: it ends the work, and the memory is as it was."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing, suppress

import pytest
from sqlite_kit import episode

from jitrl.memory import Selection, SqliteMemory
from jitrl.memory.sqlite import interruptible

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def ctrl_c():
    """A function that has this process interrupted in a moment."""

    def hear(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, hear)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_statement_that_takes_long_is_ended(ctrl_c):
    with closing(sqlite3.connect(":memory:")) as db:
        ctrl_c()
        with pytest.raises(KeyboardInterrupt), interruptible(db):
            db.execute(ENDLESS)
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_other_errors_of_a_statement_stay_what_they_are():
    with (
        closing(sqlite3.connect(":memory:")) as db,
        pytest.raises(sqlite3.OperationalError),
        interruptible(db),
    ):
        db.execute("SELECT nothing FROM nowhere")


@pytest.mark.parametrize("at", range(1, 8))
def test_forgetting_that_is_interrupted_forgets_all_or_nothing(tmp_path, at):
    def stop(*told):
        seen.append(told)
        if len(seen) == at:
            raise KeyboardInterrupt

    seen = []
    with closing(SqliteMemory(tmp_path / "m.db")) as memory:
        for i in range(4):
            memory.append(episode(f"e-{i}", provenance={"run": f"r{i % 2}"}))
        with suppress(KeyboardInterrupt):
            memory.forget(Selection(run="r0"), stop)
        assert [e.id for e in memory.episodes()] in (
            [f"e-{i}" for i in range(4)],
            ["e-1", "e-3"],
        )
        assert all("free pages" in finding.what for finding in memory.verify())
        memory.forget(Selection(run="r0"))
        assert [e.id for e in memory.episodes()] == ["e-1", "e-3"]
        assert list(memory.verify()) == []
