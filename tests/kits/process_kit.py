"""Processes that tests start, and do not leave behind."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import AnyStr


class Process(subprocess.Popen[AnyStr]):
    """A process that is killed where its block fails, so that nobody waits for it for ever."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def children(parent: int) -> set[int]:
    """Return the ids of all processes below one that run."""
    above = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                above[int(folder.name)] = int(fields[1])
    found: set[int] = set()
    wave = {parent}
    while wave:
        wave = {pid for pid, its in above.items() if its in wave} - found
        found |= wave
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def all_end(processes: set[int]) -> bool:
    """Say whether processes end, each within a minute."""
    handles = []
    for process in processes:
        with suppress(ProcessLookupError):
            handles.append(os.pidfd_open(process))
    try:
        return all(select.select([handle], [], [], 60)[0] for handle in handles)
    finally:
        for handle in handles:
            os.close(handle)
