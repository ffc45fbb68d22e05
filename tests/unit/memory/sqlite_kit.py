"""What the tests of the embedded memory share."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace

from jitrl.records import Episode, State, Step


def step(t=0, **changes):
    plain = Step(
        state=State(room=f"room {t}"),
        action="north",
        reward=1.0,
        behaviour_logprob=-0.5,
        before={"north": 0.5, "south": 0.5},
        after={"north": 0.9, "south": 0.1},
        changed=False,
        preset="default",
        seed=0,
    )
    return replace(plain, **changes)


def episode(id="e", *steps, **changes):
    return replace(Episode(id, "task", steps or (step(0), step(1))), **changes)


def sql(path, query):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def forked(part, *arguments):
    """Run `part` in a child of this process; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        part(*arguments)
    finally:
        os._exit(0)
