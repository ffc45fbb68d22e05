"""The in-process way in: out of turn, out of range, out of room, side by side, and again."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitrl
from jitrl import Candidate, Field, Learner, Scores, State
from jitrl.errors import (
    EpisodeError,
    InvalidValue,
    JitrlError,
    MemoryUnavailable,
    NewerMemory,
    NotAMemory,
    UnknownName,
)
from jitrl.memory import SqliteMemory

HALL = State(room="hall")
NORTH, SOUTH = Candidate("north", -0.7), Candidate("south", -0.9)
BOTH = [NORTH, SOUTH]
PRESETS = sorted(jitrl.PRESETS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


def play(learner, rewards, *, state=HALL, candidates=BOTH, **begin):
    """An episode in which every choice is made in one state."""
    with learner.episode(**begin) as episode:
        for reward in rewards:
            episode.choose(state, candidates)
            episode.record(reward)
    return episode


def stored(learner):
    return list(learner.memory.episodes())


def one_line(error):
    assert isinstance(error, JitrlError)
    assert "\n" not in str(error)
    return str(error)


# --- in turn and out of turn ----------------------------------------------------------


def test_ten_lines_are_enough(path):
    learner = jitrl.Learner(memory=str(path), preset="default", seed=0)
    with learner.episode(task="zork1") as episode:
        done = False
        while not done:
            decision = episode.choose(
                jitrl.State(room="West of House", history=""),
                [jitrl.Candidate("north", logprob=-0.7), jitrl.Candidate("open mailbox", -1.2)],
            )
            reward, done = 1.0, True
            episode.record(reward)
    assert decision.action in ("north", "open mailbox")
    (found,) = learner.memory.episodes()
    assert (found.task, type(found.steps), len(found.steps)) == ("zork1", tuple, 1)
    assert found.provenance["jitrl"] == jitrl.__version__
    learner.close()


def test_the_block_yields_the_live_episode_itself():
    episode = Learner().episode()
    with episode as entered:
        assert entered is episode


def test_choosing_twice_without_recording_is_refused():
    episode = Learner().episode()
    episode.choose(HALL, BOTH)
    with pytest.raises(EpisodeError, match=r"waits for its reward: call record\(\) first"):
        episode.choose(HALL, BOTH)
    episode.record(1.0)
    episode.choose(HALL, BOTH)


def test_recording_without_having_chosen_is_refused():
    episode = Learner().episode()
    with pytest.raises(EpisodeError, match=r"call choose\(\) first"):
        episode.record(1.0)
    episode.choose(HALL, BOTH)
    episode.record(1.0)
    with pytest.raises(EpisodeError, match=r"call choose\(\) first"):  # an action recorded twice
        episode.record(1.0)


def test_an_outcome_before_the_first_record_or_before_the_choice_is_recorded_is_refused():
    episode = Learner().episode()
    with pytest.raises(EpisodeError, match=r"call record\(\) first"):
        episode.outcome(1.0)
    for _ in range(2):
        episode.choose(HALL, BOTH)
        with pytest.raises(EpisodeError, match=r"call record\(\) first"):
            episode.outcome(1.0)
        episode.record(0.0)
        episode.outcome(1.0)


def test_choosing_after_the_world_has_ended_is_refused():
    learner = Learner()
    with learner.episode() as episode:
        episode.choose(HALL, BOTH)
        episode.record(1.0, terminated=True)
        with pytest.raises(EpisodeError, match="the world has ended: begin a new episode"):
            episode.choose(HALL, BOTH)
        episode.outcome(2.0)
    (found,) = stored(learner)
    assert (len(found.steps), found.steps[0].reward, found.terminated) == (1, 3.0, True)


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_a_closed_episode_takes_nothing_more(end):
    episode = Learner().episode()
    episode.choose(HALL, BOTH)
    episode.record(1.0)
    getattr(episode, end)()
    for call in (
        lambda: episode.choose(HALL, BOTH),
        lambda: episode.record(1.0),
        lambda: episode.outcome(1.0),
    ):
        with pytest.raises(EpisodeError, match="is closed: begin a new one"):
            call()


def test_an_episode_left_with_an_unrecorded_choice_stores_nothing_and_says_so(caplog):
    learner = Learner()
    with caplog.at_level(logging.WARNING), learner.episode(id="half") as episode:
        episode.choose(HALL, BOTH)
        episode.record(1.0)
        episode.choose(HALL, BOTH)
    assert stored(learner) == []
    assert "half is not stored: the choice of" in caplog.text


def test_an_exception_inside_the_block_stores_nothing_and_goes_on_up():
    learner = Learner()
    with pytest.raises(ZeroDivisionError), learner.episode() as episode:
        episode.choose(HALL, BOTH)
        episode.record(1.0)
        raise ZeroDivisionError
    episode.close()
    assert stored(learner) == []


def test_an_episode_without_steps_stores_nothing():
    learner = Learner()
    learner.episode().close()
    with learner.episode():
        pass
    assert stored(learner) == []


def test_closing_twice_stores_once():
    learner = Learner()
    episode = play(learner, [1.0])
    episode.close()
    assert len(stored(learner)) == 1


def test_an_id_that_is_stored_already_is_not_stored_again_and_says_so(caplog):
    learner = Learner()
    play(learner, [1.0], id="same")
    with caplog.at_level(logging.WARNING):
        play(learner, [2.0], id="same")
    assert [found.steps[0].reward for found in stored(learner)] == [1.0]
    assert "same is not stored" in caplog.text


# --- what is stored -------------------------------------------------------------------


def test_an_episode_is_stored_whole_once_the_block_is_left(path):
    learner = Learner(path, "paper", seed=7, provenance={"world": "w"}, clock=lambda: 86400.5)
    with learner.episode("a task", number=3, id="mine", provenance={"model": "m"}) as episode:
        first = episode.choose(HALL, BOTH)
        episode.record(0.5, state=State(room="cellar"))
        second = episode.choose(State(room="cellar"), BOTH)
        episode.record(-1.0, terminated=True, state=State(room="grave"))
        with closing(SqliteMemory(path, readonly=True)) as other:
            assert len(other) == 0
    with closing(SqliteMemory(path, readonly=True)) as other:
        (found,) = other.episodes()
    assert (found.id, found.task) == ("mine", "a task")
    assert (found.terminated, found.final_state) == (True, State(room="grave"))
    assert found.provenance == {
        "world": "w",
        "model": "m",
        "created": "1970-01-02T00:00:00.500+00:00",
        "jitrl": jitrl.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "number": "3",
    }
    for step, decision, reward in zip(found.steps, (first, second), (0.5, -1.0), strict=True):
        assert step.state == decision.state
        assert step.action == decision.action
        assert step.reward == reward
        assert step.behaviour_logprob == math.log(decision.after[decision.action])
        assert step.before == decision.before
        assert step.after == decision.after
        assert step.changed is decision.changed
        assert (step.preset, step.seed) == ("paper", 7)
    learner.close()


def test_whether_memory_changed_the_choice_is_stored():
    learner = Learner(beta=50.0)
    for _ in range(40):
        play(learner, [0.0])
    with learner.episode() as episode:
        for _ in range(40):
            decision = episode.choose(HALL, BOTH)
            episode.record(float(decision.action == "south"))
    for _ in range(10):
        play(learner, [1.0, 1.0])
    steps = [step for found in stored(learner) for step in found.steps]
    assert not any(step.changed for step in steps[:2])
    assert any(step.changed for step in steps)
    assert all(step.before != step.after for step in steps if step.changed)


def test_the_last_state_and_whether_the_world_ended_are_kept():
    learner = Learner()
    with learner.episode() as episode:
        for last in (State(room="a"), State(room="b")):
            episode.choose(HALL, BOTH)
            episode.record(0.0, state=last)
    with learner.episode() as episode:
        episode.choose(HALL, BOTH)
        episode.record(0.0, state=State(room="a"))
        episode.choose(HALL, BOTH)
        episode.record(0.0, True)
    cut, ended = stored(learner)
    assert (cut.terminated, cut.final_state) == (False, State(room="b"))
    assert (ended.terminated, ended.final_state) == (True, None)


def test_an_outcome_adds_to_the_last_step():
    learner = Learner()
    with learner.episode() as episode:
        for reward in (1.0, 2.0):
            episode.choose(HALL, BOTH)
            episode.record(reward)
        episode.outcome(10.0)
        episode.outcome(-0.5)
    assert [step.reward for step in stored(learner)[0].steps] == [1.0, 11.5]


def test_what_the_caller_does_to_a_decision_does_not_reach_the_memory():
    learner = Learner()
    with learner.episode() as episode:
        decision = episode.choose(HALL, BOTH)
        kept = dict(decision.before), dict(decision.after)
        decision.before.clear()
        decision.after["north"] = 7.0
        episode.record(1.0)
    (step,) = stored(learner)[0].steps
    assert (step.before, step.after) == kept


def test_the_time_is_kept_in_utc():
    learner = Learner()
    play(learner, [1.0])
    created = datetime.fromisoformat(stored(learner)[0].provenance["created"])
    assert created.tzinfo == UTC


def test_ids_are_new_unless_they_are_given():
    learner = Learner()
    ids = {play(learner, [1.0]).id for _ in range(5)}
    assert ids == {found.id for found in stored(learner)}
    assert len(ids) == 5


def test_decisions_name_where_their_evidence_comes_from():
    learner = Learner(provenance={"run": "7"})
    for i in range(3):
        play(learner, [float(i), 0.0], task=f"task {i}", id=f"e{i}")
    found = learner.episode("another task").choose(HALL, BOTH).neighbours
    assert {(step.episode, step.t, step.task) for step in found} == {
        (f"e{i}", t, f"task {i}") for i in range(3) for t in range(2)
    }
    assert {step.provenance["run"] for step in found} == {"7"}


# --- frozen, in RAM, given, closed ----------------------------------------------------


def test_a_frozen_learner_reads_and_never_writes(path):
    with Learner(path) as learner:
        for _ in range(3):
            play(learner, [1.0, 1.0])
    held = path.read_bytes()
    with Learner(path, frozen=True) as learner:
        for _ in range(3):
            episode = play(learner, [5.0])
            assert episode.id
        assert learner.episode().choose(HALL, BOTH).neighbours
        assert len(learner.memory) == 3
        assert path.read_bytes() == held
    assert path.read_bytes() == held


def test_a_frozen_learner_in_ram_stays_empty():
    learner = Learner(frozen=True)
    for _ in range(3):
        play(learner, [1.0])
    assert len(learner.memory) == 0
    assert learner.episode().choose(HALL, BOTH).neighbours == ()


def test_a_frozen_learner_leaves_a_given_memory_alone():
    memory = SqliteMemory()
    play(Learner(memory, frozen=True), [1.0])
    assert len(memory) == 0


def test_a_frozen_learner_sees_what_others_store(path):
    with Learner(path) as writer:
        play(writer, [1.0])
        with Learner(path, frozen=True, min_evidence=1) as reader:
            play(writer, [1.0], id="new")
            found = reader.episode().choose(HALL, BOTH).neighbours
            assert "new" in {step.episode for step in found}


def test_a_missing_memory_is_not_created_by_a_frozen_learner(path):
    with pytest.raises(MemoryUnavailable, match="no memory at"):
        Learner(path, frozen=True)
    assert not path.exists()


def test_without_a_path_the_memory_is_in_ram_and_its_learners_own():
    one, other = Learner(), Learner(memory=None)
    play(one, [1.0])
    assert (len(one.memory), len(other.memory)) == (1, 0)
    assert one.memory.path is None


def test_a_learner_closes_what_it_opened(path):
    with Learner(path) as learner:
        play(learner, [1.0])
    learner.close()
    for use in (lambda: learner.episode(), lambda: len(learner.memory)):
        with pytest.raises(MemoryUnavailable, match="is closed"):
            use()


def test_a_learner_does_not_close_a_memory_that_it_was_given():
    memory = SqliteMemory()
    with Learner(memory) as learner:
        play(learner, [1.0])
        assert learner.memory is memory
    learner.close()
    assert len(memory) == 1
    play(Learner(memory), [1.0])
    assert len(memory) == 2


def test_an_episode_that_is_open_when_its_learner_closes_is_not_silently_lost(path):
    learner = Learner(path)
    episode = learner.episode()
    episode.choose(HALL, BOTH)
    episode.record(1.0)
    learner.close()
    with pytest.raises(MemoryUnavailable, match="is closed"):
        episode.close()


class Listed:
    """Somebody else's memory."""

    path = None

    def __init__(self):
        self.held = []

    def append(self, episode):
        self.held.append(episode)
        return True

    def episodes(self, after=0):
        return iter(self.held[after:])

    def __len__(self):
        return len(self.held)

    def close(self):
        raise AssertionError("it is not the learner's to close")


