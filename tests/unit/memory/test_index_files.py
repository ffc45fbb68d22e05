"""The index beside its memory: opened again, shared, damaged, out of date; never a wrong answer."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zlib
from contextlib import closing

import pytest
from index_kit import ALL, RETURNS, ROOM, by_definition, by_index, episode, step
from plain_memory import PlainMemory

from jitrl.errors import MemoryUnavailable
from jitrl.memory import Cap, Index, Selection, SqliteMemory
from jitrl.memory.index import columns, engine
from jitrl.records import State
from jitrl.similarity import Field

WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]


class CountingMemory(PlainMemory):
    """Counts how many states are read."""

    def __init__(self, beside=None):
        super().__init__(beside)
        self.read = 0

    def states(self, numbers):
        wanted = list(numbers)
        self.read += len(wanted)
        return super().states(wanted)


def play(memory, first, count, run="r"):
    """Store episodes whose rooms are mostly new."""
    for i in range(first, first + count):
        rooms = [f"{WORDS[i % 8]} {WORDS[(i + t) % 8]} {i + t}" for t in range(4)]
        memory.append(
            episode(f"e{i}", *(step(State(room=room), reward=1.0) for room in rooms), run=run)
        )


def answers(memory, fields=ROOM, **options):
    """Open an index, ask, close it."""
    with closing(Index(memory, fields, RETURNS, **options)) as index:
        return asked(index.refresh())


def asked(view):
    return [by_index(view, State(room=room), ALL) for room in ("a b 3", "c", "7 8", "")]


def expected(memory, fields=ROOM):
    held = list(memory.episodes())
    return [
        by_definition(held, fields, State(room=room), ALL) for room in ("a b 3", "c", "7 8", "")
    ]


def files(memory):
    (folder,) = memory.beside.iterdir()
    return {path.name: path for path in folder.iterdir()}


def flipped(raw, place, bit=0):
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def manifest(memory):
    return files(memory)["manifest"]


@pytest.fixture
def memory(tmp_path):
    memory = CountingMemory(tmp_path / "beside")
    play(memory, 0, 10)
    assert answers(memory) == expected(memory)
    memory.read = 0
    return memory


# --- opened again


def test_what_was_saved_is_not_read_again(memory):
    with closing(Index(memory, ROOM, RETURNS)) as index:
        index.refresh()
        assert memory.read == 0
    play(memory, 10, 1)
    with closing(Index(memory, ROOM, RETURNS)) as index:
        index.refresh()
        assert 0 < memory.read <= 4
    assert answers(memory) == expected(memory)


def test_an_index_is_saved_each_time_its_tail_is_sealed(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "SEALED", 30)
    memory = CountingMemory(tmp_path / "beside")
    play(memory, 0, 3)
    index = Index(memory, ROOM, RETURNS)
    for i in range(3, 10):
        index.refresh()
        play(memory, i, 1)
    index.refresh()
    index._upkeep.wait()
    memory.read = 0
    reader = Index(memory, ROOM, RETURNS)  # while the other one is open, and may yet be killed
    assert asked(reader.refresh()) == expected(memory)
    assert memory.read < 40
    for each in (reader, index):
        each.close()
    assert answers(memory) == expected(memory)


@pytest.mark.parametrize("change", ["judge", "quarantine", "release", "rollback", "cap"])
def test_what_changed_later_is_saved_and_read_again(memory, change):
    memory.quarantine(Selection(id="e1"), "why")
    memory.snapshot("s")
    play(memory, 10, 2)
    answers(memory)
    {
        "judge": lambda: memory.judge("e2", [1.0, None, 2.0, 0.0]),
        "quarantine": lambda: memory.quarantine(Selection(run="r"), "why"),
        "release": lambda: memory.release(Selection(id="e1")),
        "rollback": lambda: memory.rollback("s"),
        "cap": lambda: memory.set_cap(Cap(5)),
    }[change]()
    for _ in range(3):
        assert answers(memory) == expected(memory)
    play(memory, 12, 2)
    assert answers(memory) == expected(memory)


def test_specifications_that_cut_texts_alike_share_a_folder_and_others_do_not(memory):
    fields = [Field("room", weight=0.3, minimum=0.2)]
    with closing(Index(memory, fields, RETURNS)) as index:
        view = index.refresh()
        assert memory.read == 0
        assert asked(view) == expected(memory, fields)
    assert len(list(memory.beside.iterdir())) == 1
    fields = [Field("room", n=2)]
    assert answers(memory, fields) == expected(memory, fields)
    assert len(list(memory.beside.iterdir())) == 2


def test_a_memory_without_a_folder_beside_it_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memory = PlainMemory()
    play(memory, 0, 5)
    assert answers(memory) == expected(memory)
    assert list(tmp_path.iterdir()) == []


# --- damaged, or not ours


@pytest.mark.parametrize("name", ["manifest", ".part", ".changes"])
@pytest.mark.parametrize("what", ["flip", "cut", "empty", "delete", "swap"])
def test_damage_costs_time_and_never_answers(memory, caplog, name, what):
    memory.quarantine(Selection(id="e1"), "why")
    answers(memory)
    memory.read = 0
    (path,) = (path for path in files(memory).values() if path.name.endswith(name))
    raw = path.read_bytes()
    if what == "delete":
        path.unlink()
    else:
        path.write_bytes(
            {
                "flip": flipped(raw, len(raw.rstrip(b"\0")) - 1),
                "cut": raw[:-1],
                "empty": b"",
                "swap": b"something else",
            }[what]
        )
    assert answers(memory) == expected(memory)
    assert memory.read > 0
    missing = name == "manifest" and what == "delete"  # then nothing says that there was one
    assert missing or "built anew" in caplog.text
    memory.read = 0
    assert answers(memory) == expected(memory)
    assert memory.read < 40  # it was saved again


def test_a_flipped_bit_of_a_file_is_noticed_or_changes_nothing(tmp_path):
    numbers = columns.np.arange(5)
    path = tmp_path / "file"
    columns.write(path, {"a": 1}, {"n": numbers, "none": numbers[:0]})
    meta, arrays = columns.read(path)
    assert (meta, arrays["n"].tolist(), arrays["none"].tolist()) == ({"a": 1}, [*range(5)], [])
    raw = path.read_bytes()
    harmless = 0
    for place in range(len(raw)):
        for bit in range(8):
            path.write_bytes(flipped(raw, place, bit))
            try:
                meta, arrays = columns.read(path)
            except columns.Damaged:
                continue
            harmless += 1  # padding, or how a number is written
            assert (meta, arrays["n"].tolist(), arrays["none"].tolist()) == (
                {"a": 1},
                [*range(5)],
                [],
            )
    assert harmless < 8 * 128
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(columns.Damaged):
            columns.read(path)


def test_a_file_that_is_written_to_while_it_is_open_is_left_at_the_next_look(memory, caplog):
    index = Index(memory, ROOM, RETURNS)
    assert asked(index.refresh()) == expected(memory)
    index._upkeep.wait()
    (file,) = (path for name, path in files(memory).items() if name.endswith(".part"))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2 :] = bytes(len(raw) - len(raw) // 2)
    with file.open("r+b") as open:
        open.write(raw)
    os.utime(file, ns=(1, 1))  # whatever the clock's grain is
    assert asked(index.refresh()) == expected(memory)
    assert "was changed: built anew" in caplog.text
    index.close()


def test_a_manifest_of_another_version_or_salt_is_not_used(memory, caplog):
    raw = manifest(memory).read_bytes().partition(b"\n")[2]
    for old, new in (b'"version": 1', b'"version": 2'), (b'"salt": "', b'"salt": "00'):
        told = raw.replace(old, new)
        assert told != raw
        manifest(memory).write_bytes(b"%08x\n" % zlib.crc32(told) + told)
        assert answers(memory) == expected(memory)
        assert "built anew" in caplog.text
        caplog.clear()


def test_the_saved_index_of_an_older_copy_of_the_memory_is_not_used(memory, tmp_path, caplog):
    other = CountingMemory(memory.beside)  # as if restored, and then lived another life
    play(other, 0, 5)
    assert answers(other) == expected(other)
    assert "built anew" in caplog.text
    play(other, 50, 5)
    answers(memory)  # leaves its own index behind
    assert memory.pulse() == other.pulse()
    assert answers(other) == expected(other)
    assert "another memory" in caplog.text


def test_a_copy_that_was_restored_and_went_its_own_way_is_told_apart(tmp_path, caplog):
    path, backup, hall = tmp_path / "m.db", tmp_path / "backup.db", State(room="hall")

    def found(change=lambda memory: None):
        with closing(SqliteMemory(path)) as memory, closing(Index(memory, ROOM, RETURNS)) as index:
            change(memory)
            return {one.episode for one in index.refresh().neighbours(hall, ALL)}

    with closing(SqliteMemory(path)) as memory:
        for id in "ab":
            memory.append(episode(id, step(hall)))
    shutil.copyfile(path, backup)
    assert found(lambda memory: memory.quarantine(Selection(id="b"), "why")) == {"a"}
    shutil.copyfile(backup, path)
    assert found(lambda memory: memory.quarantine(Selection(id="a"), "why")) == {"b"}
    assert "another memory" in caplog.text
    assert found() == {"b"}


def test_a_part_that_holds_more_than_its_revision_says_is_told_apart_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "SEALED", 30)
    monkeypatch.setattr(engine, "_BATCH", 8)
    path, backup = tmp_path / "m.db", tmp_path / "backup.db"

    def lives(memory, name, count):
        for i in range(count):
            rooms = [State(room=f"{name} {i} {t}") for t in range(4)]
            memory.append(episode(f"{name} {i}", *map(step, rooms)))

    memory = SqliteMemory(path)
    lives(memory, "first", 3)
    index = Index(memory, ROOM, RETURNS)
    index.refresh()
    lives(memory, "second", 1)
    with closing(sqlite3.connect(backup)) as copy, closing(sqlite3.connect(path)) as source:
        source.backup(copy)
    lives(memory, "old", 30)
    index.refresh()
    index._upkeep.wait()
    memory.close()  # and the process dies: the index is not closed
    shutil.copyfile(backup, path)
    with closing(SqliteMemory(path)) as memory, closing(Index(memory, ROOM, RETURNS)) as index:
        lives(memory, "new", 60)
        view, held = index.refresh(), list(memory.episodes())
        for name in ("old 3 1", "new 3 1", "new 29 2"):
            true = by_definition(held, ROOM, State(room=name), ALL)
            assert by_index(view, State(room=name), ALL) == true


def test_an_index_that_is_open_notices_that_its_memory_is_another_one(memory):
    index = Index(memory, ROOM, RETURNS)
    assert asked(index.refresh()) == expected(memory)
    memory.marks = [mark and f"{mark} of a copy" for mark in memory.marks]
    first = next(iter(memory.held.values()))
    first.quarantined = "in the life of the copy"
    assert asked(index.refresh()) == expected(memory)
    index.close()


def test_a_place_that_cannot_be_written_to_costs_the_saving_only(tmp_path, caplog):
    (tmp_path / "file").touch()
    memory = CountingMemory(tmp_path / "file" / "beside")
    play(memory, 0, 5)
    assert answers(memory) == expected(memory)
    assert caplog.text == ""


def test_a_full_disk_costs_the_saving_only(memory, monkeypatch, caplog):
    def full(path, meta, arrays):
        path.write_bytes(b"jitrl-co")
        raise OSError(28, "No space left on device")

    play(memory, 10, 3)
    with monkeypatch.context() as patch:
        patch.setattr(columns, "write", full)
        assert answers(memory) == expected(memory)
    assert "was not saved" in caplog.text
    assert answers(memory) == expected(memory)
    assert len(files(memory)) <= 4  # what was half written is cleared away


# --- forgotten


def test_what_is_forgotten_is_gone_from_the_files_and_from_new_views(memory):
    play(memory, 10, 3, run="secret")
    answers(memory)
    index = Index(memory, ROOM, RETURNS)
    index.refresh()
    before = set(files(memory))
    memory.forget(Selection(run="secret"))
    assert asked(index.refresh()) == expected(memory)
    assert not before & set(files(memory)) - {"lock"}
    index.close()
    assert answers(memory) == expected(memory)


def test_an_index_that_does_not_know_of_a_forgetting_saves_nothing_of_it(memory):
    index = Index(memory, ROOM, RETURNS)
    play(memory, 10, 3, run="secret")
    index.refresh()
    memory.forget(Selection(run="secret"))
    index.close()
    assert answers(memory) == expected(memory)


def test_an_old_view_shows_no_state_whose_number_was_used_again(tmp_path):
    memory = PlainMemory(tmp_path / "beside")
    memory.append(episode("e1", step(State(room="a"))))
    memory.append(episode("e2", step(State(room="a b"))))
    index = Index(memory, ROOM, RETURNS)
    view = index.refresh()
    memory.forget(Selection(id="e1"))
    memory.numbers = {State(room="something else"): 1, State(room="a b"): 2}
    index.refresh()
    assert {found.state["room"] for found in view.neighbours(State(room="a"), ALL)} <= {"a b"}
    index.close()


def test_many_episodes_that_went_by_a_cap_do_not_stay_in_the_index(tmp_path, monkeypatch):
    monkeypatch.setattr("jitrl.memory.index._WASTED_STEPS", 20)
    memory = PlainMemory(tmp_path / "beside")
    memory.set_cap(Cap(4))
    index = Index(memory, ROOM, RETURNS)
    for i in range(60):
        play(memory, i, 1)
        assert len(index.refresh()) == 4 * len(memory)
    assert len(index._engine.evidence.rows) <= 40
    assert asked(index.refresh()) == expected(memory)
    index.close()
    assert answers(memory) == expected(memory)


# --- shared


def test_of_two_that_are_open_the_first_one_saves(memory):
    first, second = (Index(memory, ROOM, RETURNS) for _ in range(2))
    play(memory, 10, 2)
    for index in (first, second):
        index.refresh()
    assert first._folder.own()
    assert not second._folder.own()
    second.close()
    first.close()
    memory.read = 0
    answers(memory)
    assert memory.read < 40


def test_readers_keep_what_a_writer_has_replaced(memory, monkeypatch):
    reader = Index(memory, ROOM, RETURNS)
    view = reader.refresh()
    play(memory, 10, 3)
    answers(memory)  # saves parts of its own, and deletes those of the reader
    for path in files(memory).values():
        path.unlink()
    assert asked(reader.refresh()) == expected(memory)
    assert asked(view) == [
        [found for found in answer if int(found[4][1:]) < 10] for answer in expected(memory)
    ]
    reader.close()
    assert answers(memory) == expected(memory)


def test_a_forked_child_is_told_to_open_an_index_of_its_own(memory):
    index = Index(memory, ROOM, RETURNS)
    view = index.refresh()
    child = os.fork()
    if not child:
        code = 1
        try:
            for use in (index.refresh, lambda: asked(view)):
                with pytest.raises(MemoryUnavailable, match="fork first"):
                    use()
            index.close()
            code = 0 if answers(memory) == expected(memory) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asked(view) == expected(memory)
    index.close()


def test_a_closed_index_says_so(memory):
    index = Index(memory, ROOM, RETURNS)
    view = index.refresh()
    index.close()
    index.close()
    for use in (index.refresh, lambda: asked(view)):
        with pytest.raises(MemoryUnavailable, match="is closed"):
            use()


def test_processes_that_share_a_folder_answer_alike(tmp_path):
    """Children open, add nothing, ask and close at once, over and over, while it is written to."""
    memory = PlainMemory(tmp_path / "beside")
    play(memory, 0, 12)
    truth = expected(memory)
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if all(answers(memory) == truth for _ in range(15)) else 2
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0]
    assert answers(memory) == truth
