"""Several runs at once, each in its own folder, in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, read
from jitrl.bench.runner import Listener, open_world, run
from jitrl.errors import JitrlError, RunError
from jitrl.worlds import World

Opener = Callable[[Configuration], World]
_GRACE = 10.0  # seconds that a worker has for closing its world


@dataclass(frozen=True)
class Job:
    """A run to be played, or continued, in a folder."""

    configuration: Configuration
    path: Path


def play_all(
    jobs: Sequence[Job],
    *,
    workers: int = 2,
    on_episode: Callable[[Job, Played], None] = lambda job, played: None,
    world: Opener = open_world,
) -> list[Run]:
    """Play, or continue, every run, and return them in order.

    on_episode  called for every finished episode, those of an earlier start included
    world       opens a world in a worker; a function that can be found by its name there

    Raises RunError as soon as a run fails or a worker dies. The workers are ended then, and on any
    other exception; their runs can be continued.
    """
    waiting, busy, processes = deque(jobs), dict[Connection, Job](), []
    try:
        for _ in range(min(workers, len(jobs))):
            process, pipe = start(_work, world)
            processes.append(process)
            busy[pipe] = waiting.popleft()
            pipe.send(busy[pipe])
        while busy:
            for pipe in connection.wait(list(busy)):  # type: ignore[assignment]
                _hear(pipe, waiting, busy, on_episode)
    finally:
        end(processes)
    return [read(job.path) for job in jobs]


def start(work: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start `work(pipe, *arguments)` in a worker process; return it, and our end of the pipe.

    It must call `prepare` first. `end` ends it.
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


def prepare() -> None:
    """Make this process a worker: it closes its world and ends if it is told to, or left alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()


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


def _hear(
    pipe: Connection,
    waiting: deque[Job],
    busy: dict[Connection, Job],
    on_episode: Callable[[Job, Played], None],
) -> None:
    """Take one message of a worker: an episode, a failure, or that its run is finished."""
    job = busy[pipe]
    try:
        message = pipe.recv()
    except (EOFError, OSError) as error:
        raise RunError(
            f"a worker process died in {str(job.path)!r}: start again to continue"
        ) from error
    if isinstance(message, Played):
        if not message.unbegun:
            on_episode(job, message)
    elif isinstance(message, str):
        raise RunError(message)
    elif waiting:
        busy[pipe] = waiting.popleft()
        pipe.send(busy[pipe])
    else:
        del busy[pipe]
        pipe.close()


def _work(pipe: Connection, world_of: Opener) -> None:
    """Play the runs that come through the pipe, until it ends."""
    prepare()
    try:
        while True:
            job = pipe.recv()
            world = world_of(job.configuration)
            try:
                run(job.configuration, job.path, world, resume=True, listener=Teller(pipe))
            finally:
                world.close()
            pipe.send(None)
    except JitrlError as error:
        pipe.send(str(error))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, or has no more work
