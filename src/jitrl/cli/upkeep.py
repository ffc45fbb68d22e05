"""`jitrl memory`: what keeps a memory whole and small, and what hands episodes on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

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
    opened,
    repairing,
    words,
)
from jitrl.cli.progress import work_display
from jitrl.cli.screen import as_json, clean, console, facts, in_bytes, many, said, say, table, tell
from jitrl.errors import BadPack, InvalidValue, NotAMemory
from jitrl.memory import Finding, Governed, Selection
from jitrl.memory.address import remote, shown
from jitrl.memory.index.folder import verify as verify_index
from jitrl.memory.packs.merge import Imported
from jitrl.memory.packs.merge import merge as add_all
from jitrl.memory.packs.pack import Limits, check, import_pack
from jitrl.memory.packs.pack import export as write_pack
from jitrl.memory.repair import repair as save_whole
from jitrl.memory.sql.verification import UNSWEPT

Made = Annotated[
    str,
    typer.Argument(metavar="MEMORY", help="Its file, made if it is missing, or postgresql://..."),
]
Pack = Annotated[Path, typer.Argument(help="The file.")]


def export(
    path: Address,
    pack: Annotated[Path, typer.Argument(help="The file to write.")],
    id: Id = None,
    run: RunName = None,
    task: Task = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
) -> None:
    """Write the present episodes into a pack: one file, to be handed on."""
    selection = Selection(id, run, task, source, since, until, text)
    with (
        interruptible(f"no pack was written to {str(pack)!r}"),
        opened(path, readonly=True) as memory,
        work_display("exporting") as progress,
    ):
        if not any(one.present for one in memory.catalogue(selection)):
            rule = "must mean at least one present episode (see: jitrl memory show MEMORY)"
            raise InvalidValue("selection", words(selection), rule)
        made = write_pack(memory, pack, selection, progress)
    shown = [
        ("pack", str(pack)),
        ("episodes", f"{made.episodes:,}"),
        ("steps", f"{made.steps:,}"),
        ("size", f"{in_bytes(pack.stat().st_size)} ({in_bytes(made.bytes)} unpacked)"),
        ("source", f"pack:{made.sha256[:12]}, unless it is imported under another"),
        ("SHA-256", made.sha256),
    ]
    console().print(facts(shown))
    say("the SHA-256 is that of the episodes in it, unpacked")


def import_(
    path: Made,
    packs: Annotated[list[Path], typer.Argument(metavar="PACK...", help="The files.")],
    source: Annotated[
        str | None,
        typer.Option(help="Who answers for them.", show_default="pack:DIGITS of its SHA-256"),
    ] = None,
    max_bytes: Annotated[int, typer.Option(help="Of a pack, unpacked.")] = Limits().bytes,
    max_episodes: Annotated[int, typer.Option(help="Of a pack.")] = Limits().episodes,
) -> None:
    """Store the episodes of packs; what is there already is skipped."""
    limits = Limits(bytes=max_bytes, episodes=max_episodes)
    refused: list[Path] = []
    with interruptible(_again("import", shown(path), *map(str, packs))):
        if not remote(path) and not Path(path).exists():  # no memory is made of bad packs alone
            refused += _refused(packs, partial(check, limits=limits))
        left = [pack for pack in packs if pack not in refused]
        if left:
            with opened(path, create=True) as memory:
                refused += _refused(left, partial(_import, memory, source, limits))
    if refused:
        raise typer.Exit(2)


def _refused(packs: list[Path], use: Callable[[Path], object]) -> list[Path]:
    """Use each of some packs; tell of those that cannot be used, and return them."""
    bad = []
    for pack in packs:
        try:
            use(pack)
        except BadPack as error:
            tell(f"jitrl: {error}")
            bad.append(pack)
    return bad


def _import(memory: Governed, source: str | None, limits: Limits, pack: Path) -> None:
    with work_display("reading the pack") as progress:
        done = import_pack(memory, pack, source=source, limits=limits, progress=progress)
    say(f"{pack}: {_counts(done)}, source {done.source!r}")


def merge(
    path: Made,
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="The memory whose episodes are added.")
    ],
) -> None:
    """Add the present episodes of another memory, with their provenance."""
    with (
        interruptible(_again("merge", shown(path), shown(other))),
        opened(other, readonly=True) as source,
        opened(path, create=True) as memory,
        work_display("reading the other memory") as progress,
    ):
        done = add_all(memory, source, progress)
    say(_counts(done))


def verify(path: Address, json: Json = False) -> None:
    """Check every checksum and every invariant; exit code 1 where something is wrong."""
    try:
        with (
            interruptible("nothing was changed, and what was looked at so far is not told"),
            opened(path, readonly=True) as memory,
            work_display("reading the memory") as progress,
        ):
            findings = list(memory.verify(progress))
            progress("checking the index", 0, 0)
            derived = list(verify_index(memory.beside))
            ids = _ids_of(memory, findings)
    except NotAMemory as error:  # so damaged that it cannot even be opened
        if json:
            as_json([asdict(Finding(str(error)))])
        tell(f"jitrl: {error}")
        raise typer.Exit(1) from None
    if json:
        as_json([asdict(one) for one in (*findings, *derived)])
    elif not (findings or derived):
        console().print("sound: every checksum and every invariant holds")
    else:
        _list_findings([*findings, *derived], ids, "can be mended")
    if findings:
        unswept = all(one.what == UNSWEPT for one in findings)
        remedy = f"jitrl memory vacuum {shlex.quote(shown(path))}" if unswept else repairing(path)
        tell(f"jitrl: {many(len(findings), 'finding')}: {remedy}")
    elif derived:
        tell("jitrl: the memory itself is sound; its index is built anew when it is next used")
    if findings or derived:
        raise typer.Exit(1)


def _list_findings(findings: Sequence[Finding], ids: Mapping[int, str], otherwise: str) -> None:
    """Print what is wrong, and whether it is lost."""
    rows = [
        (
            clean(one.what),
            *(("", "") if one.number is None else (str(one.number), clean(ids[one.number]))),
            "lost" if one.lost else otherwise,
        )
        for one in findings
    ]
    console().print(table(("what is wrong", "number", "id", "and then"), rows))


def _ids_of(memory: Governed, findings: Sequence[Finding]) -> dict[int, str]:
    """Return the ids of the episodes that findings are about, "" for those that are lost."""
    return {one.number: _id(memory, one.number) for one in findings if one.number is not None}


def _id(memory: Governed, number: int) -> str:
    """Return the id of an episode, "" where that is lost as well."""
    try:
        head = memory.heads([number]).get(number)
    except NotAMemory:
        return ""
    return "" if head is None else head.id


def repair(path: Address) -> None:
    """Save what is whole of a damaged memory; exit code 1 where something was lost."""
    if remote(path):
        rule = "must be that of a file: restore a backup of the database"
        raise InvalidValue("address", shown(path), rule)
    again = _command("repair", path)
    with (
        said(),
        interruptible(f"nothing of the damaged memory was deleted; to go on: {again}"),
        work_display("reading the memory") as progress,
    ):
        found = save_whole(path, progress)
    if not found:
        say("sound: there is nothing to repair")
        return
    *wrong, kept = found
    with opened(path, readonly=True) as memory:
        if wrong:
            _list_findings(wrong, _ids_of(memory, wrong), "mended")
        whole = sum(1 for _ in memory.catalogue())
    lost = sum(one.lost for one in wrong)
    loss = (
        f"{lost} of the above {'is' if lost == 1 else 'are'} lost" if lost else "nothing was lost"
    )
    say(f"repaired: {many(whole, 'episode')} in it, each one whole; {loss}")
    say(kept.what)
    if lost:
        raise typer.Exit(1)


def vacuum(path: Address) -> None:
    """Give back free space, and drop what nothing uses any more."""
    with interruptible("no episode was touched; run it again to finish"):
        with opened(path) as memory:
            before = memory.size()
            with work_display("vacuum") as progress:
                memory.vacuum(progress)
        with opened(path, readonly=True) as memory:
            after = memory.size()
    say(f"{many(before.states - after.states, 'state')} dropped that nothing used")
    if before.bytes is not None and after.bytes is not None:
        say(f"{in_bytes(before.bytes)} before, {in_bytes(after.bytes)} after")


def _counts(done: Imported) -> str:
    return f"{many(done.stored, 'episode')} stored, {done.skipped:,} skipped: there already"


def _again(*words: str) -> Callable[[], str]:
    command = _command(*words)
    return lambda: f"each episode is stored whole or not at all; to complete it: {command}"


def _command(*words: str) -> str:
    return shlex.join(["jitrl", "memory", *words])
