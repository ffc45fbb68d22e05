"""What a run begins with: the memory, and the notes, of a run that came before.

They are copied when it begins, so that a run has all that it stands on in its own folder, and
several can begin with the same.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from jitrl.agents.carrier import Note
from jitrl.bench.codec import carried_line
from jitrl.bench.configuration import Configuration
from jitrl.bench.files import replace_file, writing
from jitrl.bench.folder import CARRIED, MEMORY, Run, carried, read, whole_of
from jitrl.errors import BadRun, InvalidValue
from jitrl.memory import open as open_memory

STARTED = "started.jsonl"
"""The notes of the runs that came before, as `carried.jsonl` has its own."""


def before(configuration: Configuration, path: Path) -> Run | None:
    """Return the run that a configuration begins with; None where it begins with nothing.

    path  of the folder of the run that begins

    Raises BadRun where there is none, or where it is not finished: what begins with it must begin
    with all of it. InvalidValue where what it has cannot be used.
    """
    if configuration.start is None:
        return None
    run = read(Path(configuration.start))
    theirs = run.configuration
    if configuration.stores and not theirs.stores:
        rule = f"must be the folder of a run with a memory, not of {theirs.agent}"
        raise InvalidValue("start", configuration.start, rule)
    if configuration.arm.carrier is not None and theirs.agent != configuration.agent:
        rule = f"must be the folder of a run of {configuration.agent}, not of {theirs.agent}"
        raise InvalidValue("start", configuration.start, rule)
    left = len(run.manifest.plan.wanted()) - len(run.episodes)
    if left and not (whole_of(configuration, path) / STARTED).exists():
        raise BadRun(f"{str(run.path)!r} has {left} episodes still to play: finish it first")
    return run


def take_over(run: Run, path: Path, configuration: Configuration) -> None:
    """Copy what a run left behind into the folder of one that begins, unless it is there.

    A part of a run has what the whole has taken over.
    """
    if configuration.part is not None or (path / STARTED).exists():
        return
    with writing(path):
        if configuration.stores:
            _copy(run.memory, path / MEMORY)
        lines = [
            carried_line(place, "", task, note) + "\n"
            for place, (task, note) in enumerate(notes_of(run))
        ]
        replace_file(path / STARTED, "".join(lines).encode())


def notes_of(run: Run) -> list[tuple[str, Note]]:
    """Return (task, note) of all episodes that a run knows of, in the order of play."""
    finished = {played.number for played in run.episodes}
    return [*carried(run.path, STARTED), *carried(run.path, CARRIED, finished)]


def _copy(memory: str, path: Path) -> None:
    """Copy the present episodes of a memory into a new file, which is there whole or not at all."""
    new = path.with_name(path.name + ".new")
    for end in ("", "-wal", "-shm"):  # of a copy that was cut short
        new.with_name(new.name + end).unlink(missing_ok=True)
    with (
        closing(open_memory(memory, readonly=True)) as old,
        closing(open_memory(new, redaction=None)) as copy,
    ):
        for episode in old.episodes():
            copy.append(episode)
    new.replace(path)