def test_anybodys_memory_will_do():
    memory = Listed()
    with Learner(memory, min_evidence=1) as learner:
        play(learner, [1.0])
        assert learner.episode().choose(HALL, BOTH).neighbours
    assert len(memory.held) == 1


def test_durability_is_that_of_a_process_unless_power_is_named(path):
    for keyword, synchronous in ({}, 1), ({"durability": "power"}, 2):
        with Learner(path, **keyword) as learner:
            assert learner.memory._db.execute("PRAGMA synchronous").fetchone() == (synchronous,)


# --- no room --------------------------------------------------------------------------


def test_a_full_disk_loses_neither_what_is_stored_nor_the_live_episode(path):
    learner = Learner(path)
    play(learner, [1.0], id="before")
    db = learner.memory._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    big = State(room="word " * 20000)
    with pytest.raises(MemoryUnavailable, match="full: free some disk space") as caught:
        play(learner, [1.0, 2.0], state=big, id="never")
    assert str(path) in one_line(caught.value)
    episode = learner.episode(id="big")
    episode.choose(big, BOTH)
    episode.record(3.0)
    for _ in range(2):
        with pytest.raises(MemoryUnavailable):
            episode.close()
    assert [found.id for found in stored(learner)] == ["before"]
    db.execute("PRAGMA max_page_count = 1000000")
    episode.close()
    episode.close()
    play(learner, [1.0], id="after")
    learner.close()
    with closing(SqliteMemory(path)) as memory:
        assert [found.id for found in memory.episodes()] == ["before", "big", "after"]


