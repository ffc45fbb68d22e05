"""Worker processes of this machine: started, ended, and what they tell the one that started them.

`jobs` gives each of them whole runs, `parts` a part of one run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from jitrl.agents.player import Played
from jitrl.bench.runner import Listener
from jitrl.errors import JitrlError

_GRACE = 10.0  # seconds that a worker has for closing its world
PATIENCE = _GRACE + 5.0
"""Seconds that a worker of an earlier start has to let go of its folder."""


def start(work: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start `work(pipe, *arguments)` in a worker process; return it, and our end of the pipe.

    Its work must stand in `at_work`. `end` ends it.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments))
    process.start()
    theirs.close()
    return process, ours


def end(processes: Iterable[BaseProcess]) -> None:
    """End workers that are still at work; one that does not close its world in time is killed."""
    processes = list(processes)
    for process in processes:
        process.terminate()
    until = time.monotonic() + _GRACE
    for process in processes:
        process.join(max(until - time.monotonic(), 0.0))
        if process.exitcode is None:
            process.kill()
            process.join()


@contextmanager
def at_work(pipe: Connection) -> Iterator[None]:
    """Make this process a worker for what it does in the block.

    It closes its world and ends if it is told to, or left alone; a failure is told as a text.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends us
    signal.signal(signal.SIGTERM, _ordered)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        yield
    except JitrlError as error:
        pipe.send(str(error))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, or has no more work


def _ordered(*_: object) -> None:
    """End. What the order cuts short, a constructor or a call, may complain of it: unheard."""
    sys.unraisablehook = lambda told: None
    warnings.simplefilter("ignore")
    sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


class Teller(Listener):
    """Tells the parent process of what is played, and of finished episodes that are not `known`."""

    def __init__(self, pipe: Connection, known: frozenset[int] = frozenset()) -> None:
        self._pipe = pipe
        self._known = known

    def begun(self, finished: list[Played], episodes: int) -> None:
        """Tell of those of an earlier start."""
        for played in finished[:episodes]:
            if played.number not in self._known:
                self._pipe.send(played)

    def played(self, played: Played) -> None:
        """Tell of one."""
        self._pipe.send(played)
