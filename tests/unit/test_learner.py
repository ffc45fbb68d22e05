"""The learner: in turn and out of turn, and what is stored."""

from __future__ import annotations

import logging
import math
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
from learner_kit import BOTH, HALL, play, stored

import jitrl
from jitrl import Learner, State
from jitrl.errors import EpisodeError
from jitrl.memory import SqliteMemory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


def kept(path):
    with closing(SqliteMemory(path, readonly=True)) as memory:
        return list(memory.episodes())


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
    told = {"world": "w", "run": "r"}
    learner = Learner(path, "paper", seed=7, provenance=told, clock=lambda: 86400.5)
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
        "run": "r",
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


def test_a_learner_that_is_given_no_run_is_one_of_its_own(path):
    runs = []
    for told in ({}, {}, {"world": "w"}, {"run": "mine"}):
        with Learner(path, provenance=told) as learner:
            for _ in range(2):
                play(learner, [1.0])
            play(learner, [1.0], provenance={"run": "another"})
        runs.append([found.provenance["run"] for found in kept(path)][-3:])
    assert all(first == second for first, second, _ in runs)
    assert {last for *_, last in runs} == {"another"}
    assert runs[3][0] == "mine"
    assert len({first for first, *_ in runs}) == 4
    assert all(len(first) == 32 for first, *_ in runs[:3])


def test_every_stored_step_tells_where_it_comes_from(path):
    told = {"world": "w", "model": "m"}
    with Learner(path, "paper", seed=7, provenance=told) as learner:
        play(learner, [1.0, 0.0], task="a task")
    (found,) = kept(path)
    assert {"run", "world", "model", "jitrl", "created", "number"} <= found.provenance.keys()
    assert found.task == "a task"
    for step in found.steps:
        assert (step.preset, step.seed, step.changed) == ("paper", 7, False)
        assert step.behaviour_logprob == math.log(step.after[step.action])


def test_decisions_name_where_their_evidence_comes_from():
    learner = Learner(provenance={"run": "7"})
    for i in range(3):
        play(learner, [float(i), 0.0], task=f"task {i}", id=f"e{i}")
    found = learner.episode("another task").choose(HALL, BOTH).neighbours
    assert {(step.episode, step.t, step.task) for step in found} == {
        (f"e{i}", t, f"task {i}") for i in range(3) for t in range(2)
    }
    assert {step.provenance["run"] for step in found} == {"7"}
