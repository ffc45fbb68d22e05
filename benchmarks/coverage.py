"""How often 95 % intervals of paired differences hold the truth, and how wide they are.

python benchmarks/coverage.py [--trials 2000] [--every]

Two arms are drawn from latent normals, so that the mean of their difference is known exactly. Each
setting is a row; the ways that were not taken are written out here, next to the one that was.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from scipy import special

from jitrl.bench.statistics import Estimate, wilson
from jitrl.study.statistics import Turned, helped, mean
from jitrl.update import Floats

DRAWS = 2000
EPISODES = 10
SHAPES = (*product((3, 5), (10, 16, 50, 165)), (10, 16), (20, 3))
RATES = {0.05: 0.12, 0.3: 0.4, 0.9: 0.95}
"""Success of the baseline, and of the arm."""
EFFECTS = {
    "none": (0.0, 0.0, 0.0),
    "seed": (0.4, 0.0, 0.0),
    "task": (0.0, 0.3, 0.3),
    "both": (0.3, 0.2, 0.2),
}
"""Share of the latent variance that a seed of an arm has in common, a task in both, in one arm."""
SCORES = np.array([0.0, 5.0, 10.0, 25.0])
GAMES = {  # chance of each score: of the arm, of the baseline
    "few values": ((0.3, 0.3, 0.25, 0.15), (0.5, 0.3, 0.15, 0.05)),
    "mostly zero": ((0.8, 0.1, 0.05, 0.05), (0.95, 0.05, 0.0, 0.0)),
}


@dataclass(frozen=True)
class Setting:
    """What is drawn; a game has one task, whose effect is a part of the truth."""

    seeds: int
    tasks: int
    kind: str = ""
    rate: float = 0.0
    effect: str = "none"
    missing: float = 0.0

    @property
    def group(self) -> str:
        """Name the settings that are summed up together."""
        if self.tasks == 1:
            return f"games, {self.kind}"
        return "suites, 20 % missing" if self.missing else f"suites, {self.effect}"


def game(rng: np.random.Generator, what: Setting) -> tuple[Floats, float]:
    """Return differences, shape (seeds, 1, episodes), and their true mean."""
    z = [
        math.sqrt(0.7) * rng.normal(size=(what.seeds, 1, 1))
        + math.sqrt(0.3) * rng.normal(size=(what.seeds, 1, EPISODES))
        for _ in range(2)
    ]
    if what.kind == "normal":
        return z[0] + 0.5 - z[1], 0.5
    if what.kind == "skewed":  # exponential, of mean 2 and 1
        return special.log_ndtr(-z[1]) - 2 * special.log_ndtr(-z[0]), 1.0
    chances = GAMES[what.kind]
    ours, theirs = (
        SCORES[np.searchsorted(np.cumsum(p)[:-1], special.ndtr(one))]
        for p, one in zip(chances, z, strict=True)
    )
    return ours - theirs, float(SCORES @ np.subtract(*chances))


def suite(rng: np.random.Generator, what: Setting) -> tuple[Floats, float]:
    """Return differences of successes, shape (seeds, tasks, 1), and their true mean."""
    of_seed, common, of_task = EFFECTS[what.effect]
    shape, both = (what.seeds, what.tasks), rng.normal(size=(1, what.tasks))
    found = []
    for rate in (RATES[what.rate], what.rate):
        z = math.sqrt(of_seed) * rng.normal(size=(what.seeds, 1)) + math.sqrt(common) * both
        z = z + math.sqrt(of_task) * rng.normal(size=(1, what.tasks))
        z = z + math.sqrt(1 - of_seed - common - of_task) * rng.normal(size=shape)
        found.append((special.ndtr(z) < rate).astype(float))
    gaps = np.where(rng.random(shape) < what.missing, np.nan, found[0] - found[1])
    return gaps[:, :, None], RATES[what.rate] - what.rate


Ends = tuple[float, float]


def student(values: Floats) -> Ends:
    """Return Student's interval of what is not nan."""
    values = values[~np.isnan(values)]
    half = special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


@lru_cache(maxsize=8)
def drawn(n: int) -> Floats:
    """Return how often each of n clusters is drawn, shape (2 * DRAWS, n), with mirror images."""
    if n == 1:
        return np.ones((2 * DRAWS, 1))
    found = np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    return np.concatenate([found, found[:, ::-1]]).astype(float)


@lru_cache(maxsize=1)
def _redrawn(key: bytes, shape: tuple[int, int]) -> Floats:
    cells = np.frombuffer(key).reshape(shape)
    seeds, tasks = (drawn(n) for n in shape)
    sums = ((seeds @ np.nan_to_num(cells)) * tasks).sum(axis=1)
    counts = ((seeds @ (~np.isnan(cells)).astype(float)) * tasks).sum(axis=1)
    return np.asarray(sums[counts > 0] / counts[counts > 0])


def redrawn(cells: Floats) -> Floats:
    """Return means with seeds and tasks drawn anew, each on its own (Owen 2007)."""
    return _redrawn(np.ascontiguousarray(cells).tobytes(), (cells.shape[0], cells.shape[1]))


