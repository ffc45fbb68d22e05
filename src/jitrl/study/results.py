"""What a study has played, read from its run folders alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jitrl.agents.player import Played
from jitrl.bench.folder import MANIFEST, Run, read
from jitrl.bench.usage import total
from jitrl.errors import BadRun
from jitrl.models.ledger import Total
from jitrl.study.plan import Outline, Stage, outline, text_of
from jitrl.study.play import PLAN
from jitrl.update import Floats


@dataclass(frozen=True)
class Entry:
    """One world and one arm, over the seeds of the plan.

    runs    seed -> what was played, of those that have begun
    spent   seed -> what its model calls used
    scores  of each attempt, shape (seeds, tasks, attempts): success (1 or 0) in a suite, the score
            of an episode in a game, which is one task; nan for what was not played
    best    the highest score possible; nan where nobody knows
    suite   of tasks
    """

    world: str
    arm: str
    runs: dict[int, Run]
    spent: dict[int, Total]
    scores: Floats
    best: float
    suite: bool

    @property
    def played(self) -> list[Played]:
        """All finished episodes."""
        return [played for run in self.runs.values() for played in run.episodes]

    @property
    def within(self) -> tuple[float, float] | None:
        """(lowest, highest) score that an attempt can have; None for a game: it may go below 0."""
        return (0.0, 1.0) if self.suite else None

    @property
    def cost(self) -> Total:
        """What the model calls used."""
        return sum(self.spent.values(), Total())

    def dollars(self, seed: int) -> float:
        """Return what an episode of a seed cost on average, as far as prices are known."""
        return self.spent[seed].known_dollars / max(len(self.runs[seed].episodes), 1)


@dataclass(frozen=True)
class Study:
    """A study: its outline, where it lies, and what was played of each world and arm."""

    plan: Outline
    path: Path
    entries: dict[tuple[str, str], Entry]

    def of_world(self, label: str) -> list[Entry]:
        """Return the arms of a world that have played something, in the order of the plan."""
        found = (self.entries.get((label, arm)) for arm in self.plan.arms)
        return [entry for entry in found if entry is not None]

    def stages(self) -> Iterator[Stage]:
        """Iterate over the worlds of which something was played."""
        return (stage for stage in self.plan.worlds if self.of_world(stage.label))


def load(path: Path) -> Study:
    """Return the study in a folder. Raises BadRun where there is none, or nothing was played."""
    if not (path / PLAN).is_file():
        raise BadRun(f"{str(path)!r} is no study: it has no {PLAN}")
    plan = outline(text_of(path / PLAN), str(path / PLAN))
    found: dict[tuple[str, str], dict[int, Run]] = {}
    for place in plan.places:
        if not (path / place.folder / MANIFEST).exists():
            continue
        if (run := read(path / place.folder)).episodes:
            found.setdefault((place.world, place.arm), {})[place.seed] = run
    if not found:
        raise BadRun(f"no episode of {str(path)!r} is finished yet: play it with jitrl bench")
    return Study(
        plan,
        path,
        {key: _entry(*key, plan.seeds, held) for key, held in found.items()},
    )


def _entry(world: str, arm: str, seeds: Sequence[int], held: dict[int, Run]) -> Entry:
    first = next(iter(held.values())).manifest
    suite = bool(first.tasks)
    plans = {seed: run.manifest.plan for seed, run in held.items()}
    places = {
        seed: [(plans[seed].place(p.number) if suite else (0, p.number)) for p in run.episodes]
        for seed, run in held.items()
    }
    width = 1 + max(attempt for found in places.values() for _, attempt in found)
    scores = np.full((len(seeds), max(len(first.tasks), 1), width), np.nan)
    for row, seed in enumerate(seeds):
        for (task, attempt), played in zip(
            places.get(seed, []), held[seed].episodes if seed in held else [], strict=True
        ):
            scores[row, task, attempt] = float(played.success) if suite else played.score
    best = 1.0 if suite else math.nan if first.max_score is None else first.max_score
    spent = {seed: total(run) for seed, run in held.items()}
    return Entry(world, arm, held, spent, scores, best, suite)
