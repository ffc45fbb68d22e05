"""`jitrl memory`: what looks into a memory without changing it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text as Line

from jitrl.bench.configuration import parse_overrides, resolve
from jitrl.checks import count, text
from jitrl.cli.asking import (
    Address,
    Id,
    Json,
    RunName,
    Since,
    Source,
    Task,
    Text,
    Until,
    interruptible,
    named,
    opened,
)
from jitrl.cli.progress import work_display
from jitrl.cli.screen import as_json, clean, console, counted, facts, many, one_line, table, when
from jitrl.cli.screen import size as in_bytes
from jitrl.credit import Credit, Signal
from jitrl.errors import InvalidValue
from jitrl.learner import Learner
from jitrl.memory import Entry, Governed, Selection
from jitrl.records import Episode, Experience, State
from jitrl.trust import source_of
from jitrl.update import returns

Limit = Annotated[int, typer.Option(help="Shown at most.")]
_WIDE = 100  # columns from which on a screen shows what can be done without


def stats(path: Address, json: Json = False) -> None:
    """Count what a memory holds, without reading its episodes."""
    with interruptible("nothing was changed"), opened(path, readonly=True) as memory:
        with work_display("reading the catalogue"):
            told = _counts(memory.catalogue())
        room, cap = memory.size(), memory.cap
        snapshots = memory.snapshots()
        index = None if memory.beside is None else _weight(memory.beside)
    found: dict[str, Any] = {
        **told,
        "states": room.states,
        "bytes": room.bytes,
        "index_bytes": index,
        "cap": None if cap is None else asdict(cap),
        "snapshots": [one.name for one in snapshots],
    }
    if json:
        as_json(found)
        return
    console().print(facts([("memory", path), *_told(found)]))


def _counts(entries: Iterable[Entry]) -> dict[str, Any]:
    """Count the episodes of a catalogue by what became of them and where they come from."""
    totals = Counter[str]()
    tasks, runs, sources = Counter[str](), Counter[str](), Counter[str]()
    first = last = None
    for one in entries:
        totals["episodes"] += 1
        totals["steps"] += one.steps
        totals["ended"] += one.terminated
        totals[_status(one)] += 1
        tasks[one.task] += 1
        runs[one.run] += 1
        sources[one.source] += 1
        first = first or one.stored
        last = one.stored
    names = ("episodes", "present", "quarantined", "rolled back", "ended", "steps")
    return {
        **{name.replace(" ", "_"): totals[name] for name in names},
        "tasks": dict(tasks),
        "runs": dict(runs),
        "sources": dict(sources),
        "first_stored": first,
        "last_stored": last,
    }


def _told(found: dict[str, Any]) -> list[tuple[str, str]]:
    cap = found["cap"]
    stored = [when(found[name]) for name in ("first_stored", "last_stored") if found[name]]
    rows = [
        ("episodes", f"{found['episodes']:,} ({found['ended']:,} ended by the world)"),
        ("present", f"{found['present']:,}: they are learned from"),
        ("quarantined", f"{found['quarantined']:,}"),
        ("rolled back", f"{found['rolled_back']:,}"),
        ("steps", f"{found['steps']:,}"),
        ("distinct states", f"{found['states']:,}"),
        *((name, _among(found[name])) for name in ("tasks", "runs", "sources")),
        ("stored", f"{' to '.join(stored)} UTC" if stored else "nothing yet"),
        ("size", "unknown" if found["bytes"] is None else in_bytes(found["bytes"])),
        ("index", in_bytes(found["index_bytes"]) if found["index_bytes"] else "none on disk"),
        ("cap", f"{many(cap['episodes'], 'episode')}, {cap['policy']} first" if cap else "none"),
        ("snapshots", ", ".join(found["snapshots"]) or "none"),
    ]
    return rows


def _among(names: dict[str, int]) -> str:
    return f"{len(names):,}: {counted(names)}" if len(names) > 1 else counted(names)


def _weight(folder: Path) -> int:
    """Return the bytes of the files in a folder, 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def show(
    path: Address,
    episode: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|ID", help="Show the steps of this one, as stored."),
    ] = None,
    id: Id = None,
    run: RunName = None,
    task: Task = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also those in quarantine or rolled back.")
    ] = False,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Only those in quarantine, with the reason.")
    ] = False,
    limit: Annotated[int, typer.Option(help="Episodes or steps shown at most.")] = 50,
    gamma: Annotated[float, typer.Option(help="Discount of the returns, in [0, 1].")] = 0.5,
    json: Json = False,
) -> None:
    """List the newest episodes of a memory, or the steps of one of them."""
    count("limit", limit, least=1)
    if not 0 <= gamma <= 1:
        raise InvalidValue("gamma", gamma, "must lie in [0, 1]")
    selection = Selection(id, run, task, source, since, until, text)
    with interruptible("nothing was changed"), opened(path, readonly=True) as memory:
        if episode is not None:
            if selection or every or quarantined:
                raise InvalidValue("--episode", episode, "must stand alone: it names one episode")
            _show_steps(memory, episode, limit, gamma, json)
            return
        newest: deque[Entry] = deque(maxlen=limit)
        held = Counter[bool]()
        with work_display("reading the catalogue"):
            for one in memory.catalogue(selection):
                wanted = one.quarantined is not None if quarantined else one.present or every
                held[wanted] += 1
                if wanted:
                    newest.append(one)
    if json:
        as_json([_plain(one) for one in newest])
        return
    _list(newest, every or quarantined)
    if held[True] > limit:
        console().print(f"... and {held[True] - limit} older: --limit {held[True]} shows them all")
    if held[False] and not quarantined:
        console().print(f"... and {held[False]} that are not present: --all shows them")


def _list(entries: Iterable[Entry], status: bool) -> None:
    screen = console()
    columns = ["number", "task", "steps", "reward", "stored", "id"]
    wide = screen.width >= _WIDE
    if wide:
        columns[4:4] = ["ended"]
        columns += ["source"]
    columns += ["held back"] if status else []
    rows = []
    for one in entries:
        cells: dict[str, str | Line] = {
            "number": str(one.number),
            "task": one_line(one.task, 30),
            "steps": str(one.steps),
            "reward": f"{one.reward:g}",
            "ended": "yes" if one.terminated else "no",
            "stored": when(one.stored) if wide else when(one.stored)[:16],
            "id": clean(one.id),
            "source": one_line(one.source, 24),
            "held back": "" if one.present else one_line(_why(one), 40),
        }
        rows.append([cells[column] for column in columns])
    screen.print(table(columns, rows))


def _status(one: Entry) -> str:
    if one.present:
        return "present"
    return "rolled back" if one.quarantined is None else "quarantined"


def _why(one: Entry) -> str:
    return "rolled back" if one.quarantined is None else f"quarantine: {one.quarantined}"


def _plain(one: Entry) -> dict[str, Any]:
    """Return an entry as JSON values; a sum of rewards that overflows is None."""
    reward = one.reward if abs(one.reward) < float("inf") else None
    return asdict(one) | {"reward": reward, "status": _status(one)}


def _show_steps(memory: Governed, name: str, limit: int, gamma: float, json: bool) -> None:
    number, id = named(memory, name)
    (entry,) = memory.catalogue(Selection(id=id)) if number is None else [None]
    episode = memory.get(id)
    if episode is None:  # somebody forgot it just now
        raise InvalidValue("episode", name, "must be the number or the id of a stored one")
    del entry
    gains = returns([step.reward for step in episode.steps], gamma)
    if json:
        as_json(_steps_plain(episode, gains.tolist()[:limit]))
        return
    _steps(episode, gains.tolist(), limit, gamma)
