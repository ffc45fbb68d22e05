"""The embedded memory beside the plain one: whatever is done to both, every answer is the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from rounds import ROUNDS
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
TestSqliteMachine.settings = settings(max_examples=40 * ROUNDS, stateful_step_count=25)
