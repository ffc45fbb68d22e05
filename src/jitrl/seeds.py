"""Where randomness comes from: one generator per (seed, episode, purpose).

Nothing is drawn from a generator of an earlier episode, so an episode can be replayed, and a run
continued, without replaying what came before.
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, episode: int, purpose: str) -> np.random.Generator:
    """Return the generator for one purpose ("choose", "proposals", ...) within one episode.

    `seed` and `episode` are integers >= 0; equal arguments give equal streams on every machine.

    >>> a, b = generator(0, 3, "choose"), generator(0, 3, "choose")
    >>> bool(a.random() == b.random())
    True
    """
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed, episode, word]))


def integer(seed: int, episode: int, purpose: str) -> int:
    """Return one integer in [1, 2**31 - 1), for engines that are seeded by a number of their own.

    Never 0, which some engines read as "choose a seed yourself".
    """
    return int(generator(seed, episode, purpose).integers(1, 2**31 - 1))
