"""The episodes of another memory added to one: an id stands for one episode, and for no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from jitrl.errors import InvalidValue, StoreError
from jitrl.memory.contract import Memory, Progress
from jitrl.records import Episode

Refuse = Callable[[str], StoreError]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import: episodes stored, and those skipped because they were there.

    source  under which the stored ones can be selected; None where they keep their own
    """

    stored: int
    skipped: int
    source: str | None = None


def merge(into: Memory, other: Memory, progress: Progress | None = None) -> Imported:
    """Store the present episodes of `other` in `into`, in order, with their provenance.

    One that is there already, quarantined or not, is skipped. Where an id stands for another
    episode, StoreError names it before anything is stored. A merge that was interrupted is
    completed by the next one.
    """
    return add(into, other.episodes, len(other), StoreError, progress)


def add(
    memory: Memory,
    read: Callable[[], Iterator[Episode]],
    total: int,
    refuse: Refuse,
    progress: Progress | None = None,
) -> Imported:
    """Store what `read` yields: all of it is looked through before the first is stored.

    read    yields the same episodes at each call, `total` of them; where somebody changes
            them meanwhile, what the second one yields is stored
    refuse  makes the error for an episode that cannot be stored beside what is there
    """
    tell = progress or _untold
    there: set[bytes] = set()
    for done, episode in enumerate(read(), 1):
        if _held(memory, episode, refuse):
            there.add(_key(episode.id))
        tell("checked", done, total)
    stored = skipped = 0
    for episode in read():
        held = _key(episode.id) in there
        if not held and memory.append(episode):
            stored += 1
        else:
            held or _held(memory, episode, refuse)  # somebody may have stored another just now
            skipped += 1
        tell("stored", stored + skipped, total)
    return Imported(stored, skipped)


def _held(memory: Memory, episode: Episode, refuse: Refuse) -> bool:
    """Return whether the memory holds this episode; raises where it holds another of its id."""
    try:
        given = episode if memory.redaction is None else memory.redaction.episode(episode)
    except InvalidValue as error:
        raise refuse(f"an episode cannot be stored: {error}") from error
    there = memory.get(episode.id)
    if there is not None and not _same(there, given):
        raise refuse(
            f"episode {shown(episode.id)} is in the memory with other content: "
            "forget that one, or leave this one out"
        )
    return there is not None


def _same(one: Episode, other: Episode) -> bool:
    """Return whether two episodes tell the same; what only one of them was judged by is no matter.

    Provenance is left out: an import changes it.
    """
    plain, scored = (
        replace(episode, provenance={}, steps=tuple(replace(s, judged=None) for s in episode.steps))
        for episode in (one, other)
    )
    return plain == scored and all(
        None in (a.judged, b.judged) or a.judged == b.judged
        for a, b in zip(one.steps, other.steps, strict=True)
    )


def _key(id: str) -> bytes:
    return sha256(id.encode()).digest()[:16]


def shown(id: str) -> str:
    """Return a text as an error shows it."""
    return repr(id) if len(id) <= 80 else f"{id[:77]!r}..."


def _untold(what: str, done: int, total: int) -> None:
    """Tell nobody."""
