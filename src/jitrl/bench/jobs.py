"""Several runs at once, whole runs to each worker process: how arms and seeds are compared.

One run in several processes is `parts`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, read
from jitrl.bench.runner import OpenWorld, open_world, run
from jitrl.bench.workers import Teller, at_work, end, start
from jitrl.errors import RunError


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
    world: OpenWorld = open_world,
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


def _work(pipe: Connection, world_of: OpenWorld) -> None:
    """Play the runs that come through the pipe, until it ends."""
    with at_work(pipe):
        while True:
            job = pipe.recv()
            world = world_of(job.configuration)
            try:
                run(job.configuration, job.path, world, resume=True, listener=Teller(pipe))
            finally:
                world.close()
            pipe.send(None)
