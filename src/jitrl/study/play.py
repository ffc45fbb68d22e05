"""Plays the cells of a study, several at once, in the order that they stand on each other.

A cell that fails does not stop the others. Whatever dies, what was finished is kept, and a study
that is started again goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.files import locked, replace_file, writing
from jitrl.bench.folder import MANIFEST, PLACES, read
from jitrl.bench.jobs import Event, Failed, Job, Pool
from jitrl.bench.language import Access, Served, called
from jitrl.bench.plan import plan as episodes_of
from jitrl.bench.usage import spent
from jitrl.errors import BadRun, BudgetSpent, JitrlError
from jitrl.models.budget import Budget
from jitrl.models.ledger import Total
from jitrl.study.plan import Cell, Plan, parse

PLAN, LOCK, RECORDING = "plan.toml", "lock", "recording"
_AGAIN = 3  # times that a cell is taken up again when its worker died
_LENGTHS = ("episodes", "attempts")
_FREE = (*_LENGTHS, "options", *(name for name in PLACES if name != "start"))


class Watcher:
    """Hears how a study goes; this one does nothing with it."""

    def begun(self, finished: Sequence[Cell]) -> None:
        """The study starts; these cells are finished."""

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        """A cell has this episode, and has spent so much so far; told again if taken up again."""

    def ended(self, cell: Cell, why: str) -> None:
        """A cell is finished, or has failed: why."""


@dataclass(frozen=True)
class Outcome:
    """How a study went.

    failed  folder of a cell -> why it is not finished: it failed, or it stands on one that did
    """

    failed: dict[Path, str] = field(default_factory=dict)


class Schedule:
    """Which cells wait, are under way, are done or have failed. Pure.

    waiting, under_way, done, failed  folders, each cell's in one of them; of a failed one also why
    """

    def __init__(self, cells: Sequence[Cell], finished: Collection[Path] = ()) -> None:
        self.done = set(finished)
        self.waiting = [cell for cell in cells if cell.folder not in self.done]
        self.under_way: set[Path] = set()
        self.failed: dict[Path, str] = {}
        self._deaths = dict.fromkeys((cell.folder for cell in cells), 0)

    def next(self) -> Cell | None:
        """Return the first cell that may begin, now under way; None where there is none now."""
        for cell in self.waiting:
            if cell.after is None or cell.after in self.done:
                self.waiting.remove(cell)
                self.under_way.add(cell.folder)
                return cell
        return None

    def finish(self, cell: Cell) -> None:
        """A cell that was under way is done."""
        self.under_way.remove(cell.folder)
        self.done.add(cell.folder)

    def fail(self, cell: Cell, why: str, died: bool = False) -> list[Cell]:
        """A cell that was under way has failed; where only its worker died it waits again, first.

        Returns those that have failed for good: it, after three more tries, and all that stand on
        it.
        """
        self.under_way.remove(cell.folder)
        if died and self._deaths[cell.folder] < _AGAIN:
            self._deaths[cell.folder] += 1
            self.waiting.insert(0, cell)
            return []
        self.failed[cell.folder] = why
        lost = [cell]
        for other in list(self.waiting):  # each stands on one before it
            if other.after in self.failed:
                self.waiting.remove(other)
                self.failed[other.folder] = f"it begins with {str(other.after)!r}, which failed"
                lost.append(other)
        return lost


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

    Raises BadRun where the folder holds another study, RunError where it is in use, InvalidValue
    for a budget of dollars where a price is unknown, BudgetSpent where something is left to play.
    """
    access = access or Access()
    for cell in plan.cells:
        _check_prices(cell.configuration, access)
    with _held(plan, out):
        return _Play(plan, out, access, watcher or Watcher()).through(pool)


class _Play:
    """A study while it is played."""

    def __init__(self, plan: Plan, out: Path, access: Access, watcher: Watcher) -> None:
        self._out, self._access, self._watcher = out, access, watcher
        self._cells = {out / cell.folder: cell for cell in plan.cells}
        self._spent = {path: known_spent(path) for path in self._cells}
        finished = [cell for cell in plan.cells if is_finished(cell, out)]
        self._schedule = Schedule(plan.cells, [cell.folder for cell in finished])
        watcher.begun(finished)

    def through(self, pool: Callable[[], Pool]) -> Outcome:
        """Play until every cell has finished or failed."""
        if not self._schedule.waiting:
            return Outcome()
        self._check_budget()
        workers = pool()
        try:
            while True:
                while workers.free and (cell := self._schedule.next()) is not None:
                    workers.begin(job_of(cell, self._out, self._access))
                if not self._schedule.under_way:
                    return Outcome(self._schedule.failed)
                for job, event in workers.hear():
                    self._hear(self._cells[job.path], job.path, event)
        finally:
            workers.close()

    def _hear(self, cell: Cell, path: Path, event: Event) -> None:
        """Take what happened to a cell."""
        self._spent[path] = known_spent(path)
        if isinstance(event, Played):
            if not event.unbegun:
                self._watcher.played(cell, event, self._spent[path])
        elif isinstance(event, Failed):
            self._fail(cell, event.why, event.died)
        elif unbegun := len(read(path).unbegun):
            self._fail(cell, f"{unbegun} attempts never began: start again to make them again")
        else:
            self._schedule.finish(cell)
            self._watcher.ended(cell, "")
        self._check_budget()

    def _fail(self, cell: Cell, why: str, died: bool = False) -> None:
        for lost in self._schedule.fail(cell, why, died):
            self._watcher.ended(lost, self._schedule.failed[lost.folder])

    def _check_budget(self) -> None:
        """Raise BudgetSpent where all is spent and something is left that can be played."""
        told = self._access.budget.told(sum(self._spent.values(), Total()))
        if not told:
            return
        left = [cell for cell in self._cells.values() if not is_finished(cell, self._out)]
        if any(cell.folder not in self._schedule.failed for cell in left):
            missing = f"{len(left)} of {len(self._cells)} runs are not finished"
            raise BudgetSpent(f"{told}, and {missing}: start again with a larger one to go on")


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
    return Job(configuration, path, own if asks(configuration) else Access())


