"""Several runs at once, each in its own folder, in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, read
from jitrl.bench.runner import Listener, open_world, run
from jitrl.errors import JitrlError, RunError
from jitrl.worlds import World


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
    world: Callable[[Configuration], World] = open_world,
) -> list[Run]:
    """Play, or continue, every run, and return them in order.

    on_episode  called for every finished episode, those of an earlier start included
    world       opens a world in a worker; a function that can be found by its name there

    Raises RunError as soon as a run fails or a worker dies. The workers are ended then, and on any
    other exception; their runs can be continued.
    """
    context = multiprocessing.get_context("spawn")
    waiting, busy, processes = deque(jobs), dict[Connection, Job](), []
    try:
        for _ in range(min(workers, len(jobs))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, world), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
            busy[ours] = waiting.popleft()
            ours.send(busy[ours])
        while busy:
            for pipe in connection.wait(list(busy)):
                _hear(pipe, waiting, busy, on_episode)  # type: ignore[arg-type]
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return [read(job.path) for job in jobs]


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
        on_episode(job, message)
    elif isinstance(message, str):
        raise RunError(message)
    elif waiting:
        busy[pipe] = waiting.popleft()
        pipe.send(busy[pipe])
    else:
        del busy[pipe]
        pipe.close()


class _Teller(Listener):
    """Tells the parent process of every finished episode."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def begun(self, finished: list[Played], episodes: int) -> None:
        for played in finished[:episodes]:
            self._pipe.send(played)

    def played(self, played: Played) -> None:
        self._pipe.send(played)


def _work(pipe: Connection, world_of: Callable[[Configuration], World]) -> None:
    """Play the runs that come through the pipe, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends us
    try:
        while True:
            job: Job = pipe.recv()
            world = world_of(job.configuration)
            try:
                run(job.configuration, job.path, world, resume=True, listener=_Teller(pipe))
            finally:
                world.close()
            pipe.send(None)
    except JitrlError as error:
        pipe.send(str(error))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, or has no more work
