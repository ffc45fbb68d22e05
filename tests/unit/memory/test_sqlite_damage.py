"""The embedded memory: what is no memory, or damaged, is named, and left as it was."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from rounds import ROUNDS
from sqlite_kit import episode, names, sql, step

from jitrl.errors import JitrlError, MemoryUnavailable, NewerMemory, NotAMemory, StoreError
from jitrl.memory import Cap, Selection, SqliteMemory
from jitrl.memory.repair import repair
from jitrl.memory.sql.sqlite_file import SCHEMA_VERSION
from jitrl.records import State

FLIPS = 120 * ROUNDS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


# --- what is no memory --------------------------------------------------------------------------


def refused(path, kind, *, readonly=False):
    """The message with which opening `path` fails: one line, which names the path and a remedy.

    The file is as it was, and a writer leaves nothing beside it.
    """
    held = path.read_bytes() if path.is_file() else None
    beside = names(path.parent) if path.parent.is_dir() and not readonly else None
    with pytest.raises(kind) as caught:
        SqliteMemory(path, readonly=readonly)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert str(path) in message
    assert "\n" not in message
    assert ": " in message
    if held is not None:
        assert path.read_bytes() == held
    if beside is not None:
        assert names(path.parent) == beside
    return message


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The bytes of a memory of some pages."""
    path = tmp_path_factory.mktemp("sample") / "memory.db"
    with closing(SqliteMemory(path, clock=lambda: 1e9)) as memory:
        for i in range(30):
            long = State(room=f"room {i} " * 30)
            memory.append(episode(str(i), step(i, state=long), step(i + 1), step(i + 2)))
        memory.set_cap(Cap(29))
        memory.set_cap(Cap(100))
        memory.quarantine(Selection(id="7"), "doubtful")
        memory.snapshot("one")
        memory.judge("9", [1.0, None, 2.0], {"judge": "m"})
        memory.snapshot("two")
    return path.read_bytes()


@pytest.mark.parametrize("readonly", [False, True])
def test_a_memory_that_ends_at_any_page_is_refused_and_left_as_it_is(path, sample, readonly):
    for length in range(4096, len(sample), 4096):
        path.write_bytes(sample[:length])
        refused(path, NotAMemory, readonly=readonly)


QUESTIONS = {
    "episodes": lambda memory: list(memory.episodes()),
    "changes": lambda memory: list(memory.changes(0)),
    "later changes": lambda memory: list(memory.changes(20)),
    "catalogue": lambda memory: list(memory.catalogue()),
    "texts": lambda memory: [e.id for e in memory.catalogue(Selection(text="room 11 "))],
    "one": lambda memory: memory.get("11"),
    "one that is gone": lambda memory: memory.get("0"),
    "none": lambda memory: memory.get("nowhere"),
    "states": lambda memory: memory.states(range(1, 100)),
    "heads": lambda memory: memory.heads(range(40)),
    "pulse": lambda memory: memory.pulse(),
    "len": len,
    "cap": lambda memory: memory.cap,
    "snapshots": lambda memory: memory.snapshots(),
    "diff": lambda memory: memory.diff("one"),
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory, sample):
    """The answers to all questions."""
    path = tmp_path_factory.mktemp("truth") / "memory.db"
    path.write_bytes(sample)
    with closing(SqliteMemory(path)) as memory:
        return {name: ask(memory) for name, ask in QUESTIONS.items()}


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("text", [b"x", b"my notes\n", b"x" * 99, b"x" * 5000, b"\0" * 4096])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(path, text, readonly):
    path.write_bytes(text)
    message = refused(path, NotAMemory, readonly=readonly)
    assert "name another path" in message or "choose another path" in message


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_database_of_another_program_is_refused_and_left_as_it_is(path, journal, readonly):
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute("CREATE TABLE notes (text)")
        db.commit()
    with closing(sqlite3.connect(path)) as db:
        held = path.read_bytes()
        with pytest.raises(NotAMemory, match="a database, but not a memory of jitrl: choose"):
            SqliteMemory(path, readonly=readonly)
        assert path.read_bytes() == held
        assert db.execute("SELECT count(*) FROM notes").fetchone() == (0,)


