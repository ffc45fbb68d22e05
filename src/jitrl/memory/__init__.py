"""The memory: the only thing that learns. Episodes are stored whole, and retrieved by state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from jitrl.memory.index import Cut, Index, ReturnsRule
from jitrl.memory.sqlite import SqliteMemory
from jitrl.records import Episode

__all__ = ["Cut", "Index", "Memory", "ReturnsRule", "SqliteMemory"]


class Memory(Protocol):
    """The system of record. What `append` has acknowledged is never lost.

    path  where it lives, as the user named it; None for a memory in RAM
    """

    path: str | None

    def append(self, episode: Episode) -> bool:
        """Store an episode whole, durably, once; False if one with its id is there already.

        Raises MemoryUnavailable where it cannot be written; nothing of it is stored then.
        """

    def episodes(self, after: int = 0) -> Iterator[Episode]:
        """Iterate over the episodes in the order of storing, leaving out the first `after`."""

    def __len__(self) -> int:
        """Return the number of stored episodes, those of other processes included."""

    def close(self) -> None:
        """Free what the memory holds; calling it twice is harmless."""
