"""Estimators of the advantage beyond the paper's (`jitrl.update.Paper`), with its signature.

An estimator is a frozen record of its settings with two methods: `abstains(evidence)`, and
`estimator(evidence, rng)` which is only called where it does not abstain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jitrl.update import Estimate, Evidence, counts, standard_errors, weighted_means


class Estimator(Protocol):
    """Turns the evidence on one state into values and advantages of the candidates."""

    def abstains(self, evidence: Evidence) -> bool:
        """Say whether the evidence is too thin, so that the base policy must stand."""

    def __call__(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Estimate values and advantages from evidence on which it does not abstain."""


@dataclass(frozen=True, slots=True)
class Shrunken:
    """The default: means weighted by similarity, and shrunk towards the baseline by evidence.

        V    = sum w_i G_i / sum w_i                     w_i: similarity of neighbour i
        Q(a) = V + n_a / (n_a + pseudo_count) (mean_a - V)     n_a = sum of w_i over a's neighbours
        Q(a) = V + bonus spread / (1 + |N|)                    for an untried action
        A~   = (Q - V) / spread                          spread = max G - min G over the neighbours

    Every A~ of a tried action lies within n_a / (n_a + pseudo_count): one noisy step in a thousand
    or in two moves it by at most 1 / (1 + pseudo_count), never to 1. Deterministic.

    pseudo_count  > 0: steps that the baseline is worth
    bonus         >= 0: optimism about the untried, in units of the spread
    min_evidence  >= 1: abstain with fewer steps than that
    """

    pseudo_count: float = 1.0
    bonus: float = 1.0
    min_evidence: int = 2

    def abstains(self, evidence: Evidence) -> bool:
        """Say whether there are fewer than `min_evidence` neighbours."""
        return len(evidence) < self.min_evidence

    def __call__(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Estimate V, Q and A~; `rng` is not used."""
        V = float(np.average(evidence.returns, weights=evidence.similarity))
        mean, weight = weighted_means(evidence, evidence.similarity)
        spread = float(np.ptp(evidence.returns))
        trust = weight / (weight + self.pseudo_count)
        untried = self.bonus * spread / (1 + len(evidence))
        n = counts(evidence)
        A = np.where(n > 0, trust * (np.where(n > 0, mean, V) - V), untried)
        scaled = A / spread if spread > 0 else np.zeros_like(A)
        return Estimate(V, V + A, n, standard_errors(evidence, n), scaled)