@pytest.mark.parametrize("mark", ["application_id = 7", "user_version = 7"])
def test_an_empty_database_that_another_program_marked_as_its_own_is_refused(path, mark):
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA {mark}")
    refused(path, NotAMemory)


def test_a_memory_of_a_newer_version_is_refused_and_left_as_it_is(path):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode())
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    for readonly in (False, True):
        with pytest.raises(NewerMemory, match="install a newer jitrl") as caught:
            SqliteMemory(path, readonly=readonly)
        assert f"version {SCHEMA_VERSION + 1}" in str(caught.value)
        assert str(path) in str(caught.value)
    assert sql(path, "SELECT count(*) FROM episodes") == [(1,)]


@pytest.mark.parametrize("readonly", [False, True])
def test_an_empty_file_is_damage_and_no_new_memory(path, readonly):
    path.touch()
    assert "is empty: delete it" in refused(path, NotAMemory, readonly=readonly)


def test_a_folder_is_refused(tmp_path):
    assert "name a file" in refused(tmp_path, MemoryUnavailable)


def test_a_missing_folder_is_refused_and_not_created(tmp_path):
    assert "create it" in refused(tmp_path / "a" / "b.db", MemoryUnavailable)
    assert names(tmp_path) == []


def test_a_file_in_place_of_the_folder_is_refused(path):
    path.write_text("x")
    refused(path / "b.db", MemoryUnavailable)


def test_a_missing_file_is_refused_by_a_reader_and_not_created(path):
    assert "no memory at" in refused(path, MemoryUnavailable, readonly=True)
    assert not path.exists()


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(MemoryUnavailable):
            SqliteMemory(tmp_path / name)
    assert names(tmp_path) == []


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_is_refused(device):
    with pytest.raises(JitrlError, match=device):
        SqliteMemory(device)


CUTS = [1, 15, 16, 99, 100, 101, 511, 512, 1000, 4095, 4096, 4097, 8192, 20000, -4097, -4096]


@pytest.mark.parametrize("length", CUTS)
def test_a_truncated_memory_is_refused_and_left_as_it_is(path, sample, length):
    path.write_bytes(sample[:length])
    refused(path, NotAMemory)
    refused(path, NotAMemory, readonly=True)


def wrong(path, damage, truth):
    """Ask the damaged bytes everything; returns what raised, and asserts that all else is true."""
    for name in names(path.parent):
        (path.parent / name).unlink()
    path.write_bytes(damage)
    raised = set()
    try:
        with closing(SqliteMemory(path, readonly=True)) as memory:
            for name, ask in QUESTIONS.items():
                try:
                    assert ask(memory) == truth[name], f"a wrong answer to {name}, unsaid"
                except StoreError as error:
                    raised.add(named(path, error))
            found = list(memory.verify())
            assert found or not raised
    except StoreError as error:
        raised.add(named(path, error))
    assert path.read_bytes() == damage
    return raised


def named(path, error):
    assert str(path) in str(error)
    assert "\n" not in str(error)
    assert ": " in str(error)
    return type(error)


def test_a_flipped_byte_in_the_header_is_harmless_or_named(path, sample, truth):
    rng = random.Random(0)
    kinds = set()
    for place in range(100):
        flipped = bytearray(sample)
        flipped[place] ^= rng.randrange(1, 256)
        kinds |= wrong(path, bytes(flipped), truth) or {None}
    assert kinds >= {None, NotAMemory, NewerMemory}


def test_a_flipped_byte_anywhere_never_gives_a_wrong_answer(path, sample, truth):
    rng = random.Random(1)
    named = 0
    for _ in range(FLIPS):
        flipped = bytearray(sample)
        flipped[rng.randrange(100, len(sample))] ^= rng.randrange(1, 256)
        named += bool(wrong(path, bytes(flipped), truth))
    assert named > FLIPS / 3


def test_a_page_of_zeros_never_gives_a_wrong_answer(path, sample, truth):
    pages = len(sample) // 4096
    named = 0
    for page in range(1, pages):
        wiped = sample[: 4096 * page] + bytes(4096) + sample[4096 * (page + 1) :]
        named += bool(wrong(path, wiped, truth))
    assert named > pages // 2


