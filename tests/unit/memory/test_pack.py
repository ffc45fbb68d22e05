"""Packs: what is exported can be imported, once, and is known by its source."""

from __future__ import annotations

import errno
import os
import signal
import zipfile
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack_kit import body, episodes, packed, plain
from sqlite_kit import episode, forked, names, step

from jitrl.errors import BadPack, InvalidValue, StoreError
from jitrl.memory import Selection, SqliteMemory
from jitrl.memory.packs.pack import Limits, export, import_pack
from jitrl.memory.redaction import DEFAULT, Redaction
from jitrl.records import State
from jitrl.trust import source_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.pack"


@pytest.fixture(params=["plain", "sqlite"])
def memory(request):
    """An empty memory that redacts nothing."""
    memory = plain() if request.param == "plain" else SqliteMemory(redaction=None)
    with closing(memory):
        yield memory


def noon():
    return 1795521600.0


def ids(memory):
    return [episode.id for episode in memory.episodes()]


def bare(memory):
    return [replace(episode, provenance={}) for episode in memory.episodes()]


# --- out and in ---------------------------------------------------------------------------------


@given(given_=st.lists(episodes(), max_size=4, unique_by=lambda e: e.id))
def test_what_is_exported_is_imported_as_it_was(tmp_path_factory, given_):
    path = tmp_path_factory.getbasetemp() / "round.pack"
    here, there = plain(*given_), plain()
    manifest = export(here, path)
    assert (manifest.episodes, manifest.steps) == (len(given_), sum(len(e.steps) for e in given_))
    done = import_pack(there, path)
    assert (done.stored, done.skipped) == (len(given_), 0)
    assert done.source == f"pack:{manifest.sha256[:12]}"
    assert bare(there) == bare(here)
    for one, other in zip(there.episodes(), given_, strict=True):
        assert one.provenance.items() >= (
            {k: v for k, v in other.provenance.items() if k not in ("source", "origin")}.items()
        )
    again = import_pack(there, path)
    assert (again.stored, again.skipped) == (0, len(given_))
    assert len(there) == len(given_)


def test_a_memory_in_a_file_goes_out_and_in(tmp_path, path):
    told = [
        episode(
            f"e{i}", step(i, judged=0.1 * i), step(i + 1, reward=0.1 + i), provenance={"run": "r"}
        )
        for i in range(20)
    ]
    with closing(SqliteMemory(tmp_path / "a.db")) as here:
        for each in told:
            here.append(each)
        manifest = export(here, path)
    with closing(SqliteMemory(tmp_path / "b.db")) as there:
        import_pack(there, path, source="team A")
        assert bare(there) == [replace(e, provenance={}) for e in told]
        assert {tuple(e.provenance.items()) for e in there.episodes()} == {
            (("run", "r"), ("source", "team A"))
        }
    assert (manifest.episodes, manifest.steps) == (20, 40)


def test_equal_episodes_and_an_equal_time_make_equal_bytes(tmp_path, memory):
    told = [episode("b"), episode("a", step(3))]
    for each in told:
        memory.append(each)
    first = export(memory, tmp_path / "1", clock=noon)
    assert export(plain(*told), tmp_path / "2", clock=noon) == first
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert first.made == "2026-11-24T12:00:00.000+00:00"
    assert first.sha256 == sha256(body(*told)).hexdigest()
    assert first.bytes == len(body(*told))


def test_an_empty_memory_makes_a_pack_as_well(path, memory):
    assert export(memory, path).episodes == 0
    assert import_pack(memory, path).stored == 0


def test_only_what_is_present_and_selected_is_exported(path, memory):
    for i in range(6):
        memory.append(episode(f"e{i}", provenance={"run": f"r{i % 2}"}))
    memory.quarantine(Selection(id="e1"), "odd")
    export(memory, path)
    import_pack(everything := plain(), path)
    assert ids(everything) == ["e0", "e2", "e3", "e4", "e5"]
    assert export(memory, path, Selection(run="r1")).episodes == 2
    import_pack(some := plain(), path)
    assert ids(some) == ["e3", "e5"]


def test_progress_is_told(path, memory):
    for i in range(3):
        memory.append(episode(f"e{i}"))
    told = []
    export(memory, path, progress=lambda *what: told.append(what))
    assert told == [("exported", 1, 3), ("exported", 2, 3), ("exported", 3, 3)]
    told.clear()
    import_pack(plain(), path, progress=lambda *what: told.append(what))
    assert told == [(what, i, 3) for what in ("checked", "stored") for i in (1, 2, 3)]


# --- who answers for it -------------------------------------------------------------------------


def test_a_pack_cannot_pass_for_somebody_else(path, memory):
    told = {"run": "r1", "source": "the boss", "origin": "far away", "world": "zork"}
    packed(path, body(episode("a", provenance=told), episode("b", provenance={"run": "r1"})))
    done = import_pack(memory, path)
    a, b = memory.episodes()
    assert a.provenance == {
        **{"run": "r1", "world": "zork"},
        **{"source": done.source, "origin": "far away; the boss"},
    }
    assert b.provenance == {"run": "r1", "source": done.source}
    assert {source_of(e.provenance) for e in (a, b)} == {done.source}
    assert memory.quarantine(Selection(source=done.source), "not trusted") == 2
    assert len(memory) == 0
    assert import_pack(memory, path).skipped == 2  # they stay where they are
    assert len(memory) == 0


