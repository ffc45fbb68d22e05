"""The log beside a memory: what SQLite would drop in silence is found, and nothing else is."""

from __future__ import annotations

import logging
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from rounds import ROUNDS

from jitrl.errors import NotAMemory
from jitrl.memory.sql import wal

ROWS = 60
FRAME = 24 + 4096
WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA synchronous = NORMAL")
print("ready", flush=True)
for i in range(10**9):
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO rows VALUES (?, ?)", [(None, "y" * 900)] * (i % 20))
    if i % 50 == 0:
        db.execute("DELETE FROM rows")  # it writes for ever, and fills no disk
    db.execute("COMMIT")
"""


def connect(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text)")
    return db


def grow(db, rows):
    for i in range(rows):
        db.execute("INSERT INTO rows (text) VALUES (?)", (f"{i} " + "x" * 700,))


def held(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM rows ORDER BY id").fetchall()


def left_behind(source, folder):
    """What a killed process leaves: the three files as they are now. Returns the path of the first.

    Another program copies: if we opened a file that SQLite has locked, its locks would be lost.
    """
    subprocess.run(["cp", *source.parent.glob(f"{source.name}*"), str(folder)], check=True)
    return folder / source.name


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A database whose last rows stand in the log alone, and the rows."""
    live, folder = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("crashed")
    with closing(connect(live / "m.db")) as db:
        grow(db, ROWS // 2)
        db.execute("PRAGMA wal_checkpoint")
        grow(db, ROWS - ROWS // 2)  # begins the log anew: some frames are left over
        rows = db.execute("SELECT * FROM rows ORDER BY id").fetchall()
        return left_behind(live / "m.db", folder), rows


@pytest.fixture
def copy(crashed, tmp_path):
    for file in crashed[0].parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / "m.db"


def log(path):
    return wal.log_of(path)


def shared(path):
    return path.with_name(f"{path.name}-shm")


def flip(path, at, bit):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def refused(path, **options):
    with pytest.raises(NotAMemory) as caught:
        wal.check(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert f"jitrl memory repair {path}" in message
    return message


# --- reading -------------------------------------------------------------------------------------


def test_a_log_is_read_as_sqlite_reads_it(crashed):
    path, _ = crashed
    found, seen = wal.read(log(path)), wal.witness(path)
    assert found.header
    assert found.salts == seen.salts
    assert found.prefix == found.committed == seen.frames
    assert seen.frames < len(found.pages)  # the rest is left over from the generation before
    assert not found.doubtful


@pytest.mark.parametrize("order", ["<u4", ">u4"])
def test_checksums_of_many_frames_at_once_are_those_of_one_after_the_other(order):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (7, 24 + 512), np.uint8)
    last = rng.integers(0, 2**32, 2, np.uint32)
    total = last.copy()
    for frame in frames:
        summed = np.concatenate([frame[:8], frame[24:]]).tobytes()
        a, b = (int(x) for x in total)
        words = np.frombuffer(summed, order).tolist()
        for x, y in zip(words[::2], words[1::2], strict=True):
            a = (a + x + b) % 2**32
            b = (b + y + a) % 2**32
        total = np.array([a, b], np.uint32)
        frame[16:24] = np.frombuffer(total.astype(">u4").tobytes(), np.uint8)
    frames[4, 100] ^= 1
    _, follows = wal._continued(frames, last, order)
    assert follows.tolist() == [True] * 4 + [False] + [True] * 2


# --- what is sound -------------------------------------------------------------------------------


def test_no_log_and_an_empty_log_are_sound(tmp_path):
    wal.check(tmp_path / "none.db")
    with closing(connect(tmp_path / "m.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert log(tmp_path / "m.db").stat().st_size == 0
        wal.check(tmp_path / "m.db")
    assert not log(tmp_path / "m.db").exists()
    wal.check(tmp_path / "m.db")


@pytest.mark.parametrize("witnessed", [True, False])
def test_what_a_killed_process_leaves_is_sound(crashed, copy, witnessed):
    if not witnessed:
        shared(copy).unlink()
    wal.check(copy)
    assert held(copy) == crashed[1]


def test_a_large_transaction_that_was_killed_halfway_is_no_damage(tmp_path):
    with closing(connect(tmp_path / "m.db")) as db:
        grow(db, 10)
        for end in ("ROLLBACK", None):
            db.execute("PRAGMA cache_size = 5")  # so that pages reach the log before the commit
            db.execute("BEGIN")
            grow(db, 300)
            db.execute("UPDATE rows SET text = text || 'z'")  # writes the same pages again
            if end:
                db.execute(end)
                grow(db, 1)  # stands where the frames of the other one stood
                wal.check(tmp_path / "m.db")
        folder = tmp_path / "killed"
        folder.mkdir()
        killed = left_behind(tmp_path / "m.db", folder)
    assert wal.read(log(killed)).doubtful
    wal.check(killed)
    assert len(held(killed)) == 11


def test_a_log_that_is_deleted_when_all_of_it_stands_in_the_database_is_no_loss(tmp_path):
    with closing(connect(tmp_path / "m.db")) as db:
        grow(db, 10)
        db.execute("PRAGMA wal_checkpoint")
        folder = tmp_path / "killed"
        folder.mkdir()
        killed = left_behind(tmp_path / "m.db", folder)
    log(killed).unlink()
    wal.check(killed)
    assert len(held(killed)) == 10


def test_a_witness_that_is_older_than_the_log_counts_for_nothing(crashed, copy):
    old = bytearray(shared(copy).read_bytes())
    for i in (0, 48):
        salt = int.from_bytes(old[i + 32 : i + 36]) - 1
        old[i + 32 : i + 36] = salt.to_bytes(4)
        old[i + 40 : i + 48] = wal._checksum(bytes(old[i : i + 40]), "<u4").astype("<u4").tobytes()
    shared(copy).write_bytes(old)
    wal.check(copy)
    flip(log(copy), 32 + 3 * FRAME + 1000, 0)
    assert "frame 4 of" in refused(copy)


def test_a_writer_at_full_speed_raises_no_alarm(tmp_path):
    path = tmp_path / "m.db"
    with closing(connect(path)):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        with writer:
            writer.stdout.readline()
            seen, generations = set(), set()
            try:
                while len(seen) < 12 or len(generations) < 4:  # the log was begun anew meanwhile
                    assert writer.poll() is None, "the writer died"
                    wal.check(path)
                    witness = wal.witness(path)
                    if witness is not None:
                        seen.add(witness)
                        generations.add(witness.salts)
            finally:
                writer.send_signal(signal.SIGKILL)
        wal.check(path)


# --- what is damaged -----------------------------------------------------------------------------


@pytest.mark.parametrize("witnessed", [True, False])
def test_any_flipped_bit_is_found_or_changes_nothing(crashed, copy, witnessed):
    path, rows = crashed
    rng = random.Random(witnessed)
    sound = log(path).read_bytes()
    last = 32 + wal.read(log(path)).prefix * FRAME
    places = [*range(32), *(32 + k * FRAME + i for k in (0, 9) for i in range(24))]
    places += [last - FRAME + i for i in range(24)]  # the header of the last frame
    places += [rng.randrange(len(sound)) for _ in range(60 * ROUNDS)]
    if not witnessed:
        shared(copy).unlink()
    found = 0
    for place in places:
        log(copy).write_bytes(sound)
        flip(log(copy), place, rng.randrange(8))
        try:
            wal.check(copy)
        except NotAMemory as error:
            found += 1
            assert place < last, error
        else:
            assert place >= last
            (copy.parent / "again").mkdir()
            assert held(left_behind(copy, copy.parent / "again")) == rows
            shutil.rmtree(copy.parent / "again")
    assert found > 70


@pytest.mark.parametrize("at", ["whole", "torn"])
def test_a_log_that_was_cut_is_found_by_its_witness(copy, at):
    sound = log(copy).read_bytes()
    frames = wal.witness(copy).frames
    for k in range(frames):
        log(copy).write_bytes(sound[: 32 + k * FRAME + (at == "torn") * 999])
        refused(copy)
    for cut in (1, 31, 32):
        log(copy).write_bytes(sound[:cut])
        refused(copy)


def test_a_log_that_was_deleted_or_emptied_is_found_by_its_witness(copy):
    log(copy).write_bytes(b"")
    assert "it is gone" in refused(copy)
    log(copy).unlink()
    assert "it is gone" in refused(copy)


def test_an_older_log_in_its_place_is_found(copy, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with closing(connect(other / "m.db")) as db:
        grow(db, 3)
        old = log(other / "m.db").read_bytes()
    seen = wal.witness(copy)
    salts = (int.from_bytes(seen.salts[:4]) - 1).to_bytes(4) + seen.salts[4:]
    header = old[:16] + salts
    header += wal._checksum(header, "<u4").astype(">u4").tobytes()
    log(copy).write_bytes(header + old[32:])
    assert "an older one" in refused(copy)


def test_damage_is_left_as_it_is(copy):
    flip(log(copy), 32 + 5 * FRAME + 100, 3)
    before = {file.name: file.read_bytes() for file in copy.parent.iterdir()}
    assert "frame 6 of" in refused(copy)
    assert {file.name: file.read_bytes() for file in copy.parent.iterdir()} == before


def test_after_a_power_failure_a_torn_last_transaction_is_passed_over_with_a_warning(
    crashed, copy, caplog
):
    shared(copy).unlink()
    found = wal.read(log(copy))
    start = int(np.flatnonzero(found.sizes[: found.prefix])[-2]) + 1  # of the last transaction
    flip(log(copy), 32 + start * FRAME + 2000, 0)
    refused(copy)
    with caplog.at_level(logging.WARNING):
        wal.check(copy, power=True)
    assert f"frame {start + 1} of" in caplog.text
    assert held(copy) == crashed[1][:-1]


def test_after_a_power_failure_what_was_acknowledged_is_not_passed_over(copy):
    shared(copy).unlink()
    found = wal.read(log(copy))
    ends = np.flatnonzero(found.sizes[: found.prefix])
    flip(log(copy), 32 + int(ends[-2]) * FRAME + 2000, 0)
    refused(copy, power=True)
