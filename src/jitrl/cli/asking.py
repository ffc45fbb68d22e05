"""What the commands on a memory share: its address, which episodes are meant, whether to go on."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from jitrl.cli.screen import between, console, counted, facts, many, said, tell
from jitrl.errors import InvalidValue, MemoryUnavailable
from jitrl.memory import Entry, Governed, Selection
from jitrl.memory import open as open_memory
from jitrl.memory.address import remote

Address = Annotated[
    str, typer.Argument(metavar="MEMORY", help="Its file, or postgresql://HOST/DATABASE.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is meant, and change nothing.")]


def _meant(flag: str, help: str) -> Any:
    return typer.Option(flag, help=help, rich_help_panel="Which episodes")


Id = Annotated[str | None, _meant("--id", "The one of this id.")]
RunName = Annotated[str | None, _meant("--run", "Those of this run.")]
Task = Annotated[str | None, _meant("--task", "Those of this task.")]
Source = Annotated[str | None, _meant("--source", "Those of this source: a pack, or else a run.")]
Since = Annotated[str | None, _meant("--since", "Those stored at this time or later (UTC).")]
Until = Annotated[str | None, _meant("--until", "Those stored before this time (UTC).")]
Text = Annotated[str | None, _meant("--text", "Those with this text in any part of them.")]


@contextmanager
def opened(address: str, *, readonly: bool = False, create: bool = False) -> Iterator[Governed]:
    """Hold a memory open; one that is not there is made only with `create`."""
    if not (readonly or create):
        _must_exist(address)
    with said(), closing(open_memory(address, readonly=readonly)) as memory:
        yield memory


def _must_exist(address: str) -> None:
    if remote(address):
        open_memory(address, readonly=True).close()
    elif not Path(address).exists() or (address.endswith("/") and Path(address).is_file()):
        raise MemoryUnavailable(f"no memory at {address!r}: check the path")


@contextmanager
def interruptible(holds: str | Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C into a line that says what holds now, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        tell(f"jitrl: interrupted: {holds if isinstance(holds, str) else holds()}")
        raise typer.Exit(130) from None


def words(selection: Selection) -> str:
    """Return a selection as the options that ask for it."""
    given = ((field.name, getattr(selection, field.name)) for field in fields(selection))
    return " ".join(f"--{name} {value!r}" for name, value in given if value is not None)


def found(memory: Governed, name: str) -> Entry:
    """Return the episode of this id, or else of this number, present or not; or InvalidValue."""
    id = name if memory.get(name) is not None else None
    if id is None and name.isdecimal():
        head = memory.heads([int(name)]).get(int(name))
        id = None if head is None else head.id
    for entry in memory.catalogue(Selection(id=id)) if id is not None else ():
        return entry
    raise gone(name)


def gone(name: str) -> InvalidValue:
    """Return the error for an episode that is not there, or no longer."""
    rule = "must be the number or the id of a stored one (see: jitrl memory show MEMORY --all)"
    return InvalidValue("episode", name, rule)


def repairing(address: str) -> str:
    """Return the remedy for a damaged memory, as a command."""
    if remote(address):
        return "restore a backup"
    return f"save what is whole: jitrl memory repair {shlex.quote(address)}"


def meant(memory: Governed, selection: Selection) -> list[Entry]:
    """Return the episodes that are meant, and say who they are; raises InvalidValue for none."""
    if not selection:
        options = ", ".join(f"--{field.name}" for field in fields(selection))
        raise InvalidValue("selection", "", f"must say which episodes, by one or more of {options}")
    with interruptible("nothing was changed"):
        found = list(memory.catalogue(selection))
    if not found:
        rule = "must mean at least one stored episode (see: jitrl memory show MEMORY --all)"
        raise InvalidValue("selection", words(selection), rule)
    shown = [
        ("episodes", f"{len(found):,} with {many(sum(one.steps for one in found), 'step')}"),
        ("present", f"{sum(one.present for one in found):,}"),
        ("quarantined", f"{sum(one.quarantined is not None for one in found):,}"),
        ("runs", counted(Counter(one.run for one in found))),
        ("sources", counted(Counter(one.source for one in found))),
        ("tasks", counted(Counter(one.task for one in found))),
        ("stored", between([one.stored for one in found])),
    ]
    console().print(facts(shown))
    return found


def agreed(question: str, yes: bool) -> None:
    """Ask whether to go on, and exit if not; raises InvalidValue where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidValue("--yes", False, "must be given where there is no terminal to ask at")
    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort:
        tell("jitrl: interrupted: nothing was changed")
        raise typer.Exit(130) from None
    tell("jitrl: nothing was changed")
    raise typer.Exit(1)