def test_a_page_in_place_of_another_never_gives_a_wrong_answer(path, sample, truth):
    pages = len(sample) // 4096
    named = 0
    for page in range(1, pages):
        other = 1 + (page + 3) % (pages - 1)
        copied = sample[4096 * other : 4096 * (other + 1)]
        swapped = sample[: 4096 * page] + copied + sample[4096 * (page + 1) :]
        named += bool(wrong(path, swapped, truth))
    assert named > pages // 2


def test_a_flipped_byte_never_lets_an_episode_be_stored_twice(path, sample):
    rng = random.Random(2)
    for _ in range(FLIPS // 2):
        flipped = bytearray(sample)
        flipped[rng.randrange(100, len(sample))] ^= rng.randrange(1, 256)
        for name in names(path.parent):
            (path.parent / name).unlink()
        path.write_bytes(flipped)
        try:
            with closing(SqliteMemory(path)) as memory:
                assert memory.append(episode("11")) is False
                assert memory.append(episode("new")) is True
                assert [found.id for found in memory.episodes()].count("11") == 1
        except StoreError as error:
            named(path, error)


def test_an_episode_that_went_missing_is_named(path):
    with closing(SqliteMemory(path)) as memory:
        for i in range(3):
            memory.append(episode(str(i)))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM steps WHERE episode = 2")
        db.execute("DELETE FROM episodes WHERE number = 2")
        db.commit()
    with closing(SqliteMemory(path)) as memory:
        found = memory.episodes()
        assert next(found).id == "0"
        with pytest.raises(NotAMemory, match="episode 2 is missing"):
            next(found)


def read_all(path):
    with closing(SqliteMemory(path)) as memory:
        return list(memory.episodes())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE states SET fields = 'not json'",
        "UPDATE states SET fields = '[1]'",
        "UPDATE states SET fields = cast(x'ff22' AS TEXT)",
        "UPDATE steps SET policy_before = '{'",
        "UPDATE episodes SET provenance = x'ff'",
        "DROP TABLE steps",
        "DELETE FROM memory",
        "DELETE FROM log",
        "UPDATE log SET gone = 1",
        "UPDATE memory SET revision = 0",
        "UPDATE memory SET revision = 2, episodes = 2",
    ],
)
def test_damaged_rows_are_named_as_damage(path, change):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode())
    with closing(sqlite3.connect(path)) as db:
        db.execute(change)
        db.commit()
    with pytest.raises(NotAMemory, match="damaged") as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_memory_that_was_refused_can_be_moved_and_deleted_at_once(path):
    path.write_bytes(b"x" * 5000)
    before = names(Path("/proc/self/fd"))
    with pytest.raises(NotAMemory) as caught:
        SqliteMemory(path)
    assert caught.value is not None  # its traceback still refers to the half-made object
    assert names(Path("/proc/self/fd")) == before


def test_damage_in_the_log_is_found_where_the_path_is_a_symbolic_link(tmp_path):
    """SQLite puts the log beside the file, not beside the link."""
    (tmp_path / "live").mkdir()
    (tmp_path / "copy").mkdir()
    live, copied = tmp_path / "live" / "real.db", tmp_path / "copy" / "real.db"
    with closing(SqliteMemory(live)) as memory:
        for i in range(20):
            memory.append(episode(f"e{i}"))
        subprocess.run(["cp", live, f"{live}-wal", copied.parent], check=True)
    log = copied.with_name("real.db-wal")
    held = bytearray(log.read_bytes())
    held[len(held) // 3] ^= 1
    log.write_bytes(held)
    (tmp_path / "link.db").symlink_to(copied)
    with pytest.raises(NotAMemory, match="damaged in its log"):
        SqliteMemory(tmp_path / "link.db")
    repair(tmp_path / "link.db")
    assert (tmp_path / "link.db").is_symlink()
    with closing(SqliteMemory(tmp_path / "link.db")) as memory:
        assert len(memory) >= 6
