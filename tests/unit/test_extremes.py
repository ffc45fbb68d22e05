"""What was found by trying to break it: extremes, and damage that must not pass for less."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from jitrl import Candidate, Learner, State
from jitrl.errors import EpisodeError, InvalidValue, NotAMemory
from jitrl.memory import SqliteMemory
from jitrl.update import kl, log_policy

HALL = State(room="hall")
BOTH = [Candidate("north", -0.7), Candidate("south", -0.9)]


def remember(learner, action, reward, times=3):
    for _ in range(times):
        with learner.episode() as episode:
            episode.choose(HALL, [Candidate(action)])
            episode.record(reward)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM steps WHERE t = 0",
        "DELETE FROM steps WHERE t = 1",
        "DELETE FROM steps",
        "UPDATE steps SET state = 99 WHERE t = 1",
        "UPDATE steps SET reward = 'x'",
        "UPDATE steps SET policy_after = '[]'",
        "UPDATE states SET fields = '{\"a\":1}'",
        "UPDATE episodes SET provenance = '[1]'",
        f"UPDATE episodes SET provenance = '{'[' * 100_000}'",
        "UPDATE episodes SET length = 1",
        "UPDATE episodes SET id = x'00'",
    ],
)
def test_an_episode_that_is_not_whole_any_more_is_named_and_not_read_as_less(tmp_path, damage):
    path = tmp_path / "memory.db"
    with Learner(path) as learner, learner.episode() as episode:
        for _ in range(3):
            episode.choose(HALL, BOTH)
            episode.record(1.0)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(damage)
    with (
        closing(SqliteMemory(path)) as memory,
        pytest.raises(NotAMemory, match=r"(episode|state) 1"),
    ):
        list(memory.episodes())


def test_the_largest_logits_and_the_largest_beta_leave_a_policy():
    learner = Learner(beta=1e100)
    remember(learner, "b", 1.0)
    remember(learner, "a", 0.0)
    with learner.episode() as episode:
        decision = episode.choose(HALL, [Candidate("a", 1e308), Candidate("b", -1e308)])
        episode.record(0.0)
    assert sum(decision.after.values()) == pytest.approx(1.0)


def test_a_divergence_is_finite_where_the_base_probability_underflows():
    z = np.array([0.0, -800.0])
    log_p = log_policy(z, np.array([0.0, 1.0]), 2000.0, 1.0)
    assert kl(log_p, log_policy(z, np.zeros(2), 0.0, 1.0)) == pytest.approx(800.0)
    assert kl(np.array([0.0, -math.inf]), np.array([-math.inf, 0.0])) == math.inf


def test_an_outcome_cannot_leave_the_reward_range():
    learner = Learner(reward_range=(0.0, 1.0))
    with learner.episode() as episode:
        episode.choose(HALL, BOTH)
        episode.record(1.0)
        with pytest.raises(InvalidValue, match="reward_range"):
            episode.outcome(1.0)
        episode.outcome(0.0)
    (stored,) = learner.memory.episodes()
    assert [step.reward for step in stored.steps] == [1.0]


@pytest.mark.parametrize("terminated", ["no", None, 1, np.array([True, False])])
def test_a_refused_record_leaves_the_choice_waiting(terminated):
    learner = Learner()
    with learner.episode() as episode:
        episode.choose(HALL, BOTH)
        with pytest.raises(InvalidValue, match="terminated"):
            episode.record(1.0, terminated=terminated)
        episode.record(1.0, terminated=np.True_)
    (stored,) = learner.memory.episodes()
    assert len(stored.steps) == 1
    assert stored.terminated is True


@pytest.mark.parametrize("clock", [5, lambda: math.nan, lambda: 1e30, lambda: "noon"])
def test_a_clock_that_cannot_be_read_is_refused_before_anything_is_played(clock):
    with pytest.raises(InvalidValue, match="clock"):
        Learner(clock=clock)


@pytest.mark.parametrize("call", ["choose", "close"])
def test_a_scorer_that_uses_its_own_episode_is_refused(call):
    learner = Learner()
    remember(learner, "west", 1.0)
    episode = learner.episode()

    def score(actions):
        if call == "close":
            episode.close()
        else:
            episode.choose(HALL, BOTH)
        return {}

    with pytest.raises(EpisodeError, match="only score"):
        episode.choose(HALL, BOTH, score)
