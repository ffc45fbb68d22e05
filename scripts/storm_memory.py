"""Let many processes write to one memory while others query it, and see that nothing is lost.

    python scripts/storm_memory.py --writers 16 --episodes 500
    python scripts/storm_memory.py --writers 16 --episodes 500 --memory postgresql://user@host/db
    python scripts/storm_memory.py --writers 4 --episodes 50 --readers 1 --durability power

The writers begin at the same moment, each in a process of its own, and store at full speed. The
readers are learners: each begins one episode after the other, sees what is there by then, and
chooses. At the end every episode must be there, once and whole, and `verify` finds nothing. The
memory must be new. Prints what each operation took; exits with 1 where something went wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty

import numpy as np

import jitrl
from jitrl.memory import open as open_memory
from jitrl.records import Episode, State, Step

ACTIONS = ("north", "south", "take lamp", "open door")
SAID = ("ready", "append", "begin an episode", "choose")
Said = tuple[str, list[float]]
"""What a process tells: one of these with the seconds it took each time, or how it failed."""


def room(rng: random.Random) -> State:
    """Return a state of some hundred words."""
    words = " ".join(f"w{int(rng.paretovariate(0.7)) % 2000}" for _ in range(120))
    return State(room=f"room {rng.randrange(400)} {words}", inventory=f"lamp {rng.randrange(5)}")


def made(id: str, steps: int) -> Episode:
    """Return the episode of an id: what is stored under it can be told to be whole."""
    rng = random.Random(id)
    return Episode(
        id,
        "storm",
        tuple(
            Step(
                state=room(rng),
                action=rng.choice(ACTIONS),
                reward=rng.uniform(-1, 1),
                behaviour_logprob=-1.4,
                before=dict.fromkeys(ACTIONS, 0.25),
                after=dict.fromkeys(ACTIONS, 0.25),
                changed=False,
                preset="default",
                seed=t,
            )
            for t in range(steps)
        ),
        True,
        provenance={"run": id.split("-")[0]},
    )


def write(given: argparse.Namespace, address: str, name: int, go: Event, say: Queue[Said]) -> None:
    """Store episodes at full speed."""
    spent = []
    episodes = [made(f"w{name}-{i}", given.steps) for i in range(given.episodes)]
    say.put(("ready", []))
    go.wait()
    try:
        with closing(open_memory(address, durability=given.durability)) as memory:
            for episode in episodes:
                start = time.perf_counter()
                stored = memory.append(episode)
                spent.append(time.perf_counter() - start)
                if not stored:
                    raise AssertionError(f"{episode.id} was there already")
    except Exception as error:  # noqa: BLE001  (told to the parent, who fails)
        say.put((f"writer {name}: {type(error).__name__}: {error}", []))
    say.put(("append", spent))


def read(address: str, name: int, go: Event, done: Event, say: Queue[Said]) -> None:
    """Query all the while."""
    rng, begun, chosen, last = random.Random(f"reader {name}"), [], [], -1
    candidates = [jitrl.Candidate(action, -1.4) for action in ACTIONS]
    say.put(("ready", []))
    go.wait()
    try:
        with closing(open_memory(address, durability="process")) as memory:
            learner = jitrl.Learner(memory, frozen=True, seed=name)
            while not done.is_set():
                start = time.perf_counter()
                episode = learner.episode("storm")
                begun.append(time.perf_counter() - start)
                for _ in range(5):
                    start = time.perf_counter()
                    episode.choose(room(rng), candidates)
                    chosen.append(time.perf_counter() - start)
                    episode.record(0.0)
                episode.close()
                if len(memory) < last:
                    raise AssertionError(f"{last} episodes, then {len(memory)}")
                last = len(memory)
            learner.close()
    except Exception as error:  # noqa: BLE001  (told to the parent, who fails)
        say.put((f"reader {name}: {type(error).__name__}: {error}", []))
    say.put(("begin an episode", begun))
    say.put(("choose", chosen))


def main(arguments: list[str]) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--episodes", type=int, default=500, help="of each writer")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="of each episode")
    parser.add_argument("--memory", help="address; by default a file that is deleted at the end")
    parser.add_argument("--durability", choices=("process", "power"), default="process")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return _run(given, given.memory or str(Path(folder) / "memory.db"))


def _run(given: argparse.Namespace, address: str) -> int:
    with closing(open_memory(address, durability=given.durability)) as memory:
        if memory.pulse().episodes:
            raise SystemExit(f"{address} holds episodes already: name a new memory")
    system = multiprocessing.get_context("spawn")
    say: Queue[Said] = system.Queue()
    go, done = system.Event(), system.Event()
    writers = [
        system.Process(target=write, args=(given, address, i, go, say))
        for i in range(given.writers)
    ]
    readers = [
        system.Process(target=read, args=(address, i, go, done, say)) for i in range(given.readers)
    ]
    heard: dict[str, list[list[float]]] = {}
    for process in (*writers, *readers):
        process.start()
    _hear(say, heard, "ready", [*writers, *readers])
    start = time.monotonic()
    go.set()
    _hear(say, heard, "append", writers)
    seconds = time.monotonic() - start
    done.set()
    _hear(say, heard, "choose", readers)
    for process in (*writers, *readers):
        process.join()
    problems = [said for said in heard if said not in SAID]
    problems += _checked(given, address)
    spent = {what: [x for part in heard.get(what, ()) for x in part] for what in SAID}
    _report(given, seconds, spent, problems)
    return 1 if problems else 0


def _hear(
    say: Queue[Said], heard: dict[str, list[list[float]]], what: str, speakers: list[SpawnProcess]
) -> None:
    """Listen until all of them have said something."""
    while len(heard.get(what, ())) < len(speakers):
        try:
            said, seconds = say.get(timeout=1)
        except Empty:
            dead = [process for process in speakers if process.exitcode]
            if dead:
                raise SystemExit(f"died before {what!r}: {dead}") from None
            continue
        heard.setdefault(said, []).append(seconds)


def _checked(given: argparse.Namespace, address: str) -> list[str]:
    """Return what is lost, doubled, torn or otherwise wrong."""
    wanted = {f"w{k}-{i}" for k in range(given.writers) for i in range(given.episodes)}
    with closing(open_memory(address, durability=given.durability)) as memory:
        counts = Counter(entry.id for entry in memory.catalogue())
        problems = [f"{id} is there {n} times" for id, n in counts.items() if n > 1]
        problems += [f"{id} is lost" for id in sorted(wanted - counts.keys())]
        problems += [f"{id} was never stored" for id in sorted(counts.keys() - wanted)]
        for episode in memory.episodes():
            if episode != made(episode.id, given.steps):
                problems.append(f"{episode.id} is not as it was stored")
        problems += [finding.what for finding in memory.verify()]
    return problems


def _report(
    given: argparse.Namespace, seconds: float, spent: dict[str, list[float]], problems: list[str]
) -> None:
    total = given.writers * given.episodes
    lines = [
        f"{given.writers} writers x {given.episodes} episodes of {given.steps} steps, "
        f"{given.readers} readers, durability {given.durability}: {seconds:.1f} s, "
        f"{total / seconds:.0f} episodes/s",
        "",
        "| ms | times | p50 | p95 | p99 | longest |",
        "|---|---|---|---|---|---|",
    ]
    for what in SAID:
        if spent[what]:
            cuts = [*np.percentile(spent[what], [50, 95, 99]), max(spent[what])]
            shown = " | ".join(f"{1000 * cut:.1f}" for cut in cuts)
            lines.append(f"| {what} | {len(spent[what])} | {shown} |")
    lines += ["", *(problems[:20] or ["nothing lost, nothing doubled, no error"])]
    sys.stdout.write("\n".join((*lines, "")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
