"""Several runs at once, whole runs to each worker: how arms and seeds are compared.

One run in several processes is `parts`; runs that stand on each other are a `jitrl.study`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, read
from jitrl.bench.language import Access
from jitrl.bench.runner import Listener, OpenWorld, open_world, run
from jitrl.bench.workers import PATIENCE, Teller, at_work, end, start
from jitrl.errors import RunError


@dataclass(frozen=True)
class Job:
    """A run to be played, or continued, in a folder."""

    configuration: Configuration
    path: Path
    access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True)
class Finished:
    """A job is done."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A job has failed.

    died  its worker died: it may be taken up again
    """

    why: str
    died: bool = False


Event = Played | Finished | Failed


class Pool(Protocol):
    """Workers, each with one job at a time."""

    @property
    def free(self) -> int:
        """How many jobs may be begun now."""

    def begin(self, job: Job) -> None:
        """Give a job to a worker that is free."""

    def hear(self) -> Iterator[tuple[Job, Event]]:
        """Wait until something happens to a job that is under way, and yield what did."""

    def close(self) -> None:
        """End the workers; what they have begun can be continued."""


class Processes:
    """A pool of processes of this machine; the contract is that of `Pool`.

    world  opens a world in a worker; a function that can be found by its name there
    """

    def __init__(self, workers: int, world: OpenWorld = open_world) -> None:
        self._workers, self._world = workers, world
        self._idle: list[tuple[BaseProcess, Connection]] = []
        self._busy: dict[Connection, tuple[BaseProcess, Job]] = {}

    @property
    def free(self) -> int:
        """How many jobs may be begun now."""
        return self._workers - len(self._busy)

    def begin(self, job: Job) -> None:
        """Give a job to a process that waits, or to a new one."""
        process, pipe = self._idle.pop() if self._idle else start(_work, self._world)
        self._busy[pipe] = process, job
        with suppress(OSError):  # it is dead already: that is heard
            pipe.send(job)

    def hear(self) -> Iterator[tuple[Job, Event]]:
        """Wait until something happens, and yield what did."""
        for pipe in connection.wait(list(self._busy)):
            assert isinstance(pipe, Connection)
            process, job = self._busy[pipe]
            try:
                event: Event = pipe.recv()
            except (EOFError, OSError):
                why = f"a worker process died in {str(job.path)!r}: start again to continue"
                event = Failed(why, died=True)
            if isinstance(event, str):  # what it told before it ended
                event = Failed(event)
            if not isinstance(event, Played):
                del self._busy[pipe]
                if isinstance(event, Finished):
                    self._idle.append((process, pipe))
                else:
                    end([process])
                    pipe.close()
            yield job, event

    def close(self) -> None:
        """End the processes."""
        end([process for process, _ in (*self._idle, *self._busy.values())])
        for pipe in (*(pipe for _, pipe in self._idle), *self._busy):
            pipe.close()
        self._idle, self._busy = [], {}


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
    waiting, left = deque(jobs), len(jobs)
    pool = Processes(workers, world)
    try:
        while left:
            while waiting and pool.free:
                pool.begin(waiting.popleft())
            for job, event in pool.hear():
                if isinstance(event, Failed):
                    raise RunError(event.why)
                if isinstance(event, Finished):
                    left -= 1
                elif not event.unbegun:
                    on_episode(job, event)
    finally:
        pool.close()
    return [read(job.path) for job in jobs]


def _work(pipe: Connection, world_of: OpenWorld) -> None:
    """Play the runs that come through the pipe, until it ends."""
    with at_work(pipe):
        while True:
            job = pipe.recv()
            perform(job, world_of, Teller(pipe), PATIENCE)
            pipe.send(Finished())


def perform(job: Job, world_of: OpenWorld, listener: Listener, patience: float = 0.0) -> None:
    """Play, or continue, the run of a job in this process; see `jitrl.bench.runner.run`."""
    world = world_of(job.configuration)
    try:
        run(
            job.configuration,
            job.path,
            world,
            resume=True,
            listener=listener,
            access=job.access,
            patience=patience,
        )
    finally:
        world.close()