# --- what is no memory ----------------------------------------------------------------


def test_a_file_that_is_no_memory_is_refused(path):
    path.write_text("my diary")
    with pytest.raises(NotAMemory) as caught:
        Learner(path)
    assert str(path) in one_line(caught.value)
    assert path.read_text() == "my diary"


def test_a_memory_of_a_later_version_is_refused(path):
    with Learner(path) as learner:
        learner.memory._db.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerMemory, match="install a newer jitrl"):
        Learner(path)


@pytest.mark.parametrize("memory", [5, b"memory.db", ["memory.db"], {}, object()])
def test_what_cannot_be_a_memory_is_refused(memory):
    with pytest.raises(InvalidValue, match="memory must be a path") as caught:
        Learner(memory)
    one_line(caught.value)


# --- wrong values ---------------------------------------------------------------------

HALF = "\ud800"
LEARNERS = {
    "a negative seed": {"seed": -1},
    "a seed of truth": {"seed": True},
    "a fraction of a seed": {"seed": 1.0},
    "a seed in words": {"seed": "0"},
    "a seed too large to store": {"seed": 2**63},
    "no seed": {"seed": None},
    "an endless range": {"reward_range": (0.0, math.inf)},
    "a range of one": {"reward_range": (1.0, 1.0)},
    "a range upside down": {"reward_range": (1.0, 0.0)},
    "a range that is no number": {"reward_range": (math.nan, 1.0)},
    "half a range": {"reward_range": (1.0,)},
    "a range of a number": {"reward_range": 1.0},
    "a range in words": {"reward_range": "01"},
    "a list for provenance": {"provenance": ["world"]},
    "a number for provenance": {"provenance": {"n": 1}},
    "half a character for provenance": {"provenance": {"n": HALF}},
    "a number to name provenance": {"provenance": {1: "n"}},
    "an unknown durability": {"durability": "always"},
    "an unknown preset": {"preset": "best"},
    "no preset": {"preset": None},
    "an unknown setting": {"betta": 1.0},
    "a negative beta": {"beta": -1.0},
    "no k at all": {"k": 0},
    "too much gamma": {"gamma": 1.5},
    "a budget that is no number": {"kl_budget": math.nan},
}


