"""`verify` finds rows that contradict each other, though the seal of each is right."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlite_kit import episode, step

from jitrl.errors import JitrlError
from jitrl.memory import Finding, Selection, SqliteMemory
from jitrl.memory.sql import directory, rows, tables
from jitrl.records import State


@pytest.fixture
def memory(tmp_path):
    with closing(SqliteMemory(tmp_path / "memory.db")) as memory:
        for i in range(4):
            memory.append(episode(f"e{i}", step(i), step(i + 1), final_state=State(room="end")))
        memory.quarantine(Selection(id="e2"), "doubtful")
        memory.snapshot("one")
        yield memory


def put_line(db, number, **changes):
    tables.set_line(db, replace(tables.sure_line(db, number), **changes))


def put_meta(db, **changes):
    tables.put_meta(db, replace(tables.meta(db), **changes))


def add_step(db):
    db.execute(
        "INSERT INTO steps SELECT 9, t, state, action, reward, behaviour_logprob, "
        "policy_before, policy_after, changed, preset, seed, judged FROM steps "
        "WHERE episode = 1 AND t = 0"
    )


def add_state(db):
    db.execute("INSERT INTO states VALUES (99, '{}', ?)", (rows.seal(99, "{}"),))


def add_episode(db):
    made = replace(tables.sure_line(db, 1), number=9, length=0, digest=rows.seal(9, []))
    tables.put_line(db, made)


def add_snapshot(db):
    held = tables.meta(db)
    tables.put_snapshot(db, held, tables.Named(7, "seven", "", 1, "[[70,71]]"))
    tables.put_meta(db, held)


def lose_an_id(db):
    directory.drop(db, directory.IDS, rows.digest_of("e1"))


def lose_a_state(db):
    directory.drop(db, directory.STATES, rows.digest_of(tables.fields_of(db, 1)))


LOST = {
    "DELETE FROM steps WHERE episode = 2 AND t = 1": "episode 2: 1 of its 2 steps are there",
    "UPDATE steps SET seed = 5 WHERE episode = 2": "episode 2: a byte of its steps has changed",
    "UPDATE episodes SET task = 'x' WHERE number = 2": "episode 2: a byte of it has changed",
    "DELETE FROM episodes WHERE number = 2": "episode 2 is missing",
    "DELETE FROM states WHERE number = 2": "state 2 is missing",
}


@pytest.mark.parametrize("damage", LOST)
def test_an_episode_that_is_not_whole_is_lost_to_a_repair(memory, damage):
    with memory.writing() as db:
        db.execute(damage)
    found = list(memory.verify())
    assert Finding(LOST[damage], 2, lost=True) in found
    assert {finding.number for finding in found if finding.lost} <= {1, 2}


SOUND = {
    "an orphan step": (add_step, "9 rows of steps are there, of 8"),
    "a state that was never given": (add_state, "state 99 was never given that number"),
    "an episode that was never stored": (add_episode, "episode 9 was never stored, or deleted"),
    "a snapshot of what never was": (add_snapshot, "snapshot 'seven' names episodes that never"),
    "an id that is not found": (lose_an_id, "the directory names other episodes than there are"),
    "a state that is not found": (lose_a_state, "the directory names other states than there are"),
    "a revision to come": (
        lambda db: put_line(db, 1, revision=77),
        "episode 1 has revision 77",
    ),
    "a wrong count": (lambda db: put_meta(db, steps=7), "8 steps are there, and whole, of 7"),
    "one too few present": (lambda db: put_meta(db, present=9), "3 present are there"),
    "a log that goes on": (lambda db: put_meta(db, revision=4), "the log goes to revision 5"),
    "a log that stops": (lambda db: put_meta(db, revision=9), "the log does not hold revisions"),
    "a cap that is none": (lambda db: put_meta(db, cap='{"episodes":0}'), "its cap: episodes must"),
    "free pages": (lambda db: put_meta(db, unswept=1), "what was deleted may still be in free"),
}


@pytest.mark.parametrize("what", SOUND)
def test_rows_that_contradict_each_other_are_found_and_cost_no_episode(memory, what):
    damage, text = SOUND[what]
    with memory.writing() as db:
        damage(db)
    found = list(memory.verify())
    assert any(finding.what.startswith(text) for finding in found), found
    assert not any(finding.lost for finding in found)


@pytest.mark.parametrize("table", ["memory", "log", "snapshots", "directory", "states"])
def test_a_row_that_is_not_what_was_written_is_found(memory, table):
    column = {"memory": "epoch", "log": "what", "snapshots": "made", "directory": "number"}
    with memory.writing() as db:
        db.execute(f"UPDATE {table} SET {column.get(table, 'fields')} = '7'")
    assert any("a byte of it has changed" in finding.what for finding in memory.verify())


def test_a_sound_memory_has_no_findings_and_verify_tells_how_far_it_is(memory):
    told = []
    assert list(memory.verify(lambda *progress: told.append(progress))) == []
    assert {what for what, _, _ in told} == {
        "asking SQLite",
        "checking the log",
        "checking states",
        "checking the directory",
        "checking episodes",
    }
    assert all(done <= total for _, done, total in told)


def test_what_verify_finds_is_found_by_those_who_read_it_too(memory):
    with memory.writing() as db:
        lose_an_id(db)
    for ask in (lambda: memory.judge("e1", [1.0, 1.0]), lambda: memory.forget(Selection(id="e1"))):
        with pytest.raises(JitrlError):
            ask()
