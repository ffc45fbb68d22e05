"""The shared memory among processes: what one stores, the others have, in one order."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest
from sqlite_kit import episode, forked, step

from jitrl.learner import Learner
from jitrl.memory.sql.postgres import PostgresMemory
from jitrl.records import Candidate, State

WRITERS, EACH = 6, 15
CHOICES = [Candidate("north"), Candidate("south")]


@pytest.fixture
def address(server, schema):
    address = server.address(schema)
    PostgresMemory(address).close()
    return address


def test_many_writers_lose_nothing_and_readers_see_every_revision_with_its_episode(address):
    def write(name):
        with closing(PostgresMemory(address)) as memory:
            for i in range(EACH):
                own = [step(t, state=State(room=f"{(name + i + t) % 9}")) for t in range(3)]
                assert memory.append(episode(f"{name} {i}", *own))
                assert not memory.append(episode(f"{name} {i // 2}", *own))
                memory.append(episode(f"everybody's {i}", *own))

    def read():
        with closing(PostgresMemory(address, readonly=True)) as memory:
            seen = 0
            while seen < (WRITERS + 1) * EACH:
                now = memory.pulse().revision
                found = [trail.number for trail in memory.changes(seen)]
                assert found[: now - seen] == list(range(seen + 1, now + 1))
                seen = max([seen, *found])

    reader = forked(read)
    try:
        writers = [forked(write, name) for name in range(WRITERS)]
        assert [os.waitpid(child, 0)[1] for child in writers] == [0] * WRITERS
    except BaseException:
        os.kill(reader, signal.SIGKILL)
        raise
    finally:
        ended = os.waitpid(reader, 0)[1]
    assert ended == 0
    names = [*map(str, range(WRITERS)), "everybody's"]
    with closing(PostgresMemory(address)) as memory:
        ids = [e.id for e in memory.episodes()]
        for name in names:
            own = [f"{name} {i}" for i in range(EACH)]
            assert [id for id in ids if id.startswith(name)] == own
        assert len(ids) == len(names) * EACH
        assert not list(memory.verify())


def test_a_killed_writer_leaves_whole_episodes_and_lets_the_others_in(address):
    def write():
        with closing(PostgresMemory(address)) as memory, memory.writing() as db:
            db.execute("DELETE FROM episodes")
            os._exit(9)

    assert os.waitstatus_to_exitcode(os.waitpid(forked(write), 0)[1]) == 9
    with closing(PostgresMemory(address)) as memory:
        assert memory.append(episode("e"))
        assert not list(memory.verify())


def test_a_learner_elsewhere_learns_from_it_at_its_next_episode(address):
    state = State(room="hall")

    def play():
        with Learner(memory=address) as other, other.episode() as live:
            live.choose(state, CHOICES)
            live.record(1.0, terminated=True)

    with Learner(memory=address) as learner:
        with learner.episode() as live:
            assert live.choose(state, CHOICES).abstained
            live.record(0.0, terminated=True)
        assert os.waitpid(forked(play), 0)[1] == 0
        with learner.episode() as live:
            decision = live.choose(state, CHOICES)
            assert {n.return_ for n in decision.neighbours} == {0.0, 1.0}
            live.record(0.0, terminated=True)
        assert len(learner.memory) == 3


def test_a_frozen_learner_reads_it_and_stores_nothing(address):
    with closing(PostgresMemory(address)) as memory:
        memory.append(episode("e"))
    with Learner(memory=address, frozen=True) as learner, learner.episode() as live:
        live.choose(State(room="room 0"), CHOICES)
        live.record(1.0, terminated=True)
    with closing(PostgresMemory(address)) as memory:
        assert len(memory) == 1
