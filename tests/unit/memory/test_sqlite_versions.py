"""A memory of an older version: everything is kept, whoever opens it, and whenever they die.

golden/version1.db and version2.db were written by the code of those schema versions, version3.db by
`python test_sqlite_versions.py golden version3.db`. The processes are real: this file, run as a
program, plays the parts named by `part_*`.
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
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_kit import forked, sql

import jitrl
from jitrl.errors import MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.memory import Cap, Selection, Snapshot, SqliteMemory
from jitrl.memory.sql.sqlite_file import SCHEMA_VERSION
from jitrl.records import Episode, State, Step

GOLDEN = Path(__file__).parent / "golden"
OLD = (1, 2)
KINDS = (sqlite3.Connection, sqlite3.Cursor)
OPENINGS = 10  # of each old version
DEATHS = 40  # the same
NOW = 1795521600.25
STORED = "2026-11-24T12:00:00.250+00:00"


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


JUDGED = Episode(
    "judged",
    "reach the cellar",
    (step(0, judged=0.5), step(1)),
    provenance={"run": "r1", "created": "2026-11-23T13:00:00+01:00"},
)
WHEN_JUDGED = "2026-11-23T12:00:00.000+00:00"


def held(version):
    """The episodes of the golden file of a version, as they are read."""
    return HELD if version == 1 else [*HELD, JUDGED]


# --- the parts ---------------------------------------------------------------------------------


def part_golden(path):
    """Write what is now the golden file of this version."""
    with closing(SqliteMemory(path, clock=lambda: NOW)) as memory:
        memory.append(Episode("capped away", "", (step(9),)))
        memory.append(HELD[0])
        memory.set_cap(Cap(1))
        memory.set_cap(Cap(4))
        for episode in (*HELD[1:], JUDGED):
            memory.append(episode)
        memory.snapshot("all four")
        memory.append(Episode("rolled back", "", (step(3),)))
        memory.rollback("all four")
        memory.judge("judged", [9.0, -1.0], {"credit judge": "m"})
        memory.quarantine(Selection(run="r1"), "what it says is doubtful")


def part_openings(folder):
    """Let processes open old files at the same moment, and store; print what went wrong."""
    failures = []
    for i in range(OPENINGS * len(OLD)):
        path, version = Path(folder, f"{i}.db"), OLD[i % len(OLD)]
        shutil.copyfile(GOLDEN / f"version{version}.db", path)
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
            found = list(memory.episodes())
        wanted = held(version)
        new = sorted(episode.id for episode in found[len(wanted) :])
        if found[: len(wanted)] != wanted or new != ["0", "1", "2"]:
            failures.append(f"{i}: {[episode.id for episode in found]}")
    sys.stdout.write(json.dumps(failures))


def opening(path, name, start, go, tell):
    os.close(go)
    os.read(start, 1)
    try:
        with closing(SqliteMemory(path)) as memory:
            memory.append(Episode(str(name), "", (step(0, judged=0.5),)))
    except Exception as error:  # noqa: BLE001  (whatever it is, the parent wants to know)
        os.write(tell, f"{error!r}\n".encode())


def part_deaths(folder, version):
    """Kill an opener before or after calls of SQLite; print the versions that it left."""
    golden = GOLDEN / f"version{version}.db"
    path = Path(folder, "counted.db")
    shutil.copyfile(golden, path)
    most = count_calls(path)
    versions = []
    for death in range(DEATHS):
        path = Path(folder, f"{death}.db")
        shutil.copyfile(golden, path)
        calls = 1 + death * most // (DEATHS - 1)
        os.waitpid(forked(count_calls, path, calls), 0)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            versions.append(db.execute("PRAGMA user_version").fetchone()[0])
        with closing(SqliteMemory(path, readonly=True)) as memory:
            assert list(memory.episodes()) == held(int(version))
        with closing(SqliteMemory(path)) as memory:
            assert memory.judge("won", [1.0, None, None, 2.0])
            assert [one.judged for one in next(memory.episodes()).steps] == [1.0, None, None, 2.0]
            assert list(memory.verify()) == []
    sys.stdout.write(json.dumps(versions))


def count_calls(path, deadly=0):
    """Open a memory; die at the entry into or the return from a call of SQLite of that number."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        called = getattr(argument, "__self__", None)
        if event in ("c_call", "c_return") and isinstance(called, KINDS):
            calls += 1
            if calls == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    memory = SqliteMemory(path)
    sys.setprofile(None)
    memory.close()
    return calls


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


