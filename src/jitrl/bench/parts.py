"""One run in several worker processes: each plays a part of the tasks, all share a memory.

A part is a run folder of its own, and is continued like any other. Where the order is by passes, no
part begins a pass before all have finished the one before, and the sites are reset. `jobs` plays
several whole runs at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench import beginnings, passes
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import MANIFEST, Manifest, Run, claimed, memory_of, part_folder, read
from jitrl.bench.language import Access
from jitrl.bench.plan import plan
from jitrl.bench.runner import Listener, OpenWorld, describe_run, open_world, run
from jitrl.bench.workers import PATIENCE, Teller, at_work, end, start
from jitrl.errors import RunError
from jitrl.memory import open as open_memory
from jitrl.worlds import World


@dataclass
class _Part:
    """A part of a run, as it stands.

    name      of the run, which its parts share
    known     numbers of the episodes that were finished when it was started
    left      of those that it had left then, in order
    at        the pass that it is in, or waits for
    waiting   it waits for that pass to begin
    finished  it has played all that it should
    failure   why it has not, and will not
    """

    configuration: Configuration
    path: Path
    access: Access
    name: str
    known: frozenset[int]
    left: list[int]
    at: int
    waiting: bool = False
    finished: bool = False
    failure: str = ""


def play_parts(
    configuration: Configuration,
    path: Path,
    world: World,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    clock: Callable[[], float] = time.time,
    access: Access | None = None,
    opener: OpenWorld = open_world,
) -> Run:
    """Play what is left of a run in the folder `path` in `workers` processes, and return it whole.

    world   to be asked for its tasks; each process opens its own
    opener  opens it there: a function that can be found by its name

    The rest is as for `jitrl.bench.runner.run`, but that a budget is divided evenly among the
    parts, and that each has its own recording. Where a part fails or dies the others finish, as far
    as the order allows; then RunError says which, and the run can be continued.
    """
    listener, access = listener or Listener(), access or Access()
    if configuration.memory is not None:  # before anything is written, see whether it is one
        open_memory(configuration.memory).close()
    begins = beginnings.before(configuration, path)
    wanted = describe_run(configuration, path, world, clock)
    with claimed(path, wanted, resume) as manifest:
        if begins is not None:
            beginnings.take_over(begins, path, configuration)
        if configuration.stores:
            open_memory(memory_of(configuration, path)).close()
        listener.begun(read(path).episodes, wanted.plan.total)
        parts = [
            _part(manifest, configuration, path, access, number)
            for number in range(configuration.workers)
        ]
        _Conductor(parts, path, configuration, listener).play(opener)
        _complain(parts)
    return read(path)


def _part(
    whole: Manifest, configuration: Configuration, path: Path, access: Access, number: int
) -> _Part:
    """Return a part as it stands in its folder."""
    folder, workers = part_folder(path, number), configuration.workers
    ours = replace(configuration, part=number)
    held = read(folder).episodes if (folder / MANIFEST).exists() else []
    known = frozenset(played.number for played in held)
    wanted = plan(ours, whole.tasks)
    left = wanted.left(known)
    at = wanted.place(left[0])[1] if left else -1
    share = access.of_part(number, workers)
    return _Part(ours, folder, share, whole.run, known, left, at, finished=not left)


class _Conductor:
    """Starts the parts, hears them, and says when a pass may begin."""

    def __init__(
        self, parts: list[_Part], path: Path, configuration: Configuration, listener: Listener
    ) -> None:
        self._parts, self._path = parts, path
        self._configuration, self._listener = configuration, listener
        self._pipes: dict[Connection, _Part] = {}

    def play(self, opener: OpenWorld) -> None:
        """Play until every part has finished, failed, or waits for one that failed."""
        processes = []
        try:
            for part in self._parts:
                if not part.finished:
                    process, pipe = start(_work, part, opener)
                    processes.append(process)
                    self._pipes[pipe] = part
            while self._pipes and not self._stuck():
                for pipe in connection.wait(list(self._pipes)):  # type: ignore[assignment]
                    self._hear(pipe)
                self._release()
        finally:
            end(processes)

    def _hear(self, pipe: Connection) -> None:
        """Take one message: an episode, a pass that is to begin, a failure, or None at the end."""
        part = self._pipes[pipe]
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            message = "its process died"
        if isinstance(message, Played):
            self._listener.played(message)
        elif isinstance(message, int):
            part.at, part.waiting = message, True
        else:
            part.finished, part.failure = message is None, str(message or "")
            del self._pipes[pipe]
            pipe.close()

    def _release(self) -> None:
        """Let those go on that wait for a pass before which every part has finished."""
        first = min((part.at for part in self._parts if not part.finished), default=-1)
        for pipe, part in self._pipes.items():
            if part.waiting and part.at == first:
                if self._configuration.reset_command is not None:
                    passes.reset(self._path, self._configuration.reset_command, first)
                part.waiting = False
                _send(pipe, None)

    def _stuck(self) -> bool:
        """Say whether all that are left wait for a pass that a failure keeps from beginning."""
        return all(part.waiting for part in self._pipes.values())


def _send(pipe: Connection, message: object) -> None:
    try:
        pipe.send(message)
    except OSError:
        return  # it died: that is heard next


def _complain(parts: list[_Part]) -> None:
    """Raise RunError if a part failed."""
    failed: dict[str, list[str]] = {}
    for number, part in enumerate(parts):
        if part.failure:
            failed.setdefault(part.failure, []).append(f"part {number} ({str(part.path)!r})")
    if failed:
        told = "; ".join(f"{', '.join(names)}: {why}" for why, names in failed.items())
        if waiting := [str(number) for number, part in enumerate(parts) if part.waiting]:
            told += f"; parts that wait for the next pass: {', '.join(waiting)}"
        raise RunError(f"{told}: what is finished is kept, continue with --resume")


def _work(pipe: Connection, part: _Part, opener: OpenWorld) -> None:
    """Play a part, asking before each pass."""

    def gate(number: int) -> None:
        pipe.send(number)
        pipe.recv()

    with at_work(pipe):
        world = opener(part.configuration)
        try:
            run(
                part.configuration,
                part.path,
                world,
                resume=True,
                listener=Teller(pipe, part.known),
                access=part.access,
                name=part.name,
                gate=gate,
                patience=PATIENCE,
            )
        finally:
            world.close()
        pipe.send(None)
