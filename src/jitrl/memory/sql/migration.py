"""Memories of older schema versions: read, and brought up to date.

Version 1 had no `judged`, version 2 none of the seals. Both had one table each of states, episodes
and steps, and numbered the episodes 1, 2, 3 ... in the order of storing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jitrl.checks import moment
from jitrl.errors import InvalidValue
from jitrl.memory.sql import rows, tables
from jitrl.memory.sql.rows import Damage
from jitrl.memory.sql.schema import Sql
from jitrl.memory.sql.store import store
from jitrl.memory.sql.tables import Meta
from jitrl.records import Episode, State

TABLES = ("states", "episodes", "steps")
_HEAD = "SELECT id, task, terminated, final_state, provenance, length FROM {episodes} WHERE seq = ?"
_STEPS = (
    "SELECT t, state, action, reward, behaviour_logprob, policy_before, policy_after, changed, "
    "preset, seed, {judged} FROM {steps} WHERE episode = ? ORDER BY t"
)


def copy(old: Sql, new: Sql, names: Mapping[str, str], version: int, now: str) -> None:
    """Store the episodes of an older memory in a new, empty one.

    names  how its tables are called: the three of `TABLES`
    now    the time of storing for those that do not say when they were made
    """
    held = tables.meta(new)
    for episode in _episodes(old, names, version):
        put(new, held, episode, now)
    tables.put_meta(new, held)


def put(new: Sql, held: Meta, episode: Episode, now: str) -> None:
    """Store an episode of an older memory; raises Damage for one that cannot have been stored."""
    try:
        made = moment("created", episode.provenance["created"])
    except (KeyError, InvalidValue):
        made = now
    try:
        store(new, held, rows.pack(episode), made)
    except InvalidValue as error:
        raise Damage(f"episode {held.episodes + 1}: {error}") from error


def _episodes(db: Sql, names: Mapping[str, str], version: int) -> Iterator[Episode]:
    states = {
        number: rows.state_of(fields, number)
        for number, fields, digest in db.execute(
            "SELECT id, fields, digest FROM {states}".format_map(names)
        )
        if _right(number, fields, digest)
    }
    (count,) = db.execute("SELECT count(*), max(seq) FROM {episodes}".format_map(names))
    if count[0] != (count[1] or 0):
        raise Damage(f"{count[0]} of its {count[1]} episodes are there")
    for number in range(1, count[0] + 1):
        yield read(db, names, version, number, states)


def _right(number: Any, fields: Any, digest: Any) -> bool:
    if not isinstance(fields, str) or rows.digest_of(fields) != digest:
        raise Damage(f"state {number}: a byte of it has changed")
    return True


def read(
    db: Sql, names: Mapping[str, str], version: int, number: int, states: Mapping[int, State]
) -> Episode:
    """Return an episode of an older memory; raises Damage."""
    found = db.execute(_HEAD.format_map(names), (number,))
    if len(found) != 1:
        raise Damage(f"episode {number} is missing")
    judged = "judged" if version > 1 else "NULL"
    steps = db.execute(_STEPS.format(judged=judged, **names), (number,))
    id, task, terminated, final, provenance, length = found[0]
    if [step[0] for step in steps] != list(range(length)):
        raise Damage(f"episode {number}: {len(steps)} of its {length} steps are there")
    line = rows.Line(
        number=number,
        id=id,
        task=task,
        run="",
        source="",
        stored="",
        terminated=terminated,
        final_state=final,
        provenance=provenance,
        length=length,
        reward=0.0,
        revision=number,
        active=1,
        quarantined=None,
        digest=b"",
    )
    try:
        return rows.unpack(line, steps, states)
    except KeyError as error:
        raise Damage(f"episode {number}: state {error} is missing") from error
