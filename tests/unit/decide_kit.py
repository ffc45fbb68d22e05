"""What the tests of a decision share."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from jitrl.decide import Draws, decide
from jitrl.presets import Ramp, preset
from jitrl.records import Candidate, Experience, Scores, State

STATE = State(room="hall")
EXACT = ["default", "paper"]
GREEDY = ["released", "released-web"]
THREE = {"a": math.log(0.5), "b": math.log(0.3), "c": math.log(0.2)}


def remember(*steps, similarity=1.0):
    """Neighbours from (action, return) pairs."""
    return [
        Experience(similarity, STATE, action, return_, "e", t, "task")
        for t, (action, return_) in enumerate(steps)
    ]


def choose(
    logprobs,
    neighbours=(),
    name="default",
    *,
    seed=0,
    score=None,
    guarantee="given",
    unscored=None,
    **over,
):
    chosen = preset(name, **over)
    beta = chosen.beta.at(0) if isinstance(chosen.beta, Ramp) else chosen.beta
    scores = Scores(tuple(Candidate(a, z) for a, z in logprobs.items()), guarantee)
    if unscored is not None:  # what a source says that scores nothing but its candidates
        scores = replace(scores, remembered={}, unscored=unscored)
    draws = Draws(np.random.default_rng(seed), np.random.default_rng(seed + 1))
    return decide(STATE, scores, neighbours, chosen, beta, draws, score)


class Scorer:
    """Answers from a table and keeps what it was asked."""

    def __init__(self, table):
        self.table = table
        self.calls = []

    def __call__(self, actions):
        self.calls.append(actions)
        return self.table


GOOD_AND_BAD = remember(("a", 0.0), ("b", 8.0), ("b", 6.0), ("a", 1.0))

logprobs = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.floats(-8.0, 8.0), min_size=1, max_size=4
)
memories = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", "e", "f"]), st.integers(-10, 10).map(float)),
    max_size=10,
).map(lambda steps: remember(*steps))
tables = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e", "f"]), st.one_of(st.none(), st.floats(-8.0, 8.0))
)
