"""A memory of an older version: everything is kept, whoever opens it, and whenever they die.

golden/version1.db was written by the code of schema version 1. The processes are real: this file,
run as a program, plays the parts named by `part_*`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_kit import forked, sql

import jitrl
from jitrl.errors import MemoryUnavailable, NewerMemory
from jitrl.memory import SqliteMemory
from jitrl.memory.sqlite import SCHEMA_VERSION
from jitrl.records import Episode, State, Step

GOLDEN = Path(__file__).parent / "golden" / "version1.db"
KINDS = (sqlite3.Connection, sqlite3.Cursor)
OPENINGS = 20
DEATHS = 60


def step(t, **changes):
    plain = {
        "state": State(room=f"room {t}", inventory="lamp"),
        "action": "north",
        "reward": float(t),
        "behaviour_logprob": -0.5,
        "before": {"north": 0.5, "south": 0.5},
        "after": {"north": 0.9, "south": 0.1},
        "changed": t % 2 == 1,
        "preset": "default",
        "seed": 7,
    }
    return Step(**(plain | changes))


HELD = [
    Episode(
        "won",
        "reach the cellar",
        tuple(step(t) for t in range(4)),
        terminated=True,
        final_state=State(room="cellar"),
        provenance={"world": "a cellar", "number": "0"},
    ),
    Episode(
        "cut off",
        "Ünï¢ödé 北",
        (step(0, action="open “door”", reward=-0.1 - 0.2),),
        provenance={"world": "a cellar", "number": "1"},
    ),
    Episode("no steps", "", ()),
]


# --- the parts ---------------------------------------------------------------------------------


def part_openings(folder):
    """Let processes open old files at the same moment, and store; print what went wrong."""
    failures = []
    for i in range(OPENINGS):
        path = Path(folder, f"{i}.db")
        shutil.copyfile(GOLDEN, path)
        start, go = os.pipe()
        told, tell = os.pipe()
        children = [forked(opening, path, name, start, go, tell) for name in range(3)]
        for end in (start, go, tell):
            os.close(end)  # nobody holds the writing end any more: the children see its end
        for child in children:
            os.waitpid(child, 0)
        with os.fdopen(told) as lines:
            failures += lines.read().splitlines()
        with closing(SqliteMemory(path)) as memory:
            held = list(memory.episodes())
        if held[:3] != HELD or sorted(episode.id for episode in held[3:]) != ["0", "1", "2"]:
            failures.append(f"{i}: {[episode.id for episode in held]}")
    sys.stdout.write(json.dumps(failures))


def opening(path, name, start, go, tell):
    os.close(go)
    os.read(start, 1)
    try:
        with closing(SqliteMemory(path)) as memory:
            memory.append(Episode(str(name), "", (step(0, judged=0.5),)))
    except Exception as error:  # noqa: BLE001  (whatever it is, the parent wants to know)
        os.write(tell, f"{error!r}\n".encode())


def part_deaths(folder):
    """Kill an opener before and after each call of SQLite; print the versions that it left."""
    versions = []
    for calls in range(1, DEATHS):
        path = Path(folder, f"{calls}.db")
        shutil.copyfile(GOLDEN, path)
        os.waitpid(forked(doomed_opener, path, calls), 0)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            versions.append(db.execute("PRAGMA user_version").fetchone()[0])
        with closing(SqliteMemory(path, readonly=True)) as memory:
            assert list(memory.episodes()) == HELD
        with closing(SqliteMemory(path)) as memory:
            assert memory.judge("won", [1.0, None, None, 2.0])
            assert [one.judged for one in next(memory.episodes()).steps] == [1.0, None, None, 2.0]
    sys.stdout.write(json.dumps(versions))


def doomed_opener(path, calls):
    left = calls

    def count(frame, event, argument):
        nonlocal left
        called = getattr(argument, "__self__", None)
        if event in ("c_call", "c_return") and isinstance(called, KINDS):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    SqliteMemory(path)


# --- the tests ---------------------------------------------------------------------------------


def run(part, *arguments):
    """Play `part` to its end; returns what it printed."""
    done = subprocess.run(
        [sys.executable, __file__, part, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "memory.db"
    shutil.copyfile(GOLDEN, path)
    return path


def version(path):
    return sql(path, "PRAGMA user_version")[0][0]


def test_a_memory_of_version_1_is_brought_up_to_date_and_keeps_everything(path):
    assert version(path) == 1
    with closing(SqliteMemory(path)) as memory:
        assert list(memory.episodes()) == HELD
        assert memory.append(Episode("new", "", (step(0, judged=0.5),)))
        assert memory.judge("won", [None, 1.0, None, -1.0], {"credit judge": "m"})
    assert version(path) == SCHEMA_VERSION
    with closing(SqliteMemory(path)) as memory:
        won, *others = memory.episodes()
    assert [one.judged for one in won.steps] == [None, 1.0, None, -1.0]
    assert won.provenance == {**HELD[0].provenance, "credit judge": "m"}
    assert others == [*HELD[1:], Episode("new", "", (step(0, judged=0.5),))]
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_memory_that_was_brought_up_to_date_has_the_shape_of_a_new_one(path, tmp_path):
    SqliteMemory(path).close()
    SqliteMemory(tmp_path / "new.db").close()
    for table in ("states", "episodes", "steps"):
        columns = f"SELECT * FROM pragma_table_info('{table}')"
        assert sql(path, columns) == sql(tmp_path / "new.db", columns)


def test_a_reader_reads_version_1_as_it_is_and_leaves_it_alone(path):
    held = path.read_bytes()
    with closing(SqliteMemory(path, readonly=True)) as memory:
        assert list(memory.episodes()) == HELD
        assert len(memory) == 3
        with pytest.raises(MemoryUnavailable):
            memory.judge("won", [1.0] * 4)
    assert path.read_bytes() == held
    assert version(path) == 1


def test_a_reader_that_opened_version_1_sees_what_comes_after_it(path):
    with closing(SqliteMemory(path, readonly=True)) as reader:
        assert list(reader.episodes()) == HELD
        with closing(SqliteMemory(path)) as memory:
            memory.judge("won", [1.0] * 4)
            assert [one.judged for one in next(reader.episodes()).steps] == [1.0] * 4


def test_a_learner_learns_from_version_1(path):
    with jitrl.Learner(path, min_evidence=1) as learner:
        found = learner.episode().choose(HELD[0].steps[3].state, [jitrl.Candidate("north")])
    assert {(one.episode, one.return_) for one in found.neighbours} >= {("won", 3.0)}


def test_a_version_that_is_to_come_is_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    for readonly in (False, True):
        with pytest.raises(NewerMemory, match="install a newer jitrl"):
            SqliteMemory(path, readonly=readonly)


def test_processes_that_open_version_1_at_the_same_moment_all_succeed(tmp_path):
    assert run("openings", tmp_path) == []


def test_death_at_any_moment_of_the_migration_leaves_everything(tmp_path):
    versions = run("deaths", tmp_path)
    assert set(versions) == {1, SCHEMA_VERSION}  # before its COMMIT, and after it
    assert versions == sorted(versions)


if __name__ == "__main__":
    globals()[f"part_{sys.argv[1]}"](*sys.argv[2:])
