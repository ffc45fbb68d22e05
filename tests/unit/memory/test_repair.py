"""Damage is found, never believed; and what is whole comes back."""

from __future__ import annotations

import shutil
from contextlib import closing
from itertools import count

import pytest
from damage_kit import (
    Bench,
    answers,
    assert_mended,
    copied,
    fill,
    flipped,
    of_one_row,
    quick,
    seeds,
    wrong,
)
from index_kit import ALL, RETURNS, ROOM, by_definition, by_index

from jitrl.memory import Index, SqliteMemory
from jitrl.memory.repair import repair
from jitrl.memory.sql import wal
from jitrl.records import State

__all__ = ["quick"]
PAGE = 4096


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


@pytest.fixture(scope="module")
def indexed(closed, tmp_path_factory):
    """A memory with its index beside it."""
    path = copied(closed[0], tmp_path_factory.mktemp("indexed"))
    with closing(SqliteMemory(path)) as memory, closing(Index(memory, ROOM, RETURNS)) as index:
        index.refresh()
    assert len([file for file in path.parent.rglob("*") if file.is_file()]) > 2
    return path


def test_a_flipped_bit_in_the_index_changes_no_answer(indexed, closed, quick):
    bench = Bench(indexed, quick / "m")
    asked = State(room="hall 3 " + "dust " * 39)
    true = by_definition(closed[1]["episodes"], ROOM, asked, ALL)
    assert len(true) > 50
    for rng in seeds(50, "index "):
        path = bench()
        files = [file for file in sorted(path.parent.rglob("*-index/**/*")) if file.is_file()]
        where = flipped(rng.choice([file for file in files if file.stat().st_size]), rng)
        with closing(SqliteMemory(path)) as memory, closing(Index(memory, ROOM, RETURNS)) as index:
            assert by_index(index.refresh(), asked, ALL) == true, where
