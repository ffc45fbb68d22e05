"""Studies of small worlds, a pool without processes, and what a study came to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.folder import read
from jitrl.bench.jobs import Event, Failed, Finished, Job, perform
from jitrl.bench.runner import Listener, open_world
from jitrl.errors import JitrlError
from jitrl.memory import open as open_memory

_LOGS = ("steps.jsonl", "carried.jsonl", "judged.jsonl", "started.jsonl")


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


def results(out: Path) -> dict[str, object]:
    """Return all that the runs of a study came to, but for times and what was paid."""
    found: dict[str, object] = {"plan": (out / "plan.toml").read_bytes()}
    for manifest in sorted(out.glob("runs/*/*/run.json")):
        path = manifest.parent
        run = read(path)
        place = str(path.relative_to(out))
        for name in _LOGS:
            if (path / name).exists():
                found[f"{place}/{name}"] = (path / name).read_bytes()
        lines = (path / "episodes.jsonl").read_text().splitlines()
        found[f"{place}/episodes"] = [json.loads(line) | {"seconds": None} for line in lines]
        kept = json.loads(manifest.read_text())
        for name in ("started", "command"):
            del kept[name]
        del kept["configuration"]["start"]  # a path
        found[f"{place}/run.json"] = kept
        if run.configuration.stores:
            with closing(open_memory(run.memory, readonly=True)) as memory:
                found[f"{place}/memory"] = [(one.id, one.steps) for one in memory.episodes()]
    return found
