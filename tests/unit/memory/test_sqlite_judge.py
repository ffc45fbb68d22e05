"""Scores that a judge gives later: filled in where they are missing, and nowhere else."""

from __future__ import annotations

import math
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_kit import episode, step

from jitrl.errors import InvalidValue, MemoryUnavailable
from jitrl.memory import SqliteMemory

finite = st.floats(-1e100, 1e100)
maybe = st.none() | finite


def judged(memory, place=0):
    return [one.judged for one in list(memory.episodes())[place].steps]


@given(st.lists(st.tuples(maybe, maybe), max_size=6))
def test_scores_land_on_their_steps_and_never_on_one_that_has_one(pairs):
    held, given_ = [a for a, _ in pairs], [b for _, b in pairs]
    steps = tuple(step(t, judged=score) for t, score in enumerate(held))
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(9, judged=0.25)))
        memory.append(replace(episode("f"), steps=steps))
        missing = any(a is None and b is not None for a, b in pairs)
        assert memory.judge("f", given_) is missing
        assert judged(memory, 1) == [b if a is None else a for a, b in pairs]
        assert judged(memory) == [0.25]
        assert memory.judge("f", given_) is False


def test_the_environments_reward_stays_as_it_is():
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(0, reward=0.5), step(1, reward=-2.0)))
        memory.judge("e", [7.0, -7.0])
        assert [one.reward for one in next(memory.episodes()).steps] == [0.5, -2.0]


@pytest.mark.parametrize("score", [np.float32(0.5), np.float64(0.5), 1, np.int64(1)])
def test_numbers_of_other_kinds_are_stored_as_plain_ones(score):
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(0)))
        memory.judge("e", [score])
        assert [(type(x), x) for x in judged(memory)] == [(float, float(score))]


@pytest.mark.parametrize(
    "scores",
    [
        [1.0],
        [1.0, 2.0, 3.0],
        [],
        [1.0, math.nan],
        [math.inf, 1.0],
        [1.0, "2.0"],
        [True, 1.0],
        [1e101, 1.0],
        [1.0, 10**400],
        "ab",
        None,
        5,
        {0: 1.0, 1: 2.0},
    ],
)
def test_wrong_scores_are_refused_and_nothing_is_filled_in(scores):
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(0), step(1), provenance={"world": "w"}))
        with pytest.raises(InvalidValue) as caught:
            memory.judge("e", scores, {"credit judge": "m"})
        assert "score" in str(caught.value)
        assert judged(memory) == [None, None]
        assert next(memory.episodes()).provenance == {"world": "w"}


@pytest.mark.parametrize("id", ["other", "", 5, None])
def test_an_id_that_is_not_stored_is_refused(id):
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(0)))
        with pytest.raises(InvalidValue, match="id must be"):
            memory.judge(id, [1.0])


@pytest.mark.parametrize("provenance", [None, ["judge"], {"judge": 1}, {1: "judge"}])
def test_provenance_that_is_no_text_is_refused(provenance):
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(0)))
        with pytest.raises(InvalidValue, match="provenance"):
            memory.judge("e", [1.0], provenance)
        assert judged(memory) == [None]


def test_who_judged_is_kept_and_only_where_somebody_did():
    with closing(SqliteMemory()) as memory:
        memory.append(episode("e", step(0), step(1), provenance={"world": "w"}))
        memory.judge("e", [None, None], {"credit judge": "failed"})
        assert next(memory.episodes()).provenance == {"world": "w"}
        memory.judge("e", [1.0, None], {"credit judge": "one"})
        memory.judge("e", [5.0, None], {"credit judge": "came too late"})
        memory.judge("e", [5.0, 2.0], {"credit judge": "two", "credit scale": "-3..3"})
        assert next(memory.episodes()).provenance == {
            "world": "w",
            "credit judge": "one; two",
            "credit scale": "-3..3",
        }


def test_scores_are_there_for_other_handles_and_after_reopening(tmp_path):
    path = tmp_path / "memory.db"
    with closing(SqliteMemory(path)) as memory, closing(SqliteMemory(path)) as other:
        memory.append(episode("e", step(0), step(1)))
        memory.judge("e", [1.0, None])
        assert judged(other) == [1.0, None]
        assert other.judge("e", [9.0, 2.0]) is True
    with closing(SqliteMemory(path, readonly=True)) as memory:
        assert judged(memory) == [1.0, 2.0]
        with pytest.raises(MemoryUnavailable, match="open to be read"):
            memory.judge("e", [1.0, 2.0])


def test_of_judges_at_the_same_moment_each_step_keeps_one(tmp_path):
    path = tmp_path / "memory.db"
    start = threading.Barrier(4)
    answers = []
    with closing(SqliteMemory(path)) as memory:
        memory.append(episode("e", *(step(t) for t in range(20))))

    def judge(name):
        with closing(SqliteMemory(path)) as mine:
            start.wait()
            answers.append(mine.judge("e", [float(name)] * 20, {"credit judge": str(name)}))

    threads = [threading.Thread(target=judge, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False, False, False, True]
    with closing(SqliteMemory(path)) as memory:
        (name,) = set(judged(memory))
        assert next(memory.episodes()).provenance == {"credit judge": str(int(name))}