@pytest.fixture(params=OLD)
def old(request):
    return request.param


@pytest.fixture
def path(tmp_path, old):
    path = tmp_path / "memory.db"
    shutil.copyfile(GOLDEN / f"version{old}.db", path)
    return path


def version(path):
    return sql(path, "PRAGMA user_version")[0][0]


def test_an_old_memory_is_brought_up_to_date_and_keeps_everything(path, old):
    assert version(path) == old
    with closing(SqliteMemory(path)) as memory:
        assert list(memory.episodes()) == held(old)
        assert memory.append(Episode("new", "", (step(0, judged=0.5),)))
        assert memory.judge("won", [None, 1.0, None, -1.0], {"credit judge": "m"})
    assert version(path) == SCHEMA_VERSION
    with closing(SqliteMemory(path)) as memory:
        won, *others = memory.episodes()
        assert list(memory.verify()) == []
    assert [one.judged for one in won.steps] == [None, 1.0, None, -1.0]
    assert won.provenance == {**HELD[0].provenance, "credit judge": "m"}
    assert others == [*held(old)[1:], Episode("new", "", (step(0, judged=0.5),))]
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


def test_an_old_memory_that_was_brought_up_to_date_has_the_shape_of_a_new_one(path, tmp_path):
    SqliteMemory(path).close()
    SqliteMemory(tmp_path / "new.db").close()
    shape = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    assert sql(path, shape) == sql(tmp_path / "new.db", shape)


@pytest.mark.parametrize("readonly", [False, True])
def test_what_old_episodes_do_not_say_of_themselves_is_found_in_their_provenance(
    path, old, readonly
):
    with closing(SqliteMemory(path, readonly=readonly, clock=lambda: NOW)) as memory:
        entries = list(memory.catalogue())
    assert [entry.number for entry in entries] == list(range(1, len(held(old)) + 1))
    assert [entry.stored for entry in entries[:3]] == [STORED] * 3
    assert [(e.run, e.source, e.stored) for e in entries[3:]] == (
        [("r1", "r1", WHEN_JUDGED)] if old == 2 else []
    )


def test_a_reader_reads_an_old_memory_as_it_is_and_leaves_it_alone(path, old):
    before = path.read_bytes()
    with closing(SqliteMemory(path, readonly=True)) as memory:
        assert list(memory.episodes()) == held(old)
        assert len(memory) == len(held(old))
        assert memory.pulse().episodes == len(held(old))
        trails = list(memory.changes(0))
        states = memory.states(number for trail in trails for number in trail.states)
        assert [tuple(states[n] for n in trail.states) for trail in trails] == [
            tuple(step.state for step in episode.steps) for episode in held(old)
        ]
        assert memory.heads([1])[1].provenance == HELD[0].provenance
        with pytest.raises(MemoryUnavailable):
            memory.judge("won", [1.0] * 4)
    assert path.read_bytes() == before
    assert version(path) == old


def test_a_reader_of_an_old_memory_sees_what_comes_after_it(path, old):
    with closing(SqliteMemory(path, readonly=True)) as reader:
        assert list(reader.episodes()) == held(old)
        epoch = reader.pulse().epoch
        with closing(SqliteMemory(path)) as memory:
            memory.judge("won", [1.0] * 4)
            assert [one.judged for one in next(reader.episodes()).steps] == [1.0] * 4
            assert reader.pulse() == memory.pulse() != epoch


