"""A file that grows by whole lines: ledgers and recordings.

A line is one write, and reaches the operating system before the run goes on: what a killed process
leaves behind is whole lines, and at most one torn line at the end, which reopening cuts away.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jitrl.errors import InvalidValue, RunError

__all__ = ["Lines", "read"]

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class Lines:
    """The lines of a file, held for appending by this process alone.

    `take` is given each whole line that is there, with its number, from 1; it raises where the
    line is not one of ours, and then the file is left as it was. `begins` is what every line of
    ours begins with.

    Raises InvalidValue where the file is something else, RunError where it cannot be written or
    where another process is writing it.
    """

    def __init__(self, path: Path, begins: bytes, take: Callable[[int, bytes], None]) -> None:
        self._path = path
        with _writing(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._lock()
            self._end = read(path, begins, take)
            with _writing(path):
                self._cut()
        except BaseException:
            self.close()
            raise

    def append(self, line: str) -> None:
        """Write one line; where that fails, nothing of it stays. Raises RunError."""
        data = line.encode() + b"\n"
        rest = memoryview(data)
        with _writing(self._path):
            try:
                while rest:  # a nearly full disk takes part of it before it fails
                    rest = rest[os.write(self._file, rest) :]
            except OSError:
                self._cut()
                raise
        self._end += len(data)

    def close(self) -> None:
        """Let go of the file; calling it twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> None:
        with _writing(self._path):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(
                    f"{str(self._path)!r} is being written already: wait for that to end, or name "
                    "another file"
                ) from error

    def _cut(self) -> None:
        if os.fstat(self._file).st_size != self._end:
            os.ftruncate(self._file, self._end)


def read(path: Path, begins: bytes, take: Callable[[int, bytes], None]) -> int:
    """Give `take` each whole line of a file, and return where the last one ends.

    Raises InvalidValue where the file is missing, or where what follows the last whole line cannot
    be the torn beginning of a line of ours.
    """
    end = 0
    for number, line in enumerate(_lines(path), 1):
        if not line.endswith(b"\n"):
            if line[: len(begins)] != begins[: len(line)]:
                raise InvalidValue(
                    "file", str(path), f"is not one of ours: its line {number} is torn"
                )
            break
        take(number, line[:-1])
        end += len(line)
    return end


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        rule = f"must be a file that can be read ({error.strerror})"
        raise InvalidValue("file", str(path), rule) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a RunError that names the file."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        remedy = "free some disk space" if full else "check the path and its rights"
        raise RunError(f"{str(path)!r}: {error.strerror}: {remedy}, then continue") from error
