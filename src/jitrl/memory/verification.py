"""Every checksum and every invariant of a memory in a database."""

from __future__ import annotations

from collections.abc import Iterator

from jitrl.memory.contract import Finding, Progress
from jitrl.memory.seam import Seam


def verify(memory: Seam, progress: Progress | None) -> Iterator[Finding]:
    """Yield what is wrong with a memory."""
    for fault in memory.faults():
        yield Finding(fault)