@pytest.mark.parametrize("bad", LEARNERS.values(), ids=LEARNERS.keys())
def test_a_wrong_argument_of_the_learner_is_named(bad):
    (value,) = bad.values()
    with pytest.raises(InvalidValue) as caught:
        Learner(**bad)
    assert isinstance(caught.value, ValueError)
    assert "actual value: " in one_line(caught.value)
    assert caught.value.value is value or caught.value.name or value


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownName, match="default, paper, released, released-web"):
        Learner(preset="best")


BEGINNINGS = {
    "a number for a task": {"task": 5},
    "half a character in the task": {"task": HALF},
    "a negative number": {"number": -1},
    "a fraction for a number": {"number": 1.0},
    "truth for a number": {"number": True},
    "a number too large": {"number": 2**63},
    "a number for an id": {"id": 7},
    "half a character in the id": {"id": HALF},
    "a list for provenance": {"provenance": ["a"]},
    "a number for provenance": {"provenance": {"a": 1}},
}


@pytest.mark.parametrize("bad", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_wrong_argument_of_an_episode_is_named_and_the_learner_goes_on(bad):
    learner = Learner()
    with pytest.raises(InvalidValue) as caught:
        learner.episode(**bad)
    assert "actual value: " in one_line(caught.value)
    assert play(learner, [1.0]).number == 0


CANDIDATES = {
    "none": [],
    "no scores": Scores((), "given"),
    "nothing": None,
    "a number": 5,
    "actions without log-probabilities": ["north", "south"],
    "a mapping": {"north": -0.7},
    "twice the same": [NORTH, SOUTH, Candidate("north", -0.7)],
    "scores with twice the same": Scores((NORTH, NORTH), "exact"),
    "an action without a name": [Candidate("", -0.7)],
    "an action that is no text": [Candidate(7, -0.7)],
    "half a character": [Candidate(HALF, -0.7)],
}
BAD_NUMBERS = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "words": "-0.7",
    "bytes": b"1",
    "a bytearray": bytearray(b"1"),
    "truth": True,
    "numpy's truth": np.True_,
    "none": None,
    "a complex number": 1j,
    "a list": [1.0],
    "two numbers": np.array([1.0, 2.0]),
    "beyond every float": 10**400,
    "numpy's nan": np.float32("nan"),
}
CANDIDATES |= {f"log-probability: {what}": [Candidate("a", x)] for what, x in BAD_NUMBERS.items()}