def is_finished(cell: Cell, out: Path) -> bool:
    """Say whether a cell is played as it is planned, without looking at its world."""
    if not (out / cell.folder / MANIFEST).exists():
        return False
    try:
        run = read(out / cell.folder)
        spent(out / cell.folder)
        planned = episodes_of(cell.configuration, run.manifest.tasks)
    except JitrlError:
        return False  # whoever plays it says what is wrong
    held, wanted = run.configuration.as_json(), cell.configuration.as_json()
    if any(held[name] != wanted[name] for name in wanted if name not in (*PLACES, *_LENGTHS)):
        return False
    return not planned.left({played.number for played in run.episodes})


def known_spent(path: Path) -> Total:
    """Return what a run's calls used; nothing where the file is damaged: the run will say so."""
    try:
        return spent(path)
    except JitrlError:
        return Total()


def asks(configuration: Configuration) -> bool:
    """Say whether a run calls a model."""
    return bool(called(configuration)) or configuration.grader is not None


def _check_prices(configuration: Configuration, access: Access) -> None:
    """Raise InvalidValue if dollars are limited and a price is unknown."""
    models = called(configuration)
    if configuration.grader is not None:
        models.append(Served(configuration.grader, configuration.grader_url, ""))
    for served in models:
        access.budget.check_possible(access.prices_of(served), [served.name])


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
    """Write the plan; raises BadRun where another study is there, unless this one only adds."""
    path = out / PLAN
    if path.exists():
        kept = path.read_text(encoding="utf-8")
        if kept == plan.text:
            return
        _check_grown(parse(kept, str(path)), plan, out)
    elif any(not entry.name.startswith((LOCK, PLAN)) for entry in out.iterdir()):
        raise BadRun(f"{str(out)!r} holds files, but no study: name another folder with --out")
    with writing(out):
        replace_file(path, plan.text.encode())


def _check_grown(kept: Plan, plan: Plan, out: Path) -> None:
    """Raise BadRun unless a plan is another with more worlds, arms, seeds, or longer runs."""
    cells = {cell.folder: cell for cell in plan.cells}
    longer = set()
    for old in kept.cells:
        if (new := cells.get(old.folder)) is None:
            raise _another(out, f"it has {str(old.folder)!r}, which this plan lacks")
        held, wanted = old.configuration, new.configuration
        for name in held.as_json():
            if name not in _FREE and getattr(held, name) != getattr(wanted, name):
                what = f"{name} {getattr(held, name)!r}, not {getattr(wanted, name)!r}"
                raise _another(out, f"{str(old.folder)!r} has {what}")
        if held.what != wanted.what:
            raise _another(out, f"{str(old.folder)!r} has other options")
        if _longer(new, out):
            longer.add(new.folder)
    for cell in plan.cells:
        if cell.after in longer and (out / cell.folder / MANIFEST).exists():
            why = f"{str(cell.folder)!r} has begun with {str(cell.after)!r}, which must stay"
            raise _another(out, f"{why} as long as it was")


def _longer(cell: Cell, out: Path) -> bool:
    """Say whether a run that has begun is to have more episodes; raises BadRun where it cannot."""
    if not (out / cell.folder / MANIFEST).exists():
        return False
    try:
        held = read(out / cell.folder).manifest
    except JitrlError:
        return False  # whoever plays it says what is wrong
    wanted = episodes_of(cell.configuration, held.tasks)
    if wanted.attempts != held.plan.attempts and not wanted.by_pass:  # they are numbered by it
        what = f"attempts {held.plan.attempts}, not {wanted.attempts}, in the order of tasks"
        raise _another(out, f"{str(cell.folder)!r} has {what}")
    if wanted.total < held.plan.total:
        what = f"{held.plan.total} episodes, more than {wanted.total}"
        raise _another(out, f"{str(cell.folder)!r} has {what}")
    return wanted.total > held.plan.total


def _another(out: Path, why: str) -> BadRun:
    return BadRun(f"{str(out)!r} holds another study: {why}; name another folder with --out")
