"""What a memory is worth on web pages, without a language model: with and without, paired seeds.

    python benchmarks/web_learning.py pocket --seeds 3

Two tasks of each of eight templates of the pocket web, in passes; then another task of each, never
seen before: one attempt, five times, with what was learned and without.

Run folders are kept under --out; a run that was cut short is continued. Ends with the reports;
outcomes.csv beside them says of each attempt at a task whether it succeeded (1), failed (0), or did
not finish (-).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from math import isnan
from pathlib import Path
from shutil import copyfile
from statistics import fmean

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import MEMORY, Run, read
from jitrl.bench.jobs import Job, play_all
from jitrl.bench.statistics import interval
from jitrl.bench.suites import outcomes
from jitrl.cli import app

REPEATS = 5
TEMPLATES = {
    0: (0, 6, 1),  # what the shop says of a product
    6: (26, 27, 28),  # a category, sorted
    14: (55, 56, 57),  # orders of a status
    15: (58, 59, 60),  # what the wiki says of something
    20: (77, 78, 79),  # a file of a project
    22: (85, 86, 87),  # what a project says about itself
    25: (95, 96, 97),  # close an issue
    26: (98, 99, 100),  # set a status
}
"""Template -> its tasks: two to learn from, one that is never seen."""


def arms(world: str, seeds: int, out: Path, **given: object) -> list[Job]:
    """Return a run with memory and one without for each seed."""
    return [
        Job(
            Configuration(
                world=world,
                agent=agent,
                preset="web",
                seed=seed,
                **given,  # type: ignore[arg-type]
            ),
            out / f"{agent}-{seed}",
        )
        for seed in range(seeds)
        for agent in ("jitrl", "static")
    ]


def report(jobs: Sequence[Job], out: Path) -> None:
    """Print and write the report of some runs, and what came of every attempt."""
    app(["report", *(str(job.path) for job in jobs), "--out", str(out)], standalone_mode=False)
    lines = ["agent,seed,task,outcomes"]
    for run in (read(job.path) for job in jobs):
        for task, found in zip(run.manifest.tasks, outcomes(run), strict=True):
            signs = "".join("-" if isnan(one) else str(int(one)) for one in found)
            what = run.configuration
            lines.append(f"{what.agent},{what.seed},{task.name},{signs}")
    (out / "outcomes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pocket(seeds: int, workers: int, out: Path) -> None:
    """Learn from two tasks of each template, then attempt a third, each time for the first time."""
    seen = ",".join(str(task) for tasks in TEMPLATES.values() for task in tasks[:2])
    jobs = arms(f"pocket-web:{seen}", seeds, out / "seen", attempts=10, order="passes", steps=15)
    play_all(jobs, workers=workers)
    report(jobs, out / "seen" / "report")
    later = [job for seed in range(seeds) for job in _first_attempts(seed, out)]
    runs = play_all(later, workers=workers)
    print_transfer(runs)


def print_transfer(runs: Sequence[Run]) -> None:
    """Print success at tasks that were never seen: the repetitions of a seed are one number.

    Of the attempts that began with memory and without: a site that is down takes neither side.
    """
    ours, theirs = (
        [{played.task: played.success for played in run.episodes} for run in runs if of(run)]
        for of in (_learns, lambda run: not _learns(run))
    )
    pairs = [
        [(with_[task], without[task]) for task in with_.keys() & without.keys()]
        for with_, without in zip(ours, theirs, strict=True)
    ]
    by_seed = [chain(*pairs[i : i + REPEATS]) for i in range(0, len(pairs), REPEATS)]
    means = [tuple(map(fmean, zip(*both, strict=True))) for both in map(list, by_seed) if both]
    rows = {
        "jitrl": [with_ for with_, _ in means],
        "static": [without for _, without in means],
        "difference": [with_ - without for with_, without in means],
    }
    print("success in the first attempt at tasks never seen, mean and 95 % interval over seeds")
    for name, values in rows.items():
        if values:
            found = interval(values)
            each = ", ".join(f"{value:.3f}" for value in values)
            print(f"{name:12}{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]  by seed: {each}")
    if unbegun := [played.task for run in runs for played in run.unbegun]:
        print(
            f"attempts that never began, left out on both sides: {len(unbegun)}, at "
            f"{', '.join(sorted(set(unbegun)))}; start again to try them again"
        )


def _learns(run: Run) -> bool:
    return run.configuration.agent == "jitrl"


def _first_attempts(seed: int, out: Path) -> list[Job]:
    """Return runs of one attempt at each task that was never seen, each with its own memory."""
    unseen = ",".join(str(tasks[2]) for tasks in TEMPLATES.values())
    jobs = []
    for once in range(REPEATS):
        number = 1000 + REPEATS * seed + once
        for agent in ("jitrl", "static"):
            path = out / "unseen" / f"{agent}-{number}"
            memory = None
            if agent == "jitrl":
                memory = path.with_suffix(".db")
                if not memory.exists():
                    memory.parent.mkdir(parents=True, exist_ok=True)
                    copyfile(out / "seen" / f"jitrl-{seed}" / MEMORY, memory)
            configuration = Configuration(
                world=f"pocket-web:{unseen}",
                agent=agent,
                preset="web",
                seed=number,
                steps=15,
                memory=None if memory is None else str(memory.absolute()),
            )
            jobs.append(Job(configuration, path))
    return jobs


def main() -> None:
    """Play what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=["pocket"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/web-learning"))
    given = parser.parse_args()
    pocket(given.seeds, given.workers, given.out / given.study)


if __name__ == "__main__":
    main()
