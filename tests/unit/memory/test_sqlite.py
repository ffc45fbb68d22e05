"""The embedded memory: what goes in comes out, whole or not at all; what is no memory is named."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jitrl.errors import InvalidValue, JitrlError, MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.memory import SqliteMemory
from jitrl.memory.sqlite import APPLICATION_ID, SCHEMA_VERSION
from jitrl.records import Episode, State, Step


def step(t=0, **changes):
    plain = Step(
        state=State(room=f"room {t}"),
        action="north",
        reward=1.0,
        behaviour_logprob=-0.5,
        before={"north": 0.5, "south": 0.5},
        after={"north": 0.9, "south": 0.1},
        changed=False,
        preset="default",
        seed=0,
    )
    return replace(plain, **changes)


def episode(id="e", *steps, **changes):
    return replace(Episode(id, "task", steps or (step(0), step(1))), **changes)


def sql(path, query):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


# --- beside a plain list ---------------------------------------------------------------------

ids = st.sampled_from([f"id {i}" for i in range(12)])
lengths = st.integers(0, 3)


class BesideAList(RuleBasedStateMachine):
    """Two writers and a reader of one file, beside a list of what was acknowledged."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "memory.db"
        self.stored = []
        self.first = SqliteMemory(self.path)
        self.second = None
        self.reader = None
        self.under_way = None  # (iterator, how many it has yielded)

    def append(self, memory, id, length, terminated):
        made = episode(
            id,
            *(step(t, reward=float(t)) for t in range(length)),
            terminated=terminated,
            final_state=State(room="end") if terminated else None,
            provenance={"n": str(len(self.stored))},
        )
        made = replace(made, steps=made.steps[:length])
        new = id not in {other.id for other in self.stored}
        assert memory.append(made) is new
        if new:
            self.stored.append(made)

    @rule(id=ids, length=lengths, terminated=st.booleans())
    def append_by_the_first(self, id, length, terminated):
        self.append(self.first, id, length, terminated)

    @rule(id=ids, length=lengths, terminated=st.booleans())
    def append_by_the_second(self, id, length, terminated):
        if self.second is None:
            self.second = SqliteMemory(self.path)
        self.append(self.second, id, length, terminated)

    @precondition(lambda self: self.stored)
    @rule(pick=st.randoms(use_true_random=False))
    def append_one_that_is_stored(self, pick):
        again = pick.choice(self.stored)
        assert self.first.append(replace(again, task="another", steps=())) is False

    @rule(after=st.integers(0, 14))
    def iterate(self, after):
        assert list(self.first.episodes(after)) == self.stored[after:]

    @rule()
    def begin_an_iteration(self):
        self.under_way = (self.first.episodes(), 0)

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def go_on_with_it(self):
        iterator, seen = self.under_way
        found = next(iterator, None)
        if found is None:
            assert seen == len(self.stored)
            self.under_way = None
        else:
            assert found == self.stored[seen]
            self.under_way = (iterator, seen + 1)

    @rule()
    def fail_midway(self):
        with pytest.raises(JitrlError):
            self.first.append(episode("bad", step(0), step(1, before={"a": float("nan")})))

    @rule()
    def close_and_reopen(self):
        self.under_way = None
        self.first.close()
        self.first = SqliteMemory(self.path)

    @precondition(lambda self: self.second is not None)
    @rule()
    def close_the_second(self):
        self.second.close()
        self.second = None

    @rule()
    def read_only(self):
        if self.reader is None:
            self.reader = SqliteMemory(self.path, readonly=True)
        assert list(self.reader.episodes()) == self.stored
        with pytest.raises(MemoryUnavailable):
            self.reader.append(episode("not by a reader"))

    @precondition(lambda self: self.reader is not None)
    @rule()
    def close_the_reader(self):
        self.reader.close()
        self.reader = None

    @invariant()
    def everybody_counts_alike(self):
        for memory in (self.first, self.second, self.reader):
            assert memory is None or len(memory) == len(self.stored)

    def teardown(self):
        for memory in (self.first, self.second, self.reader):
            if memory is not None:
                memory.close()
        with closing(SqliteMemory(self.path, readonly=True)) as memory:
            assert list(memory.episodes()) == self.stored
        assert sql(self.path, "PRAGMA integrity_check") == [("ok",)]
        shutil.rmtree(self.folder)


TestBesideAList = BesideAList.TestCase
TestBesideAList.settings = settings(max_examples=40, stateful_step_count=25)


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
    rows = sql(path, "SELECT fields FROM states ORDER BY id")
    assert [json.loads(row[0]) for row in rows] == [dict(hall), dict(cellar)]
    assert sql(path, "SELECT state FROM steps") == [(1,), (2,), (1,), (1,)]
    assert sql(path, "SELECT final_state FROM episodes") == [(None,), (1,)]


