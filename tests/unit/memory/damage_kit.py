"""A small memory with everything in it, what it answers, and ways to damage it."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from index_kit import ALL, RETURNS, ROOM, by_index
from rounds import ROUNDS
from sqlite_kit import episode, step

from jitrl.errors import JitrlError, StoreError
from jitrl.memory import Cap, Index, Selection, SqliteMemory
from jitrl.memory.repair import repair
from jitrl.records import State

QUESTIONS = {
    "pulse": lambda memory: memory.pulse(),
    "length": len,
    "episodes": lambda memory: list(memory.episodes()),
    "catalogue": lambda memory: list(memory.catalogue()),
    "of a run": lambda memory: list(memory.catalogue(Selection(run="even"))),
    "of a text": lambda memory: list(memory.catalogue(Selection(text="cellar"))),
    "changes": lambda memory: list(memory.changes(0)),
    "later changes": lambda memory: list(memory.changes(20)),
    "snapshots": lambda memory: memory.snapshots(),
    "diff": lambda memory: memory.diff("early"),
    "cap": lambda memory: memory.cap,
    "states": lambda memory: memory.states(range(1, 200)),
    "heads": lambda memory: memory.heads(range(1, 100)),
    "got": lambda memory: [memory.get(str(i)) for i in range(40)],
    "none": lambda memory: memory.get("nobody"),
    "neighbours": lambda memory: neighbours(memory),
}


def neighbours(memory):
    """What an index that is opened now retrieves for a state that was stored."""
    with closing(Index(memory, ROOM, RETURNS)) as index:
        return by_index(index.refresh(), original(3).steps[0].state, ALL)


def original(i):
    """The i-th episode as it was stored."""
    rooms = [f"{'cellar' if i == 7 else 'hall'} {(i + t) % 9} " + "dust " * 40 for t in range(4)]
    steps = [step(t, state=State(room=room)) for t, room in enumerate(rooms)]
    if i % 10 == 3:  # one that does not fit on its page
        steps.append(step(9, state=State(room=f"maze {i} " * 1200), action="go " * 500))
    run = {"run": "even" if i % 2 == 0 else "odd", "created": "2026-11-24"}
    return episode(str(i), *steps, provenance=run, final_state=State(room=f"end {i}"))


def fill(memory):
    """Store what has all there is: long rows, scores, quarantine, snapshots, a cap, the gone."""
    for i in range(30):
        memory.append(original(i))
        if i == 12:
            memory.snapshot("early")
    memory.judge("4", [0.25, None, 1.0, -1.5])
    memory.quarantine(Selection(id="8"), "suspect")
    memory.set_cap(Cap(25))  # "early" keeps some of those that go
    memory.append(episode("last", step(0), terminated=True))


def copied(source, folder):
    """Copy the files of a memory that may be open; returns the path of the copy.

    Another program copies: if we opened a file that SQLite has locked, its locks would be lost.
    """
    folder.mkdir(exist_ok=True)
    subprocess.run(["cp", *source.parent.glob(f"{source.name}*"), str(folder)], check=True)
    return folder / source.name


def answers(memory):
    """What a memory says to every question: an answer, or an error of ours."""
    found = {}
    for name, ask in QUESTIONS.items():
        try:
            found[name] = ask(memory)
        except JitrlError as error:
            found[name] = error
    return found


def wrong(path, truth, **options):
    """The answers of a memory that are neither true nor an error with a message; [] is good."""
    try:
        memory = SqliteMemory(path, clock=count(1.8e9).__next__, **options)
    except StoreError as error:
        return [] if said(error) else [("opening", error)]
    with closing(memory):
        found = answers(memory)
    return [
        (name, found[name])
        for name, true in truth.items()
        if found[name] != true and not said(found[name])
    ]


def said(error):
    """Whether an answer is an error that says something, in one line."""
    text = str(error)
    return isinstance(error, StoreError) and len(text) > 20 and ": " in text and "\n" not in text


def flipped(path, rng):
    """Flip a random bit of a file; returns where."""
    data = bytearray(path.read_bytes())
    place, bit = rng.randrange(len(data)), rng.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return place, bit


class Bench:
    """A fresh copy of a memory for every damage."""

    def __init__(self, source, folder):
        self.source, self.folder = source, folder

    def __call__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.source.parent, self.folder)
        return self.folder / self.source.name


@pytest.fixture
def quick():
    """A folder where nobody waits for a disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def lost_numbers(findings):
    """The numbers that are named as lost, one by one or as a range."""
    lost = [finding for finding in findings if finding.lost]
    numbers = {finding.number for finding in lost if finding.number}
    for ranges in re.findall(r"^revisions ([-0-9, ]+):", "\n".join(f.what for f in lost), re.M):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", ranges):
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def of_one_row(lost, truth):
    """Whether the loss of one row can have cost these episodes: one of theirs, or a state's."""
    users = {}
    for trail in truth["changes"]:
        for state in trail.states:
            users.setdefault(state, set()).add(trail.number)
    return len(lost) < 2 or any(lost <= numbers for numbers in users.values())


def assert_mended(path, truth):
    """After a repair all that is left is as it was; returns what was found, and who was lost.

    Those that were lost and not named come second.
    """
    findings = repair(path)
    assert [f.what for f in findings if len(f.what) < 10 or "\n" in f.what] == []
    with closing(SqliteMemory(path)) as memory:
        assert list(memory.verify()) == []
        found = answers(memory)
    there = {entry.number: entry for entry in found["catalogue"]}
    were = {entry.number: entry for entry in truth["catalogue"]}
    assert there == {n: entry for n, entry in were.items() if n in there}
    unnamed = were.keys() - there.keys() - lost_numbers(findings)
    ids = {entry.id for entry in there.values()}
    assert found["episodes"] == [e for e in truth["episodes"] if e.id in ids]
    assert [e for e in found["got"] if e] == [e for e in truth["got"] if e and e.id in ids]
    if not any("cap" in f.what or "snapshots" in f.what for f in findings):
        assert (found["cap"], found["snapshots"]) == (truth["cap"], truth["snapshots"])
    return findings, unnamed, were.keys() - there.keys()


def seeds(n, salt):
    return [random.Random(f"{salt}{i}") for i in range(n * ROUNDS)]
