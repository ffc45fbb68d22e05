"""The rules of the authors' released code, kept apart so that they can be measured against.

They differ from the paper, and from what the theorem proves (`jitrl.update`): the advantage is
added to a probability and the largest sum is taken, one good sample always becomes +1, and a
future reward of zero is replaced by the step's own. Described from facts about the code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jitrl.update import Estimate, Evidence, Floats, counts, standard_errors, weighted_means


def returns(rewards: Sequence[float] | Floats, gamma: float) -> Floats:
    """Return discounted returns in which a zero future reward counts as the step's own reward.

    >>> returns([4.0, 0.0, 0.0], gamma=0.5).tolist()
    [7.0, 0.0, 0.0]
    """
    r = np.asarray(rewards, dtype=np.float64)
    discounts = gamma ** np.arange(len(r))
    result = np.empty(len(r))
    for t in range(len(r)):
        future = np.where(r[t:] == 0.0, r[t], r[t:])
        result[t] = float(np.sum(discounts[: len(r) - t] * future))
    return result


def normalise(A: Floats) -> Floats:
    """Return A over its largest positive value; over |min A| where nothing is positive."""
    largest, smallest = float(np.max(A)), float(np.min(A))
    scale = largest if largest > 0 else -smallest
    return A / scale if scale > 0 else np.zeros_like(A)


def log_policy(p: Floats, A: Floats, beta: float) -> Floats:
    """Return the log of the policy that takes the first action with the largest p + beta A.

    >>> np.exp(log_policy(np.array([0.90, 0.06, 0.04]), np.array([-1.0, 1.0, 0.0]), 1.0)).tolist()
    [0.0, 1.0, 0.0]
    """
    result = np.full(len(p), -math.inf)
    result[int(np.argmax(p + beta * A))] = 0.0
    return result


@dataclass(frozen=True, slots=True)
class Released:
    """Advantages as the released code estimates them.

    explore  probability that an untried action is valued V + alpha / |N(s)| instead of 0; None for
             the adaptive probability of the Jericho code
    alpha    size of that bonus, in units of return
    """

    explore: float | None = None
    alpha: float = 1.0

    def abstains(self, evidence: Evidence) -> bool:
        """Say whether the base policy must stand: where there is no neighbour."""
        return len(evidence) == 0

    def __call__(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Estimate V, Q and A~ from at least one neighbour."""
        V = float(np.average(evidence.returns, weights=evidence.weight))
        mean, size = weighted_means(evidence, evidence.weight)
        n = counts(evidence)
        explore = self._adaptive(evidence, mean, size) if self.explore is None else self.explore
        lucky = rng.random(evidence.actions) < explore
        bonus = self.alpha / float(np.sum(evidence.weight))
        Q = np.where(n > 0, mean, np.where(lucky, V + bonus, 0.0))
        if np.any(n == 0):
            V = float(np.mean(np.where(n > 0, mean, 0.0)))
        return Estimate(V, Q, n, standard_errors(evidence), normalise(Q - V))

    @staticmethod
    def _adaptive(evidence: Evidence, mean: Floats, size: Floats) -> float:
        """Return clip(1 / (1 + c), 0.05, 0.8), c the confidence in the best action tried twice."""
        confidence = 0.0
        for action in np.flatnonzero(counts(evidence) >= 2):
            mine = evidence.taken == action
            spread = _deviation(evidence.returns[mine], evidence.weight[mine])
            level = max(0.0, float(mean[action]))
            if level > 0:
                steadiness = (level / (1 + spread / level)) ** 0.65
                confidence = max(confidence, steadiness * max(float(size[action]) / 4, 1))
        return min(max(1 / (1 + confidence), 0.05), 0.8)


def _deviation(values: Floats, weights: Floats) -> float:
    """Return the standard deviation about the mean, both weighted."""
    squares = (values - np.average(values, weights=weights)) ** 2
    return math.sqrt(float(np.average(squares, weights=weights)))
