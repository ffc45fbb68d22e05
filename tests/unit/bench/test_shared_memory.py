"""Runs that share a memory on a PostgreSQL server."""

from __future__ import annotations

from contextlib import closing

import pytest

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import find
from jitrl.bench.rejudge import unscored
from jitrl.errors import BadRun, InvalidValue, MemoryUnavailable
from jitrl.memory import open as open_memory

SECRET = "hush-hush"


@pytest.fixture
def address(server, schema):
    return server.address(schema)


def test_two_runs_share_what_they_learn(tmp_path, play, address):
    one = play(tmp_path / "a", memory=address)
    other = play(tmp_path / "b", memory=address, seed=1)
    with closing(open_memory(address)) as memory:
        assert [e.id for e in memory.episodes()] == [e.id for e in (*one.episodes, *other.episodes)]
        assert {e.provenance["run"] for e in memory.episodes()} == {
            one.manifest.run,
            other.manifest.run,
        }
    first = find(other, {(0, 0)})[0, 0]
    assert {near.episode for near in first.decision.neighbours} <= {e.id for e in one.episodes}
    assert first.decision.neighbours
    assert other.configuration.memory == address
    assert unscored(one) == len(one.episodes)


def test_a_run_goes_on_with_it(tmp_path, play, address):
    play(tmp_path / "run", memory=address, episodes=2)
    whole = play(tmp_path / "run", memory=address, episodes=4, resume=True)
    with closing(open_memory(address)) as memory:
        assert [e.id for e in memory.episodes()] == [e.id for e in whole.episodes]


def test_a_run_whose_memory_was_emptied_is_refused(tmp_path, play, server, schema, address):
    play(tmp_path / "run", memory=address, episodes=2)
    server.sql("public", f"DROP SCHEMA {schema} CASCADE")
    with pytest.raises(MemoryUnavailable, match="schema"):
        play(tmp_path / "run", memory=address, episodes=4, resume=True)
    server.sql("public", f"CREATE SCHEMA {schema}")
    with pytest.raises(BadRun, match="the memory lacks episode 0"):
        play(tmp_path / "run", memory=address, episodes=4, resume=True)


@pytest.mark.parametrize("agent", ["jitrl", "static"])
@pytest.mark.parametrize("rest", ["ann:{0}@host/zork", "host/zork?user=ann&password={0}"])
def test_an_address_with_a_password_is_refused_before_anything_is_written(agent, rest):
    url = f"postgresql://{rest.format(SECRET)}"
    with pytest.raises(InvalidValue, match="PGPASSWORD, or ~/.pgpass") as caught:
        Configuration(world="corridor:5", agent=agent, memory=url)
    assert SECRET not in str(caught.value)
