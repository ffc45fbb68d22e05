"""`jitrl memory`: what people do who answer for a memory. Each says what is meant, and asks."""

from __future__ import annotations

import shlex
from typing import Annotated, cast

import typer

from jitrl.cli.asking import (
    Address,
    DryRun,
    Id,
    RunName,
    Since,
    Source,
    Task,
    Text,
    Until,
    Yes,
    agreed,
    interruptible,
    meant,
    opened,
)
from jitrl.cli.progress import work_display
from jitrl.cli.screen import many, say
from jitrl.errors import InvalidValue
from jitrl.memory import Cap, Governed, Selection
from jitrl.memory.address import shown
from jitrl.memory.contract import Policy

_NOTHING = "nothing was changed"
_OUT_OF_REACH = (
    "out of reach: copies and backups of the memory, packs made of it, snapshots of the disk, logs "
    "of runs, whatever a server keeps: delete these yourself"
)


def snapshot(
    path: Address,
    name: Annotated[str, typer.Argument(help="How it is to be called.")],
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop the snapshot of this name; no episode is touched.")
    ] = False,
) -> None:
    """Name the episodes that are present, to compare with and to come back to."""
    with interruptible(_NOTHING), opened(path) as memory:
        if drop:
            memory.drop_snapshot(name)
            say(f"dropped: {name!r} names nothing any more")
        else:
            made = memory.snapshot(name)
            say(f"{made.name!r} names {many(made.episodes, 'episode')}")


def rollback(
    path: Address,
    name: Annotated[str, typer.Argument(help="The snapshot.")],
    keep: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Before, name what is present now, to come back to it."),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Make present what a snapshot names, and nothing else; nothing is deleted."""
    with interruptible(_NOTHING), opened(path) as memory:
        planned = memory.diff(None, name)
        held = {one.id for one in memory.catalogue() if one.quarantined is not None}
        back = [id for id in planned.added if id not in held]
        stay = f", {many(len(held), 'episode')} would stay in quarantine" if held else ""
        say(
            f"{many(len(planned.removed), 'episode')} would no longer be present, "
            f"{many(len(back), 'episode')} would be again{stay}"
        )
        if dry_run:
            return
        if keep is None and planned.removed:
            say("no snapshot is made of what is present now: --keep NAME makes one, to come back")
        agreed(f"roll back to {name!r}?", yes)
        if keep is not None:
            memory.snapshot(keep)
        changed = memory.rollback(name)
        say(
            f"rolled back to {name!r}: {many(len(changed.removed), 'episode')} no longer present, "
            f"{many(len(changed.added), 'episode')} present again"
        )
        if keep is not None:
            say(f"to come back: {_command('rollback', shown(path), keep)}")


def quarantine(
    path: Address,
    why: Annotated[str, typer.Option(help="The reason, kept and shown.")],
    id: Id = None,
    run: RunName = None,
    task: Task = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Let episodes take no part, until they are released."""
    selection = Selection(id, run, task, source, since, until, text)
    with opened(path) as memory:
        found = meant(memory, selection)
        free = sum(one.quarantined is None for one in found)
        if dry_run or not _some(free, "all of them are in quarantine already"):
            return
        agreed(f"put {many(free, 'episode')} into quarantine?", yes)
        with interruptible(_NOTHING), work_display("quarantine"):
            done = memory.quarantine(selection, why)
        say(f"{many(done, 'episode')} put into quarantine; `jitrl memory release` lets them out")


def release(
    path: Address,
    id: Id = None,
    run: RunName = None,
    task: Task = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Let episodes out of quarantine."""
    selection = Selection(id, run, task, source, since, until, text)
    with opened(path) as memory:
        found = meant(memory, selection)
        held = sum(one.quarantined is not None for one in found)
        if dry_run or not _some(held, "none of them is in quarantine"):
            return
        agreed(f"release {many(held, 'episode')}?", yes)
        with interruptible(_NOTHING), work_display("release"):
            done = memory.release(selection)
        say(f"{many(done, 'episode')} released")
        ids = {one.id for one in found if one.quarantined is not None}
        out = sum(not one.present for one in memory.catalogue(selection) if one.id in ids)
        if out:
            say(f"{out} of them stay rolled back, until a rollback to a snapshot that names them")


def forget(
    path: Address,
    id: Id = None,
    run: RunName = None,
    task: Task = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete episodes for good, from rows, free pages, snapshots and the index."""
    selection = Selection(id, run, task, source, since, until, text)
    with opened(path) as memory:
        found = meant(memory, selection)
        say(_OUT_OF_REACH)
        if dry_run:
            return
        agreed(f"delete {many(len(found), 'episode')} for good?", yes)
        with (
            interruptible(lambda: _forgotten(memory, selection, path)),
            work_display("deleting") as progress,
        ):
            done = memory.forget(selection, progress)
        say(f"{many(done, 'episode')} forgotten: nothing of them is left in this memory")


def _forgotten(memory: Governed, selection: Selection, path: str) -> str:
    """Say what holds after an interrupted `forget`."""
    if next(iter(memory.catalogue(selection)), None) is not None:
        return "nothing was forgotten"
    return (
        "the episodes are deleted, but what they said may still be in free pages: "
        f"{_command('vacuum', shown(path))}"
    )


def cap(
    path: Address,
    episodes: Annotated[
        int | None, typer.Argument(help="How many are kept.", show_default="show the cap")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Which go first: oldest, least-useful or per-state.", show_default="oldest"
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Lift the cap.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Show, set or lift the number of episodes that a memory keeps."""
    if off and episodes is not None:
        raise InvalidValue("episodes", episodes, "must be left out with --off")
    if policy is not None and episodes is None:
        raise InvalidValue("--policy", policy, "must come with the number of episodes to keep")
    wanted = None if episodes is None else Cap(episodes, cast("Policy", policy or "oldest"))
    reading = wanted is None and not off
    with interruptible(_NOTHING), opened(path, readonly=reading) as memory:
        if reading:
            held = memory.cap
            say(
                "no cap"
                if held is None
                else f"{many(held.episodes, 'episode')}, {held.policy} first"
            )
            return
        count = 0 if wanted is None else _going(memory, wanted)
        if count or dry_run:
            say(
                f"about {many(count, 'episode')} would go for good; those that a snapshot names "
                "would be rolled back"
            )
        if dry_run:
            return
        if count:
            agreed(f"let them go, {policy or 'oldest'} first?", yes)
        with work_display("applying the cap"):
            gone = memory.set_cap(wanted)
    say("no cap" if wanted is None else f"cap set: {many(gone, 'episode')} went")


def _going(memory: Governed, wanted: Cap) -> int:
    """Return about how many a cap lets go: those that are neither gone nor rolled back count."""
    count = sum(one.present or one.quarantined is not None for one in memory.catalogue())
    left = wanted.episodes - wanted.episodes // 10
    return count - left if count > wanted.episodes else 0


def _some(count: int, otherwise: str) -> bool:
    if not count:
        say(f"{otherwise}: {_NOTHING}")
    return count > 0


def _command(name: str, *words: str) -> str:
    return shlex.join(["jitrl", "memory", name, *words])
