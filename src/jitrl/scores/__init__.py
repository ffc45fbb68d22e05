"""Where candidates and their base log-probabilities come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from jitrl.records import Observation, Scores

__all__ = ["ScoreSource"]


class ScoreSource(Protocol):
    """Proposes candidates for a state, and scores actions that somebody else proposes."""

    def propose(self, observation: Observation, rng: np.random.Generator) -> Scores:
        """Return candidates for `observation`, at least one, with their log-probabilities."""

    def score(self, observation: Observation, actions: Sequence[str]) -> Mapping[str, float | None]:
        """Return the log-probability of each action, on the scale of the last `propose`.

        None, or a missing key, means that it cannot be executed here.
        """
