"""How fast and how large the memory is, beside other ways to find the neighbours of a state.

    python benchmarks/memory.py --steps 10000 100000 --out docs/memory-speed.md

Memories are made up from a seed (`memory_data`), kept in --folder and used again. Every part runs
in a process of its own (`memory_parts`); the other ways are in `memory_arms`. They need libraries
that jitrl does not, and are left out, and named, where those are missing:

    pip install faiss-cpu bm25s

BENCH_CLOCK=thread takes processor time instead of the wall clock's, for a machine that is busy.

Prints tables in Markdown, and writes them to --out as well. Times are p50 / p95 / p99; a goal
is for the p95 unless it says otherwise.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from memory_arms import ARMS, missing
from memory_data import STEPS, Data
from memory_parts import PER_ACTION, THRESHOLDS, K, part

OURS = ("numba", "numpy")
KINDS = ("revisit", "new", "self")
SLOW = {"definition": (6, 10_000), "faiss": (100, 100_000), "bm25s": (100, 100_000)}
SLOW["fts5"] = (60, 100_000)
"""Arm -> how many queries of a kind it is asked, and up to how many steps it is run."""
GOALS: dict[str, dict[int, float]] = {
    "threshold": {10_000: 0.3, 100_000: 0.6, 1_000_000: 1.5},
    "none": {10_000: 8, 100_000: 40, 1_000_000: 250},
    "open": {10_000: 0.1, 100_000: 0.5, 1_000_000: 2},
    "RAM": {100_000: 250, 1_000_000: 2000},
    "pause": {10_000: 20, 100_000: 50, 1_000_000: 100},
    "append": {10_000: 10, 100_000: 10, 1_000_000: 15},
    "choose": {100_000: 2},
}
"""What -> steps -> goal, in milliseconds, seconds or MB."""


class Bench:
    """The measurements of one memory, section by section; `say` takes each line of the report."""

    def __init__(self, given: argparse.Namespace, steps: int, say: Any) -> None:
        self.steps, self.say, self.given = steps, say, given
        self.data = Data(given.seed, given.one_game, given.distinct)
        self.ours = [arm for arm in OURS if arm in given.arms and not _no(arm)]
        self.folder = given.folder / f"{self.data.name}-{steps}"
        self.path = self.folder / "memory.db"
        self.common = {"data": asdict(self.data), "steps": steps, "path": self.path.absolute()}
        self.answers: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        """Measure and report everything."""
        self.say(f"\n## {self.data.name}, {self.steps:,} steps\n")
        self._filled()
        self._queries()
        self._neighbours()
        self._others()
        self._sizes()
        self._appends()
        self._choose()

    def goal(self, what: str) -> str:
        """Return the goal for a memory of this size."""
        found = GOALS[what].get(self.steps)
        return "" if found is None else f"{found:g}"

    def _filled(self) -> None:
        """Fill the memory, unless it is there; report what it holds."""
        notes = self.folder / "facts.json"
        if self.given.fresh or not notes.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            growth = part("grow", **self.common, backend=self.ours[0])
            found = {"commit": commit(), "growth": growth, **part("facts", **self.common)}
            notes.write_text(json.dumps(found))
        self.facts = json.loads(notes.read_text())
        distinct = self.facts["distinct"]
        low, median, high = self.facts["words"]
        self.say(
            f"{self.steps // STEPS:,} episodes of {STEPS} steps; words of a state: median "
            f"{median:.0f}, 90 % between {low:.0f} and {high:.0f}. Distinct: "
            + ", ".join(f"{distinct[name]:,} {name}s" for name in ("state", "room"))
            + f", {distinct['inventory']:,} inventories, {distinct['history']:,} histories."
        )
        if self.facts["commit"] != commit():
            self.say(f"The memory was filled at commit {self.facts['commit']}.")

    def _queries(self) -> None:
        """Ask ours; report what the queries find."""
        warm = partial(part, "answer", **self.common, queries=self.given.queries, cold=False)
        for arm in self.ours:
            warm(backend=arm, queries=1)  # compiles, and fills the system's cache
            self.answers[arm] = warm(backend=arm)
        asked = self.answers[self.ours[0]]["asked"]
        digests = {
            tuple(found["digest"] for kind in answer["asked"].values() for found in kind.values())
            for answer in self.answers.values()
        }
        if len(digests) > 1:
            raise SystemExit("the back ends do not agree")
        self.say(f"\n{self.given.queries} queries of each kind:\n")
        rows = []
        for kind in KINDS:
            best = np.array([levels[0] if levels else 0 for levels in asked[kind]["0.0"]["levels"]])
            shares = [np.mean(best == 1), *(np.mean(best >= x) for x in THRESHOLDS[:-1])]
            steps = [np.mean(asked[kind][str(x)]["steps"]) for x in THRESHOLDS]
            rows.append([kind, *(f"{x:.0%}" for x in shares), *(f"{x:.0f}" for x in steps)])
        self._table(
            "query | stored alike | best >= .95 | best >= .85 | steps found, .95 | .85 | none", rows
        )

    def _neighbours(self) -> None:
        """Report the times of ours."""
        self.say(f"\n`neighbours`, k = {K} states, {PER_ACTION} steps an action and state, ms:\n")
        rows = []
        for arm in self.ours:
            for threshold in THRESHOLDS:
                found = {
                    kind: self.answers[arm]["asked"][kind][str(threshold)]["seconds"]
                    for kind in KINDS
                }
                every = list(chain(*found.values()))
                name, goal = ("none", "none") if not threshold else (f"{threshold:g}", "threshold")
                cells = [ms(found[kind]) for kind in KINDS]
                rows.append([arm, name, *cells, ms(every), self.goal(goal), most(every)])
        self._table("arm | threshold | revisit | new | self | all | goal | max", rows)

    def _others(self) -> None:
        """Report the other arms, with how much of the exact answer they find."""
        rows, exact = [], self.answers[self.ours[0]]["asked"]
        for arm in [name for name in ARMS if name in self.given.arms]:
            n, largest = SLOW[arm]
            n = min(n, self.given.queries)
            if self.steps > largest or missing(arm):
                why = "its library is missing" if missing(arm) else f"not run above {largest:,}"
                rows.append([arm, why, *[""] * 7])
                continue
            got = part("other", **self.common, arm=arm, queries=n)
            wanted = {kind: exact[kind]["0.0"]["levels"][:n] for kind in ("revisit", "new")}
            shares = [f"{recall(wanted[kind], got['levels'][kind]):.3f}" for kind in wanted]
            if arm == "definition" and got["levels"] != wanted:
                raise SystemExit("ours does not agree with the definition")
            first = list(chain(*got["recall"].values()))
            whole = np.array(first) + list(chain(*got["rank"].values()))
            append = ms(got["append"]) if got["append"] else "none"
            size = [f"{got['build']:.1f}", f"{got['own']:.0f}"]
            rows.append([arm, str(n), ms(first), ms(whole), *shares, *size, append])
        if rows:
            self.say(
                "\nOther ways, no threshold, ms; recall@10 against ours (definition: equal):\n"
            )
            self._table(
                "arm | queries a kind | recall | with ranking | @10 revisit | @10 new | "
                "build, s | RAM, MB | append of 50 states",
                rows,
            )

    def _sizes(self) -> None:
        """Report opening, RAM, disk, and building anew."""
        rows, sizes = [], []
        rows.append(self._opening("auto", self._once("auto", cold=False)))
        for arm in self.ours:
            warm = self.answers[arm]
            built = part("rebuild", **self.common, backend=arm)
            rows.append(self._opening(arm, warm))
            sizes.append(
                [arm]
                + [f"{warm[when]['own'] - warm['before']['own']:.0f}" for when in ("opened", "end")]
                + [f"{warm['end']['mapped'] - warm['before']['mapped']:.0f}"]
                + [f"{warm['end']['peak']:.0f}", self.goal("RAM")]
                + [f"{warm['before']['own'] + warm['before']['mapped']:.0f}"]
                + [f"{warm['rows']:.0f}", f"{warm['index']:.0f}"]
                + [f"{built['build']:.1f} + {built['save']:.1f}", f"{built['peak']:.0f}"]
            )
        self.say(
            "\nOpening in a fresh process, seconds (auto: what a learner takes; cold: files not in "
            "the system's cache):\n"
        )
        self._table("arm | imports: jitrl + numba | open | open + first answer | cold | goal", rows)
        self.say(
            "\nMB of RAM beside the imports (own: not shared, of mapped files told apart), disk, "
            "and an index built anew from the rows:\n"
        )
        self._table(
            "arm | own, opened | own, all asked | mapped | peak of the process | goal, own | "
            "imports | rows on disk | index on disk | build + save, s | its peak, MB",
            sizes,
        )

    def _once(self, arm: str, *, cold: bool) -> dict[str, Any]:
        return part("answer", **self.common, backend=arm, queries=1, cold=cold)

    def _opening(self, arm: str, warm: dict[str, Any]) -> list[str]:
        imports = f"{warm['import']:.2f} + {warm['import numba']:.2f}"
        found = (warm, self._once(arm, cold=True))
        first = [f"{got['open'] + got['first']:.3f}" for got in found]
        return [arm, imports, f"{warm['open']:.3f}", *first, self.goal("open")]

    def _appends(self) -> None:
        """Report appends of whole episodes, while the memory grows and at its full size."""
        growth = {f"growing, process, {self.ours[0]}": self.facts["growth"]}
        scratch = self.folder.with_name(f"{self.folder.name}-scratch")
        options = {**self.common, "path": (scratch / "memory.db").absolute()}
        for arm in self.ours[1:]:
            if self.steps <= self.given.grow_numpy:
                scratch.mkdir(exist_ok=True)
                growth[f"growing, process, {arm}"] = part("grow", **options, backend=arm)
                shutil.rmtree(scratch)
        for durability in ("process", "power"):
            shutil.copytree(self.folder, scratch)
            got = part(
                "more",
                **options,
                backend=self.ours[0],
                durability=durability,
                episodes=self.given.more,
                pause=self.given.pause,
            )
            growth[f"at full size, {durability}, {self.ours[0]}"] = got
            shutil.rmtree(scratch)
        rows = []
        for name, got in growth.items():
            whole = np.array(got["append"]) + np.array(got["refresh"])
            parts = [ms(got["append"]), most(got["append"]), ms(got["refresh"])]
            goals = [self.goal("append"), self.goal("pause")]
            rows.append([name, *parts, most(got["refresh"]), most(whole), *goals])
        self.say("\nAppend of a 50-step episode to the store, then `refresh` of the index, ms:\n")
        self._table(
            "when | append | max | refresh | max | both, max | goal, append | goal, longest pause",
            rows,
        )

    def _choose(self) -> None:
        """Report whole decisions, by part."""
        rows = []
        for name in ("default", "paper", "default, at once"):
            preset, settled = name.split(",")[0], "," not in name
            episodes = self.given.played
            got = part("choose", **self.common, preset=preset, episodes=episodes, settled=settled)
            rest = np.array(got["whole"]) - got["retrieve"] - got["decide"] - got["log"]
            parts = [ms(got[name]) for name in ("retrieve", "decide", "log")]
            steps = f"{np.mean(got['evidence']):.0f}"
            row = [name, ms(got["whole"]), most(got["whole"]), *parts, ms(rest), steps]
            rows.append([*row, self.goal("choose"), ms(got["opening"])])
        self.say(
            f"\nA whole `choose`, 20 candidates, {self.given.played * STEPS} steps, ms; at once: "
            "while numba is imported beside it, in the first second after opening:\n"
        )
        self._table(
            "preset | whole | max | retrieve | decide | log line | rest | steps of evidence | "
            "goal, p99 | `episode()`",
            rows,
        )

    def _table(self, head: str, rows: Iterable[Sequence[str]]) -> None:
        self.say(f"| {head} |")
        self.say("|" + "---|" * (head.count("|") + 1))
        for row in rows:
            self.say(f"| {' | '.join(row)} |")


def ms(seconds: Sequence[float] | Any) -> str:
    """Return p50 / p95 / p99 in milliseconds."""
    found = np.quantile(np.asarray(seconds) * 1e3, [0.5, 0.95, 0.99])
    return " / ".join(f"{x:.3g}" if x < 100 else f"{x:.0f}" for x in found)


def most(seconds: Sequence[float] | Any) -> str:
    """Return the largest in milliseconds."""
    return f"{float(np.max(seconds)) * 1e3:.3g}"


def recall(exact: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """Return the mean share of the exact answers that were found; one of equals is as good."""
    shares = []
    for wanted, got in zip(exact, found, strict=True):
        if wanted:
            shares.append(sum(level >= wanted[-1] for level in got[: len(wanted)]) / len(wanted))
    return float(np.mean(shares)) if shares else 1.0


def commit() -> str:
    """Return the commit that is measured, "+" if the files differ from it."""
    git = partial(subprocess.run, capture_output=True, text=True, cwd=Path(__file__).parent)
    changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    return git(["git", "rev-parse", "--short", "HEAD"]).stdout.strip() + ("+" if changed else "")


def machine() -> str:
    """Return the machine and the libraries in words."""
    names = ("numpy", "numba", "faiss-cpu", "bm25s")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    cores = os.cpu_count()
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, no GPU, load {load:.1f} at the "
        f"start; Python {platform.python_version()}, {', '.join(found)}"
    )


def _no(arm: str) -> bool:
    return arm == "numba" and importlib.util.find_spec("numba") is None


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=300, help="of each kind (300)")
    parser.add_argument("--arms", nargs="+", default=[*OURS, *ARMS], choices=[*OURS, *ARMS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one-game", action="store_true", help="everything in one game")
    parser.add_argument("--distinct", action="store_true", help="nearly all room texts differ")
    parser.add_argument("--folder", type=Path, default=Path("runs/memories"))
    parser.add_argument("--fresh", action="store_true", help="fill the memories anew")
    parser.add_argument("--more", type=int, default=200, help="episodes appended at full size")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between these")
    parser.add_argument("--played", type=int, default=20, help="episodes of the whole choose")
    parser.add_argument("--grow-numpy", type=int, default=100_000, help="up to so many steps")
    parser.add_argument("--out", type=Path, help="a file for the tables as well")
    given = parser.parse_args()
    if not any(arm in given.arms and not _no(arm) for arm in OURS):
        parser.error("--arms must name one of ours that is installed: numba or numpy")
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"    python benchmarks/memory.py {' '.join(sys.argv[1:])}\n")
    if os.environ.get("BENCH_CLOCK", "wall") != "wall":
        say(f"Times are of the clock BENCH_CLOCK={os.environ['BENCH_CLOCK']}.\n")
    say(f"Commit {commit()}. {machine()}.")
    for arm in (arm for arm in given.arms if _no(arm)):
        say(f"\n{arm} is not installed: its arm is missing.")
    for steps in given.steps:
        Bench(given, steps, say).run()
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