@pytest.mark.parametrize("bad", CANDIDATES.values(), ids=CANDIDATES.keys())
def test_wrong_candidates_are_named_and_leave_the_episode_as_it_was(bad):
    learner = Learner()
    with learner.episode() as episode:
        for _ in range(2):
            with pytest.raises(InvalidValue) as caught:
                episode.choose(HALL, bad)
            assert "actual value: " in one_line(caught.value)
        decision = episode.choose(HALL, BOTH)
        episode.record(1.0)
    assert decision == Learner().episode().choose(HALL, BOTH) or math.isnan(decision.values.V)
    assert len(stored(learner)) == 1


@pytest.mark.parametrize(
    "logprob",
    [
        0,
        3,
        -2,
        np.float64(-0.5),
        np.float32(-0.5),
        np.int64(-2),
        Fraction(-1, 2),
        1e308,
        -1e308,
        5e-324,
    ],
)
def test_any_finite_real_is_a_log_probability(logprob):
    for temperature in (1e-3, 1.0, 100.0):
        learner = Learner(temperature=temperature)
        decision = learner.episode().choose(HALL, [Candidate("a", logprob), Candidate("b", 0.0)])
        assert sum(decision.before.values()) == pytest.approx(1.0)
        assert decision.kl == 0.0
        assert all(type(p) is float for p in decision.before.values())


STATES = {
    "a mapping": {"room": "hall"},
    "a text": "hall",
    "nothing": None,
    "a number in it": State(room=5),
    "nothing in it": State(room=None),
    "half a character in it": State(room=HALF),
}


@pytest.mark.parametrize("bad", STATES.values(), ids=STATES.keys())
def test_a_wrong_state_is_named_and_leaves_the_episode_as_it_was(bad):
    learner = Learner()
    with learner.episode() as episode:
        with pytest.raises(InvalidValue, match="state"):
            episode.choose(bad, BOTH)
        episode.choose(HALL, BOTH)
        if bad is not None:
            with pytest.raises(InvalidValue, match="state") as caught:
                episode.record(1.0, state=bad)
            one_line(caught.value)
        episode.record(2.0)
    (found,) = stored(learner)
    assert [(step.state, step.reward) for step in found.steps] == [(HALL, 2.0)]
    assert found.final_state is None


@pytest.mark.parametrize("bad", BAD_NUMBERS.values(), ids=BAD_NUMBERS.keys())
def test_a_wrong_reward_is_named_and_leaves_the_episode_as_it_was(bad):
    learner = Learner()
    with learner.episode() as episode:
        episode.choose(HALL, BOTH)
        with pytest.raises(InvalidValue, match="reward") as caught:
            episode.record(bad, terminated=True)
        assert "actual value: " in one_line(caught.value)
        episode.record(1.0)
        with pytest.raises(InvalidValue, match="reward"):
            episode.outcome(bad)
        episode.choose(HALL, BOTH)
        episode.record(0.0)
    (found,) = stored(learner)
    assert [step.reward for step in found.steps] == [1.0, 0.0]


def test_rewards_so_large_that_their_sums_overflow_are_refused():
    learner = Learner()
    with learner.episode() as episode:
        episode.choose(HALL, BOTH)
        for reward in (1.7e308, -1e101):
            with pytest.raises(InvalidValue, match="reward"):
                episode.record(reward)
        episode.record(1e100)
        with pytest.raises(InvalidValue, match="reward"):
            episode.outcome(1e100)
    assert stored(learner)[0].steps[0].reward == 1e100


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.filterwarnings("error")
def test_the_largest_rewards_do_no_harm(preset):
    learner = Learner(preset=preset, gamma=1.0)
    for sign in (1.0, -1.0, 1.0, -1.0):
        play(learner, [sign * 1e100] * 5)
    decision = learner.episode().choose(HALL, BOTH)
    assert sum(decision.after.values()) == pytest.approx(1.0)


def test_settings_of_the_preset_are_overridden_by_keyword():
    learner = Learner(beta=2.0, gamma=0.9, k=3, kl_budget=0.5, fields=[Field("room")], bonus=0.0)
    assert (learner.preset.beta, learner.preset.gamma, learner.preset.k) == (2.0, 0.9, 3)
    assert learner.preset.fields == (Field("room"),)
    assert learner.preset.estimator.bonus == 0.0


def test_the_budget_caps_every_decision():
    learner = Learner(kl_budget=0.05, beta=50.0)
    with learner.episode() as episode:
        for t in range(40):
            episode.choose(HALL, BOTH)
            episode.record(float(t % 2))
    for _ in range(20):
        with learner.episode() as episode:
            decision = episode.choose(HALL, BOTH)
            episode.record(float(decision.action == "south"))
        assert decision.kl <= 0.05
    assert decision.kl > 0.0


