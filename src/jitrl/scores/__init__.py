"""Where candidates and their base log-probabilities come from, each with its guarantee.

Two contracts. A `ScoreSource` lists candidates with their log-probabilities, and the learner draws
from the updated policy. A `Sampler` is told what the memory adds, and lets the model draw from the
updated policy itself: inside free-form generation, or on a server.

A source of another package is found through the entry-point group `jitrl.scores`: a function
`make(model: Model | None, options: Options) -> ScoreSource | Sampler`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np

from jitrl.errors import InvalidValue, UnknownName
from jitrl.models import Model
from jitrl.records import Guarantee, Modulation, Scores, Situation
from jitrl.registry import registered

__all__ = ["Options", "Sampled", "Sampler", "ScoreSource", "make", "names"]


@dataclass(frozen=True, slots=True)
class Options:
    """What sources may be told; each one takes what concerns it.

    proposals     >= 1: how many candidates are proposed
    samples       >= 1: answers of which frequencies are taken
    window        >= 0: steps of the episode that the model is shown
    top_logprobs  >= 1: how many log-probabilities the model reports at a token
    max_tokens    >= 1: of an answer with reasons
    """

    proposals: int = 3
    samples: int = 10
    window: int = 10
    top_logprobs: int = 20
    max_tokens: int = 600


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


def names() -> list[str]:
    """Return the sources that are installed."""
    return list(registered("jitrl.scores"))


def make(name: str, model: Model | None, options: Options) -> ScoreSource | Sampler:
    """Return the source of that name.

    A ScoreSource with a model is wrapped in `jitrl.scores.proposing.Proposing`, which lets the
    model write actions where the world reads more than it lists.

    Raises UnknownName for one that is not installed, InvalidValue where it needs a model and there
    is none, or cannot use this one.
    """
    points = registered("jitrl.scores")
    if name not in points:
        raise UnknownName("scores", name, list(points))
    if name != "prior" and model is None:
        raise InvalidValue("scores", name, "needs a model: name one with --model")
    source = cast("ScoreSource | Sampler", points[name].load()(model, options))
    if model is None or isinstance(source, Sampler):
        return source
    from jitrl.scores import proposing  # it builds on these contracts

    return proposing.make(model, source, options)
