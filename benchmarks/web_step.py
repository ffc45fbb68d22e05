"""Steps per second in a real browser, and where a step's time goes.

    python benchmarks/web_step.py miniwob:login-user --attempts 10 --repeats 5 --filled 10000

Plays a task as `jitrl run` does, with the keyless prior and a memory that already holds --filled
steps of the same task, several times. Prints milliseconds a step by what they were spent on, and
shares: the mean of the repeats, and in brackets the least and the most.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile

from jitrl.bench.configuration import usual
from jitrl.bench.folder import MEMORY
from jitrl.bench.runner import open_world, run
from jitrl.memory import open as open_memory

PARTS = {
    "browser: action, waiting, reading the page": "browser",
    "  of it, DOM and accessibility tree": "page",
    "evaluator": "verdict",
    "listing actions": "actions",
    "learner": "learner",
    "run folder, and what is left": "rest",
}


@dataclass(frozen=True)
class Spent:
    """Seconds of a run by what they were spent on, resets included, and its steps."""

    steps: int
    total: float
    parts: dict[str, float]


def played(world: str, attempts: int, seed: int, memory: Path | None, folder: Path) -> Spent:
    """Play a run in a folder, with a memory of its own or this one."""
    held = None if memory is None else str(memory)
    configuration = usual(world, attempts=attempts, seed=seed, memory=held)
    with closing(open_world(configuration)) as opened:
        before, begun = dict(opened.seconds), time.perf_counter()
        done = run(configuration, folder, opened)
        total = time.perf_counter() - begun
        parts = {name: spent - before[name] for name, spent in opened.seconds.items()}
    parts["learner"] = sum(one.seconds["learner"] for one in done.episodes)
    told = ("browser", "verdict", "actions", "learner")  # the page is a part of the browser's
    parts["rest"] = total - sum(parts[name] for name in told)
    return Spent(sum(one.steps for one in done.episodes), total, parts)


def fill(memory: Path, steps: int) -> None:
    """Store copies of the episodes that a memory holds until it holds so many steps."""
    with closing(open_memory(memory)) as store:
        known = list(store.episodes())
        held, copy = sum(len(episode.steps) for episode in known), 0
        while held < steps:
            copy += 1
            for episode in known:
                store.append(replace(episode, id=f"{episode.id}-copy-{copy}"))
                held += len(episode.steps)


def spread(values: list[float], form: str) -> str:
    """Return the mean of some values, and the least and the most."""
    ends = [format(value, form) for value in (min(values), max(values))]
    return f"{format(sum(values) / len(values), form)} [{', '.join(ends)}]"


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", nargs="?", default="miniwob:login-user")
    parser.add_argument("--attempts", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--filled", type=int, default=10_000)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        played(given.world, 10, 0, None, folder / "first")
        fill(folder / "first" / MEMORY, given.filled)
        for seed in range(1, given.repeats + 1):
            memory = folder / f"{seed}.db"
            copyfile(folder / "first" / MEMORY, memory)
            found.append(played(given.world, given.attempts, seed, memory, folder / str(seed)))
    print(f"{given.world}: {given.repeats} runs of {given.attempts} attempts, resets included;")
    print(f"memory of {given.filled} steps; mean of the runs [least, most]")
    print(f"{'steps per second':45} {spread([one.steps / one.total for one in found], '.2f')}")
    print(f"{'ms a step':45} {spread([1000 * one.total / one.steps for one in found], '.0f')}")
    for label, name in PARTS.items():
        shares = spread([one.parts[name] / one.total for one in found], ".2%")
        took = spread([1000 * one.parts[name] / one.steps for one in found], ".1f")
        print(f"{label:45} {shares:26} {took} ms")


if __name__ == "__main__":
    main()