def pigeonhole(cells: Floats) -> Ends:
    """Widened quantiles of the pigeonhole bootstrap; Student's t with fewer than ten clusters."""
    middle, draws = float(np.nanmean(cells)), redrawn(cells)
    n = max(cells.shape) if 1 in cells.shape else min(cells.shape)
    t, inflated = special.stdtrit(n - 1, 0.975), math.sqrt(n / (n - 1))
    if n < 10:
        half = t * inflated * float(draws.std())
        return middle - half, middle + half
    tail = special.ndtr(-t * inflated)
    low, high = np.quantile(draws, [tail, 1 - tail]).tolist()
    return low, high


Part = tuple[float, float]


def parts(cells: Floats) -> list[Part]:
    """Return the variances, with degrees of freedom, over seeds and tasks, and of single cells."""
    known = ~np.isnan(cells)
    count = int(known.sum())
    pull = np.where(known, cells - np.nanmean(cells), 0.0) / count
    found: list[Part] = [
        (float((pull.sum(axis=axis) ** 2).sum()) * n / max(n - 1, 1), max(n - 1, 1))
        for axis, n in ((1, cells.shape[0]), (0, cells.shape[1]))
    ]
    if 1 in cells.shape:
        return [(v, f) if n > 1 else (0.0, 1) for (v, f), n in zip(found, cells.shape, strict=True)]
    rest = np.where(known, cells, 0.0)
    for _ in range(50 if count < cells.size else 1):
        for axis in (1, 0):
            sums = np.where(known, rest, 0.0).sum(axis=axis, keepdims=True)
            rest = rest - sums / np.maximum(known.sum(axis=axis, keepdims=True), 1)
    left = count - sum(cells.shape) + 1
    return [*found, (float((rest[known] ** 2).sum()) / count / left, left)]


def independent(cells: Floats) -> Part:
    """Return the variance as if all cells were independent."""
    known = cells[~np.isnan(cells)]
    return float(known.var(ddof=1)) / len(known), len(known) - 1


def one_t(cells: Floats) -> Ends:
    """The two-way analysis of variance with Satterthwaite's t; the bootstrap gives the shape."""
    found, (least, most) = parts(cells), independent(cells)
    noise = sum(part**2 / f for part, f in found)
    squared = max(sum(part for part, _ in found[:2]) - sum(part for part, _ in found[2:]), least)
    few = min(n for n in cells.shape if n > 1) - 1
    t = special.stdtrit(np.clip(squared**2 / noise if noise else few, few, most), 0.975)
    middle = float(np.nanmean(cells))
    away = redrawn(cells) - middle
    low, high = np.quantile(away, [0.025, 0.975]).tolist()
    unit = t * math.sqrt(squared) / (1.96 * math.sqrt(float((away**2).mean())))
    return middle + unit * low, middle + unit * high


def less_cells(cells: Floats) -> Ends:
    """What is taken, less what seeds and tasks both hold of single cells; no less than either."""
    seeds, tasks, *both = [(special.stdtrit(f, 0.975) ** 2 * v, f) for v, f in parts(cells)]
    least, most = independent(cells)
    rest = parts(cells)[2][0] * special.stdtrit(max(seeds[1], tasks[1]), 0.975) ** 2 if both else 0
    squared = max(seeds[0], tasks[0], seeds[0] + tasks[0] - rest)
    half = math.sqrt(max(squared, least * special.stdtrit(most, 0.975) ** 2))
    middle = float(np.nanmean(cells))
    return middle - half, middle + half


WAYS: dict[str, Callable[[Floats], Ends]] = {
    "attempts": lambda scores: student(scores.ravel()),
    "seeds": lambda scores: student(np.nanmean(scores.mean(axis=2), axis=1)),
    "pigeonhole": lambda scores: pigeonhole(scores.mean(axis=2)),
    "one t": lambda scores: one_t(scores.mean(axis=2)),
    "less cells": lambda scores: less_cells(scores.mean(axis=2)),
    "taken": lambda scores: ends(mean([scores.mean(axis=2)])),
}


def ends(found: Estimate) -> Ends:
    """Return the ends of an interval."""
    return found.low, found.high


def limited(way: Callable[[Floats], Ends], scores: Floats, most: float) -> Ends:
    """Return a way's interval; all take the same one where all cells agree, and the same limits."""
    cells = scores.mean(axis=2)
    known = cells[~np.isnan(cells)]
    if np.ptp(known) == 0:
        n = max(cells.shape) if 1 in cells.shape else min(cells.shape)
        share = wilson(n, n).low
        return share * known[0] - (1 - share) * most, share * known[0] + (1 - share) * most
    low, high = way(scores)
    return max(low, -most), min(high, most)


