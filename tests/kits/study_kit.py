"""Studies of small worlds, a pool without processes, and what a study came to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.jobs import Event, Failed, Finished, Job, perform
from jitrl.bench.runner import Listener, open_world
from jitrl.errors import JitrlError
from jitrl.memory import open as open_memory
from jitrl.records import Episode

_BESIDE = ("lock", "recording", "memory.db-")


class Here:
    """A pool of this process: one job at a time, played when it is begun.

    deaths  how often the worker of a job dies when it is given it
    """

    free = 1

    def __init__(self, deaths: Callable[[Job], bool] = lambda job: False) -> None:
        self.begun: list[Path] = []
        self.closed = 0
        self._deaths = deaths
        self._heard: list[tuple[Job, Event]] = []

    def begin(self, job: Job) -> None:
        self.begun.append(job.path)
        self.free = 0
        if self._deaths(job):
            self._heard.append((job, Failed("a worker died", died=True)))
            return
        try:
            perform(job, open_world, _Hearing(job, self._heard))
        except JitrlError as error:
            self._heard.append((job, Failed(str(error))))
        else:
            self._heard.append((job, Finished()))

    def hear(self) -> Iterator[tuple[Job, Event]]:
        self.free = 1
        heard, self._heard = self._heard, []
        yield from heard

    def close(self) -> None:
        self.closed += 1


class _Hearing(Listener):
    def __init__(self, job: Job, heard: list[tuple[Job, Event]]) -> None:
        self._job, self._heard = job, heard

    def begun(self, finished: list[Played], episodes: int) -> None:
        self._heard += [(self._job, played) for played in finished]

    def played(self, played: Played) -> None:
        self._heard.append((self._job, played))


def results(out: Path, *, paid: bool = False) -> dict[str, object]:
    """Return every file of a study to the byte, but for locks, recordings and what an index keeps.

    Of times nothing is told, nor how the file of a memory is laid out.

    paid  what the calls used as well: a run that was cut short has paid for some of them twice
    """
    found: dict[str, object] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        place = str(path.relative_to(out))
        if any(part.startswith(_BESIDE) for part in path.relative_to(out).parts):
            continue
        if path.name == "run.json":
            found[place] = _manifest(path)
        elif path.name == "memory.db":
            with closing(open_memory(path, readonly=True)) as memory:
                found[place] = list(map(_timeless, memory.episodes()))
        elif path.name == "episodes.jsonl":
            lines = path.read_text().splitlines()
            found[place] = [json.loads(line) | {"seconds": None} for line in lines]
        elif paid or path.name != "calls.jsonl":
            found[place] = path.read_bytes()
    return found


def _timeless(stored: Episode) -> Episode:
    kept = {name: told for name, told in stored.provenance.items() if name != "created"}
    return replace(stored, provenance=kept)


def _manifest(path: Path) -> object:
    """Return what run.json tells, but for the time and for paths."""
    kept = json.loads(path.read_text())
    for name in ("started", "command"):
        del kept[name]
    del kept["configuration"]["start"]
    return kept
