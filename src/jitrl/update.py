"""The algorithm: just-in-time reinforcement learning (arXiv 2601.18510), numpy in, numpy out.

One decision, in the order of the paper:

    G = returns(rewards, gamma)                 Eq. 3        of every remembered step
    C = candidate_union(proposed, remembered)   Eq. 23
    V, Q, A~ = Paper(...)(evidence, rng)        Eqs. 4-7, 25 from the neighbours' returns
    beta = beta_within(z, A~, beta, budget, T)               the KL budget, if there is one
    log pi' = log_policy(z, A~, beta, T)        Eqs. 8-12    z'(s,a) = z(s,a) + beta A~(s,a)
    a = C[sample(pi', u)]

Theorem 4.1: for given A and beta > 0 the policy pi' = pi exp(beta A) / Z is the one maximiser of
E_{a~pi'}[A] - KL(pi' || pi) / beta. With a temperature T, pi is softmax(z / T), the step beta / T.

Beyond the paper: KL(pi' || pi) never falls as beta grows, so a budget in nats gives a largest
admissible beta. Nothing here does I/O; randomness is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


# --- returns ----------------------------------------------------------------------------------


def returns(rewards: Sequence[float] | Floats, gamma: float) -> Floats:
    """Return G_t = sum over u >= t of gamma^(u-t) r_u, for every step t. (Eq. 3)

    rewards: shape (T,), finite; gamma in [0, 1]. Result: shape (T,).

    >>> returns([0.0, 0.0, 8.0], gamma=0.5).tolist()
    [2.0, 4.0, 8.0]
    """
    result = np.empty(len(rewards))
    following = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        following = rewards[t] + gamma * following
        result[t] = following
    return result


# --- candidates -------------------------------------------------------------------------------


def candidate_union(proposed: Iterable[str], remembered: Iterable[str]) -> list[str]:
    """Return what the model proposed, then what was remembered and not proposed. (Eq. 23)

    >>> candidate_union(["north", "wait"], ["wait", "open door", "open door"])
    ['north', 'wait', 'open door']
    """
    return list(dict.fromkeys([*proposed, *remembered]))


# --- values and advantages --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """The neighbours N(s) of one state, as arrays over the n remembered steps.

    returns     shape (n,): G of each step
    taken       shape (n,): number of its action, >= 0: below m the candidate of that index, from m
                on the remembered actions that are no candidates
    similarity  shape (n,), in (0, 1]: of its state to the state at hand
    actions     number m of candidates
    weight      shape (n,), in (0, 1]: how much of a step each counts as (`jitrl.trust`); left out,
                each counts as a whole one
    """

    returns: Floats
    taken: Ints
    similarity: Floats
    actions: int
    weight: Floats = field(default_factory=lambda: np.ones(0))

    def __post_init__(self) -> None:
        if len(self.weight) == 0:
            object.__setattr__(self, "weight", np.ones(len(self.returns)))

    def __len__(self) -> int:
        return len(self.returns)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the evidence says of the candidates.

    V            baseline of the state
    Q            shape (m,): value of each candidate
    n            shape (m,): steps behind it
    uncertainty  shape (m,): standard error of Q, inf where n = 0
    A            shape (m,): advantage, normalised: what beta is multiplied with
    """

    V: float
    Q: Floats
    n: Ints
    uncertainty: Floats
    A: Floats


def weighted_means(evidence: Evidence, weights: Floats) -> tuple[Floats, Floats]:
    """Return the weighted mean return of each candidate, nan if untried, and its summed weight.

    weights: shape (n,), positive. Results: shape (m,) each.
    """
    seen = evidence.taken < evidence.actions
    taken, weights, values = evidence.taken[seen], weights[seen], evidence.returns[seen]
    total = np.bincount(taken, weights, minlength=evidence.actions).astype(np.float64)
    summed = np.bincount(taken, weights * values, minlength=evidence.actions)
    mean = np.full(evidence.actions, math.nan)
    np.divide(summed, total, out=mean, where=total > 0)
    return mean, total


def counts(evidence: Evidence) -> Ints:
    """Return the number of steps behind each candidate, shape (m,)."""
    candidates = evidence.taken[evidence.taken < evidence.actions]
    return np.bincount(candidates, minlength=evidence.actions)


def pooled_deviation(evidence: Evidence) -> float:
    """Return the standard deviation of a return about the mean of its action, pooled.

    Pooled over the actions, because most have a step or two; where none was tried twice, it is the
    deviation about the mean of all. 0 where all agree; inf where a single step is all there is.
    Weights count in both means and degrees of freedom, those of an action less sum w^2 / sum w.
    """
    _, group = np.unique(evidence.taken, return_inverse=True)
    if np.all(np.bincount(group) == 1):
        group = np.zeros_like(group)
    weight = evidence.weight
    sizes = np.bincount(group, weight)
    freedom = float(np.sum(weight) - np.sum(np.bincount(group, weight**2) / sizes))
    if freedom <= 0:
        return math.inf
    means = np.bincount(group, weight * evidence.returns) / sizes
    return math.sqrt(float(np.sum(weight * (evidence.returns - means[group]) ** 2)) / freedom)


