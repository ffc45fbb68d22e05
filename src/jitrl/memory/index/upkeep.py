"""What keeps an index in shape, in a thread of its own, so that nobody waits for it."""

from __future__ import annotations

import logging
import threading

from jitrl.memory.index.engine import Engine
from jitrl.memory.index.folder import Folder
from jitrl.memory.index.kernels import numba
from jitrl.memory.index.segment import Part, merge, seal

log = logging.getLogger(__name__)

_SMALL = 2_000_000  # parts up to this weight are joined whenever two of them meet
_REPAYS = 20_000  # rows: the import of numba, half a second, is made good by some 2,000 queries
_RATIO = 3  # a part is joined to the one after it that weighs a third of it or more


class Upkeep:
    """Seals the parts of an engine, joins small ones to larger ones, and saves them.

    folder  where they are saved, None for nowhere
    faster  change over to numba once there are so many rows that its import repays
    """

    def __init__(self, engine: Engine, folder: Folder | None, faster: bool) -> None:
        self._engine = engine
        self._faster = faster
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._running = False  # changed with the lock of the engine held
        self._stopped = False
        self._saved: list[int] | None = None  # these parts were given to be saved
        self._failed: list[int] | None = None  # with these something failed: not tried again

    def begin(self) -> None:
        """See to it that what is to be done is done, by and by."""
        with self._engine.lock:
            if self._stopped or self._running:
                return
            work = self._next() is not None or self._unsaved() or self._repays()
            if work and self._failed != self._parts():
                self._running = True
                thread = threading.Thread(target=self._run, name="jitrl-index")
                try:
                    thread.start()
                except RuntimeError:  # no more threads: the parts are as good as they are
                    self._running = False
                    log.warning("parts of an index are not joined or saved", exc_info=True)
                    return
                self._thread = thread

    def wait(self) -> None:
        """Wait until nothing is left to be done."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def stop(self) -> None:
        """Wait for what is being done, and leave the rest."""
        self._stopped = True
        self.wait()

    def _run(self) -> None:
        try:
            if self._repays():
                self._change_over()
            while self._work():
                pass
        except Exception:  # whatever it is, the old parts are as good
            log.warning("parts of an index were not joined or saved: it goes on", exc_info=True)
            with self._engine.lock:
                self._failed, self._running = self._parts(), False

    def _work(self) -> bool:
        """Do the next thing that is to be done; False where there is nothing."""
        with self._engine.lock:
            parts = None if self._stopped else self._next()
            held = self._parts()
            save = parts is None and self._saved != held and not self._stopped and self._unsaved()
            if parts is None and not save:
                self._running = False  # whoever comes from now on begins anew
                return False
        if parts is not None:
            self._replace(parts)
        elif self._folder is not None:
            self._saved = held
            self._folder.save(self._engine)
        return True

    def _repays(self) -> bool:
        return self._faster and self._engine.tail.end >= _REPAYS

    def _change_over(self) -> None:
        self._faster = False
        try:
            self._engine.kernels = numba()
        except Exception:  # no place to keep what it compiles, a version that breaks ...
            log.warning("numba cannot be used: the index goes on with numpy", exc_info=True)

    def _parts(self) -> list[int]:
        return [id(part) for part in self._engine.parts]

    def _unsaved(self) -> bool:
        """Say whether there is something to be saved, as far as we know."""
        if self._folder is None or not self._folder.willing or not self._engine.revision:
            return False
        return any(part.sealed and part.file is None for part in self._engine.parts)

    def _replace(self, parts: list[Part]) -> None:
        kernels = self._engine.kernels
        first, *rest = parts
        new = merge(first, rest[0], kernels) if rest else seal(first, kernels)
        with self._engine.lock:
            at = next(i for i, part in enumerate(self._engine.parts) if part is parts[0])
            self._engine.parts[at : at + len(parts)] = [new]

    def _next(self) -> list[Part] | None:
        """Return the part to be sealed, or the two to be joined."""
        parts = self._engine.parts
        for part in parts:
            if not part.sealed:
                return [part]
        for i in range(len(parts) - 1, 0, -1):
            before, part = parts[i - 1], parts[i]
            small = before.weight + part.weight <= _SMALL
            if small or before.weight <= _RATIO * part.weight:
                return [before, part]
        return None
