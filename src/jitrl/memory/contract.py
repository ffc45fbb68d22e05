"""What a memory is: the record of all episodes, what an index reads of it, and how it is governed.

    Selection    which episodes are meant
    Entry        one line of the catalogue
    Trail        an episode as an index reads it
    Pulse        where a memory stands: has anything changed?
    Snapshot     a named set of episodes, Difference between two of them
    Cap          how many episodes are kept, and which go first
    Size         how much room it takes
    Memory       what a learner needs
    Governed     what the person needs who answers for it

An episode has a *number*: numbers rise in the order of storing and are never used twice. It is
*present* unless it is quarantined or rolled back; only what is present is read and learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol, get_args

from jitrl.checks import count, moment, text
from jitrl.errors import InvalidValue
from jitrl.memory.redaction import Redaction
from jitrl.records import Episode, State

Progress = Callable[[str, int, int], None]
"""Told of long work: what is done, how much of it so far, out of how much (0: nobody knows)."""

Policy = Literal["oldest", "least-useful", "per-state"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which episodes are meant: those for which all that is given holds. Empty: every one.

    id, run, task  equal to this
    source         equal to this (`jitrl.trust.source_of`)
    since, until   stored at or after, and before, this time: ISO 8601; UTC if it names no zone
    text           contained in a state, an action, the task, the id or the provenance; not empty

    Raises InvalidValue.

    >>> Selection(run="r7", since="2026-11-24")
    Selection(run='r7', since='2026-11-24T00:00:00.000+00:00')
    """

    id: str | None = None
    run: str | None = None
    task: str | None = None
    source: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if given is None:
                continue
            if field.name in ("since", "until"):
                object.__setattr__(self, field.name, moment(field.name, given))
            elif not text(field.name, given) and field.name == "text":
                raise InvalidValue("text", given, "must not be empty")

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))

    def __repr__(self) -> str:
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return f"Selection({', '.join(f'{name}={value!r}' for name, value in given if value)})"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue.

    stored       when, by the clock of the store: ISO 8601, UTC
    reward       sum over its steps
    present      read and learned from
    quarantined  why it is in quarantine; None where it is not
    """

    number: int
    id: str
    task: str
    run: str
    source: str
    stored: str
    steps: int
    reward: float
    terminated: bool
    present: bool
    quarantined: str | None


WHOSE = ("run", "source", "origin")
"""Provenance that says whose an episode is: `judge` leaves it as it is."""


@dataclass(frozen=True, slots=True)
class Trail:
    """An episode as an index reads it.

    revision  of the memory when the episode was stored or last changed
    present   False: it takes no part. Of an episode that is gone for good only number, revision and
              this are told
    states    number of each step's state (see `Memory.states`); numbers rise in the order in which
              states were first stored, and are never used twice within an epoch
    rewards   what the environment paid for each step
    judged    the judge's score of each step, None for none
    """

    number: int
    revision: int
    present: bool
    states: tuple[int, ...] = ()
    actions: tuple[str, ...] = ()
    rewards: tuple[float, ...] = ()
    judged: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """What an index needs to tell where a step comes from."""

    id: str
    task: str
    provenance: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pulse:
    """Where a memory stands.

    epoch     changes when something was deleted for good, so that all that was derived is void
    revision  rises with every change
    episodes  present ones and others, not those that are gone
    """

    epoch: str
    revision: int
    episodes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A named set of episodes: those that were present when it was made.

    made      when, ISO 8601, UTC
    episodes  how many it named then; of those deleted since nothing is left
    """

    name: str
    made: str
    episodes: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The ids of the episodes that one side has and the other lacks, in the order of storing."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cap:
    """How many episodes are kept. One that no snapshot names is deleted, others are rolled back.

    episodes  >= 1: where it is exceeded, episodes go until a tenth of it is free again
    policy    which go first, the older one of equals:
              "oldest"        the one stored first
              "least-useful"  the one whose steps are said by most others as well: least mean over
                              its steps of 1 / (steps of the memory with that state and action)
              "per-state"     the one that newer ones cover best: largest minimum over its states of
                              the number of newer episodes that visit the state
    """

    episodes: int
    policy: Policy = "oldest"

    def __post_init__(self) -> None:
        count("episodes", self.episodes, least=1)
        if self.policy not in get_args(Policy):
            raise InvalidValue(
                "policy", self.policy, f"must be one of {', '.join(get_args(Policy))}"
            )


