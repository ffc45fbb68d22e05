"""Other ways to find the neighbours of a state: some are recalled, then ranked by the definition.

definition  every state is compared, by `jitrl.similarity`
faiss       the 100 nearest by inner product of dense vectors, as in the released design; hashed
            bags of words, 512 wide, stand in for its embeddings
bm25s, fts5  the 100 best by BM25 over the n-grams that the definition compares (libraries bm25s,
            and SQLite's FTS5)
"""

from __future__ import annotations

import importlib
import importlib.util
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
from memory_data import STEPS, Data, queries, states
from memory_parts import K, clock, held

from jitrl.presets import PRESETS
from jitrl.records import State
from jitrl.similarity import grams, similarity, words

FIELDS = PRESETS["paper"].fields
RECALLED = 100
_DIMENSIONS = 512


class Arm(Protocol):
    """Finds states that may be similar."""

    def add(self, states: Sequence[State]) -> None:
        """Add states, numbered on from those that are there; some can do it once only."""

    def recall(self, state: State) -> Iterable[int]:
        """Return the numbers of the states to be ranked."""


class Definition:
    """Recalls everything."""

    appends = False

    def __init__(self) -> None:
        self._count = 0

    def add(self, states: Sequence[State]) -> None:
        """Add states."""
        self._count += len(states)

    def recall(self, state: State) -> Iterable[int]:
        """Return every number."""
        return range(self._count)


class Faiss:
    """Flat search over dense vectors, on one thread."""

    appends = True

    def __init__(self) -> None:
        faiss = importlib.import_module("faiss")
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexFlatIP(_DIMENSIONS)

    def add(self, states: Sequence[State]) -> None:
        """Add states."""
        self._index.add(np.array([self._vector(state) for state in states]))

    def recall(self, state: State) -> Iterable[int]:
        """Return the nearest."""
        found: list[int] = self._index.search(self._vector(state)[None], RECALLED)[1][0].tolist()
        return found

    @staticmethod
    def _vector(state: State) -> Any:
        found = np.zeros(_DIMENSIONS, dtype=np.float32)
        for text in state.values():
            for word in words(text):
                found[crc32(word.encode()) % _DIMENSIONS] += 1
        return found / max(float(np.linalg.norm(found)), 1.0)


class Bm25s:
    """BM25 by bm25s, with numba where it is installed; it cannot append."""

    appends = False

    def __init__(self) -> None:
        self._bm25s = importlib.import_module("bm25s")
        fast = importlib.util.find_spec("numba") is not None
        self._index = self._bm25s.BM25(backend="numba" if fast else "numpy")

    def add(self, states: Sequence[State]) -> None:
        """Add states."""
        self._index.index([_tokens(state) for state in states], show_progress=False)

    def recall(self, state: State) -> Iterable[int]:
        """Return the best."""
        tokens = list(dict.fromkeys(_tokens(state)))
        found = self._index.retrieve([tokens], k=RECALLED, show_progress=False, n_threads=1)
        numbers: list[int] = found.documents[0].tolist()
        return numbers


class Fts5:
    """BM25 by SQLite's full-text index, in a file."""

    appends = True

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._db = sqlite3.connect(Path(self._folder.name) / "fts.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("CREATE VIRTUAL TABLE found USING fts5(tokens, content='')")
        self._numbers: dict[str, int] = {}
        self._count = 0

    def add(self, states: Sequence[State]) -> None:
        """Add states."""
        self._db.execute("BEGIN")
        for state in states:
            tokens = _tokens(state)
            for token in tokens:
                self._numbers.setdefault(token, len(self._numbers))
            text = " ".join(f"t{self._numbers[token]}" for token in tokens)
            self._db.execute("INSERT INTO found(rowid, tokens) VALUES (?, ?)", (self._count, text))
            self._count += 1
        self._db.execute("COMMIT")

    def recall(self, state: State) -> Iterable[int]:
        """Return the best."""
        known = [n for token in set(_tokens(state)) if (n := self._numbers.get(token)) is not None]
        text = " OR ".join(f"t{number}" for number in sorted(known))
        query = f"SELECT rowid FROM found WHERE found MATCH ? ORDER BY rank LIMIT {RECALLED}"
        return [row[0] for row in self._db.execute(query, (text,))]


ARMS: dict[str, Any] = {"definition": Definition, "faiss": Faiss, "bm25s": Bm25s, "fts5": Fts5}
LIBRARIES = {"faiss": "faiss", "bm25s": "bm25s"}


def missing(arm: str) -> bool:
    """Say whether the library of an arm is not installed."""
    return arm in LIBRARIES and importlib.util.find_spec(LIBRARIES[arm]) is None


def _tokens(state: State) -> list[str]:
    """Return the n-grams that the definition compares, as tokens, as often as they occur."""
    return [
        f"{field.name} {' '.join(gram)}"
        for field in FIELDS
        for gram in grams(state[field.name], field.n).elements()
    ]


def measure(name: str, data: Data, steps: int, n: int) -> dict[str, Any]:
    """Build an arm from the distinct states of a memory, and ask it.

    recall, rank  kind of query -> seconds of each
    levels        the similarities of the best ten found, for each query
    append        seconds to add 50 states, None where it cannot be done
    own           MB of RAM that the arm holds, the states themselves not counted
    """
    stored = steps // STEPS
    known = list(dict.fromkeys(s for e in range(stored) for s in states(data, e)))
    asked = queries(data, stored, n)
    before = held()["own"]
    begin = clock()
    arm = ARMS[name]()
    kept = len(known) - 20 * STEPS if arm.appends and len(known) > 40 * STEPS else len(known)
    arm.add(known[:kept])
    build = clock() - begin
    own = held()["own"] - before
    appends = []
    for place in range(kept, len(known), STEPS):
        begin = clock()
        arm.add(known[place : place + STEPS])
        appends.append(clock() - begin)
    list(arm.recall(known[0]))  # what is compiled or loaded at the first call
    result: dict[str, Any] = {"recall": {}, "rank": {}, "levels": {}}
    for kind in ("revisit", "new"):
        recalled, ranked, levels = [], [], []
        for state in asked[kind]:
            begin = clock()
            found = list(arm.recall(state))
            between = clock()
            scores = sorted((similarity(state, known[i], FIELDS) for i in found), reverse=True)
            ranked.append(clock() - between)
            recalled.append(between - begin)
            levels.append(scores[:K])
        result["recall"][kind], result["rank"][kind] = recalled, ranked
        result["levels"][kind] = levels
    return result | {"build": build, "own": own, "append": appends or None}
