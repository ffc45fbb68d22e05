"""Where candidates and their base log-probabilities come from, each with its guarantee.

Two contracts. A `ScoreSource` lists candidates with their log-probabilities, and the learner draws
from the updated policy. A `Sampler` is told what the memory adds, and lets the model draw from the
updated policy itself: inside free-form generation, or on a server.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from jitrl.records import Guarantee, Modulation, Scores, Situation

__all__ = ["Sampled", "Sampler", "ScoreSource"]


class ScoreSource(Protocol):
    """Proposes candidates for a state, and scores remembered actions beside them.

    `jitrl.testing.check_scores` checks one.
    """

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return at least one candidate, with log-probabilities.

        Of `situation.remembered`, what can be executed here and was scored on the same scale is in
        `Scores.remembered`, unless it is a candidate; what is missing there stays out.
        """


@dataclass(frozen=True, slots=True)
class Sampled:
    """An action that a model drew from the updated policy.

    before, after  action -> probability of the drawn action, and of every action with an advantage
    outside        (before, after): probability of everything that is not listed
    beta           the step size that was used, within the budget
    unlisted       where the policies are those over the listed actions alone: probability that the
                   model gave to anything else; nan where unknown
    """

    action: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    outside: tuple[float, float]
    beta: float
    guarantee: Guarantee
    unlisted: float = math.nan


@runtime_checkable
class Sampler(Protocol):
    """Draws an action from the policy pi' = pi exp(beta A / T) / Z of a modulation (Eqs. 8-12)."""

    async def sample(
        self, situation: Situation, modulation: Modulation, rng: np.random.Generator
    ) -> Sampled:
        """Return what was drawn, and the probabilities it was drawn with."""