@dataclass(frozen=True, slots=True)
class Size:
    """How much room a memory takes.

    states  distinct ones that are kept; `vacuum` drops those that no episode uses any more
    bytes   on disk, without what is beside it; None where nobody can tell
    """

    states: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What `verify` or `repair` found.

    what    is wrong, in words
    number  of the episode that it is about, None for none
    lost    it is (or would be) lost by a repair: anything else can be made whole again
    """

    what: str
    number: int | None = None
    lost: bool = False


class Memory(Protocol):
    """The system of record. What `append` has acknowledged is never lost.

    path       where it lives, as the user named it; None for a memory in RAM
    redaction  what is taken out of an episode before it is stored; None for nothing
    beside     a folder for what is derived from it, made when it is needed; None to keep it in RAM

    Every method raises NotAMemory where what it reads is damaged, MemoryUnavailable where the
    memory cannot be reached, read or written; nothing of a failed call is stored.
    """

    path: str | None
    redaction: Redaction | None

    @property
    def beside(self) -> Path | None:
        """The folder for what is derived from the memory."""

    def append(self, episode: Episode) -> bool:
        """Store an episode whole, durably, once; False if one with its id is there already.

        Its secrets are redacted before. Raises InvalidValue for what cannot be stored.
        """

    def judge(
        self,
        id: str,
        scores: Sequence[float | None],
        provenance: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Fill in `Step.judged` of a stored episode where it is None, all of it or nothing.

        scores      one for each step, None for no score; one that is there is never overwritten
        provenance  who judged, without secrets: added to the episode's if a score was filled in;
                    where an entry of the name is there, and says something else, both are kept:
                    "old; new". It may not tell of `run`, `source` or `origin`: whose an episode is
                    does not change

        Returns False if there was nothing to fill in. Raises InvalidValue for an id that is not
        stored, another number of scores than steps, a score that is no finite number, or a name of
        provenance that may not be told.
        """

    def episodes(self, after: int = 0) -> Iterator[Episode]:
        """Iterate over the episodes that are present, in the order of storing.

        after  leave out those up to this number

        An iteration under way survives what others do to the memory meanwhile.
        """

    def get(self, id: str) -> Episode | None:
        """Return the stored episode of that id, present or not; None where there is none."""

    def __len__(self) -> int:
        """Return how many episodes are present, those of other processes included."""

    def pulse(self) -> Pulse:
        """Return where the memory stands; cheap, to be asked at every episode."""

    def mark(self, revision: int) -> str:
        """Return what was drawn at random when a revision was made; "" where there is no such one.

        Memories that agree in it, as a copy does with its original, had one history up to there.
        """

    def changes(self, after: int) -> Iterator[Trail]:
        """Iterate over what changed after a revision: each episode once, as it is now, by number.

        after  a revision, 0 for everything. What was gone before it is not told; what is gone since
               is, so long as the epoch is the same.
        """

    def states(self, numbers: Iterable[int]) -> dict[int, State]:
        """Return the states of these numbers; those that are gone are missing."""

    def heads(self, numbers: Iterable[int]) -> dict[int, Head]:
        """Return id, task and provenance of the episodes of these numbers; the gone are missing."""

    def close(self) -> None:
        """Free what the memory holds; calling it twice is harmless."""


class Governed(Memory, Protocol):
    """A memory that people answer for: looked into, bounded, cleaned, brought back.

    Each call is one transaction, seen by others at their next `episode()`. Those that take a
    Selection and change something refuse an empty one.
    """

    def catalogue(self, selection: Selection = Selection()) -> Iterator[Entry]:
        """Iterate over what is stored, present or not, in the order of storing."""

    def quarantine(self, selection: Selection, why: str) -> int:
        """Let episodes take no part until they are released; returns how many were put there."""

    def release(self, selection: Selection) -> int:
        """Let episodes out of quarantine; returns how many."""

    def forget(self, selection: Selection, progress: Progress | None = None) -> int:
        """Delete episodes for good, and what only they used; returns how many.

        Nothing of them is left in the rows, in free pages, in snapshots or beside the memory.
        """

    def snapshot(self, name: str) -> Snapshot:
        """Name the set of episodes that are present. Raises InvalidValue for a name in use."""

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots, oldest first."""

    def drop_snapshot(self, name: str) -> None:
        """Drop the name; no episode is touched. Raises UnknownName."""

    def diff(self, old: str | None, new: str | None = None) -> Difference:
        """Return what `new` has and `old` lacks, and the reverse; None for the memory as it is.

        Raises UnknownName for a snapshot that does not exist.
        """

    def rollback(self, name: str) -> Difference:
        """Make present what the snapshot names, and nothing else; returns what that changed.

        Nothing is deleted: what came after can be brought back by a snapshot that names it.
        What is in quarantine stays there, and is present again when it is released; scores filled
        in later stay. Raises UnknownName.
        """

    @property
    def cap(self) -> Cap | None:
        """The cap in force, None for none; kept in the memory, for all who write to it."""

    def set_cap(self, cap: Cap | None) -> int:
        """Set or lift the cap, and apply it; returns how many episodes went."""

    def size(self) -> Size:
        """Return how much room the memory takes; cheap, no episode is read."""

    def verify(self, progress: Progress | None = None) -> Iterator[Finding]:
        """Check every checksum and every invariant; yield what is wrong."""

    def vacuum(self, progress: Progress | None = None) -> None:
        """Give back free space, and drop what nothing uses any more."""