def test_a_reader_of_an_old_memory_sees_what_old_code_adds(path, old):
    with closing(SqliteMemory(path, readonly=True)) as reader:
        assert len(reader) == len(held(old))
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(
                "INSERT INTO episodes VALUES (?, 'new', '', 0, NULL, '{}', 0)", (len(reader) + 1,)
            )
        assert [episode.id for episode in reader.episodes()][-1] == "new"


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM steps WHERE episode = 1 AND t = 0",
        "DELETE FROM episodes WHERE seq = 2",
        "UPDATE states SET fields = '{}' WHERE id = 1",
        "UPDATE steps SET state = 77 WHERE episode = 2",
        "UPDATE steps SET reward = 'x'",
        "UPDATE episodes SET provenance = '[]'",
        "CREATE TABLE more (text)",
    ],
)
def test_a_damaged_old_memory_is_refused_and_left_as_it_is(path, old, damage):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(damage)
    before = sql(path, "SELECT * FROM steps")
    for readonly in (False, True):
        with pytest.raises(NotAMemory, match="damaged"):
            SqliteMemory(path, readonly=readonly)
    assert version(path) == old
    assert sql(path, "SELECT * FROM steps") == before


def test_a_learner_learns_from_an_old_memory(path):
    with jitrl.Learner(path, min_evidence=1) as learner:
        found = learner.episode().choose(HELD[0].steps[3].state, [jitrl.Candidate("north")])
    assert {(one.episode, one.return_) for one in found.neighbours} >= {("won", 3.0)}


def check_version_3(memory):
    judged = replace(
        JUDGED,
        steps=(step(0, judged=0.5), step(1, judged=-1.0)),
        provenance={**JUDGED.provenance, "credit judge": "m"},
    )
    assert list(memory.episodes()) == HELD
    assert [
        (e.number, e.id, e.source, e.steps, e.reward, e.present, e.quarantined)
        for e in memory.catalogue()
    ] == [
        (2, "won", "", 4, 6.0, True, None),
        (4, "cut off", "", 1, -0.1 - 0.2, True, None),
        (5, "no steps", "", 0, 0.0, True, None),
        (6, "judged", "r1", 2, 1.0, False, "what it says is doubtful"),
        (7, "rolled back", "", 1, 3.0, False, None),
    ]
    assert memory.get("judged") == judged
    assert {entry.stored for entry in memory.catalogue()} == {STORED}
    assert memory.snapshots() == [Snapshot("all four", STORED, 4)]
    assert memory.cap == Cap(4)
    assert (memory.pulse().revision, memory.pulse().episodes) == (11, 5)
    assert [(t.number, t.revision, t.present) for t in memory.changes(2)] == [
        (1, 3, False),
        (2, 9, True),
        (4, 4, True),
        (5, 5, True),
        (6, 11, False),
        (7, 9, False),
    ]
    assert list(memory.verify()) == []


@pytest.mark.parametrize("readonly", [False, True])
def test_a_memory_of_version_3_is_what_it_was(tmp_path, readonly):
    path = tmp_path / "memory.db"
    shutil.copyfile(GOLDEN / "version3.db", path)
    with closing(SqliteMemory(path, readonly=readonly)) as memory:
        check_version_3(memory)
    assert version(path) == 3


def test_a_version_that_is_to_come_is_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    for readonly in (False, True):
        with pytest.raises(NewerMemory, match="install a newer jitrl"):
            SqliteMemory(path, readonly=readonly)


def test_processes_that_open_an_old_memory_at_the_same_moment_all_succeed(tmp_path):
    assert run("openings", tmp_path) == []


def test_death_at_any_moment_of_the_migration_leaves_everything(tmp_path, old):
    versions = run("deaths", tmp_path, old)
    assert set(versions) == {old, SCHEMA_VERSION}  # before its COMMIT, and after it
    assert versions == sorted(versions)


if __name__ == "__main__":
    globals()[f"part_{sys.argv[1]}"](*sys.argv[2:])
