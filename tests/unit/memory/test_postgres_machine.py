"""The shared memory beside the plain one: whatever is done to both, every answer is the same."""

from __future__ import annotations

import itertools
from contextlib import closing

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from rounds import ROUNDS
from store_machine import StoreMachine

from jitrl.memory.sql.postgres import PostgresMemory

_COUNT = itertools.count()


@pytest.mark.usefixtures("schema")
def test_every_answer_is_that_of_the_plain_memory(server):
    class PostgresMachine(StoreMachine):
        def fresh(self):
            self.schema = f"machine{next(_COUNT)}"
            server.sql("public", f"CREATE SCHEMA {self.schema}")
            with closing(PostgresMemory(server.address(self.schema))):
                pass

        def opened(self, clock, readonly=False):
            return PostgresMemory(server.address(self.schema), clock=clock, readonly=readonly)

        def done(self):
            server.sql("public", f"DROP SCHEMA {self.schema} CASCADE")

    run_state_machine_as_test(
        PostgresMachine, settings=settings(max_examples=6 * ROUNDS, stateful_step_count=25)
    )
