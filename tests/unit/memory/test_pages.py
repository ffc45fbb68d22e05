"""Rows are read straight from pages as SQLite reads them, and damage hides no others."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitrl.memory.repair.pages import images
from jitrl.memory.sql import wal

VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.integers(1, 30_000).map(lambda n: "long" * (n // 4))
)
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=60)


@contextmanager
def opened(path):
    """The images of a database, the likeliest first."""
    log_path = wal.log_of(path)
    file = os.open(path, os.O_RDONLY)
    log = os.open(log_path, os.O_RDONLY) if log_path.exists() else None
    try:
        yield images(file, log, wal.read(log_path), None)
    finally:
        os.close(file)
        if log is not None:
            os.close(log)


def found(image):
    """The rows of four columns of all pages: those with a row id, and those without."""
    rows = [row for number in image.numbers for row in image.rows(number) if len(row.values) == 4]
    tabled = [(row.rowid, *row.values[1:]) for row in rows if row.rowid is not None]
    return sorted(tabled, key=repr), sorted((r.values for r in rows if r.rowid is None), key=repr)


def stored(path, rows, page_size=4096):
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute("CREATE TABLE tabled (id INTEGER PRIMARY KEY, a, b, c)")
        db.execute("CREATE TABLE clustered (id, a, b, c, PRIMARY KEY (id)) WITHOUT ROWID")
        db.executemany("INSERT INTO tabled VALUES (?, ?, ?, ?)", rows)
        db.executemany("INSERT INTO clustered VALUES (?, ?, ?, ?)", rows)
        db.commit()
        return sorted(db.execute("SELECT * FROM tabled"), key=repr)


@settings(max_examples=60)
@given(rows=ROWS, page_size=st.sampled_from([512, 1024, 4096, 65536]))
def test_all_rows_of_all_types_and_lengths_are_read(tmp_path_factory, rows, page_size):
    path = tmp_path_factory.getbasetemp() / "pages.db"
    true = stored(path, [(2 * i - 40, *row) for i, row in enumerate(rows)], page_size)
    with opened(path) as (image,):
        assert found(image) == (true, true)


def test_a_damaged_page_hides_the_rows_of_no_other(tmp_path):
    path = tmp_path / "m.db"
    true = stored(path, [(i, "x" * 90, i / 7, b"y") for i in range(200)])
    sound = path.read_bytes()
    pages = len(sound) // 4096
    rng = random.Random(0)
    for number in range(pages):
        noise = rng.randbytes(4096)
        path.write_bytes(sound[: number * 4096] + noise + sound[(number + 1) * 4096 :])
        with opened(path) as (image,):
            tabled, clustered = found(image)
        lost = (len(set(true) - set(tabled)), len(set(true) - set(clustered)))
        assert 0 in lost
        assert max(lost) < 45  # those of one page


@pytest.mark.parametrize("kind", ["places", "count", "kind"])
def test_rows_whose_page_has_a_damaged_head_are_found_all_the_same(tmp_path, kind):
    path = tmp_path / "m.db"
    true = stored(path, [(i, "x" * 90, i / 7, b"y") for i in range(200)])
    sound = path.read_bytes()
    for number in range(1, len(sound) // 4096):
        page = bytearray(sound[number * 4096 : (number + 1) * 4096])
        if kind == "places":
            page[8:40] = os.urandom(32)
        elif kind == "count":
            page[3] ^= 0x80
        else:
            page[0] ^= 8
        path.write_bytes(sound[: number * 4096] + page + sound[(number + 1) * 4096 :])
        with opened(path) as (image,):
            tabled, clustered = found(image)
        missing = (len(set(true) - set(tabled)), len(set(true) - set(clustered)))
        assert missing == (0, 0) or (kind == "places" and max(missing) <= 2), number


def test_noise_is_read_without_an_error(tmp_path):
    path = tmp_path / "m.db"
    for seed in range(8):
        path.write_bytes(random.Random(seed).randbytes(3 * 4096 + 77))
        with opened(path) as (image,):
            found(image)


def test_frames_of_the_log_are_laid_over_the_file(tmp_path):
    path = tmp_path / "m.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE tabled (id INTEGER PRIMARY KEY, a, b, c)")
        db.execute("PRAGMA wal_checkpoint")
        for i in range(100):
            db.execute("INSERT INTO tabled VALUES (?, ?, ?, ?)", (i, "x" * 90, None, i))
        true = sorted(db.execute("SELECT * FROM tabled"), key=repr)
        data = bytearray(wal.log_of(path).read_bytes())
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM tabled")
        db.commit()
    wal.log_of(path).write_bytes(data)
    with opened(path) as (whole, plain):
        assert found(whole)[0] == true
        assert found(plain)[0] == []
    data[32 + 40 * 4120 + 2000] ^= 1
    wal.log_of(path).write_bytes(data)
    with opened(path) as (prefix, whole, every, _):
        assert [len(found(image)[0]) for image in (prefix, whole, every)] == [40, 100, 100]