# --- the range of rewards -------------------------------------------------------------


def test_a_reward_out_of_range_is_refused_and_its_bounds_are_in():
    learner = Learner(reward_range=(-1, 2))
    with learner.episode() as episode:
        episode.choose(HALL, BOTH)
        for reward in (2.0000001, -1.5):
            with pytest.raises(InvalidValue, match=r"reward must lie in .*\(-1.0, 2.0\)") as caught:
                episode.record(reward)
            assert str(reward) in one_line(caught.value)
        episode.record(2.0)
        with pytest.raises(InvalidValue, match="reward must lie in"):
            episode.outcome(3.0)
        episode.choose(HALL, BOTH)
        episode.record(-1.0)
    assert [step.reward for step in stored(learner)[0].steps] == [2.0, -1.0]


def test_remembered_rewards_are_clipped_to_the_range_and_kept_as_they_were(path):
    with Learner(path, gamma=0.0) as learner:
        play(learner, [100.0, -100.0, 0.5])
    with Learner(path, gamma=0.0, reward_range=(0.0, 1.0)) as learner:
        found = learner.episode().choose(HALL, BOTH).neighbours
        assert {step.t: step.return_ for step in found} == {0: 1.0, 1: 0.0, 2: 0.5}
        assert [step.reward for step in stored(learner)[0].steps] == [100.0, -100.0, 0.5]


def test_one_memory_serves_any_gamma(path):
    with Learner(path) as learner:
        play(learner, [1.0, 2.0, 4.0])
    for gamma, returns in (0.0, {0: 1.0, 1: 2.0, 2: 4.0}), (0.5, {0: 3.0, 1: 4.0, 2: 4.0}):
        with Learner(path, gamma=gamma) as learner:
            found = learner.episode().choose(HALL, BOTH).neighbours
            assert {step.t: step.return_ for step in found} == returns


# --- the task -------------------------------------------------------------------------


def test_the_task_becomes_a_field_only_where_the_specification_names_it():
    fields = (Field("room"), Field("task", exact=True))
    for learner, room, expected in (
        (Learner(), HALL, HALL),
        (Learner(fields=fields), HALL, State(room="hall", task="cook")),
        (Learner(fields=fields), State(room="x", task="own"), State(room="x", task="own")),
    ):
        assert learner.episode("cook").choose(room, BOTH).state == expected


def test_retrieval_goes_by_the_task_only_where_the_specification_names_it():
    named = {"fields": (Field("room"), Field("task", exact=True)), "min_evidence": 1}
    for keywords, seen in ({"min_evidence": 1}, {"cook", "clean"}), (named, {"cook"}):
        learner = Learner(**keywords)
        for task in ("cook", "clean"):
            play(learner, [1.0], task=task)
        found = learner.episode("cook").choose(HALL, BOTH).neighbours
        assert {step.task for step in found} == seen


# --- side by side ---------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_an_episode_sees_the_memory_as_it_was_when_it_began(preset):
    learner = Learner(preset=preset, seed=1)
    state = State(room="hall", url="a", history="b", task="c")
    for _ in range(3):
        play(learner, [1.0, 0.0], state=state)
    alone = Learner(preset=preset, seed=1)
    for _ in range(3):
        play(alone, [1.0, 0.0], state=state)
    early, undisturbed = learner.episode(number=9), alone.episode(number=9)
    for i in range(6):
        play(learner, [5.0, -5.0], state=state)
        play(learner, [5.0], state=State(room=f"new {i}", strange="field"))
        decision, expected = early.choose(state, BOTH), undisturbed.choose(state, BOTH)
        assert repr(decision.after) == repr(expected.after)
        assert decision.action == expected.action
        assert len(decision.neighbours) == len(expected.neighbours)
        early.record(0.0)
        undisturbed.record(0.0)
    assert len(learner.episode().choose(state, BOTH).neighbours) > len(expected.neighbours)


