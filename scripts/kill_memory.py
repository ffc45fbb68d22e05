"""Kill processes that write to a memory, at random moments, and see that nothing is lost.

    python scripts/kill_memory.py --kills 1000
    python scripts/kill_memory.py --kills 1000 --memory postgresql://user@host/database
    python scripts/kill_memory.py --kills 100 --durability power --seed 7 --memory zork.db

Several writers store episodes, judge them, put some in quarantine, name snapshots and forget some.
Each tells through a pipe what it is about to do, and what was acknowledged; then one of them gets
SIGKILL, and another takes its place while the rest work on. Every so often all are killed, and the
memory must hold what was acknowledged, each episode whole and once, and `verify` finds nothing. The
memory must be new. Exits with 1 where something is missing, doubled or torn.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from jitrl.errors import JitrlError
from jitrl.memory import Governed, Selection
from jitrl.memory import open as open_memory
from jitrl.memory.sql import checkpoint
from jitrl.records import Episode, State, Step

STEPS = 4
CHECK_EVERY = 25  # kills


def made(id: str) -> Episode:
    """Return the episode of an id: what is stored under it can be told to be whole."""
    rng = random.Random(id)
    steps = tuple(
        Step(
            state=State(room=f"room {rng.randrange(30)} " * rng.randrange(1, 60), who=id),
            action=f"go {t}",
            reward=rng.uniform(-1, 1),
            behaviour_logprob=-0.5,
            before={"a": 0.5, "b": 0.5},
            after={"a": 0.75, "b": 0.25},
            changed=False,
            preset="default",
            seed=t,
        )
        for t in range(STEPS)
    )
    return Episode(id, "task", steps, True, provenance={"run": id.split("-")[0]})


# --- a writer ------------------------------------------------------------------------------------


def write(address: str, durability: str, name: str, seed: int, tell: Callable[[str], None]) -> None:
    """Work for ever; "do WHAT ID" is told before, "done WHAT ID" after it was acknowledged."""
    rng = random.Random(seed)
    mine: list[str] = []
    checkpoint.LARGE = 100_000  # the log is moved every now and then, and killed meanwhile
    with closing(open_memory(address, durability=durability)) as memory:
        for i in range(10**9):
            what = rng.choices(
                ("append", "judge", "quarantine", "forget", "snapshot"), (12, 2, 1, 1, 0.5)
            )[0]
            id = f"{name}-{i}" if what in ("append", "snapshot") or not mine else rng.choice(mine)
            what = what if mine or what == "snapshot" else "append"
            tell(f"do {what} {id}\n")
            if what == "append":
                memory.append(made(id))
                mine.append(id)
            elif what == "judge":
                memory.judge(id, [0.5] * STEPS)
            elif what == "quarantine":
                memory.quarantine(Selection(id=id), "why")
            elif what == "snapshot":
                memory.snapshot(id)
            else:
                memory.forget(Selection(id=id))
                mine.remove(id)
            tell(f"done {what} {id}\n")


@dataclass
class Writer:
    """A child process, and what it has said."""

    pid: int
    said: int
    heard: bytes = b""

    def kill(self) -> list[str]:
        """Kill it now; returns all lines that it has said."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.set_blocking(self.said, True)
        while more := os.read(self.said, 1 << 16):
            self.heard += more
        os.close(self.said)
        return self.heard.decode().split("\n")[:-1]

    def listen(self) -> None:
        """Take what it has said so far: a full pipe would hold it up."""
        os.set_blocking(self.said, False)
        try:
            while more := os.read(self.said, 1 << 16):
                self.heard += more
        except BlockingIOError:
            return


