"""Ctrl-C while SQLite is at work: it ends the work, and the memory is as it was."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

import pytest

from jitrl.memory.sql.sqlite import _long

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def ctrl_c():
    """A function that has this process interrupted in a moment."""

    def hear(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGVTALRM, hear)  # after so much work of this process, not time
    yield lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def test_a_statement_that_takes_long_is_ended(ctrl_c):
    with closing(sqlite3.connect(":memory:")) as db:
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            _long(db, ENDLESS, "counting", None)
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_other_errors_of_a_statement_stay_what_they_are():
    with closing(sqlite3.connect(":memory:")) as db, pytest.raises(sqlite3.OperationalError):
        _long(db, "SELECT nothing FROM nowhere", "looking", None)
