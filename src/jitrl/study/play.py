"""Plays the cells of a study, several at once, in the order that they stand on each other.

A cell that fails does not stop the others. Whatever dies, what was finished is kept, and a study
that is started again goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.files import locked, replace_file, writing
from jitrl.bench.folder import CALLS, MANIFEST, PLACES, Run, read
from jitrl.bench.jobs import Failed, Finished, Job, Pool
from jitrl.bench.language import Access
from jitrl.errors import BadRun
from jitrl.models.budget import Budget
from jitrl.models.ledger import Ledger, Total
from jitrl.study.plan import Cell, Plan, parse

PLAN, LOCK, RECORDING = "plan.toml", "lock", "recording"
_TRIES = 3  # of a cell whose worker dies


class Watcher:
    """Hears how a study goes; this one does nothing with it."""

    def begun(self, finished: Sequence[Cell]) -> None:
        """The study starts; these cells are finished."""

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        """An episode of a cell was finished; the cell has spent so much so far."""

    def ended(self, cell: Cell, why: str) -> None:
        """A cell is finished, or has failed: why."""


@dataclass
class Outcome:
    """How a study went.

    failed  cell -> why it is not finished: it failed, or it stands on one that did
    """

    failed: dict[Cell, str] = field(default_factory=dict)


class Schedule:
    """Which cells wait, may begin, are under way, are done or have failed. Pure."""

    def __init__(self, cells: Sequence[Cell], finished: Sequence[Cell]) -> None:
        self._place = {cell.folder: cell for cell in cells}
        self._done = {cell.folder for cell in finished}
        self._waiting = [cell for cell in cells if cell.folder not in self._done]
        self._deaths = dict.fromkeys(self._place, 0)
        self.failed: dict[Cell, str] = {}

    def next(self) -> Cell | None:
        """Return a cell that may begin, and count it as under way; None where there is none now."""
        for cell in self._waiting:
            if cell.after is None or cell.after in self._done:
                self._waiting.remove(cell)
                return cell
        return None

    def finished(self, cell: Cell) -> None:
        """A cell is done."""
        self._done.add(cell.folder)

    def fail(self, cell: Cell, why: str, died: bool = False) -> bool:
        """A cell has failed; where only its worker died, it waits again, up to three times.

        Cells that stand on one that has failed for good fail with it. Returns whether it has.
        """
        if died and self._deaths[cell.folder] + 1 < _TRIES:
            self._deaths[cell.folder] += 1
            self._waiting.insert(0, cell)
            return False
        self.failed[cell] = why
        for other in [one for one in self._waiting if one.after == cell.folder]:
            self._waiting.remove(other)
            self.fail(other, f"it begins with {str(cell.folder)!r}, which failed")
        return True


def play(
    plan: Plan,
    out: Path,
    pool: Callable[[], Pool],
    *,
    access: Access | None = None,
    watcher: Watcher | None = None,
) -> Outcome:
    """Play what is left of a study in the folder `out`.

    pool    makes the workers
    access  how models are reached; its budget is the whole study's, looked at after each episode,
            so that it can be exceeded by one episode of each worker; with `record` (anything) each
            cell is recorded in its own folder, and `replay` names the folder of a study to replay

    Raises BadRun where the folder holds another study, RunError where it is in use, BudgetSpent.
    """
    access, watcher = access or Access(), watcher or Watcher()
    with _held(plan, out):
        cells = {out / cell.folder: cell for cell in plan.cells}
        done = [cell for cell in plan.cells if is_finished(cell, out)]
        watcher.begun(done)
        schedule = Schedule(plan.cells, done)
        spending = _Spending(out, plan.cells, access.budget)
        spending.check()
        workers = pool()
        under_way = 0
        try:
            while True:
                while workers.free and (cell := schedule.next()) is not None:
                    workers.begin(job_of(cell, out, access))
                    under_way += 1
                if not under_way:
                    return Outcome(schedule.failed)
                for job, event in workers.hear():
                    cell = cells[job.path]
                    if isinstance(event, Played):
                        spent = spending.look(cell)
                        if not event.unbegun:
                            watcher.played(cell, event, spent)
                        spending.check()
                        continue
                    under_way -= 1
                    if isinstance(event, Finished):
                        schedule.finished(cell)
                        watcher.ended(cell, "")
                    elif isinstance(event, Failed) and schedule.fail(cell, event.why, event.died):
                        watcher.ended(cell, event.why)
        finally:
            workers.close()


def job_of(cell: Cell, out: Path, access: Access) -> Job:
    """Return a cell as a run in its folder."""
    configuration, path = cell.configuration, out / cell.folder
    if configuration.start is not None:
        configuration = replace(configuration, start=str(out / configuration.start))
    own = replace(access, budget=Budget())
    if access.record is not None:
        own = replace(own, record=path / RECORDING)
    if access.replay is not None:
        own = replace(own, replay=access.replay / cell.folder / RECORDING)
    calls = configuration.model or configuration.judges or configuration.grader
    return Job(configuration, path, own if calls else Access())


def is_finished(cell: Cell, out: Path) -> bool:
    """Say whether a cell is played as it is planned, without looking at its world."""
    if not (out / cell.folder / MANIFEST).exists():
        return False
    run = read(out / cell.folder)
    held, wanted = run.configuration.as_json(), cell.configuration.as_json()
    if any(held[name] != wanted[name] for name in wanted if name not in PLACES):
        return False
    return not run.manifest.plan.left({played.number for played in run.episodes})


def runs(plan: Plan, out: Path) -> Iterator[tuple[Cell, Run]]:
    """Iterate over the cells that have been begun, with what was played."""
    for cell in plan.cells:
        if (out / cell.folder / MANIFEST).exists():
            yield cell, read(out / cell.folder)


def spent(path: Path) -> Total:
    """Return what the model calls of a run used."""
    return Ledger.read(path / CALLS).total if (path / CALLS).exists() else Total()


class _Spending:
    """What the cells have spent, kept up by looking at one when it has played an episode."""

    def __init__(self, out: Path, cells: Sequence[Cell], budget: Budget) -> None:
        self._out, self._budget = out, budget
        self._spent: dict[Path, Total] = {}
        for cell in cells:
            self.look(cell)

    def look(self, cell: Cell) -> Total:
        """Return what a cell has spent."""
        found = self._spent[cell.folder] = spent(self._out / cell.folder)
        return found

    def check(self) -> None:
        """Raise BudgetSpent where the whole is spent."""
        ledger = Ledger()
        for one in self._spent.values():
            ledger.total += one
        self._budget.check(ledger)


@contextmanager
def _held(plan: Plan, out: Path) -> Iterator[None]:
    """Hold a study's folder, and keep the plan there."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    lock = locked(out / LOCK, 0.0)
    try:
        _keep(plan, out)
        yield
    finally:
        os.close(lock)


def _keep(plan: Plan, out: Path) -> None:
    """Write the plan; raises BadRun where another study is there, of which cells would be lost."""
    path = out / PLAN
    if path.exists():
        kept = path.read_text(encoding="utf-8")
        if kept == plan.text:
            return
        folders = {cell.folder for cell in plan.cells}
        lost = [cell.folder for cell in parse(kept, str(path)).cells if cell.folder not in folders]
        if lost:
            raise BadRun(
                f"{str(out)!r} holds another study: it has {str(lost[0])!r}, which this plan "
                "lacks; name another folder with --out"
            )
    elif any(entry.name != LOCK for entry in out.iterdir()):
        raise BadRun(f"{str(out)!r} holds files, but no study: name another folder with --out")
    with writing(out):
        replace_file(path, plan.text.encode())
