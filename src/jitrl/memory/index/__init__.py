"""The exact index of a memory: the neighbours of a state, as `jitrl.similarity` defines them.

It reads what changed in the memory since the last look, and keeps the distinct states apart from
the steps: `features` turns texts into hashes, `tail` and `segment` hold the states, `search` finds
the nearest ones, `evidence` says which steps they were followed by, `engine` ties them together,
`upkeep` and `folder` keep them in shape, and beside the memory.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np

from jitrl.errors import InvalidValue, MemoryUnavailable, NotAMemory, StoreError
from jitrl.memory.contract import Memory, Pulse
from jitrl.memory.index.engine import Engine, Moved
from jitrl.memory.index.evidence import Moment, ReturnsRule, Stale
from jitrl.memory.index.features import Features, new_salt
from jitrl.memory.index.folder import Folder
from jitrl.memory.index.kernels import Ints32, Kernels, Numpy, numba
from jitrl.memory.index.search import Floor
from jitrl.memory.index.upkeep import Upkeep
from jitrl.records import Experience, State
from jitrl.similarity import Field
from jitrl.update import Floats, Ints

__all__ = ["Backend", "Cut", "Index", "ReturnsRule", "View"]

log = logging.getLogger(__name__)

Backend = Literal["auto", "numpy", "numba"]
_TRIES = 5
_WASTED = 0.5  # share of steps that are gone for good: begin anew
_WASTED_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Which states of a ranking are neighbours.

    threshold   in [0, 1]: least similarity; similarity 0 is never enough
    k           at most so many, None for no limit
    counts      what k counts: distinct "states" (each with all its steps), or "steps"
    keep_above  neighbours at least this similar are kept beyond k, None for none
    per_action  of one state at most so many steps of each action exist, the newest; None for all
    """

    threshold: float
    k: int | None
    counts: str
    keep_above: float | None = None
    per_action: int | None = None


class Index:
    """Finds the neighbours of a state among the steps of a memory.

    memory   whose episodes are read
    fields   how states are compared
    returns  turns rewards and judged scores (nan for none) of an episode, shape (T,) each, into
             returns, shape (T,); nan for a step that is no evidence: it is left out
    backend  "numpy", "numba", or "auto": numba where it is installed and repays its import

    Safe for use from several threads, not across a fork. Raises InvalidValue, and MissingExtra
    where numba is wanted and not installed.
    """

    def __init__(
        self,
        memory: Memory,
        fields: Sequence[Field],
        returns: ReturnsRule,
        *,
        backend: Backend = "auto",
    ) -> None:
        if backend not in get_args(Backend):
            raise InvalidValue("backend", backend, f"must be one of {', '.join(get_args(Backend))}")
        self._memory = memory
        self._fields = tuple(fields)
        self._returns = returns
        self._kernels: Kernels = numba() if backend == "numba" else Numpy()
        self._faster = backend == "auto" and find_spec("numba") is not None
        self._refreshing = threading.RLock()
        self._pid = os.getpid()
        self._closed = False
        self._distrust = False  # what is saved: it has been contradicted
        self._engine: Engine | None = None
        self._upkeep: Upkeep | None = None
        self._folder: Folder | None = None

    @property
    def episodes(self) -> int:
        """How many episodes the memory held at the last refresh, present or not."""
        return 0 if self._engine is None else self._engine.evidence.known

    def refresh(self) -> View:
        """Read what has changed in the memory, and return what is there now.

        Raises what the memory raises, and NotAMemory where its parts contradict each other.
        """
        self._usable()
        with self._refreshing:
            for _ in range(_TRIES):
                before = self._memory.pulse()
                read = self._catch_up(before)
                after = self._memory.pulse()
                if read is None or before.epoch != after.epoch:
                    continue
                engine, anew = read
                # where others wrote meanwhile the count says nothing; to read on is to chase them
                if before.revision != after.revision or self.episodes == after.episodes:
                    if self._upkeep is not None:
                        self._upkeep.begin()
                    return View(engine, engine.moment(), self._usable)
                if anew:
                    raise NotAMemory(
                        f"the memory counts {after.episodes} episodes and tells of "
                        f"{self.episodes}: it is damaged, repair it or restore a copy"
                    )
                self._distrust = True
            raise MemoryUnavailable(
                "the memory changes all the time, or is damaged: try again, or repair it"
            )

    def close(self) -> None:
        """Save what is not saved yet, and free what is held; calling it twice is harmless."""
        if self._pid != os.getpid():
            return
        with self._refreshing:
            self._closed = True
            engine, upkeep, folder = self._engine, self._upkeep, self._folder
            self._engine = self._upkeep = self._folder = None
            if upkeep is not None:
                upkeep.stop()
            if engine is not None and folder is not None:
                self._save(folder, engine)

    def _usable(self) -> None:
        if self._pid != os.getpid():  # before any lock: a fork may have copied it held, for ever
            raise MemoryUnavailable(
                "an index was opened before this process was forked: fork first, or start "
                "processes by spawn"
            )
        if self._closed:
            raise MemoryUnavailable("the index of the memory is closed: open the learner again")

    def _catch_up(self, pulse: Pulse) -> tuple[Engine, bool] | None:
        """Read up to a pulse; say whether that was from the beginning. None: try again."""
        engine = self._engine
        if engine is None or self._outdated(engine, pulse):
            engine = self._begin(pulse)
        anew = engine.revision == 0
        try:
            if engine.revision != pulse.revision:
                mark = self._memory.mark(pulse.revision)
                engine.read(self._memory.changes(engine.revision), pulse.revision, mark)
        except Moved:
            return None
        except Stale as error:
            log.warning("an index is built anew: %s", error)
            self._distrust = True
            return None
        return engine, anew

    def _outdated(self, engine: Engine, pulse: Pulse) -> bool:
        if engine.epoch != pulse.epoch:
            return True
        steps, wasted = len(engine.evidence.rows), engine.evidence.wasted
        if self._folder is not None and self._folder.touched(engine.parts):
            log.warning("a file of the index %s was changed: built anew", self._folder.path)
            self._distrust = True
        if not engine.current(pulse) or (wasted > _WASTED and steps > _WASTED_STEPS):
            self._distrust = True
        return self._distrust

    def _begin(self, pulse: Pulse) -> Engine:
        """Return an engine to go on with: what was saved, or an empty one."""
        if self._upkeep is not None:
            self._upkeep.stop()
        if self._engine is not None:
            self._engine.retire()
        if self._folder is None and self._memory.beside is not None:
            self._folder = Folder(self._memory.beside, self._fields)
        engine = None if self._folder is None else self._saved(self._folder, pulse)
        if engine is None:
            engine = self._fresh(pulse, new_salt())
            if self._folder is not None:
                self._folder.discard()
        self._distrust = False
        self._engine, self._upkeep = engine, Upkeep(engine, self._folder, self._faster)
        return engine

    def _fresh(self, pulse: Pulse, salt: bytes) -> Engine:
        features = Features(salt)
        return Engine(
            self._memory, pulse.epoch, self._fields, self._returns, features, self._kernels
        )

    def _saved(self, folder: Folder, pulse: Pulse) -> Engine | None:
        """Return what was saved; None where there is nothing, or it is of another memory."""
        saved = None if self._distrust else folder.load(pulse)
        if saved is None:
            return None
        if self._memory.mark(saved.seen) != saved.mark:
            log.warning("the saved index %s is of another memory: built anew", folder.path)
            return None
        engine = self._fresh(pulse, saved.salt)
        try:
            engine.load(saved.parts, saved.steps, saved.changes)
        except (ValueError, IndexError) as error:
            log.warning("the saved index %s is damaged (%s): built anew", folder.path, error)
            return None
        engine.revision, engine.mark = saved.revision, self._memory.mark(saved.revision)
        return engine

    def _save(self, folder: Folder, engine: Engine) -> None:
        """Save all of the index, as far as it can be."""
        try:
            if folder.retry() and engine.revision:
                engine.seal_tail()
                folder.save(engine)
        except (OSError, StoreError) as error:
            log.warning("the index %s was not saved: %s", folder.path, error)
        finally:
            folder.release()


