"""Opening the shared memory: what can be wrong with an address, what may be shown of it."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from contextlib import closing

import psycopg
import pytest
from sqlite_kit import episode, forked

import jitrl.memory
from jitrl.errors import MemoryUnavailable, NewerMemory, NotAMemory
from jitrl.memory import Selection, address
from jitrl.memory.sql.postgres import PostgresMemory

SECRET = "hush-hush"


@pytest.fixture
def user(server, schema):
    """A user who may look, and needs a password."""
    name = f"user_{schema}"
    server.sql(schema, f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    server.sql(schema, f"GRANT USAGE ON SCHEMA {schema} TO {name}")
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {name} scram-sha-256\n{before}")
    server.run("pg_ctl", "reload")
    yield name
    rules.write_text(before)
    server.run("pg_ctl", "reload")
    server.sql("public", f"DROP OWNED BY {name}")
    server.sql("public", f"DROP ROLE {name}")


def refused(kind, match, url, **options):
    with pytest.raises(kind, match=match) as caught:
        jitrl.memory.open(url, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert SECRET not in said
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@x@host/zork",
        f"postgresql://ann:x/{SECRET}@host/zork",
        f"postgresql://ann:12/{SECRET}@host/zork",
        f"postgresql://ann:x?{SECRET}@host/zork",
        f"postgresql://ann:x#{SECRET}@host/zork",
        f"postgresql://ann:x:{SECRET}@host/zork",
        f"postgresql://ann:{SECRET} @host/zork",
        f"postgresql://ann:{SECRET}/zork",
        f"postgresql://ann:{SECRET}",
        f"postgresql:ann:{SECRET}@host/zork",
        f"POSTGRES://ann:{SECRET}@host/zork",
    ],
)
def test_an_address_that_is_no_url_is_refused_and_not_repeated(url):
    refused(MemoryUnavailable, "no URL of PostgreSQL: write", url)
    with pytest.raises(MemoryUnavailable, match="no URL"):
        address.holds_password(url)


@pytest.mark.parametrize("rest", ["host/zork?nonsense=1", "host/zork?sslmode", "host/%zz"])
def test_an_address_with_a_part_that_libpq_does_not_know_is_refused(rest):
    refused(
        MemoryUnavailable, "a part that PostgreSQL does not", f"postgresql://ann:{SECRET}@{rest}"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://ann:pw@/db?host=%2Ftmp", "postgresql://ann@/db?host=%2Ftmp"),
        ("postgresql://ann:@/db", "postgresql://ann@/db"),
        ("postgres://h1:1,h2:2/db?password=pw&user=x", "postgres://h1:1,h2:2/db?user=x"),
        ("postgres://h/db?p%61ssword=pw", "postgres://h/db"),
        ("postgresql://", "postgresql://"),
        ("postgresql://ann:pw@[::1]:5432", "postgresql://ann@[::1]:5432"),
        ("some/file.db", "some/file.db"),
    ],
)
def test_an_address_is_shown_without_its_passwords(url, shown):
    assert address.shown(url) == shown
    if address.remote(url):
        assert address.holds_password(url) == ("pw" in url)


def test_where_no_server_answers_it_says_so(tmp_path):
    url = f"postgresql://ann:{SECRET}@/zork?host={tmp_path}"
    refused(MemoryUnavailable, "see whether its server is up", url)


def test_a_wrong_password_is_told_and_the_right_one_opens(server, schema, user):
    PostgresMemory(server.address(schema)).close()
    server.sql(schema, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}")
    wrong = server.address(schema, user=user, password=f"x{SECRET}")
    refused(MemoryUnavailable, "check host, user and password", wrong, readonly=True)
    right = server.address(schema, user=user, password=SECRET)
    with closing(jitrl.memory.open(right, readonly=True)) as memory:
        assert len(memory) == 0
        assert SECRET not in memory.path
        with pytest.raises(MemoryUnavailable) as caught:
            memory.append(episode("e"))
        assert SECRET not in str(caught.value)


def test_a_user_who_may_only_look_can_open_it_frozen(server, schema, user):
    with closing(PostgresMemory(server.address(schema))) as memory:
        memory.append(episode("e"))
    url = server.address(schema, user=user, password=SECRET)
    refused(MemoryUnavailable, "grant SELECT", url, readonly=True)
    server.sql(schema, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}")
    refused(MemoryUnavailable, "grant INSERT, UPDATE and DELETE", url)
    with closing(jitrl.memory.open(url, readonly=True)) as memory:
        assert list(memory.episodes()) == [episode("e")]
        with pytest.raises(MemoryUnavailable, match="open it to write"):
            memory.append(episode("f"))
        with pytest.raises(MemoryUnavailable, match="open it to write"):
            memory.vacuum()


def test_a_user_who_may_write_but_owns_nothing_stores_and_is_told_what_it_cannot_sweep(
    server, schema, user
):
    PostgresMemory(server.address(schema)).close()
    rights = "SELECT, INSERT, UPDATE, DELETE"
    server.sql(schema, f"GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {user}")
    url = server.address(schema, user=user, password=SECRET)
    with closing(jitrl.memory.open(url)) as memory:
        memory.append(episode("e"))
        with pytest.raises(MemoryUnavailable, match="vacuum it as their owner"):
            memory.forget(Selection(id="e"))
        assert len(memory) == 0
        assert [found.what for found in memory.verify()] == [
            "what was deleted may still be in free pages: vacuum the memory"
        ]
    with closing(PostgresMemory(server.address(schema))) as memory:
        memory.vacuum()
        assert not list(memory.verify())


def test_a_user_who_may_not_create_tables_is_told(server, schema, user):
    url = server.address(schema, user=user, password=SECRET)
    refused(MemoryUnavailable, "give the user the right", url)


def test_a_right_that_is_taken_away_is_told_and_not_waited_for(server, schema, user):
    PostgresMemory(server.address(schema)).close()
    server.sql(schema, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}")
    url = server.address(schema, user=user, password=SECRET)
    with closing(jitrl.memory.open(url, readonly=True)) as memory:
        server.sql(schema, f"REVOKE SELECT ON ALL TABLES IN SCHEMA {schema} FROM {user}")
        with pytest.raises(MemoryUnavailable, match="give the user the right"):
            memory.pulse()


def test_a_schema_or_a_database_that_does_not_exist_is_told(server):
    refused(MemoryUnavailable, "no schema of its search path", server.address("nowhere"))
    refused(MemoryUnavailable, "database", server.address("public", database="nowhere"))
    refused(MemoryUnavailable, "grant USAGE", server.address("nowhere"), readonly=True)


def test_a_database_of_another_encoding_is_refused(server):
    server.sql("public", "CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LOCALE 'C'")
    refused(MemoryUnavailable, "create one in UTF8", server.address(database="latin"))
    server.sql("public", "DROP DATABASE latin")


def test_tables_of_another_are_not_touched(server, schema):
    server.sql(schema, "CREATE TABLE log (line text)")
    said = refused(NotAMemory, "name another schema", server.address(schema))
    assert "(log)" in said
    held = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace"
    assert server.sql(schema, held, schema) == [("log",)]


def test_a_memory_of_a_newer_version_is_left_alone(server, schema):
    PostgresMemory(server.address(schema)).close()
    server.sql(schema, "COMMENT ON TABLE memory IS 'memory of jitrl, schema version 99'")
    refused(NewerMemory, "schema version 99.*install a newer jitrl", server.address(schema))


@pytest.mark.parametrize(
    "change",
    ["DROP TABLE steps", "ALTER TABLE steps DROP COLUMN seed", "ALTER TABLE log ADD x int"],
)
def test_tables_that_are_not_those_of_the_version_are_damage(server, schema, change):
    PostgresMemory(server.address(schema)).close()
    server.sql(schema, change)
    refused(NotAMemory, "not those of its version", server.address(schema))


def test_nothing_is_created_for_a_reader(server, schema):
    refused(MemoryUnavailable, "no memory at", server.address(schema), readonly=True)
    PostgresMemory(server.address(schema)).close()
    PostgresMemory(server.address(schema), readonly=True).close()


def test_of_several_processes_at_once_one_creates_it(server, schema):
    def child(name):
        with closing(PostgresMemory(server.address(schema))) as memory:
            assert memory.append(episode(name))

    children = [forked(child, f"e{i}") for i in range(6)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    with closing(PostgresMemory(server.address(schema))) as memory:
        assert {e.id for e in memory.episodes()} == {f"e{i}" for i in range(6)}
        assert not list(memory.verify())


def test_a_creation_that_dies_midway_leaves_nothing(server, schema):
    with psycopg.connect(server.address(schema)) as db:
        db.execute("CREATE TABLE memory (place bigint)")
        db.rollback()
    with closing(PostgresMemory(server.address(schema))) as memory:
        assert memory.append(episode("e"))


def test_without_the_driver_the_extra_is_named():
    program = """
import sys
sys.modules["psycopg"] = None
import jitrl.memory
jitrl.memory.open("postgresql://host/zork")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "MissingExtra: psycopg is not installed: pip install 'jitrl[postgres]'" in done.stderr