def test_episodes_of_several_threads_do_not_disturb_each_other(path):
    threads, rounds, length = 6, 4, 3
    together = threading.Barrier(threads)
    failures = []
    with Learner(path, k=None) as learner:

        def work(name):
            try:
                for turn in range(rounds):
                    episode = learner.episode(f"{name}", id=f"{name}-{turn}")
                    together.wait(60)  # all are open: nobody sees what ends in this round
                    with episode:
                        for t in range(length):
                            decision = episode.choose(HALL, BOTH)
                            assert len(decision.neighbours) == threads * length * turn
                            together.wait(60)
                            episode.record(float(t), state=State(room=f"{name}"))
                    together.wait(60)
            except BaseException as error:  # noqa: BLE001  (reported below)
                failures.append(error)
                together.abort()

        workers = [threading.Thread(target=work, args=(name,)) for name in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failures == []
        found = stored(learner)
        ids = [f"{name}-{turn}" for name in range(threads) for turn in range(rounds)]
        assert sorted(episode.id for episode in found) == sorted(ids)
        for episode in found:
            assert [step.reward for step in episode.steps] == [0.0, 1.0, 2.0]
            assert episode.final_state == State(room=episode.task)
        numbers = sorted(int(episode.provenance["number"]) for episode in found)
        assert numbers == list(range(threads * rounds))


def test_a_decision_is_the_same_whatever_other_threads_store_meanwhile():
    learner, alone = (Learner(seed=2, clock=lambda: 0.0) for _ in range(2))
    for one in (learner, alone):
        for i in range(10):
            play(one, [float(i % 3)] * 3, number=i, id=f"{i}")
    expected = []
    with alone.episode(number=50) as episode:
        for _ in range(60):
            expected.append(episode.choose(HALL, BOTH))
            episode.record(0.0)
    begun, stop = threading.Event(), threading.Event()

    def store():
        for i in range(100, 10_000):
            play(learner, [9.0], state=State(room=f"hall {i}"), number=i)
            play(learner, [9.0], number=i)
            begun.set()
            if stop.is_set():
                return

    episode = learner.episode(number=50)
    worker = threading.Thread(target=store)
    worker.start()
    begun.wait()
    try:
        for wanted in expected:
            assert episode.choose(HALL, BOTH) == wanted
            episode.record(0.0)
    finally:
        stop.set()
        worker.join()
    assert len(learner.memory) > 10


def test_episodes_of_several_tasks_do_not_disturb_each_other():
    tasks, length = 5, 3
    learner = Learner(k=None)

    async def work(name, together, turn):
        with learner.episode(f"{name}") as episode:
            await together.wait()
            for t in range(length):
                decision = episode.choose(HALL, BOTH)
                assert len(decision.neighbours) == tasks * length * turn
                await together.wait()
                episode.record(float(t))

    async def everything():
        for turn in range(3):
            together = asyncio.Barrier(tasks)
            await asyncio.gather(*(work(name, together, turn) for name in range(tasks)))

    asyncio.run(everything())
    assert len(stored(learner)) == 3 * tasks
    assert all([s.reward for s in found.steps] == [0.0, 1.0, 2.0] for found in stored(learner))


# --- again ----------------------------------------------------------------------------


def walk(open_learner, episodes, *, reopen):
    """Every decision of some episodes in a small maze; the learner is closed in between, or not."""
    rooms = ["hall", "cellar", "attic", "garden"]
    decisions = []
    learner = open_learner()
    for number in range(episodes):
        if reopen and number:
            learner.close()
            learner = open_learner()
        with learner.episode("maze") as episode:
            for t in range(6):
                room = State(room=rooms[(number * 7 + t) % 4], inventory="lamp")
                decision = episode.choose(room, [*BOTH, Candidate(f"go {t % 3}", -2.0)])
                decisions.append((decision.action, decision.before, decision.after, decision.kl))
                episode.record(float(len(decision.action) % 3) - 1.0)
    learner.close()
    return decisions


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_and_inputs_give_the_same_decisions_resumed_or_not(tmp_path, preset):
    unbroken = walk(lambda: Learner(tmp_path / "a.db", preset, seed=5), 12, reopen=False)
    resumed = walk(lambda: Learner(tmp_path / "b.db", preset, seed=5), 12, reopen=True)
    in_ram = walk(lambda: Learner(None, preset, seed=5), 12, reopen=False)
    assert unbroken == resumed == in_ram
    assert any(kl > 0 for *_, kl in unbroken)


def test_another_seed_gives_other_decisions():
    walks = {str(walk(lambda seed=seed: Learner(seed=seed), 4, reopen=False)) for seed in range(5)}
    assert len(walks) == 5


def test_draws_of_different_seeds_and_episodes_are_independent():
    even = [Candidate("a"), Candidate("b")]
    chosen = np.array(
        [
            [
                Learner(seed=seed).episode(number=n).choose(HALL, even).action == "a"
                for n in range(40)
            ]
            for seed in range(40)
        ],
        dtype=float,
    )
    assert abs(chosen.mean() - 0.5) < 0.05
    assert np.abs(chosen.mean(axis=0) - 0.5).max() < 0.35
    assert np.abs(chosen.mean(axis=1) - 0.5).max() < 0.35
    for other in (chosen[1:, :], chosen[:, 1:]):  # next seed, next episode
        here = chosen[: other.shape[0], : other.shape[1]]
        assert abs(np.corrcoef(here.ravel(), other.ravel())[0, 1]) < 0.1


def test_episodes_are_numbered_on_from_those_in_the_memory(path):
    with Learner(path) as learner:
        assert [play(learner, [1.0]).number for _ in range(3)] == [0, 1, 2]
        assert play(learner, [1.0], number=10).number == 10
        assert play(learner, [1.0], number=4).number == 4
        assert play(learner, [1.0]).number == 11
    with Learner(path) as learner:
        assert learner.episode().number == 6


REFUSED = {
    "no candidates": lambda episode, state: episode.choose(state, []),
    "no state": lambda episode, state: episode.choose(None, BOTH),
    "a scorer that breaks": lambda episode, state: episode.choose(state, BOTH, lambda a: 1 / 0),
    "a scorer of nothing": lambda episode, state: episode.choose(state, BOTH, lambda a: None),
    "a scorer of nan": lambda episode, state: episode.choose(
        state, BOTH, lambda a: dict.fromkeys(a, math.nan)
    ),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED.keys())
def test_a_choice_that_failed_draws_nothing(preset, attempt):
    state = State(room="hall", url="u", history="h", task="t")
    decisions = []
    for failing in (True, False):
        learner = Learner(preset=preset, seed=3)
        for i in range(8):
            others = [Candidate("east"), Candidate("west"), NORTH]
            play(learner, [float(i % 3), 1.0], state=state, candidates=others)
        episode = learner.episode()
        for _ in range(5):
            if failing:
                with pytest.raises((JitrlError, ZeroDivisionError)):
                    attempt(episode, state)
            decision = episode.choose(state, BOTH)
            decisions.append((decision.action, decision.before, decision.after))
            episode.record(0.0)
    assert decisions[:5] == decisions[5:]


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hall", "cellar", ""]),
            st.floats(-10, 10),
            st.dictionaries(st.sampled_from("abcd"), st.floats(-5, 5), min_size=1),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(PRESETS),
    st.integers(0, 3),
)
def test_whatever_is_played_is_stored_as_it_was_decided(moves, preset, seed):
    learner = Learner(preset=preset, seed=seed)
    for _ in range(2):
        decisions = []
        with learner.episode() as episode:
            for room, reward, logprobs in moves:
                candidates = [Candidate(a, z) for a, z in logprobs.items()]
                decisions.append(episode.choose(State(room=room), candidates))
                episode.record(reward)
        found = stored(learner)[-1]
        for step, decision, move in zip(found.steps, decisions, moves, strict=True):
            assert decision.action in decision.after
            assert step.reward == move[1]
            assert (step.state, step.action) == (decision.state, decision.action)
            assert (step.before, step.after) == (decision.before, decision.after)
            assert step.behaviour_logprob == decision.behaviour_logprob <= 0.0
            assert sum(step.after.values()) == pytest.approx(1.0)


