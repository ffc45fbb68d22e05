"""Exact token-level modulation: what to add to a token's logit so that whole actions follow pi'.

Known actions K are token sequences, each ended by a terminator, so that none begins with another.
pi is a policy over all token sequences, p(t | x) its next-token probabilities at prefix x, *after*
temperature and truncation. Wanted is pi' = pi exp(tilt) / Z over whole sequences (Eqs. 8-12), with
tilt = beta A / T for a in K and 0 for every other sequence. Sampling token by token from
p(t | x) psi(x t) / psi(x) does it, where psi is the expected exp(tilt) of what is still to come:

    psi(x) = exp(tilt(a))                  where x is a, complete
    psi(x) = 1                             where no action of K begins with x
    psi(x) = sum over t of p(t | x) psi(x t)
           = 1 - sum_c p(c | x) + sum_c p(c | x) psi(x c), over the tokens c that K goes on with

which is 1 + sum over a in K of p(a | x) (exp(tilt(a)) - 1), without its cancellations. So log psi
is 0 for every token that no known action goes through, and psi of the empty prefix is Z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jitrl import update
from jitrl.errors import InvalidValue
from jitrl.update import Floats

__all__ = ["Known"]


@dataclass(slots=True)
class _Node:
    """A prefix that known actions go through; `action` is the number of the one that ends there."""

    logprob: float = 0.0
    children: dict[int, _Node] = field(default_factory=dict)
    action: int | None = None
    log_psi: float = 0.0
    log_rest: float = -math.inf


class Known:
    """Known actions K under one prompt, with what the memory adds to each.

    sequences  n token-id sequences, each ended by its terminator; none may begin with another
    logprobs   of each sequence, its tokens' log-probabilities under pi: -inf for what truncation
               excludes. A prefix that several share has the values of the first.
    tilts      shape (n,): beta (A(a) - A(everything else)) / T, finite
    log_p      shape (n,): log pi(a) of each
    log_Z      log of the normaliser Z: log pi' of a sequence that is not in K is log pi - log Z
    log_rest   log of the probability pi of everything that is not in K; -inf if nothing is left

    Raises InvalidValue for shapes that differ, an empty or repeated sequence, one that begins with
    another, a positive or nan log-probability, a tilt that is not finite. n = 0 changes nothing.

    >>> k = Known([(5, 1), (5, 2, 1)], [np.log([0.5, 0.5]), np.log([0.5, 0.4, 1.0])], [0.0, 3.0])
    >>> tokens, log_psi = k.corrections([5])
    >>> tokens, log_psi.tolist()
    ([1, 2], [0.0, 3.0])
    >>> k.corrections([7])[0]
    []
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        logprobs: Sequence[Sequence[float] | Floats],
        tilts: Sequence[float] | Floats,
    ) -> None:
        if not len(sequences) == len(logprobs) == len(tilts):
            sizes = (len(sequences), len(logprobs), len(tilts))
            raise InvalidValue("sequences, logprobs, tilts", sizes, "must be of one length")
        self.sequences = tuple(tuple(int(token) for token in sequence) for sequence in sequences)
        self.logprobs = tuple(np.asarray(values, dtype=np.float64) for values in logprobs)
        self.tilts = np.asarray(tilts, dtype=np.float64)
        if not np.all(np.isfinite(self.tilts)):
            raise InvalidValue("tilts", self.tilts.tolist(), "must be finite")
        self._root = _Node()
        self.log_p = np.array([self._insert(i) for i in range(len(self.sequences))])
        self._fold()
        self.log_Z, self.log_rest = self._root.log_psi, self._root.log_rest

    def _insert(self, action: int) -> float:
        """Add one sequence to the tree; return its log-probability."""
        sequence, values = self.sequences[action], self.logprobs[action]
        if not sequence or values.shape != (len(sequence),):
            raise InvalidValue("sequence", sequence, f"must have one logprob a token, not {values}")
        if np.any(np.isnan(values)) or np.any(values > 1e-6):  # a rounded 0 may lie above it
            raise InvalidValue("logprobs", values.tolist(), "must be at most 0, and never nan")
        node, total = self._root, 0.0
        for token, logprob in zip(sequence, np.minimum(values, 0.0).tolist(), strict=True):
            if node.action is None:
                node = node.children.setdefault(token, _Node(logprob))
                total += node.logprob
        if node.children or node.action is not None:
            raise InvalidValue("sequence", sequence, "must neither repeat nor begin another one")
        node.action = action
        return total

    def _fold(self) -> None:
        """Set log psi and log rest of every node, from the ends of the actions back."""
        nodes = [self._root]
        for node in nodes:
            nodes.extend(node.children.values())
        for node in reversed(nodes):
            children = node.children.values()
            if node.action is not None:
                node.log_psi = float(self.tilts[node.action])
            else:
                log_p = np.array([child.logprob for child in children])
                node.log_psi = _expected(log_p, np.array([child.log_psi for child in children]))
                node.log_rest = _expected(log_p, np.array([child.log_rest for child in children]))

    def __len__(self) -> int:
        return len(self.sequences)

    def corrections(self, prefix: Sequence[int]) -> tuple[list[int], Floats]:
        """Return (tokens, log psi(prefix + token)): what to add to their log p; others get 0.

        `prefix` is what was generated so far. Added to the logits of a model, before a temperature
        T, it is T log psi.
        """
        node = self._root
        for token in prefix:
            if token not in node.children:
                return [], np.empty(0)
            node = node.children[token]
        return list(node.children), np.array([child.log_psi for child in node.children.values()])

    def policies(self) -> tuple[Floats, Floats]:
        """Return (log pi, log pi'), shape (n + 1,) each: of K, and of everything else, last."""
        z = np.append(self.log_p, self.log_rest)
        tilts = np.append(self.tilts, 0.0)
        return update.log_policy(z, tilts, 0.0, 1.0), update.log_policy(z, tilts, 1.0, 1.0)

    @property
    def kl(self) -> float:
        """KL(pi' || pi) over all sequences, in nats."""
        before, after = self.policies()
        return update.kl(after, before)


def _expected(log_p: Floats, log_psi: Floats) -> float:
    """Return log(1 - sum p + sum p psi), psi being 1 for what is not listed."""
    if np.all(np.abs(log_psi) < 0.5):  # exactly 0 where every psi is 1, and precise near it
        return math.log1p(float(np.sum(np.exp(log_p) * np.expm1(log_psi))))
    gap = 1.0 - float(np.sum(np.exp(log_p)))  # rounding may bring it below 0
    log_gap = math.log(gap) if gap > 0.0 else -math.inf
    return float(np.logaddexp.reduce([log_gap, *(log_p + log_psi)]))