def test_nothing_but_numbers_and_text_is_in_the_file(path):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode(final_state=State(a="b"), provenance={"a": "b"}))
    for table in ("episodes", "steps", "states"):
        columns = [row[1] for row in sql(path, f"PRAGMA table_info({table})")]
        for column in columns:
            kinds = {kind for (kind,) in sql(path, f"SELECT typeof({column}) FROM {table}")}
            assert kinds <= {"integer", "real", "text"} | (
                {"blob"} if column == "digest" else set()
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


MID_CREATION = ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "BEGIN; SELECT * FROM sqlite_master"]


@pytest.mark.parametrize("hold", MID_CREATION)
def test_opening_waits_for_another_process_that_is_creating_the_file(path, hold):
    opened = []

    def open_it():
        with closing(SqliteMemory(path)) as memory:
            opened.append(memory.append(episode()))

    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.executescript("PRAGMA user_version = 0; VACUUM;")
        other.executescript(hold)
        opener = threading.Thread(target=open_it)
        opener.start()
        opener.join(0.3)
        waited = opener.is_alive()
        other.execute("COMMIT")
        opener.join()
    assert waited
    assert opened == [True]


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
        with pytest.raises(MemoryUnavailable, match="open it frozen") as caught:
            memory.append(episode("new"))
        assert str(path) in str(caught.value)
        assert len(list(memory.episodes())) == 1
    assert path.read_bytes() == held


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
    with closing(SqliteMemory(path)) as memory:
        for i in range(30):
            long = State(room=f"room {i} " * 30)
            memory.append(episode(str(i), step(i, state=long), step(i + 1), step(i + 2)))
    return path.read_bytes()


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


def test_an_empty_file_becomes_a_memory(path):
    path.touch()
    with closing(SqliteMemory(path)) as memory:
        assert memory.append(episode())
    with closing(SqliteMemory(path)) as memory:
        assert len(memory) == 1


def test_an_empty_file_is_no_memory_to_a_reader(path):
    path.touch()
    refused(path, NotAMemory, readonly=True)


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


def damaged(path, sample, damage):
    """Open the damaged bytes and read everything: None, or the exception that says so."""
    for name in names(path.parent):
        (path.parent / name).unlink()
    path.write_bytes(damage)
    memory = None
    try:
        memory = SqliteMemory(path, readonly=True)
        found = list(memory.episodes())
    except JitrlError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return error
    finally:
        if memory is not None:
            memory.close()
        assert path.read_bytes() == damage
    assert len(found) == 30, "episodes went missing, and nobody said so"
    return None


def test_a_flipped_byte_in_the_header_is_harmless_or_named(path, sample):
    rng = random.Random(0)
    kinds = set()
    for place in range(100):
        flipped = bytearray(sample)
        flipped[place] ^= rng.randrange(1, 256)
        kinds.add(type(damaged(path, sample, bytes(flipped))))
    assert kinds >= {type(None), NotAMemory, NewerMemory}


def test_a_flipped_byte_anywhere_never_lets_episodes_vanish_unsaid(path, sample):
    rng = random.Random(1)
    named = 0
    for _ in range(250):
        flipped = bytearray(sample)
        flipped[rng.randrange(100, len(sample))] ^= rng.randrange(1, 256)
        named += damaged(path, sample, bytes(flipped)) is not None
    assert named > 20


def test_a_page_of_zeros_never_lets_episodes_vanish_unsaid(path, sample):
    pages = len(sample) // 4096
    named = 0
    for page in range(1, pages):
        wiped = sample[: 4096 * page] + bytes(4096) + sample[4096 * (page + 1) :]
        named += damaged(path, sample, wiped) is not None
    assert named > pages // 2


def test_an_episode_that_went_missing_is_named(path):
    with closing(SqliteMemory(path)) as memory:
        for i in range(3):
            memory.append(episode(str(i)))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM steps WHERE episode = 2")
        db.execute("DELETE FROM episodes WHERE seq = 2")
        db.commit()
    with closing(SqliteMemory(path)) as memory:
        found = memory.episodes()
        assert next(found).id == "0"
        with pytest.raises(NotAMemory, match="2"):
            next(found)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE states SET fields = 'not json'",
        "UPDATE states SET fields = '[1]'",
        "UPDATE states SET fields = cast(x'ff22' AS TEXT)",
        "UPDATE steps SET policy_before = '{'",
        "UPDATE episodes SET provenance = x'ff'",
        "DROP TABLE steps",
    ],
)
def test_damaged_rows_are_named_as_damage(path, change):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode())
    with closing(sqlite3.connect(path)) as db:
        db.execute(change)
        db.commit()
    with (
        closing(SqliteMemory(path)) as memory,
        pytest.raises(NotAMemory, match="damaged") as caught,
    ):
        list(memory.episodes())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_memory_that_was_refused_can_be_moved_and_deleted_at_once(path):
    path.write_bytes(b"x" * 5000)
    before = names(Path("/proc/self/fd"))
    with pytest.raises(NotAMemory) as caught:
        SqliteMemory(path)
    assert caught.value is not None  # its traceback still refers to the half-made object
    assert names(Path("/proc/self/fd")) == before
