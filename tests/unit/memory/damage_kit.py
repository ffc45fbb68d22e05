"""A small memory with everything in it, what it answers, and ways to damage it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import closing
from itertools import count

from sqlite_kit import episode, step

from jitrl.errors import JitrlError, StoreError
from jitrl.memory import Cap, Selection, SqliteMemory
from jitrl.records import State

ROUNDS = int(os.environ.get("JITRL_ROUNDS", "1"))
"""How often the rounds of random damage are longer than in daily tests."""
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
}


def fill(memory):
    """Store what has all there is: long rows, scores, quarantine, snapshots, a cap, the gone."""
    for i in range(30):
        rooms = [
            f"{'cellar' if i == 7 else 'hall'} {(i + t) % 9} " + "dust " * 40 for t in range(4)
        ]
        steps = [step(t, state=State(room=room)) for t, room in enumerate(rooms)]
        if i % 10 == 3:  # one that does not fit on its page
            steps.append(step(9, state=State(room=f"maze {i} " * 1200), action="go " * 500))
        run = {"run": "even" if i % 2 == 0 else "odd", "created": "2026-11-24"}
        memory.append(episode(str(i), *steps, provenance=run, final_state=State(room=f"end {i}")))
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


def seeds(n, salt):
    return [random.Random(f"{salt}{i}") for i in range(n * ROUNDS)]