# --- it learns ------------------------------------------------------------------------


def bandit(arms):
    """A world of one state: the reward of arm i grows with i; returns it with the best action."""

    def episode(live):
        for _ in range(3):
            candidates = [Candidate(f"pull arm {i}") for i in range(arms)]
            decision = live.choose(State(room="a room with arms"), candidates)
            yield decision.action == f"pull arm {arms - 1}"
            live.record(int(decision.action[-1]) / (arms - 1))

    return episode


def chain(live):
    """Five cells in a row; the reward waits at the right end."""
    cell = 0
    for _ in range(20):
        candidates = [Candidate("left"), Candidate("right")]
        decision = live.choose(State(room=f"cell {cell}"), candidates)
        yield decision.action == "right"
        cell = max(0, cell - 1) if decision.action == "left" else cell + 1
        live.record(float(cell == 4), terminated=cell == 4)
        if cell == 4:
            return


def rate(world, seeds, **keywords):
    """The share of best actions in the last twenty of sixty episodes."""
    best = []
    for seed in range(seeds):
        learner = Learner(seed=seed, **keywords)
        for number in range(60):
            with learner.episode() as live:
                right = list(world(live))
            best += right if number >= 40 else []
    return sum(best) / len(best)


@pytest.mark.parametrize(
    ("world", "chance"), [(bandit(2), 0.5), (bandit(5), 0.2), (chain, 0.5)], ids=["2", "5", "chain"]
)
@pytest.mark.parametrize(
    "keywords", [{}, {"preset": "paper", "beta": 5.0}], ids=["default", "paper"]
)
def test_the_best_action_is_found(world, chance, keywords):
    static = rate(world, 5, frozen=True)
    learned = rate(world, 5, **keywords)
    assert static == pytest.approx(chance, abs=0.1)
    assert learned > static + 0.2


# --- what is imported -----------------------------------------------------------------


def test_importing_jitrl_imports_nothing_heavy():
    heavy = ["typer", "rich", "matplotlib", "textworld", "jericho", "scipy", "torch", "jitrl.cli"]
    program = (
        f"import jitrl, sys, json; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
