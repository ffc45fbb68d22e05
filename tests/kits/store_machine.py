"""A store beside the plain memory: whatever is done to both, every answer is the same.

Derive from `StoreMachine` and say how the store is opened; see `test_store_machine.py`.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from index_kit import ALL, RETURNS, by_definition, by_index
from plain_memory import PlainMemory

from jitrl.errors import BadPack, InvalidValue, MemoryUnavailable, UnknownName
from jitrl.memory import Cap, Index, Selection
from jitrl.memory.packs.pack import export, import_pack
from jitrl.memory.sql.verification import UNSWEPT
from jitrl.records import Episode, State, Step
from jitrl.similarity import Field

DIED = 7
FIELDS = [Field("room", weight=0.7, n=2), Field("self", weight=0.3)]
NEAR = [State(room="hall"), State(room="cellar\nn", self="lamp")]
IDS = st.sampled_from([f"id {i}" for i in range(12)])
TASKS = st.sampled_from(["", "find the lamp", 'a "task"\n'])
NAMES = st.sampled_from(["first", "second", "a\0b"])
TEXTS = ["hall", "cellar\nn", 'a "key"', "北 🏔", "a\0b", "lamp", "\\u0000"]
SAID = st.sampled_from(TEXTS)
PROVENANCE = st.fixed_dictionaries(
    {}, optional={"run": st.sampled_from(["r1", "r2"]), "source": SAID, "note": SAID}
)
JUDGES = st.dictionaries(st.sampled_from(["judge", "note"]), SAID)
STATES = st.dictionaries(st.sampled_from(["room", "self", ""]), SAID, max_size=2).map(
    lambda fields: State(**fields)
)
STEPS = st.builds(
    Step,
    state=STATES,
    action=SAID,
    reward=st.sampled_from([0.0, 1.0, -0.1, 1e100]),
    behaviour_logprob=st.just(-0.5),
    before=st.dictionaries(SAID, st.just(0.5), max_size=1),
    after=st.dictionaries(SAID, st.just(0.25), max_size=1),
    changed=st.booleans(),
    preset=st.just("default"),
    seed=st.integers(0, 2**63 - 1),
    judged=st.none() | st.just(0.5),
)
EPISODES = st.builds(
    Episode,
    id=IDS,
    task=TASKS,
    steps=st.lists(STEPS, min_size=1, max_size=3).map(tuple) | st.just(()),
    terminated=st.booleans(),
    final_state=st.none() | STATES,
    provenance=PROVENANCE,
)
SEVERAL = st.lists(EPISODES, min_size=4, max_size=8, unique_by=lambda episode: episode.id)
NEEDLES = st.sampled_from([*TEXTS, "n", "\n", '"', "u0000", "room", "note", "nowhere", "task", ","])
MOMENTS = st.integers(0, 40).map(lambda second: at(1e9 + second))
SELECTIONS = st.one_of(
    st.builds(Selection, id=IDS),
    st.builds(Selection, run=st.sampled_from(["r1", "r2", ""])),
    st.builds(Selection, task=TASKS),
    st.builds(Selection, source=SAID | st.just("")),
    st.builds(Selection, text=NEEDLES),
    st.builds(Selection, since=MOMENTS),
    st.builds(Selection, until=MOMENTS, run=st.sampled_from(["r1", ""])),
    st.builds(Selection, text=NEEDLES, task=TASKS),
)
CAPS = st.builds(Cap, st.integers(1, 12), st.sampled_from(["oldest", "least-useful", "per-state"]))


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class StoreMachine(RuleBasedStateMachine):
    """Two writers and a reader of one store, beside the plain memory.

    Every example begins with `fresh()`; after that `opened(...)` opens the store of the example.
    """

    can_be_read_only = True

    def fresh(self):
        """Make room for a store that is empty."""
        raise NotImplementedError

    def opened(self, clock, readonly=False):
        """Open the store; `clock` returns seconds since 1970."""
        raise NotImplementedError

    def done(self):
        """Clear away."""

    # --- handles

    @initialize(episodes=SEVERAL)
    def begin(self, episodes):
        self.time = 1e9
        self.fresh()
        self.plain = PlainMemory(clock=lambda: at(self.time))
        self.first = self.opened(self.now)
        self.second = None
        self.reader = None
        self.index = None  # of the first one
        self.packs = []  # (path, the episodes that are in it)
        self.outside = tempfile.TemporaryDirectory()
        self.under_way = None  # (iterator, number of the last that it yielded)
        self.epochs = {}  # ours -> the plain one
        self.states = {}  # epoch -> number -> state
        self.append_several(False, episodes)

    def now(self):
        return self.time

    def writer(self, second):
        self.time += 1
        if not second:
            return self.first
        if self.second is None:
            self.second = self.opened(self.now)
        return self.second

    def handles(self):
        """All that are open; an empty memory is one as well, though it is false."""
        return [m for m in (self.first, self.second, self.reader) if m is not None]

    @rule()
    def close_and_reopen(self):
        self.under_way = None
        self.close_the_index()
        self.first.close()
        self.first = self.opened(self.now)

    def close_the_index(self):
        if self.index is not None:
            self.index.close()
        self.index = None

    @precondition(lambda self: self.second is not None)
    @rule()
    def close_the_second(self):
        self.second.close()
        self.second = None

    @precondition(lambda self: self.can_be_read_only)
    @rule(episode=EPISODES)
    def read_only(self, episode):
        if self.reader is None:
            self.reader = self.opened(self.now, readonly=True)
        with pytest.raises(MemoryUnavailable):
            self.reader.append(episode)

    # --- changes: done to the plain memory as well, with the same answer

    def both(self, second, name, *arguments):
        ours = answer(self.writer(second), name, *arguments)
        assert ours == answer(self.plain, name, *arguments)

    @rule(second=st.booleans(), episode=EPISODES)
    def append(self, second, episode):
        self.both(second, "append", episode)

    @rule(second=st.booleans(), episodes=SEVERAL)
    def append_several(self, second, episodes):
        for episode in episodes:
            self.both(second, "append", episode)

    @precondition(lambda self: self.plain.held)
    @rule(second=st.booleans(), pick=st.randoms(use_true_random=False), by=JUDGES | PROVENANCE)
    def judge(self, second, pick, by):
        episode = pick.choice(list(self.plain.held.values())).episode
        scores = [pick.choice([None, 1.0, -2.5]) for _ in episode.steps]
        self.both(second, "judge", episode.id, scores, by)

    @rule(second=st.booleans(), id=IDS)
    def judge_another_number_of_steps(self, second, id):
        self.both(second, "judge", id, [1.0] * 5)

    @rule(second=st.booleans(), selection=SELECTIONS, why=SAID)
    def quarantine(self, second, selection, why):
        self.both(second, "quarantine", selection, why)

    @rule(second=st.booleans(), selection=SELECTIONS)
    def release(self, second, selection):
        self.both(second, "release", selection)

    @rule(second=st.booleans(), selection=SELECTIONS)
    def forget(self, second, selection):
        self.both(second, "forget", selection)

    @rule(second=st.booleans(), cap=st.none() | CAPS)
    def set_cap(self, second, cap):
        self.both(second, "set_cap", cap)

    @rule(second=st.booleans(), name=NAMES)
    def snapshot(self, second, name):
        self.both(second, "snapshot", name)

    @rule(second=st.booleans(), name=NAMES)
    def drop_snapshot(self, second, name):
        self.both(second, "drop_snapshot", name)

    @rule(second=st.booleans(), name=NAMES)
    def rollback(self, second, name):
        self.both(second, "rollback", name)

    @rule(selection=st.just(Selection()) | SELECTIONS, second=st.booleans(), source=SAID)
    def hand_on_and_forget_and_take_back(self, selection, second, source):
        self.export(selection)
        for episode in self.packs[-1][1][::2]:
            self.both(second, "forget", Selection(id=episode.id))
        self.import_(second, -1, source)

    @precondition(lambda self: self.packs)
    @rule(second=st.booleans(), pick=st.integers(0, 99), source=SAID)
    def import_an_older_one(self, second, pick, source):
        self.import_(second, pick % len(self.packs), source)

    def export(self, selection):
        path = Path(self.outside.name, f"{len(self.packs)}.zip")
        held = [h for _, h in sorted(self.plain.held.items()) if h.present]
        meant = [h.episode for h in held if self.plain._meant(h, selection)]
        assert export(self.first, path, selection).episodes == len(meant)
        self.packs.append((path, meant))

    def import_(self, second, which, source):
        path, episodes = self.packs[which]
        there = [self.plain.get(episode.id) for episode in episodes]
        memory, pairs = self.writer(second), list(zip(episodes, there, strict=True))
        if not all(held is None or alike(episode, held) for episode, held in pairs):
            with pytest.raises(BadPack, match="with other content"):
                import_pack(memory, path, source=source)
            return
        done = import_pack(memory, path, source=source)
        new = [episode for episode, held in pairs if held is None]
        assert (done.stored, done.skipped) == (len(new), len(pairs) - len(new))
        for episode in new:
            by = dict(episode.provenance)
            if "source" in by:
                by["origin"] = "; ".join(by[name] for name in ("origin", "source") if by.get(name))
            self.plain.append(replace(episode, provenance={**by, "source": source}))

    @rule(second=st.booleans(), name=st.sampled_from(["quarantine", "release", "forget"]))
    def select_nothing(self, second, name):
        why = ["why"] if name == "quarantine" else []
        self.both(second, name, Selection(), *why)

    @rule(second=st.booleans())
    def fail_midway(self, second):
        bad = Step(State(room="hall"), "a", 1.0, -0.5, {"a": float("nan")}, {}, False, "p", 0)
        with pytest.raises(InvalidValue):
            self.writer(second).append(Episode("bad", "", (replace(bad, before={}), bad)))

    @rule(
        statement=st.integers(1, 40),
        episode=EPISODES,
        selection=SELECTIONS,
        what=st.sampled_from(["append", "quarantine", "forget", "snapshot", "set_cap"]),
    )
    def kill_in_the_middle(self, statement, episode, selection, what):
        arguments = {
            "append": (episode,),
            "quarantine": (selection, "killed"),
            "forget": (selection,),
            "snapshot": ("first",),
            "set_cap": (Cap(3),),
        }[what]
        self.time += 1
        died = self.killed(statement, what, arguments)
        cleaning = died and what == "forget" and self.first.pulse().revision > self.plain.revision
        if not died or cleaning:  # it was done before
            answer(self.plain, what, *arguments)
        if cleaning:
            assert [finding.what for finding in self.first.verify()] == [UNSWEPT]
            self.first.vacuum()

    def killed(self, statement, what, arguments):
        """Let another process do something, and die at a statement; False if it came through."""
        self.close_everything()  # a child cannot open a file that its parent has open
        child = os.fork()
        if not child:
            code = 1
            try:
                memory = self.opened(self.now)
                memory.writing = dying(memory.writing, statement)
                answer(memory, what, *arguments)
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, DIED)
        self.first = self.opened(self.now)
        return code == DIED

    def close_everything(self):
        self.close_the_index()
        for memory in self.handles():
            memory.close()
        self.under_way = self.second = self.reader = None

    # --- questions

    @rule()
    def begin_an_iteration(self):
        self.under_way = (self.first.episodes(), 0)

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def go_on_with_it(self):
        iterator, last = self.under_way
        held = self.plain.held
        left = [n for n in sorted(held) if n > last and held[n].present]
        assert next(iterator, None) == (held[left[0]].episode if left else None)
        self.under_way = (iterator, left[0]) if left else None

    @rule(after=st.integers(0, 30))
    def episodes_after(self, after):
        assert list(self.first.episodes(after)) == list(self.plain.episodes(after))

    @rule(selection=SELECTIONS)
    def catalogue(self, selection):
        assert list(self.first.catalogue(selection)) == list(self.plain.catalogue(selection))

    @rule(old=st.none() | NAMES, new=st.none() | NAMES)
    def diff(self, old, new):
        assert answer(self.first, "diff", old, new) == answer(self.plain, "diff", old, new)

    @rule(after=st.integers(0, 30))
    def changes(self, after):
        if after <= self.plain.revision:
            assert self.told(self.first, after) == self.told(self.plain, after)

    @rule()
    def verify(self):
        assert list(self.first.verify()) == []

    @rule(second=st.booleans())
    def vacuum(self, second):
        self.writer(second).vacuum()

    def told(self, memory, after):
        """What changed, with states in place of their numbers."""
        trails = list(memory.changes(after))
        states = memory.states({number for trail in trails for number in trail.states})
        known = self.states.setdefault(memory.pulse().epoch, {})
        for number, state in states.items():
            assert known.setdefault(number, state) == state, "a number of a state was used twice"
        assert len(set(states.values())) == len(states)
        return [replace(t, states=tuple(states[number] for number in t.states)) for t in trails]

    @invariant()
    def all_answer_alike(self):
        plain = self.plain
        entries, held = list(plain.catalogue()), list(plain.episodes())
        heads = plain.heads(range(plain.revision + 3))
        for memory in self.handles():
            pulse = memory.pulse()
            assert (pulse.revision, pulse.episodes) == (plain.revision, len(plain.held))
            assert self.epochs.setdefault(pulse.epoch, plain.epoch) == plain.epoch
            assert len(memory) == len(plain) == len(held)
            assert list(memory.catalogue()) == entries
            assert list(memory.episodes()) == held
            assert memory.heads(range(plain.revision + 3)) == heads
            assert memory.snapshots() == plain.snapshots()
            assert memory.cap == plain.cap
        assert self.told(self.first, 0) == self.told(plain, 0)
        for entry in entries:
            assert self.first.get(entry.id) == plain.get(entry.id)
        assert self.first.get("nowhere") is None
        if self.index is None:
            self.index = Index(self.first, FIELDS, RETURNS)
        view = self.index.refresh()
        self.index._upkeep.wait()  # nobody else is at work where a process is forked
        for state in NEAR:
            assert by_index(view, state, ALL) == by_definition(held, FIELDS, state, ALL)

    def teardown(self):
        self.close_the_index()
        self.outside.cleanup()
        for memory in self.handles():
            memory.close()
        last = self.opened(self.now)
        try:
            assert list(last.verify()) == []
            assert list(last.episodes()) == list(self.plain.episodes())
        finally:
            last.close()
            self.done()


def alike(one, other):
    """Whether two episodes tell the same, but for who answers for them and unknown scores."""
    scores = [(a.judged, b.judged) for a, b in zip(one.steps, other.steps, strict=False)]
    bare = [
        replace(e, provenance={}, steps=tuple(replace(step, judged=None) for step in e.steps))
        for e in (one, other)
    ]
    return bare[0] == bare[1] and all(a == b or None in (a, b) for a, b in scores)


def answer(memory, name, *arguments):
    """What a method returns, or the kind of what it raises."""
    try:
        return getattr(memory, name)(*arguments)
    except (InvalidValue, UnknownName) as error:
        return type(error)


def dying(writing, statement):
    """Transactions in which this process dies at a statement, counted over all of them."""
    left = statement

    class Dying:
        def __init__(self, db):
            self.db = db

        def execute(self, *arguments):
            self.step()
            return self.db.execute(*arguments)

        def many(self, *arguments):
            self.step()
            return self.db.many(*arguments)

        def each(self, *arguments):
            self.step()
            return self.db.each(*arguments)

        def step(self):
            nonlocal left
            left -= 1
            if not left:
                os._exit(DIED)

    @contextmanager
    def transaction():
        with writing() as db:
            yield Dying(db)

    return transaction
