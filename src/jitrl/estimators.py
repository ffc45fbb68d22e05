"""Estimators of the advantage beyond the paper's (`jitrl.update.Paper`), with its signature.

An estimator is a frozen record of its settings with two methods: `abstains(evidence)`, and
`estimator(evidence, rng)` which is only called where it does not abstain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from jitrl.update import (
    Estimate,
    Evidence,
    counts,
    pooled_deviation,
    standard_errors,
    weighted_means,
)


class Estimator(Protocol):
    """Turns the evidence on one state into values and advantages of the candidates."""

    def abstains(self, evidence: Evidence) -> bool:
        """Say whether the evidence is too thin, so that the base policy must stand."""

    def __call__(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Estimate values and advantages from evidence on which it does not abstain."""


@dataclass(frozen=True, slots=True)
class Shrunken:
    """The default: action means, shrunk towards a common baseline by how little evidence they have.

        mean_a = sum w_i G_i / n_a,  n_a = sum w_i       over a's neighbours: w_i their similarity,
                                                         times the weight of `Evidence`
        t_a    = n_a / (n_a + pseudo_count)              trust in it, below 1
        V      = sum t_a mean_a / sum t_a                over the actions tried
        Q(a)   = V + t_a (mean_a - V)
        A~     = (Q - V) / (D + S)                       D = max |mean_a - V|,
                                                         S = standard error of an average mean
        A~     = bonus / sqrt(1 + |N|)                   for an untried action: Q = V + A~ (D + S);
                                                         |N| is the sum of the weights

    V and Q are the best linear predictor of a one-way random-effects model in which `pseudo_count`
    is the variance within an action over that between actions (Robinson 1991,
    doi:10.1214/ss/1177011926). The baseline weighs actions, not steps: else an action that memory
    itself made frequent would raise the bar until the untried look as good. Dividing by D alone, as
    Eq. 25 does, blows noise up to 1; S holds a difference down that does not exceed its own error.
    |A~| of a tried action is below t_a: a single noisy step moves it by 1 / (1 + pseudo_count) at
    most, however large its return. Deterministic; unmoved by a change of the rewards' unit or zero.

    pseudo_count  > 0: steps that the baseline is worth
    bonus         >= 0: optimism about the untried, in units of A~
    min_evidence  >= 1: abstain with fewer steps than that
    """

    pseudo_count: float = 1.0
    bonus: float = 0.25
    min_evidence: int = 2

    def abstains(self, evidence: Evidence) -> bool:
        """Say whether there are fewer than `min_evidence` neighbours."""
        return len(evidence) < self.min_evidence

    def __call__(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Estimate V, Q and A~; `rng` is not used."""
        everything = replace(
            evidence,
            returns=evidence.returns - evidence.returns[0],  # equal returns differ by exactly 0
            actions=max(evidence.actions, 1 + int(evidence.taken.max())),
        )
        mean, weight = weighted_means(everything, everything.weight * everything.similarity)
        trust = weight / (weight + self.pseudo_count)
        baseline = float(np.nansum(trust * mean) / np.sum(trust))
        deviation = pooled_deviation(everything)
        tried = int(np.sum(weight > 0))
        size = float(np.sum(evidence.weight))
        noise = deviation * math.sqrt(tried / size) if math.isfinite(deviation) else 0.0
        rounding = 1e-9 * float(np.max(np.abs(evidence.returns)))
        scale = float(np.nanmax(np.abs(mean - baseline))) + noise + rounding
        n = counts(evidence)
        gap = (trust * (mean - baseline))[: evidence.actions]
        untried = self.bonus / math.sqrt(1 + size)
        A = np.where(n > 0, gap / scale if scale > 0 else 0.0, untried)
        V = baseline + float(evidence.returns[0])
        return Estimate(
            V, V + np.where(n > 0, gap, untried * scale), n, standard_errors(evidence), A
        )
