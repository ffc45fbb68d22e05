"""What the tests of the learner share."""

from __future__ import annotations

import jitrl
from jitrl import Candidate, State
from jitrl.errors import (
    JitrlError,
)

HALL = State(room="hall")
NORTH, SOUTH = Candidate("north", -0.7), Candidate("south", -0.9)
BOTH = [NORTH, SOUTH]
PRESETS = sorted(jitrl.PRESETS)


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
