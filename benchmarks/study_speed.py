"""How long a study takes with several workers, against its runs one after the other.

    JITRL_GAMES=FOLDER python benchmarks/study_speed.py --workers 2

Three arms and five seeds of one game: by `jitrl run`, a command for each run; by `jitrl bench` with
one worker; and with several. Each way begins with an empty cache of valid actions. Ratios are of
this one call; it wants a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

JITRL = (sys.executable, "-m", "jitrl.cli")
ARMS = ("static", "jitrl", "shuffled")
PLAN = """
seeds = {seeds}
episodes = {episodes}
steps = 50
[[world]]
name = "{world}"
"""


def seconds(commands: Sequence[Sequence[str]]) -> float:
    """Return how long these commands take, one after the other, with a cache of their own."""
    with tempfile.TemporaryDirectory() as cache:
        own = os.environ | {"JITRL_CACHE": cache}
        begun = time.perf_counter()
        for words in commands:
            subprocess.run([*JITRL, *words], check=True, stdout=subprocess.DEVNULL, env=own)
        return time.perf_counter() - begun


def main() -> None:
    """Play the same three times, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="jericho:detective")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    length = ("--episodes", str(given.episodes), "--steps", "50")
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan.toml")
        text = PLAN.format(seeds=given.seeds, episodes=given.episodes, world=given.world)
        plan.write_text(text + "".join(f'[[arm]]\nagent = "{arm}"\n' for arm in ARMS))
        by_hand = [
            ["run", given.world, "--agent", arm, "--seed", str(seed), *length]
            for arm in ARMS
            for seed in range(given.seeds)
        ]
        for number, words in enumerate(by_hand):
            words += ["--out", str(Path(folder, f"run-{number}"))]
        found = {"jitrl run, one after the other": seconds(by_hand)}
        for workers in sorted({1, given.workers}):
            out = str(Path(folder, f"study-{workers}"))
            words = ["bench", str(plan), "--out", out, "--workers", str(workers)]
            found[f"jitrl bench --workers {workers}"] = seconds([words])
    print(f"{given.world}: {len(ARMS)} arms x {given.seeds} seeds x {given.episodes} episodes")
    first = next(iter(found.values()))
    for name, taken in found.items():
        print(f"{name:34} {taken:7.1f} s  {first / taken:5.2f} times as fast")


if __name__ == "__main__":
    main()