def standard_errors(evidence: Evidence) -> Floats:
    """Return the standard error of each candidate's mean return, inf if untried; shape (m,).

    The size of a sample is its summed weight: repeating itself makes a capped source no surer.
    """
    _, size = weighted_means(evidence, evidence.weight)
    errors = np.full(len(size), math.inf)
    np.divide(pooled_deviation(evidence), np.sqrt(size), out=errors, where=size > 0)
    return errors


def normalise(A: Floats, eps: float = 1e-8) -> Floats:
    """Return A / (max |A| + eps), in (-1, 1). (Eq. 25)"""
    return A / (float(np.max(np.abs(A), initial=0.0)) + eps)


@dataclass(frozen=True, slots=True)
class Paper:
    """The paper's estimator: plain means, and a bonus for the untried. (Eqs. 4-7, 25)

    explore  lambda in [0, 1]: probability that an untried action is valued V + alpha / |N(s)|
             instead of 0 (0.65 on Jericho, 0.05 on WebArena)
    alpha    size of that bonus, in units of return
    """

    explore: float = 0.65
    alpha: float = 5.0

    def abstains(self, evidence: Evidence) -> bool:
        """Say whether the base policy must stand: where there is no neighbour."""
        return len(evidence) == 0

    def __call__(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Estimate V, Q and A~ from at least one neighbour."""
        V = float(np.average(evidence.returns, weights=evidence.weight))  # Eq. 4
        Q, _ = weighted_means(evidence, evidence.weight)  # Eq. 5
        n = counts(evidence)
        lucky = rng.random(evidence.actions) < self.explore
        bonus = self.alpha / float(np.sum(evidence.weight))
        untried = np.where(lucky, V + bonus, 0.0)  # Eq. 6
        Q = np.where(n > 0, Q, untried)
        A = normalise(Q - V)  # Eqs. 7, 25
        return Estimate(V, Q, n, standard_errors(evidence), A)


# --- the closed-form update -------------------------------------------------------------------


def log_policy(z: Floats, A: Floats, beta: float, temperature: float) -> Floats:
    """Return log pi'(a) = log softmax((z + beta A) / T): the closed form. (Eqs. 8-12)

    z: shape (m,), log-probabilities up to a common constant, finite, or -inf for the impossible;
    A: shape (m,), finite; beta >= 0; temperature > 0. With beta = 0, or A the same for all, this is
    log softmax(z / T) to the last bit.
    """
    with np.errstate(over="ignore"):  # a difference beyond the largest float is -inf, as it should
        shifted = z - np.max(z) + beta * (A - np.max(A))
        shifted = (shifted - np.max(shifted)) / temperature
    return np.asarray(shifted - math.log(float(np.sum(np.exp(shifted)))))


def kl(log_p: Floats, log_q: Floats) -> float:
    """Return KL(p || q) in nats: 0.0 if they are equal, inf where p has mass and q has none."""
    p, q = np.exp(log_p), np.exp(log_q)
    if np.any((p > 0) & np.isneginf(log_q)):
        return math.inf
    shared = p > 0
    d = log_p[shared] - log_q[shared]
    # each term p d - p + q is >= 0; for small d it would cancel, so it is written in d alone
    small = q[shared] * (d * np.exp(np.minimum(d, 1.0)) - np.expm1(np.minimum(d, 1.0)))
    terms = np.where(np.abs(d) < 0.1, small, p[shared] * d - p[shared] + q[shared])
    return max(0.0, float(np.sum(terms) + np.sum(q[~shared])))


def beta_within(
    z: Floats, A: Floats, beta: float, budget: float | None, temperature: float
) -> float:
    """Return the smaller of `beta` and the largest step whose KL(pi' || pi) is within `budget`.

    budget: nats >= 0, or None for no limit. KL never falls as beta grows, so bisection finds the
    step, down to neighbouring floats and from below: the budget is never exceeded. Within it the
    total variation between the policies is at most sqrt(budget / 2) (Pinsker).
    """
    base = log_policy(z, A, 0.0, temperature)

    def within(step: float) -> bool:
        return budget is None or kl(log_policy(z, A, step, temperature), base) <= budget

    if budget == 0.0:
        return 0.0
    if within(beta):
        return beta
    low, high = 0.0, beta
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def beta_for_any_base(A: Floats, beta: float, budget: float | None, temperature: float) -> float:
    """Return the smaller of `beta` and a step that keeps the budget whatever the base policy is.

    For where the base logits are not known beforehand. With R = max A - min A and s = beta / T, KL
    is the integral of t Var_t(A) over t from 0 to s, and a variance is at most R^2 / 4 (Popoviciu):
    KL <= s^2 R^2 / 8. Also log(pi' / pi) <= s R. The larger of the two steps is taken.
    """
    R = float(np.max(A) - np.min(A))
    if budget is None or R == 0.0:
        return beta
    return min(beta, temperature * max(math.sqrt(8 * budget), budget) / R)


# --- selection --------------------------------------------------------------------------------


def sample(p: Floats, u: float) -> int:
    """Return the index where the cumulative probability passes u, with u uniform in [0, 1).

    One u for two policies couples their draws: where they agree, so do the choices.

    >>> sample(np.array([0.25, 0.0, 0.75]), 0.25)
    2
    """
    cumulative = np.cumsum(p)
    index = int(np.searchsorted(cumulative, u * cumulative[-1], side="right"))
    return min(index, int(np.flatnonzero(p)[-1]))  # u * total may round up to the total
