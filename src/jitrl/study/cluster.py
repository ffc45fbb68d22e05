"""A pool of workers on a Ray cluster: the same study on many machines.

The study's folder must lie on a file system that all nodes share: what is played is heard of by
looking into the run folders, as a report does. jitrl must be installed on every node, in the same
version. Ray's own way of running things is documented at docs.ray.io; nothing of it is needed here
but tasks.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jitrl._version import __version__
from jitrl.agents.player import Played
from jitrl.bench.folder import MANIFEST, read
from jitrl.bench.jobs import Event, Failed, Finished, Job, perform
from jitrl.bench.runner import Listener, open_world
from jitrl.errors import JitrlError, MissingExtra, RunError

__all__ = ["Cluster"]

_REACH = 10.0  # seconds until a cluster's address must answer
_LOOK = 1.0  # seconds between two looks at what was played
_PATIENCE = 20.0  # seconds that a worker which was killed has to let go of its run


class Cluster:
    """The contract is that of `jitrl.bench.jobs.Pool`; a worker is a task of one CPU.

    address  of the cluster, as `ray.init` takes it; "auto" for the one that runs here
    out      the study's folder

    Raises MissingExtra without Ray, RunError where there is no cluster, or where a node does not
    see the folder or has another jitrl.
    """

    def __init__(self, address: str, out: Path) -> None:
        self._ray = _ray()
        try:
            _reach(address)
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            why = str(error).strip().splitlines()[0]
            rule = "start one with `ray start --head`, or name another with --ray"
            raise RunError(f"no Ray cluster at {address!r} ({why}): {rule}") from error
        self._busy: dict[Any, tuple[Job, set[int]]] = {}
        try:
            self._check(out)
        except BaseException:
            self.close()
            raise
        self._task = self._ray.remote(num_cpus=1, max_retries=0)(_work)

    @property
    def free(self) -> int:
        """How many jobs may be begun now: a CPU each; one at least, that waits for a node."""
        cpus = int(self._ray.cluster_resources().get("CPU", 0))
        return max(cpus, 1) - len(self._busy)

    def begin(self, job: Job) -> None:
        """Give a job to the cluster."""
        self._busy[self._task.remote(job)] = job, set()

    def hear(self) -> Iterator[tuple[Job, Event]]:
        """Wait until something happens, and yield what did."""
        done: list[Any] = []
        heard: list[tuple[Job, Event]] = []
        while not (done or heard):
            done, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=_LOOK)
            heard = [
                (job, played) for job, known in self._busy.values() for played in _new(job, known)
            ]
        yield from heard
        for reference in done:
            job, known = self._busy.pop(reference)
            event = self._ended(reference, job)
            yield from ((job, played) for played in _new(job, known))
            yield job, event

    def close(self) -> None:
        """End what is under way, and leave the cluster, which goes on."""
        for reference in self._busy:
            self._ray.cancel(reference, force=True)
        self._busy = {}
        self._ray.shutdown()

    def _ended(self, reference: Any, job: Job) -> Event:
        """Return how a task ended."""
        errors = self._ray.exceptions
        try:
            why: str = self._ray.get(reference)
        except errors.RayTaskError as error:
            return Failed(f"{type(error.cause).__name__}: {error.cause}")
        except errors.RayError as error:
            why = str(error).strip().splitlines()[0]
            return Failed(f"a worker died in {str(job.path)!r} ({why}): start again", died=True)
        return Failed(why) if why else Finished()

    def _check(self, out: Path) -> None:
        """Raise RunError for a node that does not see the folder, or has another jitrl."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token = out / f"token-{uuid.uuid4().hex}"
        token.write_text(token.name, encoding="utf-8")
        try:
            nodes = [node for node in self._ray.nodes() if node["Alive"]]
            asked = [
                self._ray.remote(num_cpus=0)(_seen)
                .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], False))
                .remote(token)
                for node in nodes
            ]
            for node, reference in zip(nodes, asked, strict=True):
                name = node["NodeManagerAddress"]
                try:
                    seen, version = self._ray.get(reference)
                except self._ray.exceptions.RayError as error:
                    why = str(error).strip().splitlines()[-1]
                    raise RunError(f"node {name} cannot run jitrl ({why}): install it") from error
                if seen != token.name:
                    rule = "put the study on a file system that all nodes share"
                    raise RunError(f"node {name} does not see {str(out)!r}: {rule}")
                if version != __version__:
                    raise RunError(f"node {name} has jitrl {version}: install {__version__} there")
        finally:
            token.unlink()


def _work(job: Job) -> str:
    """Play a run on a node; return why it failed, "" where it did not."""
    try:
        perform(job, open_world, Listener(), _PATIENCE)
    except JitrlError as error:
        return str(error)
    return ""


def _seen(token: Path) -> tuple[str, str]:
    """Return what a node reads in a file, and its version of jitrl."""
    return (token.read_text(encoding="utf-8") if token.exists() else ""), __version__


def _reach(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), _REACH).close()


def _new(job: Job, known: set[int]) -> list[Played]:
    """Return the episodes of a run that are not known yet, and note them."""
    if not (job.path / MANIFEST).exists():
        return []
    found = [played for played in read(job.path).episodes if played.number not in known]
    known.update(played.number for played in found)
    return found


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("a cluster needs Ray: pip install 'jitrl[ray]'") from error
    return ray
