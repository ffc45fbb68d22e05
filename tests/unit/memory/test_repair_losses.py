"""Files that are cut, gone, unreadable, of an older version, or in use, and their repair."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from damage_kit import (
    Bench,
    answers,
    assert_mended,
    copied,
    fill,
    lost_numbers,
    original,
    quick,
    wrong,
)
from faults_kit import library, preloaded, unreadable
from process_kit import Process
from sqlite_kit import episode, names, step

from jitrl.errors import MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.memory import Selection, SqliteMemory
from jitrl.memory.repair import repair
from jitrl.memory.sql import swap, wal
from jitrl.records import State

__all__ = ["quick"]
PAGE = 4096
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A memory that was closed, a copy that was left by a killed process, and all they answer."""
    live = tmp_path_factory.mktemp("live") / "m.db"
    with closing(SqliteMemory(live, clock=count(1.8e9).__next__)) as memory:
        fill(memory)
        killed = copied(live, tmp_path_factory.mktemp("killed"))
        truth = answers(memory)
    return live, killed, truth


def cut(path, size):
    with path.open("r+b") as file:
        file.truncate(size)


# --- cut files -----------------------------------------------------------------------------------


def test_a_file_cut_at_any_page_is_noticed_and_what_is_whole_comes_back(sample, quick):
    bench, truth = Bench(sample[0], quick / "m"), sample[2]
    pages = sample[0].stat().st_size // PAGE
    restored = []
    for page in range(1, pages):
        path = bench()
        cut(path, page * PAGE)
        with pytest.raises(NotAMemory):
            SqliteMemory(path)
        assert wrong(path, truth, readonly=True) == []
        if page == 1:
            with pytest.raises(NotAMemory, match="nothing in"):
                repair(path)
            assert path.stat().st_size == page * PAGE
            continue
        _, unnamed, lost = assert_mended(path, truth)
        assert not unnamed
        restored.append(len(truth["catalogue"]) - len(lost))
    assert restored[-1] >= len(truth["catalogue"]) - 9
    assert max(restored[: pages // 2]) < len(truth["catalogue"])


def test_a_file_that_was_cut_comes_back_from_its_log(sample, quick):
    bench, truth = Bench(sample[1], quick / "m"), sample[2]
    for size in (0, 100, PAGE, 3 * PAGE):
        path = bench()
        cut(path, size)
        assert wrong(copied(path, quick / "open"), truth) == []
        shutil.rmtree(quick / "open")
        _, unnamed, lost = assert_mended(path, truth)
        assert not unnamed | lost


def test_of_a_log_that_was_cut_everything_before_comes_back(sample, quick):
    bench = Bench(sample[1], quick / "m")
    frames = wal.witness(sample[1]).frames
    restored = []
    for frame in range(29, frames, 29):
        path = bench()
        cut(wal.log_of(path), 32 + frame * (24 + PAGE))
        with pytest.raises(NotAMemory, match="damaged in its log"):
            SqliteMemory(path)
        findings = repair(path)
        assert any("its log ends before frame" in f.what and f.lost for f in findings)
        with closing(SqliteMemory(path)) as memory:
            assert list(memory.verify()) == []
            entries, found = list(memory.catalogue()), list(memory.episodes())
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        for i, held in enumerate(found[:30]):
            assert held == original(i)
        restored.append(len(found))
    assert restored == sorted(restored)
    assert restored[-1] > restored[0]


def test_without_its_log_a_memory_is_what_it_was_and_the_loss_is_said(sample, quick):
    path = Bench(sample[1], quick / "m")()
    wal.log_of(path).unlink()
    with pytest.raises(NotAMemory, match="it is gone"):
        SqliteMemory(path)
    findings = repair(path)
    assert any("its log ends before frame" in f.what and f.lost for f in findings)
    with closing(SqliteMemory(path)) as memory:
        assert len(memory) == 0  # all of it was in the log


# --- unreadable ----------------------------------------------------------------------------------


def part_unreadable(path):
    """Repair a memory of whose file some pages cannot be read."""
    size = path.stat().st_size
    unreadable(path, size // 2, size // 2 + 3 * PAGE)
    with pytest.raises((MemoryUnavailable, NotAMemory)), closing(SqliteMemory(path)) as memory:
        list(memory.episodes())
    findings = repair(path)
    unreadable(path, 0, 0)  # the name is that of the new file now
    with closing(SqliteMemory(path)) as memory:
        assert list(memory.verify()) == []
        there = len(list(memory.catalogue()))
    sys.stdout.write(f"[{there}, {len(lost_numbers(findings))}]")


def test_pages_that_cannot_be_read_cost_only_what_stood_there(sample, quick):
    path = Bench(sample[0], quick / "m")()
    there, lost = preloaded(library(quick), __file__, "unreadable", path)
    assert there + lost == len(sample[2]["catalogue"])
    assert 0 < lost < 22


# --- what must not come back, and what must not be believed --------------------------------------


def test_what_was_forgotten_does_not_come_back_from_a_file_that_was_not_swept(quick):
    live = quick / "live" / "m.db"
    live.parent.mkdir()
    with closing(SqliteMemory(live)) as memory:
        for i in range(12):
            memory.append(episode(str(i), step(i, state=State(room=f"secret {i} " * 50))))
    with closing(SqliteMemory(live)) as memory:
        with memory.change():
            path = copied(live, quick / "before")
        memory.sweep = lambda progress: (_ for _ in ()).throw(MemoryUnavailable("died: here"))
        with pytest.raises(MemoryUnavailable):
            memory.forget(Selection(id="5"))
        path = copied(live, quick / "after")
    with path.open("r+b") as file:  # in the file, the log is sound
        file.seek(PAGE * 3)
        file.write(b"\7" * PAGE)
    data = bytearray(wal.log_of(path).read_bytes())
    data[-2000] ^= 1
    wal.log_of(path).write_bytes(data)
    repair(path)
    with closing(SqliteMemory(path)) as memory:
        assert memory.get("5") is None
        assert list(memory.catalogue(Selection(text="secret 5"))) == []
    assert b"secret 5" not in path.read_bytes()


def test_an_episode_whose_quarantine_was_lost_stays_out(quick):
    live = quick / "live" / "m.db"
    live.parent.mkdir()
    with closing(SqliteMemory(live)) as memory:
        for i in range(6):
            memory.append(episode(str(i)))
    with closing(SqliteMemory(live)) as memory:
        memory.quarantine(Selection(id="3"), "poisoned")
        path = copied(live, quick / "after")
    data = bytearray(wal.log_of(path).read_bytes())
    place = data.index(b"poisoned")
    frame = (place - 32) // (24 + PAGE)
    start = 32 + frame * (24 + PAGE) + 24
    data[start : start + PAGE] = b"\7" * PAGE  # the page that says so is lost altogether
    wal.log_of(path).write_bytes(data)
    findings = repair(path)
    with closing(SqliteMemory(path)) as memory:
        (entry,) = memory.catalogue(Selection(id="3"))
        assert not entry.present
        assert "lost" in entry.quarantined
        assert len(memory) == 5
    assert any("'3'" in f.what and "release" in f.what for f in findings)


# --- older versions ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_memory_is_repaired_into_one_of_today(version, quick):
    path = quick / "m.db"
    shutil.copy(GOLDEN / f"version{version}.db", path)
    with closing(SqliteMemory(path, readonly=True)) as memory:
        truth = list(memory.episodes())
    sound = path.read_bytes()
    pages = len(sound) // PAGE
    kept = 0
    for page in range(1, pages):
        path.write_bytes(sound[: page * PAGE] + b"\7" * PAGE + sound[(page + 1) * PAGE :])
        try:
            findings = repair(path)
        except NotAMemory:  # the page that held all episodes
            continue
        with closing(SqliteMemory(path)) as memory:
            there = list(memory.episodes())
        assert [e for e in truth if e in there] == there
        assert len(there) == len(truth) or lost_numbers(findings)
        kept += len(there)
    assert kept >= len(truth)


# --- what is not repaired ------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"", b"my notes\n", b"x" * 9000])
def test_what_is_no_memory_is_left_alone(quick, text):
    path = quick / "m.db"
    path.write_bytes(text)
    with pytest.raises(NotAMemory):
        repair(path)
    assert path.read_bytes() == text
    assert names(quick) == ["m.db"]


def test_a_database_of_another_program_is_left_alone(quick):
    path = quick / "m.db"
    subprocess.run(
        [sys.executable, "-c", "import sqlite3,sys; sqlite3.connect(sys.argv[1]).executescript("
         "'CREATE TABLE log (a, b, c, d, e, f); INSERT INTO log VALUES (1, 2, 3, 4, 5, 6)')", path],
        check=True,
    )  # fmt: skip
    held = path.read_bytes()
    with pytest.raises(NotAMemory):
        repair(path)
    assert path.read_bytes() == held


def test_a_memory_of_a_newer_version_is_left_alone(sample, quick):
    path = Bench(sample[0], quick / "m")()
    data = bytearray(path.read_bytes())
    data[60:64] = (99).to_bytes(4)
    path.write_bytes(data)
    with pytest.raises(NewerMemory):
        repair(path)
    assert path.read_bytes() == data


def test_a_missing_memory_is_not_created(quick):
    with pytest.raises(MemoryUnavailable, match="no memory at"):
        repair(quick / "m.db")
    assert names(quick) == []


def damaged(sample, quick):
    path = Bench(sample[0], quick / "m")()
    data = bytearray(path.read_bytes())
    data[data.index(b"suspect")] ^= 1
    path.write_bytes(data)
    return path


def test_a_memory_in_use_is_not_repaired(sample, quick):
    path = damaged(sample, quick)
    with (
        closing(SqliteMemory(path)),
        pytest.raises(MemoryUnavailable, match="is in use"),
    ):
        repair(path)
    code = "import sys; from jitrl.memory import SqliteMemory as S; m = S(sys.argv[1])\n"
    code += "print(len(m), flush=True); sys.stdin.read()"
    with Process(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(MemoryUnavailable, match="is in use"):
            repair(path)
        other.stdin.close()
    assert lost_numbers(repair(path)) == {9}


def test_while_it_is_repaired_nobody_opens_it(sample, quick):
    path = damaged(sample, quick)
    refused = []

    def progress(what, done, total):
        with pytest.raises(MemoryUnavailable, match="is being repaired"):
            SqliteMemory(path)
        refused.append(what)

    assert swap.plan_of(path).exists() is False
    repair(path, lambda what, done, total: progress(what, done, total) if swapping(path) else None)
    assert refused
    SqliteMemory(path).close()


def swapping(path):
    return swap.plan_of(path).exists()


def test_a_repair_that_is_interrupted_leaves_everything_as_it_was(sample, quick):
    path = damaged(sample, quick)
    before = path.read_bytes()

    def interrupt(what, done, total):
        if swapping(path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair(path, interrupt)
    assert path.read_bytes() == before
    assert not any("repair" in name for name in names(path.parent))
    assert lost_numbers(repair(path)) == {9}


def test_a_plan_that_leads_elsewhere_is_not_followed(sample, quick):
    path = damaged(sample, quick)
    swap.plan_of(path).write_text('{"aside": "../../elsewhere", "findings": []}')
    with pytest.raises(NotAMemory, match="is damaged: delete it"):
        repair(path)


def test_damaged_files_of_earlier_repairs_are_kept(sample, quick):
    path = damaged(sample, quick)
    first = path.read_bytes()
    repair(path)
    data = bytearray(path.read_bytes())
    data[data.index(b'"run":"odd"')] ^= 1
    path.write_bytes(data)
    findings = repair(path)
    assert findings[-1].what == "the damaged files are kept as m.db.damaged-2"
    assert path.with_name("m.db.damaged-1").read_bytes() == first
    assert path.with_name("m.db.damaged-2").read_bytes() == data


if __name__ == "__main__":
    globals()[f"part_{sys.argv[1]}"](Path(sys.argv[2]))
