"""A policy over token sequences that is small enough to list in full."""

from __future__ import annotations

import itertools

import numpy as np

END = 0


def random_tree(rng, vocabulary, depth, concentration=0.7):
    """Return prefix -> log p of the next token; the end is forced as the last of `depth` tokens."""
    tree = {}
    for length in range(depth):
        for prefix in itertools.product(range(1, vocabulary), repeat=length):
            p = rng.dirichlet(np.full(vocabulary, concentration))
            tree[prefix] = np.log(np.maximum(p, 1e-300))
            if length == depth - 1:
                tree[prefix] = np.full(vocabulary, -np.inf)
                tree[prefix][END] = 0.0
    return tree


def sequences(tree):
    """Return every complete sequence of the tree."""
    return [(*prefix, END) for prefix in tree]


def token_logprobs(tree, sequence):
    return np.array([tree[sequence[:i]][token] for i, token in enumerate(sequence)])


def modulated(tree, known):
    """Return the tree with the corrections added and each distribution normalised again."""
    result = {}
    for prefix, logp in tree.items():
        shifted = logp.copy()
        tokens, log_psi = known.corrections(prefix)
        shifted[tokens] += log_psi
        result[prefix] = shifted - np.logaddexp.reduce(shifted)
    return result


def closed_form(log_p, tilts):
    """Return log(p exp(tilt) / Z) over everything, written down as in the theorem."""
    weight = np.asarray(log_p) + np.asarray(tilts)
    return weight - np.logaddexp.reduce(weight)


def assert_same_policy(found, wanted, tolerance=1e-9):
    """Compare log-policies: probabilities to the tolerance, also relative to their own size."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    np.testing.assert_allclose(np.exp(found), np.exp(wanted), rtol=0, atol=tolerance)
    seen = wanted > -100
    np.testing.assert_allclose(found[seen], wanted[seen], rtol=0, atol=100 * tolerance)
