"""The embedded memory: what goes in comes out, whole or not at all."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_kit import episode, names, sql, step

from jitrl.errors import InvalidValue, JitrlError, MemoryUnavailable
from jitrl.memory import Selection, SqliteMemory
from jitrl.memory.sql.schema import TABLES
from jitrl.memory.sql.sqlite_file import APPLICATION_ID, SCHEMA_VERSION
from jitrl.records import Episode, State, Step


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


# --- what goes in comes out --------------------------------------------------------------------

texts = st.text(max_size=12) | st.sampled_from(
    ["", "self", "class", "a\0b", "北 🏔", "\\u0000", '"']
)
finite = st.floats(allow_nan=False, allow_infinity=False)
states = st.dictionaries(texts, texts, max_size=4).map(lambda fields: State(**fields))
policies = st.dictionaries(texts, finite, max_size=3)
steps = st.builds(
    Step,
    state=states,
    action=texts,
    reward=finite,
    behaviour_logprob=finite,
    before=policies,
    after=policies,
    changed=st.booleans(),
    preset=texts,
    seed=st.integers(0, 2**63 - 1),
    judged=st.none() | finite,
)
episodes = st.builds(
    Episode,
    id=texts,
    task=texts,
    steps=st.lists(steps, max_size=3).map(tuple),
    terminated=st.booleans(),
    final_state=st.none() | states,
    provenance=st.dictionaries(texts, texts, max_size=3),
)


@given(episodes)
def test_every_field_of_an_episode_comes_back_as_it_was(stored):
    with closing(SqliteMemory()) as memory:
        assert memory.append(stored)
        (found,) = memory.episodes()
    assert found == stored
    for one, other in zip((found, *found.steps), (stored, *stored.steps), strict=True):
        for field in fields(one):
            if field.name not in ("before", "after", "provenance"):
                assert type(getattr(one, field.name)) is type(getattr(other, field.name))
    for one, other in zip(found.steps, stored.steps, strict=True):
        assert list(one.before.items()) == list(other.before.items())  # in their order


@pytest.mark.parametrize(
    "x", [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1 + 0.2, 2.0**53 + 2]
)
def test_floats_come_back_to_the_last_bit(x):
    one = step(reward=x, behaviour_logprob=-x, before={"a": x}, after={"a": -x})
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", one))
        (found,) = next(memory.episodes()).steps
    for value in (found.reward, -found.behaviour_logprob, found.before["a"], -found.after["a"]):
        assert value.hex() == x.hex()


@pytest.mark.parametrize("number", [np.float64(0.25), np.float32(0.25), np.int64(2), 2])
def test_numbers_of_other_kinds_are_stored_as_plain_ones(number):
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(reward=number, seed=np.int64(3), changed=np.True_)))
        (found,) = next(memory.episodes()).steps
    assert (type(found.reward), found.reward) == (float, float(number))
    assert (type(found.seed), type(found.changed)) == (int, bool)


def test_what_was_read_can_be_copied_pickled_and_written_as_json():
    with closing(SqliteMemory()) as memory:
        memory.append(episode(provenance={"world": "w"}))
        (found,) = memory.episodes()
    assert copy.deepcopy(found) == found
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301  (our own bytes)
    assert asdict(found)["provenance"] == {"world": "w"}
    assert json.loads(json.dumps(dict(found.steps[0].before))) == found.steps[0].before


def test_each_distinct_state_is_stored_once(path):
    hall, cellar = State(room="hall", light="on"), State(light="on", room="cellar")
    same = State(light="on", room="hall")
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("1", step(state=hall), step(state=cellar), step(state=same)))
        memory.append(episode("2", step(state=same), final_state=hall))
    rows = sql(path, "SELECT fields FROM states ORDER BY number")
    assert [json.loads(row[0]) for row in rows] == [dict(hall), dict(cellar)]
    assert sql(path, "SELECT state FROM steps") == [(1,), (2,), (1,), (1,)]
    assert sql(path, "SELECT final_state FROM episodes") == [(None,), (1,)]


def test_nothing_but_numbers_and_text_is_in_the_file(path):
    with closing(SqliteMemory(path)) as memory:
        steps = (step(0), step(1, judged=0.5))
        memory.append(episode("e", *steps, final_state=State(a="b"), provenance={"a": "b"}))
    for table in TABLES:
        columns = [row[1] for row in sql(path, f"PRAGMA table_info({table})")]
        for column in columns:
            kinds = {kind for (kind,) in sql(path, f"SELECT typeof({column}) FROM {table}")}
            assert kinds <= {"integer", "real", "text", "null"} | (
                {"blob"} if column in ("digest", "seal", "mark", "key", "following") else set()
            )


def test_the_file_says_what_it_is(path):
    SqliteMemory(path).close()
    assert sql(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert sql(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert sql(path, "PRAGMA journal_mode") == [("wal",)]


def test_closing_leaves_one_file(path):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode())
    assert names(path.parent) == [path.name]


def test_a_memory_gets_its_name_when_everything_is_in_it(path, monkeypatch):
    seen = []

    def link(old, new):
        seen.append((new, names(path.parent)))
        shutil.copyfile(old, new)

    monkeypatch.setattr(os, "link", link)
    with closing(SqliteMemory(path)) as memory:
        assert memory.append(episode())
    ((named, there),) = seen
    assert named == path
    assert path.name not in there  # until then
    assert names(path.parent) == [path.name]


def test_of_two_that_create_a_memory_at_once_both_open_the_first_ones(path, monkeypatch):
    link = os.link

    def too_late(old, new):
        monkeypatch.setattr(os, "link", link)
        with closing(SqliteMemory(path)) as other:
            other.append(episode("of the other"))
        link(old, new)

    monkeypatch.setattr(os, "link", too_late)
    with closing(SqliteMemory(path)) as memory:
        assert memory.append(episode("of this one"))
        assert [found.id for found in memory.episodes()] == ["of the other", "of this one"]
    assert names(path.parent) == [path.name]


def test_a_file_system_that_has_no_links_is_named(path, monkeypatch):
    def link(old, new):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(MemoryUnavailable, match="knows no hard links: choose another folder"):
        SqliteMemory(path)
    assert names(path.parent) == []


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
def test_durability_sets_how_often_the_disk_is_waited_for(path, durability, synchronous):
    with closing(SqliteMemory(path, durability=durability)) as memory:
        assert memory._db.execute("PRAGMA synchronous").fetchone() == (synchronous,)


def test_an_unknown_durability_is_refused():
    with pytest.raises(InvalidValue, match=r"durability must be .*, actual value: 'always'"):
        SqliteMemory(durability="always")


@pytest.mark.parametrize(
    "name",
    [
        "a b.db",
        "a?b.db",
        "a#b.db",
        "a%20b.db",
        "a&mode=memory.db",
        "北.db",
        "'\"",
        "file:x?mode=ro",
    ],
)
def test_any_file_name_will_do(tmp_path, name):
    with closing(SqliteMemory(tmp_path / name)) as memory:
        memory.append(episode())
    assert names(tmp_path) == [name]
    with closing(SqliteMemory(tmp_path / name)) as memory:
        assert len(memory) == 1


def test_a_file_name_need_not_be_utf_8(tmp_path):
    name = os.fsdecode(b"\xff.db")
    with closing(SqliteMemory(tmp_path / name)) as memory:
        memory.append(episode())
    assert names(tmp_path) == [name]


def test_a_relative_path_stays_what_it_was_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(SqliteMemory("memory.db")) as memory:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        memory.append(episode())
        assert memory.path == "memory.db"
    assert names(tmp_path / "elsewhere") == []


def test_what_lies_beside_is_found_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "memory.db-index").mkdir()
    with closing(SqliteMemory("memory.db")) as memory:
        memory.append(episode("a"))
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert memory.beside == tmp_path / "memory.db-index"
        assert memory.size().bytes
        assert memory.forget(Selection(id="a")) == 1
    assert not (tmp_path / "memory.db-index").exists()


@pytest.mark.parametrize("instead", [None, "another"])
def test_a_memory_that_was_deleted_or_replaced_takes_nothing_more(tmp_path, instead):
    path = tmp_path / "memory.db"
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("a"))
        if instead is None:
            path.unlink()
        else:
            SqliteMemory(tmp_path / instead).close()
            (tmp_path / instead).replace(path)
        with pytest.raises(MemoryUnavailable, match="deleted, moved or replaced"):
            memory.append(episode("b"))
        with pytest.raises(MemoryUnavailable, match="deleted, moved or replaced"):
            len(memory)


def test_leaving_out_more_than_there_is_leaves_nothing():
    with closing(SqliteMemory()) as memory:
        memory.append(episode())
        assert list(memory.episodes(1)) == list(memory.episodes(10**6)) == []


# --- whole or not at all ------------------------------------------------------------------------

NAN = float("nan")
UNSTORABLE = {
    "a reward that is no number": {"reward": NAN},
    "an infinite reward": {"reward": float("inf")},
    "a reward in words": {"reward": "much"},
    "no reward": {"reward": None},
    "an infinite log-probability": {"behaviour_logprob": float("-inf")},
    "a probability that is no number": {"before": {"a": NAN}},
    "an infinite probability": {"after": {"a": float("inf")}},
    "no policy": {"after": None},
    "a policy of objects": {"after": {"a": object()}},
    "a huge seed": {"seed": 2**63},
    "half a character": {"action": "\ud800"},
    "an object for an action": {"action": object()},
    "no action": {"action": None},
}


@pytest.mark.parametrize("bad", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_an_episode_that_cannot_be_stored_is_refused_and_leaves_nothing(path, bad):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("before"))
        with pytest.raises(JitrlError) as caught:
            memory.append(
                episode("bad", step(7), step(8, **bad), step(9), final_state=State(x="y"))
            )
        assert "\n" not in str(caught.value)
        assert memory.append(episode("after"))
        assert memory.append(episode("bad", step(1)))
        assert [found.id for found in memory.episodes()] == ["before", "after", "bad"]
    assert len(sql(path, "SELECT * FROM states")) == 2  # of rooms 7 and 8 and the end, nothing
    assert len(sql(path, "SELECT * FROM steps")) == 5


def test_a_full_disk_stores_nothing_of_the_episode_and_the_next_one_fits_again(path):
    big = episode("big", *(step(t, state=State(room=f"{t} " * 2000)) for t in range(20)))
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        memory.append(episode("before"))
        pages = memory._db.execute("PRAGMA page_count").fetchone()[0]
        memory._db.execute(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(MemoryUnavailable, match="full: free some disk space") as caught:
            memory.append(big)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert [found.id for found in memory.episodes()] == ["before"]
        assert other.append(episode("another writer is not held up"))
        memory._db.execute("PRAGMA max_page_count = 1000000")
        assert memory.append(big)
        assert len(memory) == 3
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("table", ["episodes", "states", "steps"])
def test_a_write_that_fails_in_any_table_stores_nothing(path, table):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("before"))
        sql_change = closing(sqlite3.connect(path, isolation_level=None))
        with sql_change as db:
            db.execute(
                f"CREATE TRIGGER broken BEFORE INSERT ON {table} WHEN "
                f"(SELECT count(*) FROM {table}) >= 2 BEGIN SELECT RAISE(FAIL, 'no more'); END"
            )
            if table == "episodes":
                memory.append(episode("second"))
            held = list(memory.episodes())
            with pytest.raises(JitrlError, match="no more") as caught:
                memory.append(episode("bad", step(2), step(3), step(4)))
            assert str(path) in str(caught.value) or "'bad'" in str(caught.value)
            assert list(memory.episodes()) == held
            db.execute("DROP TRIGGER broken")
        assert memory.append(episode("bad", step(2), step(3), step(4)))
        assert list(memory.episodes())[:-1] == held


class Interrupted(State):
    """A state whose reading is interrupted by the user."""

    __slots__ = ()

    def __getitem__(self, name):
        raise KeyboardInterrupt


def test_an_interrupt_in_the_middle_stores_nothing_and_frees_the_file(path):
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        with pytest.raises(KeyboardInterrupt):
            memory.append(episode("bad", step(0), step(1, state=Interrupted(room="x"))))
        assert other.append(episode("by another"))
        assert memory.append(episode("after"))
        assert [found.id for found in memory.episodes()] == ["by another", "after"]


def test_a_closed_memory_says_so():
    memory = SqliteMemory()
    memory.append(episode())
    under_way = memory.episodes()
    memory.close()
    memory.close()
    for use in (
        lambda: len(memory),
        lambda: list(memory.episodes()),
        lambda: next(under_way),
        lambda: memory.append(episode()),
    ):
        with pytest.raises(MemoryUnavailable, match="is closed: open it again"):
            use()


def test_a_reader_cannot_write_and_leaves_the_file_as_it_is(path):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode())
    held = path.read_bytes()
    with closing(SqliteMemory(path, readonly=True)) as memory:
        assert len(memory) == 1
        with pytest.raises(MemoryUnavailable, match="open it to write") as caught:
            memory.append(episode("new"))
        assert str(path) in str(caught.value)
        assert len(list(memory.episodes())) == 1
    assert path.read_bytes() == held


@pytest.mark.parametrize("closes", [True, False])
def test_a_reader_where_it_may_not_write_sees_what_others_store(path, monkeypatch, closes):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("a"))
    with monkeypatch.context() as rights:  # those of somebody else: root may write everywhere
        rights.setattr(os, "access", lambda place, mode: not (mode == os.W_OK and place.is_dir()))
        reader = SqliteMemory(path, readonly=True)
        assert [found.id for found in reader.episodes()] == ["a"]
        writer = SqliteMemory(path)
        writer.append(episode("b"))
        if closes:
            writer.close()
        assert [found.id for found in reader.episodes()] == ["a", "b"]
        reader.close()
        writer.close()
