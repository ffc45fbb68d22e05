"""How often the intervals of a study hold the truth, on data whose truth is known.

python benchmarks/coverage.py [--trials 1000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from jitrl.study.statistics import mean
from jitrl.update import Floats

SHAPES = ((3, 1), (5, 1), (10, 1), (20, 1), (1, 16), (3, 16), (5, 16), (10, 16), (5, 100))
"""(seeds, tasks)."""
VARYING = {"seeds": (1.0, 0.0), "tasks": (0.0, 1.0), "both": (1.0, 1.0), "neither": (0.0, 0.0)}
"""Standard deviation of what a seed, and what a task, has in common; that of a cell is 1."""
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
DRAWS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "mostly zero": lambda rng, shape: (rng.random(shape) < 0.2) * rng.exponential(5, shape) - 1,
}
"""Each of mean 0."""


def coverage(draw: Draw, seeds: int, tasks: int, spread: tuple[float, float], trials: int) -> float:
    """Return the share of trials whose interval holds 0."""
    rng = np.random.default_rng([seeds, tasks, int(10 * spread[0]), int(10 * spread[1])])
    held = 0
    for _ in range(trials):
        cells = draw(rng, (seeds, tasks))
        cells = cells + spread[0] * draw(rng, (seeds, 1)) + spread[1] * draw(rng, (1, tasks))
        found = mean([cells])
        held += found.known and found.low <= 0 <= found.high
    return held / trials


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    print(f"| seeds x tasks | what varies | {' | '.join(DRAWS)} |")
    print("|---|---|" + "---:|" * len(DRAWS))
    for seeds, tasks in SHAPES:
        for name, spread in VARYING.items():
            if (seeds == 1 and spread[0]) or (tasks == 1 and name != "neither"):
                continue  # the same as `neither`
            held = [coverage(draw, seeds, tasks, spread, trials) for draw in DRAWS.values()]
            shown = " | ".join(f"{share:.1%}" for share in held)
            print(
                f"| {seeds} x {tasks} | {'the cells' if tasks == 1 else name} | {shown} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
