"""The embedded memory beside the plain one: whatever is done to both, every answer is the same.

A longer round: PYTHONPATH=tests/kits python tests/unit/memory/test_store_machine.py EXAMPLES STEPS
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from store_machine import StoreMachine

from jitrl.memory import SqliteMemory


class SqliteMachine(StoreMachine):
    def fresh(self):
        self.folder = Path(tempfile.mkdtemp())

    def opened(self, clock, readonly=False):
        return SqliteMemory(self.folder / "memory.db", clock=clock, readonly=readonly)

    def done(self):
        shutil.rmtree(self.folder)


TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=40, stateful_step_count=25)


if __name__ == "__main__":
    examples, steps = map(int, sys.argv[1:])
    longer = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(SqliteMachine, settings=longer)
