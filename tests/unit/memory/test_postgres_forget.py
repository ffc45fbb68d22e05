"""What the shared memory forgets is nowhere in the server's tables any more."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pytest
from sqlite_kit import episode, step

from jitrl.errors import MemoryUnavailable
from jitrl.memory import Selection
from jitrl.memory.sql.postgres import PostgresMemory
from jitrl.records import State

SECRET = "swordfish-4711"


@pytest.fixture
def address(server, schema):
    return server.address(schema)


def told(id):
    return episode(
        id,
        *[
            step(t, state=State(room=f"{SECRET} {t}"), action=SECRET, preset=SECRET)
            for t in range(20)
        ],
        task=SECRET,
        final_state=State(end=SECRET),
        provenance={"run": SECRET},
    )


def tables_with_it(server):
    """The files of tables and indexes, catalogues included, that hold the text."""
    server.sql("public", "CHECKPOINT")
    folder = server.data / "base"
    files = [folder / where / name for where, _, names in os.walk(folder) for name in names]
    return [file for file in files if file.exists() and SECRET.encode() in file.read_bytes()]


def test_forgotten_text_is_in_no_table_no_index_and_no_statistics(server, schema, address):
    with closing(PostgresMemory(address)) as memory:
        for i in range(30):
            memory.append(told(f"{SECRET} {i}"))
        memory.append(episode("kept"))
        memory.snapshot("s")
        memory.quarantine(Selection(run=SECRET), SECRET)
        memory.release(Selection(run=SECRET))
        server.sql(schema, "ANALYZE")
        assert tables_with_it(server)
        assert memory.forget(Selection(text=SECRET)) == 30
        assert not tables_with_it(server)
        assert list(memory.episodes()) == [episode("kept")]
        assert memory.diff("s").removed == ()
        assert not list(memory.verify())


def test_a_reader_in_the_way_is_waited_for(server, address):
    with closing(PostgresMemory(address)) as memory, closing(PostgresMemory(address)) as other:
        memory.append(told("e"))
        reading = other.look()
        reading.__enter__().execute("SELECT count(*) FROM steps")
        end = threading.Timer(0.5, lambda: None)
        done = []
        worker = threading.Thread(target=lambda: done.append(memory.forget(Selection(id="e"))))
        worker.start()
        end.start()
        end.join()
        assert not done
        reading.__exit__(None, None, None)
        worker.join()
        assert done == [1]
        assert not tables_with_it(server)


@pytest.mark.parametrize("table", ["memory", "pg_class"])
def test_where_somebody_looks_at_it_for_too_long_it_says_what_is_left_to_do(server, address, table):
    with closing(PostgresMemory(address, patience=0.2)) as memory:
        memory.append(told("e"))
        with server.connected() as other:
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            schema = address.rpartition("%3D")[2]
            other.execute(f"SET LOCAL search_path = {schema}")
            other.execute(f"SELECT count(*) FROM {table}")
            with pytest.raises(MemoryUnavailable, match="end that one, and vacuum the memory"):
                memory.forget(Selection(id="e"))
            assert len(memory) == 0
            other.execute("ROLLBACK")
        assert tables_with_it(server)
        assert [finding.what for finding in memory.verify()] == [
            "what was deleted may still be in free pages: vacuum the memory"
        ]
        memory.vacuum()
        assert not list(memory.verify())
        assert not tables_with_it(server)


def test_progress_is_told_and_an_interruption_leaves_it_sound(address):
    def interrupt(what, done, total):
        heard.append(what)
        if what == "writing the tables anew" and done == 3:
            raise KeyboardInterrupt

    heard = []
    with closing(PostgresMemory(address)) as memory:
        memory.append(told("e"))
        with pytest.raises(KeyboardInterrupt):
            memory.forget(Selection(id="e"), interrupt)
        assert heard[0] == "deleting episodes"
        assert len(memory) == 0
        assert memory.forget(Selection(id="e")) == 0  # makes good for what was left
        assert not list(memory.verify())
