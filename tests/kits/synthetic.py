"""Runs that nobody played, with the scores that a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Manifest, Run


def episode(number: int, score: float, **changes: object) -> Played:
    values: dict[str, object] = {
        "number": number,
        "id": f"run-{number:04d}",
        "score": score,
        "start_score": 0.0,
        "steps": 10,
        "terminated": False,
        "kl": 1.0,
        "changed": 2,
        "abstained": 3,
        "seconds": {"total": 2.0, "world": 1.5, "actions": 0.5, "learner": 0.25},
    }
    return Played(**(values | changes))  # type: ignore[arg-type]


def made_up(
    scores: Sequence[float],
    /,
    seed: int = 0,
    *,
    max_score: float | None = 20.0,
    path: str | None = None,
    **choices: object,
) -> Run:
    values = {"world": "corridor:5", "seed": seed, **choices}
    configuration = Configuration(**values)  # type: ignore[arg-type]
    manifest = Manifest(
        run="0123456789abcdef",
        configuration=configuration,
        preset={"name": configuration.preset},
        world={"corridor": "1.0"},
        max_score=max_score,
        versions={"jitrl": "0", "python": "3", "numpy": "2", "platform": "x"},
        started="2026-01-01T00:00:00+00:00",
        command=[],
    )
    where = Path(path or f"runs/{configuration.agent}-{seed}")
    return Run(where, manifest, [episode(n, score) for n, score in enumerate(scores)])
