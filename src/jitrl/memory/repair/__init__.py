"""Save what is whole of a damaged memory, and say what was lost.

The damaged files are only read. What is whole is stored in a new memory beside them, which takes
their place at the end; they are kept under another name. Whatever happens on the way, a kill or a
full disk, one of both is there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from jitrl.errors import MemoryUnavailable, NotAMemory
from jitrl.memory.contract import Finding, Progress
from jitrl.memory.repair.pages import images
from jitrl.memory.repair.rebuild import Rebuild
from jitrl.memory.repair.salvage import Salvage
from jitrl.memory.sql import rows, swap, wal
from jitrl.memory.sql.sqlite import SqliteMemory
from jitrl.memory.sql.sqlite_file import followed
from jitrl.memory.sql.verification import UNSWEPT

try:
    import fcntl
except ImportError:  # a system without locks of this kind
    fcntl = None  # type: ignore[assignment]

_LOCKS = (512, 0x40000000)
"""Where SQLite keeps its locks on a database: how many bytes, and from where."""


def repair(path: str | os.PathLike[str], progress: Progress | None = None) -> list[Finding]:
    """Make a damaged memory in a file whole again; returns what was found, [] for a sound one.

    What was lost is marked so, by the number of the episode where it is known. Numbers, order,
    quarantine, snapshots and the cap stay. The damaged files are kept as `<path>.damaged-1` and so
    on: delete them when you do not need them any more. A sound memory in which only bytes of what
    was forgotten were left is vacuumed, and nothing of it is kept.

    Raises NotAMemory where nothing of a memory is found, NewerMemory, and MemoryUnavailable where
    the memory is in use, or where it cannot be read or written; then it stays as it was.
    """
    path = followed(Path(path))
    if not path.is_file():
        raise MemoryUnavailable(f"no memory at {str(path)!r}: check the path")
    interrupted = swap.plan_of(path).exists()
    found = [] if interrupted else _found(path, progress)
    if not interrupted and not found:
        return []
    if [finding.what for finding in found] == [UNSWEPT]:  # whole: not to be kept aside as it is
        with closing(SqliteMemory(path, redaction=None)) as memory:
            memory.vacuum(progress)
        return [Finding("what was deleted was still in free pages: it was vacuumed")]
    with _alone(path) as file, _errors(path):
        done = swap.resume(path)
        if done is not None:
            aside, findings = done
        else:
            swap.begin(path)
            try:
                findings = [finding for finding in found if not finding.lost]
                findings += _made_anew(path, file, progress)
                aside = swap.commit(path, findings)
            except BaseException:
                swap.give_up(path)
                raise
    return [*findings, Finding(f"the damaged files are kept as {aside}")]


def _found(path: Path, progress: Progress | None) -> list[Finding]:
    """Return what is wrong with a memory, without a change to it."""
    where = wal.damage(path)
    if where:
        return [Finding(f"its log is damaged ({where})")]
    try:
        with closing(SqliteMemory(path, readonly=True)) as memory:
            return list(memory.verify(progress))
    except NotAMemory as error:
        return [Finding(f"it is damaged: {_short(error.__cause__ or error)}")]


def _made_anew(path: Path, file: int, progress: Progress | None) -> list[Finding]:
    """Store what is whole of a memory in a new one; returns what was found on the way."""
    swap.clear(path)
    with _opened(wal.log_of(path)) as log_file:
        seen, log = wal.witness(path), wal.read(wal.log_of(path))
        with closing(Salvage(images(file, log_file, log, seen), progress)) as salvage:
            if salvage.empty:
                raise NotAMemory(
                    f"nothing in {str(path)!r} is left of a memory: name another path, or restore "
                    "a copy"
                )
            with closing(SqliteMemory(swap.new_of(path), redaction=None)) as memory:
                findings = _stored(salvage, memory, progress)
                wrong = [finding.what for finding in memory.verify(progress)]
    if wrong:
        raise NotAMemory(f"memory {str(path)!r} cannot be repaired ({wrong[0]}): restore a copy")
    held = 0 if log is None else len(log.pages)
    if seen is not None and held < seen.frames > seen.checkpointed:
        what = f"its log ends before frame {seen.frames}: what was stored last is lost"
        findings.append(Finding(what, lost=True))
    return findings


def _stored(salvage: Salvage, memory: SqliteMemory, progress: Progress | None) -> list[Finding]:
    with memory.change() as (db, held):
        rebuild = Rebuild(salvage, db, held, rows.time_of(time.time()), progress)
        rebuild.run()
    return rebuild.findings


@contextmanager
def _alone(path: Path) -> Iterator[int]:
    """Open the file of a memory that nobody else has open, and keep it so; gives its descriptor."""
    in_use = f"memory {str(path)!r} is in use: close it everywhere, and repair it then"
    if _open_here(path):
        raise MemoryUnavailable(in_use)  # and to close our descriptor would drop SQLite's locks
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MemoryUnavailable(
            f"memory {str(path)!r}: {error.strerror}: copy it to where it can be written"
        ) from error
    try:
        try:
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_LOCKS)
        except OSError as error:
            raise MemoryUnavailable(in_use) from error
        yield file
    finally:
        os.close(file)


def _open_here(path: Path) -> bool:
    """Return whether this process has a file open, where the system tells."""
    ours, opened = Path("/proc/self/fd"), path.stat()
    if not ours.is_dir():
        return False
    for entry in ours.iterdir():
        try:
            if os.path.samestat(entry.stat(), opened):
                return True
        except OSError:  # the one that lists them
            continue
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    if not path.exists():
        yield None
        return
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MemoryUnavailable(
            f"memory {str(path)!r} could not be repaired: {error.strerror}: it is as it was: "
            "check the disk, its space and your rights"
        ) from error


def _short(error: BaseException) -> str:
    told = " ".join(str(error).split())
    return told if len(told) <= 120 else f"{told[:117]}..."
