"""What a database must offer for a memory to live in it: the seam between SQL and its dialect."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from jitrl.errors import InvalidValue, MemoryUnavailable, NotAMemory
from jitrl.memory.contract import Progress
from jitrl.memory.sql import rows, tables
from jitrl.memory.sql.rows import Damage
from jitrl.memory.sql.schema import Sql
from jitrl.memory.sql.tables import Meta

P = ParamSpec("P")
S = TypeVar("S", bound="Seam")
T = TypeVar("T")


def transaction(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Mark a method that is one transaction: where its connection is lost, it may be run anew."""

    @wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(partial(method, self, *args, **kwargs))

    return run


class Seam(ABC):
    """A database with the tables of `jitrl.memory.sql.tables`.

    Besides what is abstract, a back end calls `tables.create` in the transaction that makes them.
    """

    path: str | None
    _clock: Callable[[], float] = time.time

    @abstractmethod
    def reading(self) -> AbstractContextManager[Sql]:
        """Look at the memory as it is at one moment; translates the errors of the database.

        Threads of this process wait for each other. May be entered again from within.
        """

    @abstractmethod
    def writing(self) -> AbstractContextManager[Sql]:
        """Change the memory, alone: all other writers, of any process, wait.

        Commits at the end, rolls back on any exception. Raises MemoryUnavailable for a reader.
        """

    @abstractmethod
    def sweep(self, progress: Progress | None) -> None:
        """Overwrite what was deleted, in free pages and logs, and give back free space.

        Raises MemoryUnavailable, with the remedy, where somebody stands in the way.
        """

    @abstractmethod
    def faults(self, progress: Progress | None) -> list[str]:
        """Return what the database itself finds wrong with its files."""

    @property
    @abstractmethod
    def beside(self) -> Path | None:
        """The folder for what is derived from the memory."""

    @abstractmethod
    def close(self) -> None:
        """Free what the memory holds; calling it twice is harmless."""

    def _bytes(self, db: Sql) -> int | None:
        """Return how many bytes it takes on disk; None where nobody can tell."""
        return None

    def _run(self, call: Callable[[], T]) -> T:
        """Return what a transaction returns; a back end whose connection gets lost runs it anew."""
        return call()

    @property
    def _name(self) -> str:
        return "in RAM" if self.path is None else repr(self.path)

    @contextmanager
    def look(self) -> Iterator[Sql]:
        """Read; raises NotAMemory for damage."""
        with self._named(), self.reading() as db:
            yield db

    @contextmanager
    def change(self) -> Iterator[tuple[Sql, Meta]]:
        """Write; what was done to the row of the whole memory is written at the end."""
        with self._named(), self.writing() as db:
            held = tables.meta(db)
            before = replace(held)
            yield db, held
            if held != before:
                tables.put_meta(db, held)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Damage as error:
            raise NotAMemory(damaged(self._name, str(error))) from error

    def _now(self) -> str:
        try:
            return rows.time_of(self._clock())
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise InvalidValue("clock", self._clock, "must return seconds since 1970") from error


def damaged(name: str, what: str) -> str:
    """Return the message for damage."""
    return (
        f"memory {name} is damaged ({what}): restore a copy, or run `jitrl memory repair` to save "
        "what is whole"
    )


def closed(name: str) -> MemoryUnavailable:
    """Return the exception for a memory that is closed."""
    return MemoryUnavailable(f"memory {name} is closed: open it again")


def read_only(name: str) -> MemoryUnavailable:
    """Return the exception for writing to a memory that is open to be read."""
    return MemoryUnavailable(f"memory {name} is open to be read: open it to write")


def forked(name: str) -> MemoryUnavailable:
    """Return the exception for a memory that a child process inherited."""
    return MemoryUnavailable(
        f"memory {name} was opened before this process was forked: fork first, or start processes "
        "by spawn"
    )
