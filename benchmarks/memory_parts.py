"""The parts of the memory benchmark, each run in a process of its own.

    python benchmarks/memory_parts.py PART JSON      prints what was measured, as one line of JSON

What is imported, held and cached by one part is thus not in the time or memory of another.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitrl.memory import Index, SqliteMemory
    from jitrl.records import Experience, State

_CLOCKS = {"wall": time.perf_counter, "thread": time.thread_time}
clock = _CLOCKS[os.environ.get("BENCH_CLOCK", "wall")]
"""thread: processor time, for a look at a machine that has other work; waiting is not in it."""
THRESHOLDS = (0.95, 0.85, 0.0)
K = 10
PER_ACTION = 50


def part(name: str, **given: object) -> dict[str, Any]:
    """Run a part in a fresh process; return what it measured. What it logs is shown."""
    command = [sys.executable, __file__, name, json.dumps(given, default=str)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the part {name} failed: see above")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def held() -> dict[str, float]:
    """Return MB of memory that this process holds now: its own, of mapped files, and its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.partition(":")[0]: line.split() for line in lines}
    names = {"own": "RssAnon", "mapped": "RssFile", "peak": "VmHWM"}
    return {name: int(sizes[field][1]) / 1024 for name, field in names.items()}


def tree_mb(path: Path) -> float:
    """Return the size in MB of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _data(given: dict[str, Any]) -> Any:
    from memory_data import Data

    return Data(**given["data"])


def _memory(path: str, beside: str | None = None, **options: Any) -> SqliteMemory:
    """Open a memory; what is derived from it lies in `beside`, where that is given."""
    from jitrl.memory import SqliteMemory

    if beside is None:
        return SqliteMemory(path, **options)
    folder = Path(beside)

    class Elsewhere(SqliteMemory):
        @property
        def beside(self) -> Path | None:
            return folder

    return Elsewhere(path, **options)


def _index(memory: SqliteMemory, backend: Any) -> Index:
    from jitrl import update
    from jitrl.memory import Index
    from jitrl.presets import PRESETS

    return Index(
        memory,
        PRESETS["paper"].fields,
        lambda rewards, judged: update.returns(rewards, gamma=0.5),
        backend=backend,
    )


def facts(given: dict[str, Any]) -> dict[str, Any]:
    """Count words and distinct texts of a memory."""
    import numpy as np
    from memory_data import STEPS, states

    data = _data(given)
    words, distinct = [], {name: set[int]() for name in ("state", "room", "inventory", "history")}
    for number in range(given["steps"] // STEPS):
        for state in states(data, number):
            distinct["state"].add(hash(state))
            for name, text in state.items():
                distinct[name].add(hash(text))
            words.append(sum(len(text.split()) for text in state.values()))
    return {
        "words": np.quantile(words, [0.05, 0.5, 0.95]).tolist(),
        "distinct": {name: len(found) for name, found in distinct.items()},
    }


def grow(given: dict[str, Any]) -> dict[str, Any]:
    """Fill a memory episode by episode, its index with it, and close both.

    append, refresh  seconds, one of each for every episode
    """
    from memory_data import STEPS, episodes

    memory = _memory(given["path"], durability="process")
    index = _index(memory, given["backend"])
    index.refresh()
    appends, refreshes = [], []
    for episode in episodes(_data(given), 0, given["steps"] // STEPS):
        begin = clock()
        memory.append(episode)
        between = clock()
        index.refresh()
        refreshes.append(clock() - between)
        appends.append(between - begin)
    begin = clock()
    index.close()
    memory.close()
    return {"append": appends, "refresh": refreshes, "close": clock() - begin}


def more(given: dict[str, Any]) -> dict[str, Any]:
    """Append to a memory that is there; the index is kept up to date, and asked in between."""
    from memory_data import STEPS, episodes, queries

    from jitrl.memory import Cut

    data, stored = _data(given), given["steps"] // STEPS
    asked = queries(data, stored, 1)["new"][0]
    memory = _memory(given["path"], durability=given["durability"])
    index = _index(memory, given["backend"])
    index.refresh().neighbours(asked, Cut(0.85, K, "states", per_action=PER_ACTION))
    appends, refreshes = [], []
    for episode in episodes(data, stored, stored + given["episodes"]):
        time.sleep(given["pause"])
        begin = clock()
        memory.append(episode)
        between = clock()
        index.refresh()
        refreshes.append(clock() - between)
        appends.append(between - begin)
    index.close()
    memory.close()
    return {"append": appends, "refresh": refreshes}


def rebuild(given: dict[str, Any]) -> dict[str, Any]:
    """Build an index from the rows alone, in a folder of its own, which is then deleted."""
    folder = Path(given["path"] + "-rebuilt")
    shutil.rmtree(folder, ignore_errors=True)
    memory = _memory(given["path"], str(folder))
    index = _index(memory, given["backend"])
    begin = clock()
    index.refresh()
    built = clock()
    index.close()
    saved = clock()
    memory.close()
    size = tree_mb(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return {"build": built - begin, "save": saved - built, "disk": size, "peak": held()["peak"]}


def answer(given: dict[str, Any]) -> dict[str, Any]:
    """Open a memory in a fresh process and ask it.

    cold  the files are not in the system's cache
    """
    begin = clock()
    import numpy  # noqa: F401

    import jitrl  # noqa: F401

    imported = clock() - begin
    if given["backend"] == "numba":
        importlib.import_module("numba")

    accelerator = clock() - begin - imported
    from memory_data import STEPS, queries

    from jitrl.memory import Cut

    asked = queries(_data(given), given["steps"] // STEPS, given["queries"])
    if given["cold"]:
        _drop(Path(given["path"]).parent)
    before = held()
    begin = clock()
    memory = _memory(given["path"])
    index = _index(memory, given["backend"])
    view = index.refresh()
    opened = clock()
    first = Cut(0.85, K, "states", per_action=PER_ACTION)
    view.neighbours(asked["new"][0], first)
    answered = clock()
    after = held()
    cuts = [Cut(threshold, K, "states", per_action=PER_ACTION) for threshold in THRESHOLDS]
    times = {
        kind: {str(cut.threshold): _asked(view.neighbours, states, cut) for cut in cuts}
        for kind, states in asked.items()
    }
    end = held()
    index.close()
    memory.close()
    return {
        "import": imported,
        "import numba": accelerator,
        "open": opened - begin,
        "first": answered - opened,
        "steps": len(view),
        "asked": times,
        "before": before,
        "opened": after,
        "end": end,
        "rows": tree_mb(Path(given["path"])),
        "index": tree_mb(Path(f"{given['path']}-index")),
    }


def _asked(
    neighbours: Callable[[State, Any], list[Experience]], states: Sequence[State], cut: Any
) -> dict[str, Any]:
    """Ask for the neighbours of each state.

    seconds  of each call
    levels   for each, the similarities of the distinct states found, the highest first
    steps    how many remembered steps came back
    digest   of all that came back, to compare one arm with another
    """
    seconds, levels, steps, digest = [], [], [], sha256()
    for state in states:
        begin = clock()
        found = neighbours(state, cut)
        seconds.append(clock() - begin)
        levels.append(list(_distinct((step.state, step.similarity) for step in found).values()))
        steps.append(len(found))
        for step in found:
            digest.update(repr((step.similarity, step.episode, step.t, step.return_)).encode())
    return {"seconds": seconds, "levels": levels, "steps": steps, "digest": digest.hexdigest()}


def _distinct(pairs: Iterable[tuple[State, float]]) -> dict[State, float]:
    found: dict[State, float] = {}
    for state, similarity in pairs:
        found.setdefault(state, similarity)
    return found


def _drop(folder: Path) -> None:
    """Write what is not yet on disk, and drop all files of a folder from the system's cache."""
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def choose(given: dict[str, Any]) -> dict[str, Any]:
    """Play episodes of the games with a learner on a memory; nothing of them is stored.

    settled  wait first until the index has taken up numba, as a second or two of playing would

    Seconds of each step, whole and by part; the log is written as a run writes it.
    """
    from memory_data import CANDIDATES, STEPS, walk

    from jitrl import Learner, live
    from jitrl.bench.codec import step_line
    from jitrl.records import Candidate, Observation

    spent: dict[str, list[float]] = {name: [] for name in ("retrieve", "decide", "log", "whole")}
    opening: list[float] = []

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            begin = clock()
            result = call(*arguments, **named)
            spent[name].append(clock() - begin)
            return result

        return run

    data = _data(given)
    learner = Learner(given["path"], given["preset"])
    setattr(learner, "neighbours", timed("retrieve", learner.neighbours))  # noqa: B010
    setattr(live, "decide", timed("decide", getattr(live, "decide")))  # noqa: B009, B010
    path = Path(f"{given['path']}-steps.jsonl")
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    write = timed("log", lambda *line: os.write(log, step_line(*line).encode() + b"\n"))
    evidence = []
    if given["settled"]:
        learner.episode("find the treasures").abandon()
        learner._index._upkeep.wait()  # type: ignore[union-attr]
    for number in range(given["episodes"]):
        walking = walk(data, number * 37 % (given["steps"] // STEPS), 7)
        first = Observation(walking.state, "", ("look",))
        begin = clock()
        episode = learner.episode("find the treasures")
        opening.append(clock() - begin)
        for t in range(STEPS):
            state, candidates = walking.state, [Candidate(a) for a in walking.actions()]
            assert len(candidates) == CANDIDATES
            begin = clock()
            decision = episode.choose(state, candidates)
            chosen = clock()
            action = decision.action if decision.action in walking.actions() else walking.wander()
            reward = walking.step(action)
            after = Observation(walking.state, "You see nothing new.", ("look",), reward)
            resumed = clock()
            write(number, "bench", t, first, decision, after)
            spent["whole"].append(chosen - begin + clock() - resumed)
            evidence.append(len(decision.neighbours))
            episode.record(reward)
        episode.abandon()
    learner.close()
    os.close(log)
    path.unlink()
    return {**spent, "opening": opening, "evidence": evidence}


def other(given: dict[str, Any]) -> dict[str, Any]:
    """Measure a way of finding neighbours that is not ours; see `memory_arms`."""
    from memory_arms import measure

    return measure(given["arm"], _data(given), given["steps"], given["queries"])


PARTS = {part.__name__: part for part in (facts, grow, more, rebuild, answer, choose, other)}


def main() -> None:
    """Run the part that the command line names."""
    print(json.dumps(PARTS[sys.argv[1]](json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
