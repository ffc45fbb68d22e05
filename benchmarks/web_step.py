"""Steps per second in a real browser, and where a step's time goes.

    python benchmarks/web_step.py miniwob:login-user --episodes 30 --filled 10000

Plays a task with the keyless prior and a memory that already holds --filled steps of the same task.
Prints seconds a step by what they were spent on; all ratios are of this one run.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from jitrl import Learner
from jitrl.agents.player import Played, play
from jitrl.memory import open as open_memory
from jitrl.scores.prior import Prior
from jitrl.worlds import World, make


def played(world: World, learner: Learner, numbers: range, steps: int) -> list[Played]:
    """Play these episodes."""

    async def all_of_them() -> list[Played]:
        prior = Prior(3)
        return [await play(world, learner, prior, steps=steps, number=n) for n in numbers]

    return asyncio.run(all_of_them())


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


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", nargs="?", default="miniwob:login-user")
    parser.add_argument("--episodes", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--filled", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder, "memory.db")
        world = make(given.world)
        try:
            with Learner(memory, "web", seed=0) as learner:
                played(world, learner, range(10), given.steps)
            fill(memory, given.filled)
            before = dict(world.seconds)
            with Learner(memory, "web", seed=0) as learner:
                done = played(world, learner, range(10, 10 + given.episodes), given.steps)
            spent = {name: world.seconds[name] - before[name] for name in world.seconds}
        finally:
            world.close()
    steps = sum(one.steps for one in done)
    total = sum(one.seconds["total"] for one in done)
    rows = {
        "all": total,
        "browser: action, waiting, reading the page": spent["browser"],
        "  of it, DOM and accessibility tree": spent["page"],
        "evaluator": spent["verdict"],
        "listing actions": spent["actions"],
        "learner": sum(one.seconds["learner"] for one in done),
    }
    print(f"{given.world}: {len(done)} episodes, {steps} steps, {steps / total:.2f} steps/s,")
    print(f"resets included; memory of {given.filled} steps")
    for name, seconds in rows.items():
        print(f"{name:45} {1000 * seconds / steps:8.1f} ms a step  {seconds / total:7.2%}")


if __name__ == "__main__":
    main()