def test_the_given_source_is_the_one_that_answers(path, memory):
    packed(path, body(episode("a", provenance={"source": "x"})))
    assert import_pack(memory, path, source="team B").source == "team B"
    assert next(memory.episodes()).provenance == {"source": "team B", "origin": "x"}
    for bad in ("", 3, "\ud800"):
        with pytest.raises(InvalidValue, match="source"):
            import_pack(memory, path, source=bad)


# --- what is there already ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        episode("b", step(5)),
        episode("b", step(0)),
        episode("b", step(0), step(1, reward=1.0000000000000002)),
        episode("b", task="other"),
        episode("b", terminated=True),
        episode("b", final_state=State(x="y")),
        episode("b", step(0, judged=0.5), step(1)),
    ],
)
def test_an_id_that_stands_for_something_else_is_refused_before_anything_is_stored(
    path, memory, other
):
    memory.append(episode("b", step(0, judged=0.25), step(1)))
    export(plain(episode("a"), other, episode("c")), path)
    with pytest.raises(BadPack, match="'b'") as caught:
        import_pack(memory, path)
    assert str(path) in str(caught.value)
    assert ids(memory) == ["b"]


def test_scores_that_only_one_side_has_are_no_conflict_and_are_left_as_they_are(path, memory):
    memory.append(episode("a", step(0, judged=0.25), step(1)))
    export(plain(episode("a", step(0), step(1, judged=0.5))), path)
    assert import_pack(memory, path).skipped == 1
    assert [s.judged for s in next(memory.episodes()).steps] == [0.25, None]


def test_an_import_is_done_once_also_where_secrets_are_taken_out(path):
    export(plain(episode("a", step(action="login(password=x)"))), path)
    with closing(SqliteMemory(redaction=DEFAULT.with_patterns(room=r"room \d"))) as memory:
        assert import_pack(memory, path).stored == 1
        assert import_pack(memory, path).skipped == 1
        (stored,) = memory.episodes()
        assert stored.steps[0].action == "login(password=[redacted:password]"
        assert stored.steps[0].state == State(room="[redacted:room]")


def test_an_id_that_holds_a_secret_is_refused_before_anything_is_stored(path):
    export(plain(episode("a"), episode("token=aa1bb2")), path)
    with closing(SqliteMemory()) as memory:
        with pytest.raises(BadPack, match="must not hold a secret") as caught:
            import_pack(memory, path)
        assert "aa1bb2" not in str(caught.value)
        assert len(memory) == 0
    with closing(SqliteMemory(redaction=Redaction({}))) as memory:
        assert import_pack(memory, path).stored == 2


def _import_and_die(database, path, stored):
    def die(what, done, total):
        if (what, done) == ("stored", stored):
            os.kill(os.getpid(), signal.SIGKILL)

    import_pack(SqliteMemory(database), path, progress=die)


@pytest.mark.parametrize("stored", [1, 7, 9])
def test_an_import_that_was_killed_is_completed_by_the_next_one(tmp_path, path, stored):
    database = tmp_path / "memory.db"
    told = [episode(f"e{i}", step(i)) for i in range(9)]
    export(plain(*told), path)
    child = forked(_import_and_die, database, path, stored)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with closing(SqliteMemory(database)) as memory:
        assert len(memory) == stored
        done = import_pack(memory, path)
        assert (done.stored, done.skipped) == (9 - stored, stored)
        assert bare(memory) == told


# --- writing ------------------------------------------------------------------------------------


def test_a_pack_that_is_there_is_replaced_and_nothing_is_left_beside_it(tmp_path, path):
    export(plain(episode("a")), path)
    assert export(plain(), path).episodes == 0
    assert names(tmp_path) == ["some.pack"]
    path.write_bytes(b"")
    assert export(plain(episode("a")), path).episodes == 1


def test_a_file_that_is_no_pack_is_not_overwritten(tmp_path):
    path = tmp_path / "memory.db"
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("a"))
        with pytest.raises(StoreError, match="no pack"):
            export(memory, path)
        with pytest.raises(StoreError, match="no file"):
            export(memory, tmp_path)
        assert ids(memory) == ["a"]


def _full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace", "write", "open"])
def test_a_pack_that_cannot_be_written_leaves_what_was_there(tmp_path, path, monkeypatch, call):
    export(plain(episode("old")), path)
    held = path.read_bytes()
    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr(os, "fsync", _full)
        elif call == "write":
            patch.setattr(zipfile.ZipFile, "open", _full)
        else:
            patch.setattr(Path, call, _full)
        with pytest.raises(StoreError, match="No space left on device") as caught:
            export(plain(episode("new")), path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == held
    assert names(tmp_path) == ["some.pack"]


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        export(plain(), tmp_path / "no" / "some.pack")
    with pytest.raises(InvalidValue, match="NUL"):
        export(plain(), "a\0b")


def test_an_interrupted_export_leaves_nothing(tmp_path, path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(plain(episode("a")), path, progress=interrupt)
    assert names(tmp_path) == []


def test_what_a_pack_cannot_hold_is_named(tmp_path, path):
    with pytest.raises(StoreError, match=r"'a' cannot be exported .*steps\[0\]\.reward"):
        export(plain(episode("a", step(reward=float("nan")))), path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("limit", ["bytes", "episodes", "episode", "reward"])
def test_a_limit_that_can_be_none_is_refused(limit):
    for bad in (0 if limit != "reward" else float("inf"), "1", None, float("nan")):
        with pytest.raises(InvalidValue, match=limit):
            Limits(**{limit: bad})
