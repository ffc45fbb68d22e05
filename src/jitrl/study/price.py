"""What a study will take at most, before it is played: calls, tokens, dollars, hours."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from jitrl.bench.language import Access, called, expected
from jitrl.bench.plan import plan as episodes_of
from jitrl.bench.plan import tasks_of
from jitrl.bench.runner import OpenWorld, open_world
from jitrl.models.budget import Estimate, estimate
from jitrl.records import Observation
from jitrl.study.plan import Cell, Plan
from jitrl.worlds import Suite, World

_STEPS = 5  # of each world that are played to see how long they take


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one world and arm.

    steps    at most
    use      calls, tokens and dollars, at most
    seconds  of worlds and models, one run after the other
    """

    world: str
    arm: str
    runs: int
    episodes: int
    steps: int
    use: Estimate
    seconds: float


def price(
    plan: Plan,
    access: Access,
    *,
    latency: float = 2.0,
    world: OpenWorld = open_world,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """Return a row for each world and arm of a plan.

    latency  seconds that a call of a model is taken to last

    Each world is opened once, and a few steps are played to see how long they take; nothing is
    written, and no model is asked.
    """
    rows = []
    looked: dict[str, tuple[World, Observation, float]] = {}
    for stage in plan.worlds:
        for arm in plan.arms:
            cells = [one for one in plan.cells if (one.world, one.arm) == (stage.label, arm)]
            if not cells:
                continue
            what = cells[0].configuration
            if stage.label not in looked:
                looked[stage.label] = _look(cells[0], world, clock)
            opened, first, seconds = looked[stage.label]
            total = episodes_of(what, tasks_of(opened)).total
            use = estimate([], access.prices)
            if called(what) or what.grader is not None:
                use = expected(replace(what, episodes=total), what.world, first, access)
            n = len(cells)
            rows.append(
                Row(
                    stage.label,
                    arm,
                    runs=n,
                    episodes=n * total,
                    steps=n * total * what.steps,
                    use=_times(use, n),
                    seconds=n * (total * what.steps * seconds + use.usage.calls * latency),
                )
            )
    return rows


def _look(
    cell: Cell, world: OpenWorld, clock: Callable[[], float]
) -> tuple[World, Observation, float]:
    """Return a world, closed, what it shows first, and the seconds that a step takes."""
    opened = world(cell.configuration)
    try:
        limit = {"limit": _STEPS} if isinstance(opened, Suite) else {}
        first = now = opened.reset(1, **limit)
        rng, begun, steps = np.random.default_rng(0), clock(), 0
        while steps < _STEPS and now.actions and not (now.terminated or now.truncated):
            now = opened.step(now.actions[int(rng.integers(len(now.actions)))])
            steps += 1
        seconds = (clock() - begun) / steps if steps else math.nan
    finally:
        opened.close()
    return opened, first, seconds


def _times(use: Estimate, n: int) -> Estimate:
    total = use
    for _ in range(n - 1):
        total += use
    return total
