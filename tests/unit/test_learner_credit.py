"""What returns are made of: rewards, a judge's scores, or both. Not scored is never zero."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learner_kit import BOTH, HALL, one_line, play, stored

from jitrl import Learner, State
from jitrl.errors import EpisodeError, InvalidValue
from jitrl.memory import SqliteMemory
from jitrl.records import Episode, Step

rewards = st.floats(-10.0, 10.0).map(lambda x: x + 0.0)
scores = st.none() | rewards
steps = st.lists(st.tuples(st.sampled_from("abc"), rewards, scores), max_size=8)
gammas = st.sampled_from([0.0, 0.5, 1.0])


def episode(id, *taken):
    """An episode of (room, reward, score)."""
    made = tuple(
        Step(State(room=room), f"go {t}", reward, -1.0, {}, {}, False, "default", 0, judged=score)
        for t, (room, reward, score) in enumerate(taken)
    )
    return Episode(id, "task", made)


def evidence(episodes, room="a", **settings):
    """What a learner that reads the episodes finds near a room, in order: action and return."""
    memory = SqliteMemory()
    for each in episodes:
        memory.append(each)
    learner = Learner(memory, k=None, **settings)
    found = learner.episode().choose(State(room=room), BOTH).neighbours
    return [(one.episode, one.t, one.action, one.return_) for one in found]


def returns(*taken, **settings):
    """(t, return) of the steps of one episode, all in one room."""
    made = episode("e", *(("a", reward, score) for reward, score in taken))
    return {t: value for _, t, _, value in evidence([made], **settings)}


# --- what returns are made of -------------------------------------------------------------------


@given(st.lists(steps, max_size=3), gammas, st.sampled_from(["default", "released"]))
def test_by_default_scores_change_nothing_bit_for_bit(episodes, gamma, preset):
    held = [episode(str(i), *taken) for i, taken in enumerate(episodes)]
    bare = [
        replace(one, steps=tuple(replace(step, judged=None) for step in one.steps)) for one in held
    ]
    settings = {"preset": preset, "gamma": gamma}
    assert evidence(held, **settings) == evidence(bare, **settings)
    assert evidence(held, credit="reward", **settings) == evidence(bare, **settings)


@given(st.lists(steps, max_size=3), gammas, st.sampled_from(["judged", "mixed"]))
def test_a_step_without_a_score_is_as_if_it_had_not_been_there(episodes, gamma, credit):
    whole = [episode(str(i), *taken) for i, taken in enumerate(episodes)]
    without = [
        episode(str(i), *(step for step in taken if step[2] is not None))
        for i, taken in enumerate(episodes)
    ]
    settings = {"gamma": gamma, "credit": credit}
    found, wanted = evidence(whole, **settings), evidence(without, **settings)
    assert [(id, value) for id, _, _, value in found] == [(id, v) for id, _, _, v in wanted]
    for id, t, action, _ in found:  # each step still knows its place
        assert action == f"go {t}"
        assert episodes[int(id)][t][2] is not None


def test_a_step_without_a_score_is_no_zero():
    taken = [(5.0, 2.0), (5.0, None), (5.0, 4.0)]
    assert returns(*taken, credit="judged", gamma=0.5) == {0: 4.0, 2: 4.0}
    zeros = [(5.0, 2.0), (5.0, 0.0), (5.0, 4.0)]
    assert returns(*zeros, credit="judged", gamma=0.5) == {0: 3.0, 1: 2.0, 2: 4.0}


def test_an_episode_without_any_score_is_no_evidence_unless_rewards_are():
    taken = [(1.0, None), (2.0, None)]
    for credit, found in ("judged", {}), ("mixed", {}), ("reward", {0: 1.0, 1: 2.0}):
        assert returns(*taken, credit=credit, gamma=0.0) == found


def test_the_winning_and_the_failing_step_count():
    assert returns((0.0, 1.0), (1.0, 9.0), credit="judged", gamma=0.0) == {0: 1.0, 1: 9.0}
    assert returns((0.0, 1.0), (0.0, -9.0), credit="judged", gamma=1.0) == {0: -8.0, 1: -9.0}


@given(st.lists(st.tuples(rewards, scores), max_size=6), st.floats(0.0, 10.0))
def test_mixed_is_the_reward_plus_the_weighted_score(taken, weight):
    expected = {t: r + weight * j for t, (r, j) in enumerate(taken) if j is not None}
    assert returns(*taken, credit="mixed", judge_weight=weight, gamma=0.0) == expected


def test_each_part_is_clipped_to_its_own_range():
    taken = [(100.0, 100.0), (-100.0, -100.0), (0.5, 0.25)]
    ranges = {"reward_range": (0.0, 1.0), "judged_range": (-3.0, 3.0), "gamma": 0.0}
    assert returns(*taken, credit="reward", **ranges) == {0: 1.0, 1: 0.0, 2: 0.5}
    assert returns(*taken, credit="judged", **ranges) == {0: 3.0, 1: -3.0, 2: 0.25}
    mixed = {"credit": "mixed", "judge_weight": 2.0}
    assert returns(*taken, **mixed, **ranges) == {0: 7.0, 1: -6.0, 2: 1.0}


def test_one_memory_serves_every_signal(tmp_path):
    path = tmp_path / "memory.db"
    with Learner(path) as learner, learner.episode() as live:
        live.choose(HALL, BOTH)
        live.record(1.0)
        live.judged([-2.0])
    for credit, value in ("reward", 1.0), ("judged", -2.0), ("mixed", -1.0):
        with Learner(path, credit=credit) as learner:
            (found,) = learner.episode().choose(HALL, BOTH).neighbours
            assert found.return_ == value


def test_scores_that_come_later_count_from_the_next_episode_on():
    memory = SqliteMemory()
    learner = Learner(memory, credit="judged")
    play(learner, [1.0, 1.0], id="e")
    under_way = learner.episode()
    assert learner.episode().choose(HALL, BOTH).neighbours == ()
    memory.judge("e", [3.0, None])
    assert under_way.choose(HALL, BOTH).neighbours == ()
    (found,) = learner.episode().choose(HALL, BOTH).neighbours
    assert (found.t, found.return_) == (0, 3.0)


@pytest.mark.parametrize(
    "bad",
    [
        {"credit": "rewards"},
        {"credit": None},
        {"credit": ["reward"]},
        {"judge_weight": -0.5},
        {"judge_weight": math.nan},
        {"judge_weight": True},
        {"judge_weight": 2e6},
        {"judged_range": (1.0, 1.0)},
        {"judged_range": (0.0, math.inf)},
        {"judged_range": 3.0},
    ],
)
def test_a_wrong_setting_is_named(bad):
    (name,) = bad
    with pytest.raises(InvalidValue, match=f"^{name} must") as caught:
        Learner(**bad)
    one_line(caught.value)


# --- judged before it is stored -----------------------------------------------------------------


def under_way(learner, rewards=(1.0, 2.0)):
    live = learner.episode(provenance={"run": "r"})
    for reward in rewards:
        live.choose(HALL, BOTH)
        live.record(reward)
    return live


def test_scores_are_stored_beside_the_rewards_with_who_gave_them():
    learner = Learner()
    with under_way(learner) as live:
        live.judged([None, -3], {"credit judge": "m"})
    (found,) = stored(learner)
    assert [(step.reward, step.judged) for step in found.steps] == [(1.0, None), (2.0, -3.0)]
    assert (found.provenance["credit judge"], found.provenance["run"]) == ("m", "r")


def test_a_judge_that_gave_no_score_is_not_kept_as_one_that_did():
    learner = Learner()
    with under_way(learner) as live:
        live.judged([None, None], {"credit judge": "m"})
    (found,) = stored(learner)
    assert [step.judged for step in found.steps] == [None, None]
    assert "credit judge" not in found.provenance
    assert learner.memory.judge(found.id, [1.0, None], {"credit judge": "n"})


def test_provenance_of_one_episode_is_not_anothers():
    learner = Learner(provenance={"world": "w"})
    with under_way(learner) as live:
        live.judged([1.0, 1.0], {"credit judge": "m"})
    with under_way(learner):
        pass
    assert "credit judge" not in stored(learner)[1].provenance
    assert "credit judge" not in learner.provenance


def test_an_outcome_after_the_judge_keeps_the_score():
    learner = Learner()
    with under_way(learner) as live:
        live.judged([1.0, 2.0])
        live.outcome(5.0)
    assert [(s.reward, s.judged) for s in stored(learner)[0].steps] == [(1.0, 1.0), (7.0, 2.0)]


@pytest.mark.parametrize(
    "bad",
    [[1.0], [1.0, 2.0, 3.0], [1.0, math.nan], [math.inf, 0.0], [True, 0.0], ["1", 0.0], None, "ab"],
)
def test_wrong_scores_are_refused_and_the_episode_stays_as_it_was(bad):
    learner = Learner()
    with under_way(learner) as live:
        with pytest.raises(InvalidValue, match="score") as caught:
            live.judged(bad, {"credit judge": "m"})
        one_line(caught.value)
        with pytest.raises(InvalidValue, match="provenance"):
            live.judged([1.0, 1.0], {"credit judge": 5})
    (found,) = stored(learner)
    assert [step.judged for step in found.steps] == [None, None]
    assert "credit judge" not in found.provenance


def test_judging_out_of_turn_is_refused():
    live = under_way(Learner())
    live.choose(HALL, BOTH)
    with pytest.raises(EpisodeError, match="after the last step"):
        live.judged([1.0, 1.0])
    live.record(0.0)
    live.judged([1.0, None, 1.0])
    with pytest.raises(EpisodeError, match="never overwritten"):
        live.judged([1.0, 1.0, 1.0])
    live.close()
    with pytest.raises(EpisodeError, match="closed"):
        live.judged([1.0, 1.0, 1.0])
