"""The features of a text: salted 64-bit hashes of its numbered n-grams.

Occurrences of an n-gram within a text are numbered (g, g#1, g#2 ...), so that the Jaccard
similarity of multisets becomes that of plain sets. Two different n-grams share a hash with a chance
of 2**-64: among fifty million n-grams, more than a memory of a million states holds, some pair
does with a chance of 1 in 15,000, and then it matters only where the two meet. The salt is drawn
anew for every index, so that nobody can look for texts that collide.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from jitrl.memory.index.kernels import Kernels
from jitrl.similarity import words
from jitrl.update import Ints

Hashes = NDArray[np.uint64]
Key = TypeVar("Key")
Value = TypeVar("Value")
_MOST_WORDS = 300_000
_MOST_TEXTS = 2_000


def new_salt() -> bytes:
    """Return the salt of a new index."""
    return secrets.token_bytes(16)


class Recent(OrderedDict[Key, Value], Generic[Key, Value]):
    """A dictionary that keeps the `most` entries that were set last."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            self.popitem(last=False)


class Features:
    """Turns texts into features under one salt. Safe for use from several threads."""

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self._words = _WordHashes(lambda word: self._hash(words(word)[0], b"word"))
        self._asked: Recent[tuple[str, int, bool], Hashes] = Recent(_MOST_TEXTS)

    def digest(self, text: str) -> int:
        """Return the hash of a text as it stands: equal texts, equal digests."""
        return self._hash(text, b"text")

    def of(
        self, texts: Sequence[str], n: int, multiset: bool, kernels: Kernels
    ) -> tuple[Hashes, Ints]:
        """Return the features of all texts, one after the other, and how many each one has."""
        hashes = self._words
        if len(hashes) > _MOST_WORDS:
            hashes.clear()
        codes: list[int] = []
        lengths = np.zeros(len(texts), dtype=np.int64)
        for i, text in enumerate(texts):
            # `similarity.words` works word by word, so a word at a time can be remembered
            found = [hashes[word] for word in text.casefold().split()]
            codes += found
            lengths[i] = len(found)
        longest = max(1, int(lengths.max(initial=0)))
        return kernels.grams(np.array(codes, dtype=np.uint64), lengths, min(n, longest), multiset)

    def asked(self, text: str, n: int, multiset: bool, kernels: Kernels) -> Hashes:
        """Return the features of one text, sorted; remembered for a while."""
        key = (text, n, multiset)
        found = self._asked.get(key)
        if found is None:
            found = np.sort(self.of([text], n, multiset, kernels)[0])
            self._asked[key] = found
        return found

    def _hash(self, text: str, kind: bytes) -> int:
        raw = text.encode("utf-8", "surrogatepass")
        return int.from_bytes(
            blake2b(raw, digest_size=8, key=self.salt, person=kind).digest(), "little"
        )


class _WordHashes(dict[str, int]):
    def __init__(self, hash: Callable[[str], int]) -> None:
        super().__init__()
        self._hash = hash

    def __missing__(self, word: str) -> int:
        self[word] = found = self._hash(word)
        return found