def started(address: str, durability: str, name: str, seed: int) -> Writer:
    """Start a writer."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        return Writer(pid, told)
    try:
        os.close(told)
        write(address, durability, name, seed, lambda line: _say(tell, line))
    except BaseException as error:  # noqa: BLE001  (told to the parent, who fails)
        _say(tell, f"failed {type(error).__name__} {' '.join(str(error).split())}\n")
    finally:
        os._exit(0)


def _say(pipe: int, line: str) -> None:
    os.write(pipe, line.encode())  # one write: never torn


# --- what must be there --------------------------------------------------------------------------


@dataclass
class Truth:
    """What was done, and what was begun by those that died."""

    done: dict[str, set[str]] = field(default_factory=dict)
    begun: dict[str, set[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def hear(self, lines: list[str]) -> None:
        """Take in what a writer has said."""
        for line in lines:
            how, what, id = line.split(" ", 2)
            if how == "failed":
                self.failures.append(f"a writer failed: {what} {id}")
                continue
            (self.done if how == "done" else self.begun).setdefault(what, set()).add(id)
            self.counts[f"{how} {what}"] += 1

    def _of(self, held: dict[str, set[str]], what: str) -> set[str]:
        return held.get(what, set())

    def differences(self, memory: Governed) -> Iterator[str]:
        """Say where the memory is not what it must be."""
        entries = list(memory.catalogue())
        counts = Counter(entry.id for entry in entries)
        yield from (f"{id} is there {n} times" for id, n in counts.items() if n > 1)
        must = self._of(self.done, "append") - self._of(self.begun, "forget")
        yield from (f"{id} was acknowledged and is lost" for id in sorted(must - counts.keys()))
        may = self._of(self.begun, "append") - self._of(self.done, "forget")
        yield from (f"{id} should not be there" for id in sorted(counts.keys() - may))
        quarantined = {entry.id for entry in entries if entry.quarantined is not None}
        held = self._of(self.done, "quarantine") & must
        yield from (f"{id} left quarantine" for id in sorted(held - quarantined))
        names = {snapshot.name for snapshot in memory.snapshots()}
        lost = self._of(self.done, "snapshot") - names
        yield from (f"snapshot {name} is lost" for name in sorted(lost))

    def torn(self, memory: Governed) -> Iterator[str]:
        """Say which episodes are not whole."""
        judged = self._of(self.done, "judge")
        for entry in memory.catalogue():
            found, true = memory.get(entry.id), made(entry.id)
            if found is None:
                yield f"{entry.id} vanished"
                continue
            scores = {step.judged for step in found.steps}
            plain = [(s.state, s.action, s.reward, s.seed) for s in found.steps]
            if plain != [(s.state, s.action, s.reward, s.seed) for s in true.steps]:
                yield f"{entry.id} is torn"
            if len(scores) != 1 or (entry.id in judged and scores != {0.5}):
                yield f"{entry.id} is judged by halves, or not"


def main(arguments: list[str]) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--memory", help="address; by default a file that is deleted at the end")
    parser.add_argument("--writers", type=int, default=3, help="at work at the same time")
    parser.add_argument("--durability", choices=("process", "power"), default="process")
    parser.add_argument("--pause", type=float, default=0.05, help="longest, between kills, in s")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        address = given.memory or str(Path(folder) / "memory.db")
        return _run(given, address)


def _run(given: argparse.Namespace, address: str) -> int:
    rng, truth, start = random.Random(given.seed), Truth(), time.monotonic()
    with closing(open_memory(address, durability=given.durability)) as memory:
        if memory.pulse().episodes:
            raise SystemExit(f"{address} holds episodes already: name a new memory")
    begin = lambda i: started(address, given.durability, f"w{i}", given.seed + i)  # noqa: E731
    writers = [begin(i) for i in range(given.writers)]
    problems: list[str] = []
    for i in range(given.kills):
        until = time.monotonic() + rng.uniform(0, given.pause)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.01))
            for writer in writers:
                writer.listen()
        truth.hear(writers.pop(rng.randrange(len(writers))).kill())
        writers.append(begin(given.writers + i))
        if (i + 1) % CHECK_EVERY == 0:
            for writer in writers:
                truth.hear(writer.kill())
            problems += _checked(address, given.durability, truth)
            writers = [begin(10**6 + i * given.writers + k) for k in range(given.writers)]
            sys.stderr.write(f"\r{i + 1} of {given.kills} kills, {len(problems)} problems")
            if problems:
                break
    for writer in writers:
        truth.hear(writer.kill())
    problems += _checked(address, given.durability, truth)
    _report(truth, problems, time.monotonic() - start)
    return 1 if problems else 0


def _checked(address: str, durability: str, truth: Truth) -> list[str]:
    try:
        with closing(open_memory(address, durability=durability)) as memory:
            found = [*truth.failures, *truth.differences(memory), *truth.torn(memory)]
            found += [finding.what for finding in memory.verify() if "vacuum" not in finding.what]
    except JitrlError as error:
        found = [f"{type(error).__name__}: {error}"]
    return found


def _report(truth: Truth, problems: list[str], seconds: float) -> None:
    lines = [f"{seconds:.0f} s"]
    for what in ("append", "judge", "quarantine", "forget", "snapshot"):
        begun, done = truth.counts[f"do {what}"], truth.counts[f"done {what}"]
        lines.append(f"{what}: {done} acknowledged, {begun - done} cut off")
    lines += problems[:20] or ["nothing lost, nothing doubled, nothing torn"]
    sys.stdout.write("\n".join(("", *lines, "")))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
