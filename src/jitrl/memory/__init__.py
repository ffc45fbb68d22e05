"""The memory: the only thing that learns. Episodes are stored whole, and retrieved by state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
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

    def judge(
        self,
        id: str,
        scores: Sequence[float | None],
        provenance: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Fill in `Step.judged` of a stored episode where it is None, all of it or nothing.

        scores      one for each step, None for no score; one that is there is never overwritten
        provenance  who judged: added to the episode's if a score was filled in; where an entry of
                    the name is there, and says something else, both are kept: "old; new"

        Returns False if there was nothing to fill in. Raises InvalidValue for an id that is not
        stored, another number of scores than steps, or a score that is no finite number.
        """

    def episodes(self, after: int = 0) -> Iterator[Episode]:
        """Iterate over the episodes in the order of storing, leaving out the first `after`."""

    def __len__(self) -> int:
        """Return the number of stored episodes, those of other processes included."""

    def close(self) -> None:
        """Free what the memory holds; calling it twice is harmless."""
