"""Every preset against the static agent on one world, with paired seeds.

    python benchmarks/first_light.py jericho:detective

Run folders are kept under --out; a run that was cut short is continued. Ends with the report.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jitrl.bench.configuration import Configuration
from jitrl.bench.jobs import Job, play_all
from jitrl.cli import app

ARMS: dict[str, dict[str, object]] = {
    "static": {"agent": "static"},
    "released": {"preset": "released"},
    "paper-beta-1": {"preset": "paper", "overrides": {"beta": 1.0}},
    "paper-beta-5": {"preset": "paper", "overrides": {"beta": 5.0}},
    "paper-beta-10": {"preset": "paper", "overrides": {"beta": 10.0}},
    "default": {"preset": "default"},
}


def main() -> None:
    """Play what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", help="jericho:detective, textworld:1 ...")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/first-light"))
    given = parser.parse_args()
    jobs = [
        Job(
            Configuration(
                world=given.world,
                seed=seed,
                episodes=given.episodes,
                steps=given.steps,
                **ARMS[arm],  # type: ignore[arg-type]
            ),
            given.out / given.world.replace(":", "-") / f"{arm}-{seed}",
        )
        for seed in range(given.seeds)
        for arm in given.arms
    ]
    play_all(jobs, workers=given.workers)
    report = given.out / given.world.replace(":", "-") / "report"
    app(["report", *(str(job.path) for job in jobs), "--out", str(report)])


if __name__ == "__main__":
    main()
