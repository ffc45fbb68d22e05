"""The shared memory loses its connection, anywhere: it goes on, and nothing is done twice."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace

import pytest
from postgres_kit import Cable
from sqlite_kit import episode, step

from jitrl.errors import MemoryUnavailable, NotAMemory
from jitrl.memory import Cap, Selection
from jitrl.memory.sql.postgres import PostgresMemory
from jitrl.records import State

BACKENDS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'jitrl'"
)


@pytest.fixture
def address(server, schema):
    return server.address(schema)


def tall(id):
    return episode(id, *[step(t, state=State(room=f"{id} {t}")) for t in range(3)])


class Faulty:
    """A memory behind a cable that fails once, at the n-th message after `arm`."""

    def __init__(self, server, schema, how, **options):
        self.server, self.schema, self.how = server, schema, how
        self.at = self.failed = None
        self.cable = Cable(server, self._sent)
        self.memory = PostgresMemory(server.address(schema, folder=self.cable.folder), **options)

    def arm(self, n):
        self.at, self.failed = self.cable.count + n, False

    def _sent(self, number, said):
        if number != self.at:
            return None
        self.failed = True
        if self.how == "terminate":
            self.server.sql(self.schema, BACKENDS)
            return None
        return self.how

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.memory.close()
        self.cable.__exit__()


HOW = pytest.mark.parametrize("how", ["cut", "late", "terminate"])


@HOW
def test_an_append_survives_a_failure_at_each_of_its_messages_and_is_stored_once(
    server, schema, how
):
    with Faulty(server, schema, how) as faulty:
        n, stored = 0, []
        while faulty.failed in (None, True):
            n += 1
            stored.append(tall(f"e{n}"))
            faulty.arm(n)
            assert faulty.memory.append(stored[-1]) is True
        assert n > 8
        assert list(faulty.memory.episodes()) == stored
        assert faulty.memory.append(stored[0]) is False
        assert not list(faulty.memory.verify())


def changes(memory, n):
    """Change a memory in every way; returns all that was answered."""
    e = f"e{n}"
    yield memory.append(replace(tall(e), provenance={"run": e}))
    yield memory.append(tall(f"other {e}"))
    yield memory.judge(e, [1.0, None, 2.0], {"judge": "j"})
    yield memory.judge(e, [1.0, None, 2.0], {"judge": "j"})
    yield memory.snapshot(f"s{n}").episodes
    yield memory.quarantine(Selection(run=e), "why")
    yield memory.release(Selection(run=e))
    yield memory.append(tall(f"third {e}"))
    yield memory.rollback(f"s{n}")
    yield memory.drop_snapshot(f"s{n}")
    yield memory.set_cap(Cap(2))
    yield memory.set_cap(None)
    yield memory.cap
    yield memory.forget(Selection(id=e))
    yield memory.forget(Selection(text=e))
    yield memory.vacuum()
    yield [entry.id for entry in memory.catalogue()]
    yield [one.id for one in memory.episodes()]
    yield [len(trail.actions) for trail in memory.changes(0)]
    yield len(memory)
    yield list(memory.verify())


@HOW
def test_every_change_answers_as_if_nothing_had_failed(server, schema, how):
    with Faulty(server, schema, how) as faulty:
        before = faulty.cable.count
        expected = list(changes(faulty.memory, 0))
        messages = faulty.cable.count - before
        for n in range(3 + len(how), messages, 61):
            faulty.arm(n)
            found = list(changes(faulty.memory, 0))
            assert faulty.failed
            assert found == expected


def test_an_iteration_under_way_survives(server, schema, address):
    with closing(PostgresMemory(address)) as memory:
        stored = [tall(f"e{i}") for i in range(4)]
        for one in stored:
            memory.append(one)
        for iterate in (
            memory.episodes,
            lambda: memory.changes(0),
            lambda: (memory.get(e.id) for e in memory.catalogue()),
        ):
            expected, found = list(iterate()), []
            for one in iterate():
                found.append(one)
                server.sql(schema, BACKENDS)
            assert found == expected


def test_a_server_that_is_started_anew_is_found_again(server, schema, address):
    with closing(PostgresMemory(address)) as memory:
        assert memory.append(tall("before"))
        for mode in ("fast", "immediate"):
            server.stop(mode)
            starter = threading.Timer(0.3, server.start)
            starter.start()
            assert memory.append(tall(mode))
            starter.join()
        assert [e.id for e in memory.episodes()] == ["before", "fast", "immediate"]


def test_a_server_that_stays_away_is_an_error_after_a_while_and_not_for_ever(
    server, schema, address
):
    with closing(PostgresMemory(address, patience=0.2)) as memory:
        memory.append(tall("before"))
        server.stop()
        try:
            with pytest.raises(MemoryUnavailable, match="see whether its server is up"):
                memory.append(tall("lost"))
            with pytest.raises(MemoryUnavailable, match="see whether its server is up"):
                list(memory.episodes())
        finally:
            server.start()
        assert memory.append(tall("after"))
        assert [e.id for e in memory.episodes()] == ["before", "after"]


def test_where_nobody_knows_what_became_of_a_commit_it_says_so(server, schema):
    with Faulty(server, schema, "late", patience=0.2) as faulty:
        away = []

        def sent(number, said):
            if b"COMMIT\0" in said:
                away.append(number)
                return "late"
            return "cut" if away else None

        faulty.cable.sent = sent
        with pytest.raises(MemoryUnavailable, match="nobody knows whether it was committed"):
            faulty.memory.append(tall("e"))
        faulty.cable.sent = lambda number, said: None
        assert faulty.memory.append(tall("e")) is False
        assert list(faulty.memory.episodes()) == [tall("e")]


def test_another_memory_at_the_same_address_is_refused(server, schema, address):
    with closing(PostgresMemory(address)) as memory:
        memory.append(tall("e"))
        server.sql(schema, f"DROP SCHEMA {schema} CASCADE")
        server.sql("public", f"CREATE SCHEMA {schema}")
        PostgresMemory(address).close()
        server.sql(schema, BACKENDS)
        with pytest.raises(NotAMemory, match="another memory"):
            memory.append(tall("f"))
        server.sql(schema, f"DROP SCHEMA {schema} CASCADE")
        server.sql("public", f"CREATE SCHEMA {schema}")
        with pytest.raises(MemoryUnavailable, match="no memory at"):
            memory.append(tall("f"))


def test_a_writer_who_holds_it_too_long_is_told_of(address):
    with (
        closing(PostgresMemory(address)) as one,
        closing(PostgresMemory(address, patience=0.1)) as other,
    ):
        with one.writing():
            with pytest.raises(MemoryUnavailable, match="end that one"):
                other.append(tall("e"))
            assert len(other) == 0
        assert other.append(tall("e"))


def test_a_writer_who_falls_asleep_lets_the_others_in(address):
    with closing(PostgresMemory(address)) as one, closing(PostgresMemory(address)) as other:
        with pytest.raises(MemoryUnavailable), other.writing() as db:
            db.execute("SET idle_in_transaction_session_timeout = 100")
            assert one.append(tall("e"))
            db.execute("SELECT 1")
        assert other.append(tall("f"))
        assert [e.id for e in one.episodes()] == ["e", "f"]
