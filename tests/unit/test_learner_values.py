"""The learner and what it is given: wrong values, the range of rewards, the task."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learner_kit import BOTH, HALL, NORTH, PRESETS, SOUTH, one_line, play, stored

from jitrl import Candidate, Field, Learner, Scores, State
from jitrl.errors import InvalidValue, UnknownName
from jitrl.records import Episode, Step


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


# --- wrong values ---------------------------------------------------------------------

HALF = "\ud800"
LEARNERS = {
    "a negative seed": {"seed": -1},
    "a seed of truth": {"seed": True},
    "a fraction of a seed": {"seed": 1.0},
    "a seed in words": {"seed": "0"},
    "a seed too large to store": {"seed": 2**63},
    "no seed": {"seed": None},
    "an endless range of returns": {"return_range": (0.0, math.inf)},
    "a range of returns upside down": {"return_range": (1.0, 0.0)},
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
    with pytest.raises(UnknownName, match="default, paper, paper-web, released, released-web, web"):
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


def forged(rewards):
    """An episode that no learner played: any reward at all."""
    steps = (Step(HALL, "north", r, 0.0, {}, {}, False, "default", 0) for r in rewards)
    return Episode("forged", "", tuple(steps))


RETURNS = {
    "gamma": st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    "rewards": st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=8),
}


@given(**RETURNS, low=st.sampled_from([-1.0, 0.0, 0.5]))
def test_no_stored_reward_takes_a_return_beyond_what_clipped_ones_add_up_to(gamma, rewards, low):
    learner = Learner(gamma=gamma, reward_range=(low, 1.0), k=None)
    learner.memory.append(forged(rewards))
    for step in learner.episode().choose(HALL, BOTH).neighbours:
        counted = math.fsum(gamma**k for k in range(len(rewards) - step.t))
        assert low * counted - 1e-9 <= step.return_ <= counted + 1e-9
        if gamma < 1:
            assert abs(step.return_) <= 1 / (1 - gamma) + 1e-9


@given(**RETURNS)
def test_remembered_returns_are_clipped_to_their_range_whatever_gamma(gamma, rewards):
    learner = Learner(gamma=gamma, return_range=(-2, 3), k=None)
    free = Learner(gamma=gamma, k=None)
    for one in (learner, free):
        one.memory.append(forged(rewards))
    clipped = learner.episode().choose(HALL, BOTH).neighbours
    found = free.episode().choose(HALL, BOTH).neighbours
    assert [step.return_ for step in clipped] == [min(max(s.return_, -2), 3) for s in found]
    assert [step.reward for step in stored(learner)[0].steps] == rewards


def test_a_step_without_a_signal_stays_no_evidence_under_a_range_of_returns():
    learner = Learner(credit="judged", return_range=(0.0, 1.0))
    play(learner, [1.0, 1.0])
    assert learner.episode().choose(HALL, BOTH).neighbours == ()


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
