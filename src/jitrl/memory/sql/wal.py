"""What SQLite would lose in silence: damage in the log of transactions beside a memory.

In WAL mode a transaction is first appended to `<file>-wal`, as frames: one page each, the last one
marked with the size of the database. Every frame has a checksum that continues the one before. On
opening, SQLite reads up to the first checksum that fails and takes the rest for a transaction that
was never finished: one flipped bit, and all episodes behind it are gone without a word. So we look
first. The format: https://sqlite.org/fileformat2.html#walformat

The index of the log, `<file>-shm`, is a witness. It survives the death of every process and says
how many frames were committed: a log that is shorter, or gone, has lost some.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jitrl.errors import MemoryUnavailable, NotAMemory

Words = npt.NDArray[np.uint32]
_HEADER = 32
_FRAME_HEADER = 24
_SHARED_HEADER = 48  # twice, so that a reader notices a change under way
_SHARED = 136
_MAGIC = 0x377F0682  # the lowest bit: the checksum reads big-endian words
_VERSION = 3007000
_PAGE_SIZES = tuple(2**i for i in range(9, 17))
_CHUNK = 1 << 20  # bytes read at once
_LOOKS = 10
_PAUSE_SECONDS = 0.02
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Witness:
    """What the index of a log says of it.

    salts         of the generation: 8 bytes; they change when the log is begun anew
    frames        that are committed
    checkpointed  of these, how many stand in the database itself by now
    """

    salts: bytes
    frames: int
    checkpointed: int


@dataclass(frozen=True)
class Log:
    """The frames of a log, whole ones or not. Arrays of shape (frames,).

    header     its checksum is right: without that SQLite ignores the whole log
    salts      of the generation that is told of: 8 bytes
    page_size  in bytes
    pages      which page of the database each frame holds, from 1
    sizes      pages of the database where a frame ends a transaction, else 0
    current    the frame is of this generation: older ones are left over
    follows    its checksum continues the one that stands in the frame before
    """

    header: bool
    salts: bytes
    page_size: int
    pages: Words
    sizes: Words
    current: npt.NDArray[np.bool_]
    follows: npt.NDArray[np.bool_]

    @cached_property
    def prefix(self) -> int:
        """Frames from the first on that SQLite would accept."""
        good = self.current & self.follows
        return 0 if not self.header else len(good) if good.all() else int(np.argmin(good))

    @cached_property
    def committed(self) -> int:
        """Frames up to the last accepted one that ends a transaction."""
        ends = np.flatnonzero(self.sizes[: self.prefix])
        return int(ends[-1]) + 1 if len(ends) else 0

    @cached_property
    def doubtful(self) -> bool:
        """Frames of this generation stand behind those that SQLite would accept."""
        ours = self.current[self.prefix :].any()
        return bool(ours or (self.header and self.follows[self.prefix : self.prefix + 1].any()))

    @cached_property
    def unfinished(self) -> bool:
        """What is doubtful can be one transaction that was never finished, the last one."""
        rest = np.flatnonzero(self.current[self.committed :])
        ends = np.flatnonzero((self.sizes * self.current)[self.committed :])
        if not self.header:
            return len(self.pages) == 0
        return len(ends) == 0 or (len(ends) == 1 and bool(ends[0] == rest[-1]))


def check(path: Path, *, power: bool = False) -> None:
    """Raise NotAMemory where SQLite would lose transactions that stand in the log of a memory.

    path   of the memory; to be called before SQLite opens it, which would begin to mend its way
    power  a transaction was acknowledged only when it was safe from a power failure: so a last one
           that is torn is passed over, with a warning

    Others may write meanwhile: no lock is needed, and none is taken. Raises MemoryUnavailable where
    the log cannot be read.
    """
    found = damage(path, power=power)
    if found:
        raise NotAMemory(
            f"memory {str(path)!r} is damaged in its log {path.name}-wal ({found}): what was "
            f"stored last would be lost: run `jitrl memory repair {path}`"
        )


def damage(path: Path, *, power: bool = False) -> str:
    """Return where the log of a memory is damaged, "" for nowhere; see `check`."""
    lost: str | None = None
    for _ in range(_LOOKS):
        before = witness(path)
        log = _read(path)
        after = witness(path)
        if before is None is after:
            lost = _loss(path, log, power)
        elif before is None or after is None or before.salts != after.salts:
            lost = None
        elif before.frames and log is not None and _generations(before.salts, log.salts) > 0:
            lost = _loss(path, log, power)  # an old witness: after a power failure
        else:
            lost = _contradiction(log, before, quiet=before.frames == after.frames)
        if lost == "" or (lost and (before is not None or not index_of(path).exists())):
            break
        time.sleep(_PAUSE_SECONDS)  # begun anew meanwhile, or its index is just being made
    return lost or ""


def _loss(path: Path, log: Log | None, power: bool) -> str:
    """Return where a log without a witness is damaged, "" for nowhere."""
    if log is None or (log.header and not log.doubtful):
        return ""
    if not (power and log.unfinished):
        return _where(log)
    _log.warning(
        "memory %r: its last transaction, torn before it was acknowledged, is left out: %s",
        str(path),
        _where(log),
    )
    return ""


def _contradiction(log: Log | None, witness: Witness, quiet: bool) -> str:
    """Return where a log lacks what its witness has seen committed, "" for nowhere.

    quiet  nothing was committed while the log was read
    """
    if log is None or not log.header:  # SQLite goes by the database alone
        if witness.frames == witness.checkpointed:
            return ""
        return "it is gone" if log is None else _where(log)
    if log.salts != witness.salts and witness.frames:
        return "it is an older one"
    if log.prefix < witness.frames:
        return _where(log) if log.doubtful else f"it ends before frame {witness.frames}"
    return _where(log) if quiet and log.doubtful and not log.unfinished else ""


def _generations(old: bytes, new: bytes) -> int:
    """Return by how many generations the second log is younger; negative if it is older."""
    ahead = int.from_bytes(new[:4]) - int.from_bytes(old[:4])
    return (ahead + 2**31) % 2**32 - 2**31


def _where(log: Log) -> str:
    return f"frame {log.prefix + 1} of {len(log.pages)}" if log.header else "its header"


def _read(path: Path) -> Log | None:
    try:
        return read(log_of(path))
    except OSError as error:
        raise MemoryUnavailable(
            f"memory {str(path)!r}: its log: {error.strerror}: check the disk and your rights"
        ) from error


def log_of(path: Path) -> Path:
    """Return the path of the log of a memory."""
    return path.with_name(f"{path.name}-wal")


def index_of(path: Path) -> Path:
    """Return the path of the index of the log of a memory."""
    return path.with_name(f"{path.name}-shm")


def read(path: Path, page_size: int = 4096) -> Log | None:
    """Return what stands in a log; None where there is none, or an empty one.

    page_size  of a log whose header does not say

    Raises OSError.
    """
    try:
        file = path.open("rb")  # SQLite locks the two other files, never this one
    except FileNotFoundError:
        return None
    with file:
        header = file.read(_HEADER)
        if not header:
            return None
        header = header.ljust(_HEADER, b"\0")
        fields = np.frombuffer(header, ">u4").astype(np.uint32)
        order = ">u4" if fields[0] == _MAGIC + 1 else "<u4"
        page_size = int(fields[2]) if fields[2] in _PAGE_SIZES else page_size
        heads, follows = [np.empty((0, 6), np.uint32)], [np.empty(0, np.bool_)]
        size, last = _FRAME_HEADER + page_size, fields[6:]
        while held := file.read(max(_CHUNK // size, 1) * size):
            short = len(held) % size
            if short and short < _FRAME_HEADER:
                held, short = held[:-short], 0
            frames = np.frombuffer(held.ljust(-(-len(held) // size) * size, b"\0"), np.uint8)
            found, good = _continued(frames.reshape(-1, size), last, order)
            if short:  # the rest is not there, even if it was zeros
                good[-1] = False
            heads.append(found)
            follows.append(good)
            last = found[-1, 4:] if len(found) else last
    head = np.concatenate(heads)
    sound = (
        int(fields[0]) in (_MAGIC, _MAGIC + 1)
        and int(fields[1]) == _VERSION
        and bool((_checksum(header[:24], order) == fields[6:]).all())
    )
    salts = fields[4:6] if sound or not len(head) else head[0, 2:4]
    return Log(
        header=sound,
        salts=salts.astype(">u4").tobytes(),
        page_size=page_size,
        pages=head[:, 0],
        sizes=head[:, 1],
        current=(head[:, 2:4] == salts).all(axis=1),
        follows=np.concatenate(follows),
    )


def _continued(
    frames: npt.NDArray[np.uint8], last: Words, order: str
) -> tuple[Words, npt.NDArray[np.bool_]]:
    """Return the six words of each frame's header, and whether its checksum follows.

    last  the checksum that stands before the first frame, shape (2,)

    The checksum (a, b) takes in words x, y as a += x + b, b += y + a: that is linear modulo 2^32,
    with Fibonacci numbers as coefficients, so that all frames are summed at once.
    """
    heads = frames[:, :_FRAME_HEADER].copy().view(">u4").astype(np.uint32)
    summed = np.concatenate([frames[:, :8], frames[:, _FRAME_HEADER:]], axis=1).view(order)
    words = summed.astype(np.uint32, copy=False)
    before = np.concatenate([last[None, :], heads[:-1, 4:]])
    f = _fibonacci(words.shape[1] + 2)
    ahead, behind = f[-2:0:-1], f[-3::-1]
    a = np.einsum("ij,j->i", words, behind) + before[:, 0] * f[-3] + before[:, 1] * f[-2]
    b = np.einsum("ij,j->i", words, ahead) + before[:, 0] * f[-2] + before[:, 1] * f[-1]
    return heads, (heads[:, 4] == a) & (heads[:, 5] == b)


@lru_cache(maxsize=8)
def _fibonacci(n: int) -> Words:
    """Return F(0) ... F(n - 1) modulo 2^32."""
    found = [0, 1]
    while len(found) < n:
        found.append((found[-1] + found[-2]) & 0xFFFFFFFF)
    return np.array(found[:n], np.uint32)


def _checksum(data: bytes, order: str) -> Words:
    """Return the checksum of some words, an even number of them."""
    a = b = 0
    words = np.frombuffer(data, order).tolist()
    for x, y in zip(words[::2], words[1::2], strict=True):
        a = (a + x + b) & 0xFFFFFFFF
        b = (b + y + a) & 0xFFFFFFFF
    return np.array([a, b], np.uint32)


def witness(path: Path) -> Witness | None:
    """Return what the index of the log of a memory says; None where there is none, or no sound one.

    Another program reads it for us. Were it opened here, closing it would drop the locks that
    SQLite holds on it for other connections of this process: so POSIX has it.
    """
    index = index_of(path)
    if not index.is_file():
        return None
    try:
        shared = subprocess.run(
            ["head", "-c", str(_SHARED), "--", str(index)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None  # gone meanwhile, or we may not: then the log speaks for itself
    return _parsed(shared)


def _parsed(shared: bytes) -> Witness | None:
    if len(shared) < _SHARED or shared[:_SHARED_HEADER] != shared[_SHARED_HEADER:][:_SHARED_HEADER]:
        return None
    words = np.frombuffer(shared[:_SHARED], "<u4" if sys.byteorder == "little" else ">u4")
    order = words.dtype.str
    made = shared[12] == 1  # "isInit"
    if not made or words[0] != _VERSION or (_checksum(shared[:40], order) != words[10:12]).any():
        return None
    return Witness(salts=shared[32:40], frames=int(words[4]), checkpointed=int(words[24]))
