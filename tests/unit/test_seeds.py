"""Every purpose of every episode has its own stream, and the same one each time."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jitrl.seeds import generator, integer

seeds = st.integers(0, 2**63 - 1)


@given(seeds, st.integers(0, 10**6), st.text())
def test_equal_arguments_give_equal_streams(seed, episode, purpose):
    one, other = generator(seed, episode, purpose), generator(seed, episode, purpose)
    assert one is not other
    assert one.random(8).tolist() == other.random(8).tolist()
    assert integer(seed, episode, purpose) == integer(seed, episode, purpose)


def test_every_seed_episode_and_purpose_has_a_stream_of_its_own():
    some = [0, 1, 2, 3, 255, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**63 - 1]
    purposes = ["", "choose", "explore", "proposals", "Choose"]
    streams = {
        tuple(generator(seed, episode, purpose).integers(2**63, size=2).tolist())
        for seed, episode, purpose in itertools.product(some, range(12), purposes)
    }
    assert len(streams) == len(some) * 12 * len(purposes)


def test_seed_and_episode_are_not_interchangeable():
    assert generator(1, 2, "choose").random() != generator(2, 1, "choose").random()


def test_one_stream_is_not_moved_by_another():
    alone = generator(0, 1, "choose").random(3).tolist()
    other, mine = generator(0, 0, "choose"), generator(0, 1, "choose")
    other.random(100)
    assert mine.random(3).tolist() == alone


@given(seeds, st.integers(0, 1000))
def test_an_engines_seed_is_a_positive_31_bit_integer(seed, episode):
    value = integer(seed, episode, "engine")
    assert type(value) is int
    assert 1 <= value < 2**31 - 1


def test_the_streams_are_uniform_across_episodes():
    first = np.array([generator(0, episode, "choose").random() for episode in range(2000)])
    assert abs(float(np.mean(first)) - 0.5) < 4 * np.sqrt(1 / 12 / 2000)
    assert abs(float(np.corrcoef(first[:-1], first[1:])[0, 1])) < 4 / np.sqrt(2000)


def test_another_process_with_another_hash_seed_draws_the_same():
    code = (
        "from jitrl.seeds import *; print(generator(7, 3, 'choose').random(), integer(7, 3, 'x'))"
    )
    run = [sys.executable, "-c", code]
    result = subprocess.run(
        run, env={"PYTHONHASHSEED": "12345"}, check=True, capture_output=True, text=True
    )
    assert result.stdout.split() == [
        str(generator(7, 3, "choose").random()),
        str(integer(7, 3, "x")),
    ]
