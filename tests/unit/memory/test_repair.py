"""Damage is found, never believed; and what is whole comes back."""

from __future__ import annotations

import shutil
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from damage_kit import Bench, answers, copied, fill, flipped, seeds, wrong

from jitrl.memory import SqliteMemory, wal
from jitrl.memory.repair import repair

PAGE = 4096


@pytest.fixture
def quick():
    """A folder where nobody waits for a disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A memory that was closed, and all it answers."""
    path = tmp_path_factory.mktemp("closed") / "m.db"
    with closing(SqliteMemory(path, clock=count(1.8e9).__next__)) as memory:
        fill(memory)
    copy = copied(path, tmp_path_factory.mktemp("asked"))
    with closing(SqliteMemory(copy)) as memory:
        return path, answers(memory)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A memory as a killed process left it: most of it stands in the log alone."""
    live = tmp_path_factory.mktemp("live") / "m.db"
    with closing(SqliteMemory(live, clock=count(1.8e9).__next__)) as memory:
        fill(memory)
        path = copied(live, tmp_path_factory.mktemp("killed"))
        truth = answers(memory)
    assert wal.log_of(path).stat().st_size > 100 * PAGE
    return path, truth


def lost_numbers(findings):
    return {finding.number for finding in findings if finding.lost and finding.number}


def of_one_row(lost, truth):
    """Whether the loss of one row can have cost these episodes: one of theirs, or a state's."""
    users = {}
    for trail in truth["changes"]:
        for state in trail.states:
            users.setdefault(state, set()).add(trail.number)
    return len(lost) < 2 or any(lost <= numbers for numbers in users.values())


def assert_mended(path, truth):
    """After a repair all that is left is as it was; returns what was found, and who was lost.

    Those that were lost and not named come second.
    """
    findings = repair(path)
    assert [f.what for f in findings if len(f.what) < 10 or "\n" in f.what] == []
    lost = lost_numbers(findings)
    with closing(SqliteMemory(path)) as memory:
        assert list(memory.verify()) == []
        found = answers(memory)
    there = {entry.number: entry for entry in found["catalogue"]}
    were = {entry.number: entry for entry in truth["catalogue"]}
    assert there == {n: entry for n, entry in were.items() if n in there}
    unnamed = were.keys() - there.keys() - lost
    ids = {entry.id for entry in there.values()}
    assert found["episodes"] == [e for e in truth["episodes"] if e.id in ids]
    assert [e for e in found["got"] if e] == [e for e in truth["got"] if e and e.id in ids]
    if not any("cap" in f.what or "snapshots" in f.what for f in findings):
        assert (found["cap"], found["snapshots"]) == (truth["cap"], truth["snapshots"])
    return findings, unnamed, were.keys() - there.keys()


def test_a_sound_memory_is_left_as_it_is(closed, quick):
    path = Bench(closed[0], quick / "m")()
    held = path.read_bytes()
    assert repair(path) == []
    assert path.read_bytes() == held
    assert wrong(path, closed[1]) == []


@pytest.mark.parametrize("number", range(6))
def test_a_flipped_bit_in_the_file_is_found_and_costs_at_most_what_shares_a_row(
    closed, quick, number
):
    bench = Bench(closed[0], quick / "m")
    for rng in seeds(10, f"file {number} "):
        path = bench()
        where = flipped(path, rng)
        held = path.read_bytes()
        assert wrong(copied(path, quick / "open"), closed[1]) == [], (where, str(path))
        shutil.rmtree(quick / "open")
        findings, unnamed, lost = assert_mended(path, closed[1])
        assert not unnamed, (where, findings)
        assert of_one_row(lost, closed[1]), (where, findings)
        if findings:
            assert path.with_name("m.db.damaged-1").read_bytes() == held


@pytest.mark.parametrize("number", range(5))
def test_a_flipped_bit_in_the_log_is_found_and_costs_at_most_what_shares_a_row(
    killed, quick, number
):
    bench = Bench(killed[0], quick / "m")
    for rng in seeds(6, f"log {number} "):
        path = bench()
        where = flipped(wal.log_of(path), rng)
        assert wrong(copied(path, quick / "open"), killed[1]) == [], (where, str(path))
        shutil.rmtree(quick / "open")
        findings, unnamed, lost = assert_mended(path, killed[1])
        assert not unnamed, (where, findings)
        assert of_one_row(lost, killed[1]), (where, findings)
