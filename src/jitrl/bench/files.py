"""Files that survive a kill: they grow by whole lines, are replaced whole, or are locked."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jitrl.errors import RunError

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_WAIT = 0.05  # seconds between two looks at a lock


class Lines:
    """A file that grows by whole lines."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def append(self, line: str) -> None:
        """Write one line."""
        data = memoryview(line.encode() + b"\n")
        while data:  # a nearly full disk takes part of it before it fails
            data = data[os.write(self._file, data) :]

    def cut(self, end: int) -> None:
        """Keep the first `end` bytes."""
        if os.fstat(self._file).st_size != end:
            os.ftruncate(self._file, end)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Iterate over (where the line ends, the line); a torn one at the end is left out."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, line


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole, or as it was before."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)


def write_all(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, which is made if it is missing, and return their paths."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            replace_file(folder / name, content)
    return [folder / name for name in contents]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a RunError that names the folder."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in _FULL:
            remedy = "free some disk space, then continue with --resume; finished episodes are kept"
        else:
            remedy = "check the path and its rights, or name another folder"
        raise RunError(f"{str(where)!r}: {error.strerror or error}: {remedy}") from error


def locked(path: Path, patience: float) -> int:
    """Return a lock file, locked until it is closed or the process dies.

    Raises RunError where another process holds it, `patience` seconds later still.
    """
    until = time.monotonic() + patience
    with writing(path):
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not _taken(lock):
                if time.monotonic() >= until:
                    raise RunError(
                        f"another process is writing {str(path.parent)!r}: wait for it, or end it"
                    )
                time.sleep(_WAIT)
        except BaseException:
            os.close(lock)
            raise
        return lock


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
