"""The shared memory: the contract on a real server, and what is peculiar to this one."""

from __future__ import annotations

import math
import os
import threading
from contextlib import closing

import pytest
from sqlite_kit import episode, forked, step

import jitrl.memory
from jitrl.errors import InvalidValue, MemoryUnavailable, NotAMemory
from jitrl.memory import Selection
from jitrl.memory.sql.postgres import PostgresMemory
from jitrl.records import State
from jitrl.testing import check_governance, check_store


@pytest.fixture
def address(server, schema):
    return server.address(schema)


@pytest.fixture
def memory(address):
    with closing(PostgresMemory(address)) as memory:
        yield memory


def test_it_keeps_the_contract_of_a_store(address):
    check_store(lambda: PostgresMemory(address))


def test_it_keeps_the_contract_of_a_governed_store(address):
    check_governance(lambda: PostgresMemory(address))


def test_a_url_opens_it_and_a_path_or_nothing_the_embedded_memory(address, tmp_path):
    for given in (address, address.replace("postgresql://", "postgres://")):
        with closing(jitrl.memory.open(given)) as memory:
            assert isinstance(memory, PostgresMemory)
            assert memory.path == given
    for path in (None, tmp_path / "memory.db", str(tmp_path / "memory.db")):
        with closing(jitrl.memory.open(path)) as memory:
            assert isinstance(memory, jitrl.memory.SqliteMemory)


def test_texts_come_back_as_they_were_whatever_characters_they_hold(memory):
    texts = ["\0", "\1", "\1a", "\1b\0", "\0a\1\1b", "a\0\0", "%s ? %b %%", "\x7f\ufffe\U0010ffff"]
    steps = [step(0, state=State(**{text: text}), action=text, preset=text) for text in texts]
    stored = [
        episode(text, *steps, task=text, provenance={text: text, "run": text}) for text in texts
    ]
    for one in stored:
        assert memory.append(one)
    assert list(memory.episodes()) == stored
    for text in texts:
        assert memory.quarantine(Selection(run=text), text) == 1
        assert [e.quarantined for e in memory.catalogue(Selection(id=text))] == [text]
    assert not list(memory.verify())


def test_a_text_that_is_not_unicode_is_refused(memory):
    with pytest.raises(InvalidValue, match="UTF-8"):
        memory.append(episode("\ud800"))
    assert len(memory) == 0


def test_numbers_come_back_to_the_last_bit(memory):
    numbers = [5e-324, -5e-324, math.nextafter(1, 2), 2**0.5, -math.pi, 1e308, 0.1, 2.0**53 + 2]
    stored = episode("e", *[step(t, reward=x, judged=0.5 * x + 0.0) for t, x in enumerate(numbers)])
    memory.append(stored)
    (found,) = memory.episodes()
    assert [(s.reward.hex(), s.judged.hex()) for s in found.steps] == [
        (x.hex(), (0.5 * x + 0.0).hex()) for x in numbers
    ]


def test_a_reader_sees_one_moment_and_waits_for_no_writer(address, memory):
    memory.append(episode("first"))
    with closing(PostgresMemory(address)) as writer:
        with memory.look() as db:
            before = db.execute("SELECT revision FROM memory")
            writer.append(episode("second"))
            assert db.execute("SELECT revision FROM memory") == before
            assert db.execute("SELECT count(*) FROM episodes") == [(1,)]
        with pytest.raises(ZeroDivisionError), writer.writing() as db:
            db.execute("DELETE FROM steps")
            assert len(list(memory.episodes())) == 2
            raise ZeroDivisionError
    assert len(list(memory.episodes())) == 2


def test_what_is_in_the_way_of_a_commit_leaves_nothing_behind(memory):
    memory.append(episode("first"))
    with pytest.raises(ZeroDivisionError), memory.writing() as db:
        db.execute("DELETE FROM steps")
        raise ZeroDivisionError
    assert len(list(memory.episodes())) == 1
    assert memory.append(episode("second"))


def test_a_changed_byte_is_told_wherever_it_is(server, schema, memory):
    memory.append(episode("e", step(0), step(1), final_state=State(room="end")))
    memory.snapshot("s")
    changes = {
        "memory": "steps = steps + 1",
        "log": "changed = '[[1,1]]'",
        "states": "fields = replace(fields, 'room', 'roam')",
        "episodes": "task = task || chr(1)",
        "steps": "reward = reward + 1e-9",
        "snapshots": "made = '2026'",
        "directory": "number = number + 1",
    }
    for table, change in changes.items():
        server.sql(schema, f"CREATE TABLE kept AS SELECT * FROM {table}")
        server.sql(schema, f"UPDATE {table} SET {change}")
        with pytest.raises(NotAMemory, match="jitrl memory repair"):
            memory.snapshots()
            list(memory.episodes())
            memory.get("e")
        assert list(memory.verify())
        server.sql(schema, f"DELETE FROM {table}")
        assert list(memory.verify())
        server.sql(schema, f"INSERT INTO {table} SELECT * FROM kept")
        server.sql(schema, "DROP TABLE kept")
        assert not list(memory.verify())


def test_a_table_without_its_key_is_found(server, schema, memory):
    server.sql(schema, "ALTER TABLE steps DROP CONSTRAINT steps_pkey")
    assert [found.what for found in memory.verify()] == ["table steps has no valid primary key"]


def test_tables_that_are_dropped_meanwhile_are_an_error_of_ours(server, schema, memory):
    server.sql(schema, f"DROP SCHEMA {schema} CASCADE")
    with pytest.raises(NotAMemory, match="damaged"):
        memory.pulse()


def test_power_asks_for_commits_that_reach_the_disk_and_process_for_nothing(server, schema):
    for durability, kept in (("process", "off"), ("power", "on")):
        for setting, held in (("off", kept), ("remote_apply", "remote_apply")):
            address = server.address(schema) + f"%20-csynchronous_commit%3D{setting}"
            with (
                closing(PostgresMemory(address, durability=durability)) as memory,
                memory.look() as db,
            ):
                assert db.execute("SHOW synchronous_commit") == [(held,)]


def test_what_is_derived_lies_in_the_cache_by_the_name_of_the_memory(
    server, schema, memory, tmp_path
):
    ((name,),) = server.sql(schema, "SELECT uuid FROM memory")
    assert memory.beside == tmp_path / "cache" / "memories" / name
    memory.beside.mkdir(parents=True)
    memory.append(episode("e"))
    memory.forget(Selection(id="e"))
    assert not memory.beside.exists()


def test_a_child_has_to_open_it_anew_and_leaves_the_connection_alone(memory):
    def child():
        with pytest.raises(MemoryUnavailable, match="forked"):
            memory.append(episode("child"))
        memory.close()

    assert os.waitpid(forked(child), 0)[1] == 0
    assert memory.append(episode("parent"))
    assert [e.id for e in memory.episodes()] == ["parent"]


def test_threads_share_one_connection(server, schema, memory):
    def work(name):
        for i in range(10):
            memory.append(episode(f"{name} {i}"))
            len(list(memory.episodes()))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory) == 40
    held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jitrl'"
    assert server.sql(schema, held) == [(1,)]


def test_after_close_it_says_so(memory):
    memory.close()
    memory.close()
    with pytest.raises(MemoryUnavailable, match="closed: open it again"):
        len(memory)


@pytest.mark.parametrize(
    ("name", "value"), [("durability", "safe"), ("patience", 0), ("patience", math.nan)]
)
def test_options_out_of_range_are_refused(address, name, value):
    with pytest.raises(InvalidValue, match=name):
        PostgresMemory(address, **{name: value})
