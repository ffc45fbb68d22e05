"""`jitrl memory`: what looks into a memory without changing it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast, get_args

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
    found,
    gone,
    interruptible,
    opened,
)
from jitrl.cli.progress import work_display
from jitrl.cli.screen import (
    as_json,
    between,
    clean,
    console,
    counted,
    facts,
    in_bytes,
    many,
    one_line,
    say,
    table,
    when,
    whereabouts,
)
from jitrl.credit import Signal
from jitrl.errors import InvalidValue
from jitrl.learner import Learner
from jitrl.memory import Entry, Governed, Selection
from jitrl.memory.address import shown
from jitrl.memory.packs import codec
from jitrl.records import Experience, State
from jitrl.trust import source_of
from jitrl.update import returns

Limit = Annotated[int, typer.Option(help="Shown at most.")]
_TOLD = {"number": "number in its run"}
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
    console().print(facts([("memory", shown(path)), *_told(found)]))


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
    stored = [found[name] for name in ("first_stored", "last_stored") if found[name]]
    return [
        ("episodes", f"{found['episodes']:,} ({found['ended']:,} ended by the world)"),
        ("present", f"{found['present']:,}: they are learned from"),
        ("quarantined", f"{found['quarantined']:,}"),
        ("rolled back", f"{found['rolled_back']:,}"),
        ("steps", f"{found['steps']:,}"),
        ("distinct states", f"{found['states']:,}"),
        *((name, _among(found[name])) for name in ("tasks", "runs", "sources")),
        ("stored", between(stored)),
        ("size", "unknown" if found["bytes"] is None else in_bytes(found["bytes"])),
        ("index", in_bytes(found["index_bytes"]) if found["index_bytes"] else "none on disk"),
        ("cap", f"{many(cap['episodes'], 'episode')}, {cap['policy']} first" if cap else "none"),
        ("snapshots", ", ".join(found["snapshots"]) or "none"),
    ]


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
    if not newest:
        console().print("no episode is meant" if not held[False] else "none of them is present")
    else:
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
    elif status:
        columns.remove("stored")
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
    entry = found(memory, name)
    episode = memory.get(entry.id)
    if episode is None:
        raise gone(name)
    if json:
        typer.echo(codec.dumps(episode))
        return
    gains = returns([step.reward for step in episode.steps], gamma)
    judged = any(step.judged is not None for step in episode.steps)
    columns = ["step", "action", "reward", "return", "before", "after", "changed", "state"]
    columns[3:3] = ["judged"] if judged else []
    rows = []
    for t, step in enumerate(episode.steps[:limit]):
        cells: dict[str, str | Line] = {
            "step": str(t),
            "action": one_line(step.action, 32),
            "reward": f"{step.reward:g}",
            "judged": "" if step.judged is None else f"{step.judged:g}",
            "return": f"{gains[t]:.3f}",
            "before": _share(step.before, step.action),
            "after": _share(step.after, step.action),
            "changed": "yes" if step.changed else "",
            "state": one_line(whereabouts(step.state), 60),
        }
        rows.append([cells[column] for column in columns])
    screen = console()
    status = "" if entry.present else f", {_why(entry)}"
    say(f"episode {entry.number}, {entry.id}{status}; returns with gamma {gamma:g}")
    told = [(_TOLD.get(name, name), said) for name, said in sorted(episode.provenance.items())]
    screen.print(facts([("task", entry.task), *told]))
    screen.print()
    screen.print(table(columns, rows))
    if len(episode.steps) > limit:
        screen.print(f"... and {len(episode.steps) - limit} more: --limit shows them")


def _share(policy: Mapping[str, float], action: str) -> str:
    """Return the probability of an action, "" where the policy does not name it."""
    return f"{policy[action]:.1%}" if action in policy else ""


def neighbours(
    path: Address,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TEXT", help="A field of the state; repeatable."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|ID", help="Take the state of a step of this episode."),
    ] = None,
    step: Annotated[
        int, typer.Option(help="Which step of it, from 0; a moving threshold takes it as well.")
    ] = 0,
    preset: Annotated[
        str, typer.Option(help="default, paper, released or released-web.")
    ] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Override a hyper-parameter, such as --set k=5."
        ),
    ] = None,
    credit: Annotated[str, typer.Option(help="What returns are of: reward, judged, mixed.")] = (
        "reward"
    ),
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """Say what would be retrieved in a state, and how near it is; nothing is changed."""
    count("limit", limit, least=1)
    count("step", step)
    given = parse_overrides(settings or [])
    chosen = resolve(preset, given)
    if credit not in get_args(Signal):
        raise InvalidValue("credit", credit, f"must be one of {', '.join(get_args(Signal))}")
    if (of is None) == (not state):
        raise InvalidValue("state", state or of, "must be given by --state, or else by --of")
    with interruptible("nothing was changed"), opened(path, readonly=True) as memory:
        query = _fields(state or []) if of is None else _state_of(memory, of, step)
        with work_display("reading the memory"):
            learner = Learner(memory, chosen, frozen=True, credit=cast("Signal", credit))
            with closing(learner):
                near = learner.retrieve(query, step)
    if json:
        as_json([_experience(one) for one in near])
        return
    screen = console()
    screen.print(facts((name, one_line(held, 300).plain) for name, held in query.items()))
    screen.print()
    if near:
        _list_neighbours(near, limit)
        if of is not None:
            say(f"step {step} itself is stored as well, and so among them")
        return
    lower = "" if "threshold" in given else "--set threshold=0 shows the nearest; "
    say(
        f"nothing is similar enough under preset {preset}; {lower}texts are compared by the words "
        "that follow each other in them, so give whole ones, or those of a stored step by --of"
    )


def _list_neighbours(near: Sequence[Experience], limit: int) -> None:
    screen = console()
    wide = screen.width >= _WIDE
    columns = ["similarity", "return", "action", "id", "step", "state"]
    columns[5:5] = ["task", "source"] if wide else []
    rows = []
    for one in near[:limit]:
        cells: dict[str, str | Line] = {
            "similarity": f"{one.similarity:.3f}",
            "return": f"{one.return_:.3g}",
            "action": one_line(one.action, 32),
            "id": clean(one.episode),
            "step": str(one.t),
            "task": one_line(one.task, 24),
            "source": one_line(source_of(one.provenance), 24),
            "state": one_line(whereabouts(one.state), 60),
        }
        rows.append([cells[column] for column in columns])
    screen.print(table(columns, rows))
    if len(near) > limit:
        screen.print(f"... and {len(near) - limit} more: --limit shows them")


def _fields(given: Sequence[str]) -> State:
    """Return a state from texts "name=text"."""
    read: dict[str, str] = {}
    for field in given:
        name, equals, value = field.partition("=")
        if not equals or not name or name in read:
            raise InvalidValue("--state", field, "must be NAME=TEXT, each name once")
        read[text("name of a field", name)] = text(name, value)
    return State(**read)


def _state_of(memory: Governed, name: str, t: int) -> State:
    episode = memory.get(found(memory, name).id)
    if episode is None:
        raise gone(name)
    if t >= len(episode.steps):
        raise InvalidValue("step", t, f"must be one of its {len(episode.steps)}, from 0")
    return episode.steps[t].state


def _experience(one: Experience) -> dict[str, Any]:
    """Return a neighbour as JSON values."""
    return {
        "similarity": one.similarity,
        "return": one.return_,
        "action": one.action,
        "episode": one.episode,
        "step": one.t,
        "task": one.task,
        "source": source_of(one.provenance),
        "provenance": dict(one.provenance),
        "state": dict(one.state),
    }


def snapshots(path: Address, json: Json = False) -> None:
    """List the snapshots of a memory, oldest first."""
    with interruptible("nothing was changed"), opened(path, readonly=True) as memory:
        found = memory.snapshots()
    if json:
        as_json([asdict(one) for one in found])
    elif found:
        rows = [(clean(one.name), when(one.made), f"{one.episodes:,}") for one in found]
        console().print(table(("snapshot", "made", "episodes"), rows))
    else:
        console().print("no snapshot: jitrl memory snapshot MEMORY NAME makes one")


def diff(
    path: Address,
    old: Annotated[str, typer.Argument(help="A snapshot.")],
    new: Annotated[
        str | None, typer.Argument(help="Another one.", show_default="what is present now")
    ] = None,
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List the episodes that one snapshot names and another, or the memory as it is, does not."""
    count("limit", limit, least=1)
    with interruptible("nothing was changed"), opened(path, readonly=True) as memory:
        changed = memory.diff(old, new)
        wanted = {*changed.added, *changed.removed}
        with work_display("reading the catalogue"):
            entries = {one.id: one for one in memory.catalogue() if one.id in wanted}
    if json:
        as_json(asdict(changed))
        return
    screen = console()
    now = "what is present now" if new is None else repr(new)
    for ids, what in (
        (changed.added, f"in {now} and not in {old!r}"),
        (changed.removed, f"in {old!r} and not in {now}"),
    ):
        screen.print(clean(f"{many(len(ids), 'episode')} {what}"), soft_wrap=True)
        if ids:
            _list([entries[id] for id in ids[:limit] if id in entries], True)
        if len(ids) > limit:
            screen.print(f"... and {len(ids) - limit} more: --limit shows them")
