"""What is forgotten is nowhere any more: not in a row, a free page, a log or an index."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from sqlite_kit import episode, names, step

from jitrl.errors import MemoryUnavailable
from jitrl.memory import Cap, Finding, Selection, SqliteMemory
from jitrl.memory.repair import repair
from jitrl.memory.sql import sqlite
from jitrl.records import State

SECRET = "swordfish-4711"
UNSWEPT = Finding("what was deleted may still be in free pages: vacuum the memory")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


def fill(memory, secret=SECRET):
    """Store many episodes; each third one holds the secret, in one place or another."""
    places = (
        {"task": f"say {secret}"},
        {"final_state": State(room=f"behind {secret}")},
        {"provenance": {"run": f"of {secret}"}},
        {"steps": (step(1, state=State(room=f"{secret} " * 400)),)},
        {"steps": (step(1, action=f"say {secret}"), step(2, before={secret: 0.5}))},
    )
    for i in range(60):
        memory.append(episode(f"plain {i}", step(i, state=State(room=f"room {i} " * 60))))
        if i % 3 == 0:
            memory.append(episode(f"e{i}", **places[i // 3 % len(places)]))


def found(folder, secret=SECRET):
    """The files below a folder that hold the secret."""
    return [
        file.name
        for file in folder.rglob("*")
        if file.is_file() and secret.encode() in file.read_bytes()
    ]


def test_no_byte_of_what_is_forgotten_stays_in_any_file(path):
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as reader:
        fill(memory)
        memory.snapshot("before")
        assert len(list(reader.episodes())) == 80
        assert found(path.parent)
        assert memory.forget(Selection(text=SECRET)) == 20
        assert found(path.parent) == []
        assert len(list(reader.episodes())) == 60
        assert reader.diff("before").removed == ()
        assert list(reader.verify()) == []
    assert found(path.parent) == []


def test_what_was_changed_or_capped_away_before_is_gone_as_well(path):
    with closing(SqliteMemory(path)) as memory:
        fill(memory)
        memory.quarantine(Selection(text=SECRET), f"because of {SECRET}")
        memory.release(Selection(text=SECRET))
        memory.judge("e0", [1.0, 1.0], {"judge": f"{SECRET} "})
        memory.set_cap(Cap(30))
        memory.forget(Selection(text=SECRET))
        assert found(path.parent) == []


def test_states_that_others_visit_stay_and_those_of_nobody_go(path):
    shared, own = State(room="shared"), State(room="own")
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("a", step(state=own), step(state=shared), final_state=own))
        memory.append(episode("b", step(state=shared)))
        before = dict(memory.states(range(9)))
        memory.forget(Selection(id="a"))
        assert list(memory.states(range(9)).values()) == [shared]
        memory.append(episode("c", step(state=own)))
        ((number, state),) = memory.states(n for n in range(9) if n not in before).items()
        assert (state, number) == (own, max(before) + 1)


def test_what_is_derived_goes_as_well(path):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("a"))
        (memory.beside / "deeper").mkdir(parents=True)
        (memory.beside / "deeper" / "segment").write_text(SECRET)
        memory.forget(Selection(id="a"))
        assert not memory.beside.exists()
        assert names(path.parent) == [path.name, f"{path.name}-shm", f"{path.name}-wal"]


def test_what_is_derived_goes_where_it_lies_elsewhere_as_well(path, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deeper").mkdir(parents=True)
    (elsewhere / "deeper" / "segment").write_text(SECRET)
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("a"))
        memory.beside.symlink_to(elsewhere)
        memory.forget(Selection(id="a"))
    assert list(elsewhere.iterdir()) == []


def test_vacuum_leaves_the_index_where_nothing_was_forgotten(path):
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("a"))
        (memory.beside / "deeper").mkdir(parents=True)
        memory.vacuum()
        assert memory.beside.exists()


def test_forgetting_waits_for_a_reader_that_stands_in_the_way(path):
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        fill(memory)
        with other.reading() as held:
            held.execute("SELECT * FROM memory")
            forgetter = threading.Thread(target=memory.forget, args=(Selection(text=SECRET),))
            forgetter.start()
            forgetter.join(0.3)
            assert forgetter.is_alive()
        forgetter.join()
        assert found(path.parent) == []


def test_a_reader_that_does_not_go_away_is_named_and_vacuum_makes_good_for_it(path, monkeypatch):
    monkeypatch.setattr(sqlite, "_WAIT_SECONDS", 0.1)
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        fill(memory)
        with other.reading() as held:
            held.execute("SELECT * FROM memory")
            with pytest.raises(MemoryUnavailable, match=r"a reader still keeps it .* vacuum"):
                memory.forget(Selection(text=SECRET))
            assert len(memory) == 60  # the rows are gone
            assert found(path.parent)
            assert list(memory.verify()) == [UNSWEPT]
        assert memory.forget(Selection(text=SECRET)) == 0
        assert found(path.parent) == []
        assert list(memory.verify()) == []


class Stop(BaseException):
    """As Ctrl-C, but ours."""


@pytest.mark.parametrize("work", ["forget", "vacuum", "verify"])
def test_long_work_can_be_interrupted_wherever_it_tells_of_its_progress(path, work, monkeypatch):
    monkeypatch.setattr(sqlite, "_INSTRUCTIONS", 1000)
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        fill(memory)
        (memory.beside).mkdir()
        call = {
            "forget": lambda progress: memory.forget(Selection(text=SECRET), progress),
            "vacuum": memory.vacuum,
            "verify": lambda progress: list(memory.verify(progress)),
        }[work]
        stops = 0
        while True:
            left = stops

            def stop(what, done, total):
                nonlocal left
                if not left:
                    raise Stop
                left -= 1

            try:
                call(stop)
            except Stop:
                assert len(memory) - stops == len(other) - stops in (60, 80)
                assert set(memory.verify()) <= {UNSWEPT}
                stops += 1
                assert other.append(episode(f"in between {stops}"))
            else:
                break
        assert stops >= 3
        assert list(memory.verify()) == []
        if work == "forget":
            assert found(path.parent) == []


def test_a_memory_in_ram_forgets():
    with closing(SqliteMemory()) as memory:
        fill(memory)
        assert memory.forget(Selection(text=SECRET)) == 20
        memory.vacuum()
        assert list(memory.verify()) == []
        assert len(memory) == 60


def test_vacuum_gives_space_back_and_drops_states_of_nobody(path):
    with closing(SqliteMemory(path)) as memory:
        fill(memory)
        memory.vacuum()
        memory.set_cap(Cap(10))
        before = path.stat().st_size, len(memory.states(range(200)))
        pulse, held = memory.pulse(), list(memory.episodes())
        memory.vacuum()
        assert path.stat().st_size < before[0] / 2
        assert len(memory.states(range(200))) < before[1]
        assert memory.pulse() == pulse
        assert list(memory.episodes()) == held
        assert list(memory.verify()) == []


def test_repair_makes_good_for_it_and_keeps_nothing_of_what_was_forgotten(path, monkeypatch):
    monkeypatch.setattr(sqlite, "_WAIT_SECONDS", 0.1)
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        fill(memory)
        with other.reading() as held:
            held.execute("SELECT * FROM memory")
            with pytest.raises(MemoryUnavailable, match="a reader still keeps it"):
                memory.forget(Selection(text=SECRET))
    assert [finding.lost for finding in repair(path)] == [False]
    assert found(path.parent) == []
    assert names(path.parent) == [path.name]
    assert repair(path) == []
