"""Whatever happens to a memory and to the files beside it, the index answers as the definition."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from index_kit import RETURNS, by_definition, by_index, cuts, episode, specifications, states, step
from plain_memory import PlainMemory
from rounds import ROUNDS

from jitrl.memory import Cap, Index, Selection
from jitrl.memory.index import engine, search, upkeep


def judged_only(rewards, judged):
    return np.array([np.nan if score is None else score for score in judged], dtype=np.float64)


class IndexMachine(RuleBasedStateMachine):
    """An index beside a plain memory; every view beside what the memory held at its moment."""

    backend = "numpy"

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.small = pytest.MonkeyPatch()
        self.small.setattr(engine, "SEALED", 12)  # so that a few episodes make many parts
        self.small.setattr(upkeep, "_SMALL", 30)
        self.small.setattr(search, "_FEW", 1)
        self.small.setattr(search, "_FIRST", 1)
        self.count = 0
        self.views = []  # (view, the episodes of its moment)

    def teardown(self):
        self.index.close()
        self.small.undo()
        shutil.rmtree(self.folder)

    @initialize(
        fields=specifications,
        pool=st.lists(states, min_size=1, max_size=12),
        returns=st.sampled_from([RETURNS, judged_only]),
        persistent=st.booleans(),
    )
    def begin(self, fields, pool, returns, persistent):
        self.fields, self.pool, self.returns = fields, pool, returns
        self.memory = PlainMemory(self.folder / "beside" if persistent else None)
        self.open()

    def open(self):
        self.index = Index(self.memory, self.fields, self.returns, backend=self.backend)

    def ids(self):
        return [held.episode.id for held in self.memory.held.values()]

    @rule(data=st.data())
    def append(self, data):
        steps = st.builds(
            step,
            st.one_of(st.sampled_from(self.pool), states),
            st.sampled_from(["n", "s"]),
            st.integers(-3, 3).map(float),
            st.one_of(st.none(), st.integers(0, 2).map(float)),
        )
        self.count += 1
        run = data.draw(st.sampled_from(["r1", "r2"]))
        self.memory.append(
            episode(f"e{self.count}", *data.draw(st.lists(steps, max_size=5)), run=run)
        )

    @precondition(lambda self: self.memory.held)
    @rule(data=st.data())
    def judge(self, data):
        id = data.draw(st.sampled_from(self.ids()))
        length = len(self.memory.get(id).steps)
        scores = st.one_of(st.none(), st.integers(3, 5).map(float))
        self.memory.judge(id, data.draw(st.lists(scores, min_size=length, max_size=length)))

    @precondition(lambda self: self.memory.held)
    @rule(data=st.data(), what=st.sampled_from(["quarantine", "release", "forget"]))
    def govern(self, data, what):
        ids = [Selection(id=id) for id in self.ids()]
        selection = data.draw(st.one_of(st.sampled_from(ids), st.just(Selection(run="r2"))))
        arguments = ("why",) if what == "quarantine" else ()
        getattr(self.memory, what)(selection, *arguments)

    @rule()
    def snapshot(self):
        self.count += 1
        self.memory.snapshot(f"s{self.count}")

    @precondition(lambda self: self.memory.named)
    @rule(data=st.data())
    def roll_back(self, data):
        self.memory.rollback(data.draw(st.sampled_from(sorted(self.memory.named))))

    @rule(episodes=st.one_of(st.none(), st.integers(1, 6)))
    def cap(self, episodes):
        self.memory.set_cap(None if episodes is None else Cap(episodes))

    @rule()
    def refresh(self):
        held = list(self.memory.episodes())
        view = self.index.refresh()
        self.views = [*self.views[-4:], (view, held)]
        values = [
            self.returns([s.reward for s in each.steps], [s.judged for s in each.steps])
            for each in held
        ]
        assert len(view) == sum(int((value == value).sum()) for value in values)
        assert self.index.episodes == self.memory.pulse().episodes

    @rule()
    def wait(self):
        if self.index._upkeep is not None:
            self.index._upkeep.wait()

    @rule()
    def reopen(self):
        self.index.close()
        self.views = []
        self.open()

    @rule(data=st.data(), what=st.sampled_from(["flip", "cut", "delete"]))
    def damage(self, data, what):
        self.index.close()
        self.views = []
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        if files:
            seed = data.draw(st.integers(0, 2**16))
            damaged(random.Random(seed), random.Random(seed).choice(files), what)
        self.open()

    @precondition(lambda self: self.views)
    @rule(data=st.data(), cut=cuts)
    def ask(self, data, cut):
        state = data.draw(st.one_of(st.sampled_from(self.pool), states))
        for view, held in self.views:
            expected = by_definition(held, self.fields, state, cut, self.returns)
            found = by_index(view, state, cut)
            kept = {*self.ids(), *(each[4] for each in found)}  # what is gone may have vanished
            assert found == [each for each in expected if each[4] in kept]


def damaged(draws, path, what):
    raw = bytearray(path.read_bytes())
    if what == "delete" or not raw:
        path.unlink()
    elif what == "cut":
        path.write_bytes(raw[: draws.randrange(len(raw))])
    else:
        raw[draws.randrange(len(raw))] ^= 1 << draws.randrange(8)
        path.write_bytes(raw)


class FastMachine(IndexMachine):
    backend = "numba"


# A failing run is not shrunk: what threads do is not repeated exactly.
SETTINGS = settings(max_examples=100 * ROUNDS, stateful_step_count=30, phases=[Phase.generate])
TestIndexNumpy = IndexMachine.TestCase
TestIndexNumpy.settings = SETTINGS
TestIndexNumba = FastMachine.TestCase
TestIndexNumba.settings = SETTINGS