def measure(what: Setting, seed: int, trials: int) -> dict[str, tuple[float, float]]:
    """Return how often each way's interval holds the truth, and its mean width."""
    rng = np.random.default_rng(seed)
    draw = game if what.tasks == 1 else suite
    most = math.inf if what.kind in ("normal", "skewed") else 1.0 if what.tasks > 1 else SCORES[-1]
    held, width = (dict.fromkeys(WAYS, 0.0) for _ in range(2))
    for _ in range(trials):
        scores, truth = draw(rng, what)
        for name, way in WAYS.items():
            low, high = limited(way, scores, most)
            held[name] += (low <= truth <= high) / trials
            width[name] += (high - low) / trials
    return {name: (held[name], width[name]) for name in WAYS}


def settings() -> Iterator[Setting]:
    """Return all settings."""
    for kind, seeds in product(("normal", "skewed", *GAMES), (3, 5, 10, 20)):
        yield Setting(seeds, 1, kind)
    for (seeds, tasks), rate, effect in product(SHAPES, RATES, EFFECTS):
        yield Setting(seeds, tasks, "binary", rate, effect)
    for (seeds, tasks), effect in product(((3, 16), (5, 50)), EFFECTS):
        yield Setting(seeds, tasks, "binary", 0.3, effect, missing=0.2)


Found = dict[Setting, dict[str, tuple[float, float]]]


def line(first: str, cells: list[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {first} | {' | '.join(cells)} |"


def in_short(found: Found) -> list[str]:
    """Return a row for each group and way: least and mean coverage, mean width."""
    lines = [line("", list(WAYS)), "|---|" + "---:|" * len(WAYS)]
    for group in dict.fromkeys(what.group for what in found):
        cells = []
        for name in WAYS:
            held = [one[name][0] for what, one in found.items() if what.group == group]
            width = [
                one[name][1] / one["taken"][1] for what, one in found.items() if what.group == group
            ]
            cells.append(f"{min(held):.1%} / {np.mean(held):.1%} ({np.mean(width):.2f})")
        lines.append(line(group, cells))
    least = [f"{np.mean([one[name][0] >= 0.94 for one in found.values()]):.0%}" for name in WAYS]
    return [*lines, line("settings at 94 % or more", least)]


def in_full(found: Found) -> list[str]:
    """Return a row for each setting: coverage and mean width of each way."""
    lines = [line("setting", list(WAYS)), "|---|" + "---:|" * len(WAYS)]
    for what, one in found.items():
        name = f"{what.seeds} x {what.tasks}, {what.kind}"
        name += f" {what.rate:.0%}, {what.effect}" if what.rate else ""
        name += ", 20 % missing" if what.missing else ""
        lines.append(line(name, [f"{held:.1%} ({width:.2f})" for held, width in one.values()]))
    return lines


def of_the_taken(found: Found) -> list[str]:
    """Return coverage and mean width of the way that was taken, setting by setting."""
    games = [what for what in found if what.tasks == 1]
    seeds = sorted({what.seeds for what in games})
    lines = [line("games", [f"{n} seeds" for n in seeds]), "|---|" + "---:|" * len(seeds)]
    for kind in dict.fromkeys(what.kind for what in games):
        lines.append(line(kind, [_cell(found[Setting(n, 1, kind)]) for n in seeds]))
    shapes = [f"{seeds} x {tasks}" for seeds, tasks in SHAPES]
    lines += ["", line("suites", shapes), "|---|" + "---:|" * len(shapes)]
    for rate, effect in product(RATES, EFFECTS):
        row = [_cell(found[Setting(*shape, "binary", rate, effect)]) for shape in SHAPES]
        lines.append(line(f"{rate:.0%}, {effect}", row))
    return lines


def _cell(one: dict[str, tuple[float, float]]) -> str:
    held, width = one["taken"]
    return f"{held:.1%} ({width:.2f})"


def several(trials: int) -> list[str]:
    """Return coverage of several worlds together, and of the share of decisions turned right."""
    lines = []
    for seeds in (3, 5, 10):
        rng, held = np.random.default_rng(seeds), 0
        for _ in range(trials):
            found = mean([spread * rng.normal(size=(seeds, 1)) for spread in (1, 1, 2, 3)])
            held += found.low <= 0 <= found.high
        lines.append(
            f"- four normal games of {seeds} seeds, one thrice as wide: {held / trials:.1%}"
        )
    for runs in (3, 5, 10):
        rng, held = np.random.default_rng(runs), 0
        for _ in range(trials):
            told = rng.integers(5, 100, size=runs)
            right = rng.binomial(told, rng.beta(3, 2, size=runs))
            parts = zip(right.tolist(), (told - right).tolist(), strict=True)
            share = helped([Turned(one, other, 0, 0) for one, other in parts])
            held += share.low <= 0.6 <= share.high
        lines.append(f"- right decisions of {runs} runs with 5 to 99 each: {held / trials:.1%}")
    return lines


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--every", action="store_true", help="every setting and way as well")
    given = parser.parse_args()
    found = {what: measure(what, seed, given.trials) for seed, what in enumerate(settings())}
    parts = [in_short(found), of_the_taken(found), several(given.trials)]
    print("\n\n".join("\n".join(part) for part in parts))
    if given.every:
        print("\n" + "\n".join(in_full(found)))


if __name__ == "__main__":
    main()
