"""What a study will take at most, before it is played: calls, tokens, dollars, seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count

import numpy as np

from jitrl.bench.configuration import Configuration
from jitrl.bench.language import Access, expected
from jitrl.bench.plan import plan as episodes_of
from jitrl.bench.plan import tasks_of
from jitrl.bench.runner import OpenWorld, open_world
from jitrl.errors import JitrlError
from jitrl.models.budget import Estimate, estimate
from jitrl.records import Observation
from jitrl.study.plan import Cell, Plan
from jitrl.study.play import Schedule, asks
from jitrl.worlds import Task

STEPS = 5
"""Of each world that are played to see how long they take."""
_STILL = "scroll(0, 0)"  # on a page: a site is left as it is


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one world and arm; None is what nobody knows.

    steps    at most
    use      calls, tokens and dollars, at most
    seconds  of worlds and models, one run after the other
    problem  why the world cannot be looked at; "" where it can
    """

    world: str
    arm: str
    runs: int
    episodes: int | None = None
    steps: int | None = None
    use: Estimate | None = None
    seconds: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    """A world as it was found: its tasks, what it shows first, and the seconds of a step."""

    tasks: tuple[Task, ...] = ()
    first: Observation | None = None
    seconds: float | None = None
    problem: str = ""


def price(
    plan: Plan,
    access: Access,
    *,
    latency: float = 2.0,
    steps: int = STEPS,
    world: OpenWorld = open_world,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """Return a row for each world and arm of a plan.

    latency  seconds that a call of a model is taken to last
    steps    of each world that are played to see how long they take; 0: nobody knows then

    Each world is opened once, and reset once where a model is called or steps are played. Nothing
    is written, and no model is asked.
    """
    rows = []
    for stage in plan.worlds:
        cells = [cell for cell in plan.cells if cell.world == stage.label]
        calls = any(asks(cell.configuration) for cell in cells)
        look = _look(cells[0].configuration, calls, steps, world, clock) if cells else _Look()
        for arm in plan.arms:
            ours = [cell for cell in cells if cell.arm == arm]
            if ours:
                row = Row(stage.label, arm, len(ours), problem=look.problem)
                rows.append(_row(row, ours[0].configuration, look, access, latency))
    return rows


def elapsed(plan: Plan, rows: Sequence[Row], workers: int) -> float | None:
    """Return the seconds of a whole plan with so many runs at once; None where nobody knows.

    Runs are begun in the order in which they are played, those that stand on each other in turn.
    """
    each: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.seconds is None:
            return None
        each[row.world, row.arm] = row.seconds / row.runs
    schedule, begun, now = Schedule(plan.cells), count(), 0.0
    under_way: list[tuple[float, int, Cell]] = []
    while True:
        while len(under_way) < workers and (cell := schedule.next()) is not None:
            heappush(under_way, (now + each[cell.world, cell.arm], next(begun), cell))
        if not under_way:
            return now
        now, _, cell = heappop(under_way)
        schedule.finish(cell)


def _row(row: Row, what: Configuration, look: _Look, access: Access, latency: float) -> Row:
    """Return the row, with what its runs take together."""
    if look.problem:
        return row
    try:
        total = episodes_of(what, look.tasks).total
        use = estimate([], access.prices)
        if asks(what):
            assert look.first is not None, "the world was reset, since a model is called"
            one = expected(replace(what, episodes=total), what.world, look.first, access)
            for _ in range(row.runs):
                use += one
    except JitrlError as error:
        return replace(row, problem=str(error))
    episodes = row.runs * total
    steps = episodes * what.steps
    seconds = None
    if look.seconds is not None:
        seconds = steps * look.seconds + use.usage.calls * latency
    return replace(row, episodes=episodes, steps=steps, use=use, seconds=seconds)


def _look(
    what: Configuration, calls: bool, steps: int, world: OpenWorld, clock: Callable[[], float]
) -> _Look:
    """Open a world and play some steps of it, as somebody without a model or a memory would."""
    try:
        opened = world(what)
        try:
            tasks = tasks_of(opened)
            if not (calls or steps):
                return _Look(tasks)
            first = now = opened.reset(1)
            if first.truncated:
                return _Look(problem=f"the first attempt {first.reason or 'does not begin'}")
            rng, began, taken = np.random.default_rng(0), clock(), 0
            while taken < steps and not (now.terminated or now.truncated):
                drawn = now.actions[int(rng.integers(len(now.actions)))]
                now = opened.step(drawn if now.reader is None else _STILL)
                taken += 1
            seconds = (clock() - began) / taken if taken else None
            return _Look(tasks, first, seconds)
        finally:
            opened.close()
    except JitrlError as error:
        return _Look(problem=str(error))