class View:
    """What an index held at one moment: later steps do not show in it.

    `len(view)` counts the steps that are evidence.
    """

    def __init__(self, engine: Engine, moment: Moment, usable: Callable[[], None]) -> None:
        self._engine = engine
        self._moment = moment
        self._usable = usable

    def __len__(self) -> int:
        return self._moment.evidence

    def neighbours(self, state: State, cut: Cut) -> list[Experience]:
        """Return the remembered steps nearest to `state`, most similar first, ties newest first.

        The steps of one distinct state stay together where k counts states; where it counts steps,
        steps of equal similarity are ordered by age. What is gone from the memory is left out.
        """
        self._usable()
        with self._engine.lock:
            steps, rows, levels = self._ranked(state, cut)
            numbers, places = self._engine.evidence.episodes_of(steps)
            names = self._engine.evidence.names
            actions = [names[i] for i in self._engine.evidence.actions.data[steps].tolist()]
        states = self._engine.states(dict.fromkeys(rows.tolist()))
        heads = self._engine.heads(numbers.tolist())
        found = []
        for row, number, level, action, value, t in zip(
            rows.tolist(),
            numbers.tolist(),
            levels.tolist(),
            actions,
            self._moment.value[steps].tolist(),
            places.tolist(),
            strict=True,
        ):
            if row in states and number in heads:
                head = heads[number]
                found.append(
                    Experience(
                        level, states[row], action, value, head.id, t, head.task, head.provenance
                    )
                )
        return found

    def _ranked(self, state: State, cut: Cut) -> tuple[Ints32, Ints, Floats]:
        """Return the steps of the neighbours in order, each with its row and similarity."""
        engine, moment = self._engine, self._moment
        floor = Floor(cut.threshold, cut.k, cut.keep_above)
        rows, levels, newest = engine.search(state, floor, moment)
        order = np.lexsort((-newest, -levels))
        # k steps come from k states at most: the ones whose newest step ranks first
        order = order[: _kept(levels[order], cut)]
        rows, levels = rows[order], levels[order]
        steps = []
        for step, level in zip(newest[order].tolist(), levels.tolist(), strict=True):
            all_count = cut.keep_above is not None and level >= cut.keep_above
            most = cut.k if cut.counts == "steps" and not all_count else None
            steps.append(engine.steps(step, cut.per_action, most, moment))
        counts = [len(some) for some in steps]
        flat = np.concatenate([np.zeros(0, dtype=np.int32), *steps])
        rows, levels = np.repeat(rows, counts), np.repeat(levels, counts)
        if cut.counts == "steps":
            order = np.lexsort((-flat, -levels))
            order = order[: _kept(levels[order], cut)]
            flat, rows, levels = flat[order], rows[order], levels[order]
        return flat, rows, levels


def _kept(levels: Floats, cut: Cut) -> int:
    """Return how many of a falling sequence of similarities the cut keeps."""
    if cut.k is None:
        return len(levels)
    above = 0 if cut.keep_above is None else int(np.sum(levels >= cut.keep_above))
    return min(len(levels), max(cut.k, above))
