"""Which episodes go when there are more than a memory may keep; see `jitrl.memory.Cap`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace

from jitrl.memory.contract import Cap
from jitrl.memory.sql import rows, tables
from jitrl.memory.sql.rows import Damage, Line
from jitrl.memory.sql.schema import Sql
from jitrl.memory.sql.tables import Meta


def dump(cap: Cap | None) -> str | None:
    """Return a cap as it is stored."""
    return None if cap is None else json.dumps(asdict(cap))


def load(stored: str | None) -> Cap | None:
    """Return a stored cap; raises Damage."""
    if stored is None:
        return None
    try:
        return Cap(**json.loads(stored))
    except (TypeError, ValueError) as error:
        raise Damage(f"its cap: {error}") from error


def evict(db: Sql, held: Meta) -> int:
    """Let episodes go where the cap is exceeded; returns how many."""
    cap = load(held.cap)
    if cap is None or held.active <= cap.episodes:
        return 0
    active = [line for line in tables.counted_lines(db, held) if line.active]
    going = _order(db, cap, active)[: len(active) - (cap.episodes - cap.episodes // 10)]
    going.sort(key=lambda line: line.number)
    numbers = [line.number for line in going]
    kept: set[int] = set()
    for named in tables.snapshots(db, held):
        kept.update(rows.within(named.members, numbers))
    revision = tables.turn(db, held, "cap", numbers)
    for line in going:
        held.count(line, -1)
        if line.number in kept:
            tables.set_line(db, replace(line, active=0, revision=revision))
        else:
            held.episodes -= 1
            held.steps -= line.length
            tables.delete(db, line, revision)
    return len(going)


def _order(db: Sql, cap: Cap, active: list[Line]) -> list[Line]:
    """Return episodes, given in the order of storing, in the order of going."""
    if cap.policy == "oldest":
        return active
    worth = _uses(db, active) if cap.policy == "least-useful" else _visits(db, active)
    return sorted(active, key=lambda line: (worth[line.number], line.number))


def _uses(db: Sql, active: list[Line]) -> dict[int, float]:
    """Return the mean over an episode's steps of 1 / (steps with that state and action)."""
    said = Counter[int]()
    kinds: dict[tuple[int, str], int] = {}
    episodes: dict[int, list[int]] = {}
    for line in active:
        visited = ((row[1], row[2]) for row in tables.steps(db, line))
        episodes[line.number] = [kinds.setdefault(pair, len(kinds)) for pair in visited]
        said.update(episodes[line.number])
    return {
        number: sum(1 / said[kind] for kind in steps) / max(len(steps), 1)
        for number, steps in episodes.items()
    }


def _visits(db: Sql, active: list[Line]) -> dict[int, float]:
    """Return, negated, the least number of newer episodes that visit a state of an episode."""
    visits = Counter[int]()
    covered: dict[int, float] = {}
    for line in reversed(active):
        states = {row[1] for row in tables.steps(db, line)}
        covered[line.number] = -min((visits[state] for state in states), default=len(active))
        visits.update(states)
    return covered
