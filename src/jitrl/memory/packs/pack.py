"""A pack: the episodes of a memory in one compressed file, to be handed on.

A zip file of two members: `episodes.jsonl`, one episode a line (`jitrl.memory.packs.codec`), and
`manifest.json`, which says how many there are and what their SHA-256 is. Nothing in it is executed,
and nothing of it is believed that can be checked.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Self
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from jitrl._version import __version__
from jitrl.checks import LARGEST, count, finite, moment, text
from jitrl.errors import BadPack, InvalidValue, StoreError
from jitrl.memory.contract import Governed, Memory, Progress, Selection
from jitrl.memory.packs.codec import dumps, exactly, loads, strict
from jitrl.memory.packs.merge import Imported, add, shown
from jitrl.records import Episode

FORMAT = 1
_FORMAT = "jitrl pack"
_EPISODES, _MANIFEST = "episodes.jsonl", "manifest.json"
_CHUNK = 2**18  # bytes read at a time
_MOST = 2**20  # bytes that are ever asked of the file at once: its directory is smaller
_MANIFEST_SIZE = 2**14
_ENCRYPTED = 0x1 | 0x20 | 0x40  # bits of a member's flags: encrypted, patched, strongly encrypted
_EVERYTHING = Selection()
_DAMAGE = (BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OverflowError, struct.error)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a pack says of itself.

    version          of the format
    jitrl            version of jitrl that made it
    made             when, ISO 8601, UTC
    episodes, steps  how many it holds
    bytes, sha256    of episodes.jsonl, unpacked
    """

    version: int
    jitrl: str
    made: str
    episodes: int
    steps: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pack may ask of its reader; beyond it, BadPack.

    bytes     of all its episodes, unpacked
    episodes  how many
    episode   bytes of the longest one, unpacked
    reward    largest absolute value of a reward or a score
    fields    names that its states have in all: an index has a column for each
    """

    bytes: int = 8 * 2**30
    episodes: int = 10**6
    episode: int = 32 * 2**20
    reward: float = LARGEST
    fields: int = 256

    def __post_init__(self) -> None:
        for name in ("bytes", "episodes", "episode", "fields"):
            count(name, getattr(self, name), least=1)
        finite("reward", self.reward)


def export(
    memory: Governed,
    path: str | os.PathLike[str],
    selection: Selection = _EVERYTHING,
    progress: Progress | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> Manifest:
    """Write the present episodes that are meant into a pack; returns its manifest.

    The file is there whole or not at all; one that is there is replaced if it is a zip file. Equal
    episodes and an equal time make equal bytes. Raises StoreError where it cannot be written, or an
    episode holds what a pack cannot.
    """
    if "\0" in os.fspath(path):
        raise InvalidValue("path", path, "must not hold a NUL character")
    target = Path(path)
    if _is_file_of(memory, target):
        raise StoreError(f"{str(target)!r} is the memory itself, and is no pack: name another path")
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        _spare(target)
        with part.open("xb") as file:
            manifest = _write(file, memory, selection, progress, clock)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        _keep(target.absolute().parent)
    except OSError as error:
        raise StoreError(
            f"pack {str(target)!r} cannot be written ({error.strerror or error}): "
            "check the path, and the space on the disk"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return manifest


def import_pack(
    memory: Memory,
    path: str | os.PathLike[str],
    *,
    source: str | None = None,
    limits: Limits = Limits(),
    progress: Progress | None = None,
) -> Imported:
    """Store the episodes of a pack, in order.

    source  who answers for them; by default `pack:` and the first 12 digits of its SHA-256. It
            becomes the `source` of each, and a `source` that one had is kept as its `origin`

    The pack is read through, checked, and compared with the memory before the first episode is
    stored. An episode that is there already, quarantined or not, is skipped; what is there with
    another content is refused. So an import that was interrupted is completed by the next one.

    Raises BadPack for what is no pack, is damaged, goes beyond the limits, or does not fit what is
    there; InvalidValue for another argument.
    """
    if source is not None and not text("source", source):
        raise InvalidValue("source", source, "must not be empty")
    if _is_file_of(memory, Path(path)):
        raise BadPack(f"{str(path)!r} is the memory itself, and is no pack: name another path")
    with _Pack(Path(path), limits) as pack:
        named = source or f"pack:{pack.manifest.sha256[:12]}"
        done = add(
            memory,
            lambda: (_of_source(episode, named) for episode in pack.episodes()),
            pack.manifest.episodes,
            pack.bad,
            progress,
        )
    return replace(done, source=named)


def check(path: str | os.PathLike[str], limits: Limits = Limits()) -> Manifest:
    """Read a pack through, and store nothing. Raises BadPack."""
    with _Pack(Path(path), limits) as pack:
        for _ in pack.episodes():
            pass
        return pack.manifest


def _is_file_of(memory: Memory, path: Path) -> bool:
    """Return whether a path leads to the memory's own file, which must not be opened here.

    To close it again would drop the locks of SQLite on it: so POSIX has it.
    """
    try:
        return memory.path is not None and path.samefile(memory.path)
    except (OSError, ValueError):
        return False


def _of_source(episode: Episode, source: str) -> Episode:
    told = dict(episode.provenance)
    if "source" in told:
        told["origin"] = "; ".join(told[n] for n in ("origin", "source") if told.get(n))
    return replace(episode, provenance={**told, "source": source})


# --- to write -----------------------------------------------------------------------------------


def _write(
    file: IO[bytes],
    memory: Governed,
    selection: Selection,
    progress: Progress | None,
    clock: Callable[[], float],
) -> Manifest:
    episodes, total = _meant(memory, selection)
    digest, size, steps, done = sha256(), 0, 0, 0
    with ZipFile(file, "w") as pack:
        with pack.open(_member(_EPISODES), "w", force_zip64=True) as member:
            for done, episode in enumerate(episodes, 1):
                line = _line(episode)
                member.write(line)
                digest.update(line)
                size, steps = size + len(line), steps + len(episode.steps)
                if progress is not None:
                    progress("exported", done, total)
        made = moment("made", datetime.fromtimestamp(clock(), UTC).isoformat())
        manifest = Manifest(FORMAT, __version__, made, done, steps, size, digest.hexdigest())
        told = json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1)
        pack.writestr(_member(_MANIFEST), told + "\n")
    return manifest


def _meant(memory: Governed, selection: Selection) -> tuple[Iterator[Episode], int]:
    """Return the present episodes that are selected, in order, and how many there are."""
    if not selection:
        return memory.episodes(), len(memory)
    ids = [entry.id for entry in memory.catalogue(selection) if entry.present]
    found = (memory.get(id) for id in ids)  # None: forgotten meanwhile
    return (episode for episode in found if episode is not None), len(ids)


def _line(episode: Episode) -> bytes:
    try:
        return (dumps(episode) + "\n").encode()
    except InvalidValue as error:
        raise StoreError(
            f"episode {shown(episode.id)} cannot be exported ({error}): leave it out"
        ) from error


def _member(name: str) -> ZipInfo:
    """Return a member that looks the same wherever and whenever it is written."""
    member = ZipInfo(name)
    member.compress_type = ZIP_DEFLATED
    member.create_system = 3  # Unix
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member


def _spare(target: Path) -> None:
    """Raise StoreError where a file would be overwritten that is no zip file: a memory, say."""
    if target.exists() and not target.is_file():
        raise StoreError(f"pack {str(target)!r} is no file: name another path")
    if target.exists():
        with target.open("rb") as file:
            if file.read(4) not in (b"", b"PK\3\4"):
                raise StoreError(f"{str(target)!r} is there and is no pack: name another path")


def _keep(folder: Path) -> None:
    """Make the name of a new file in the folder survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- to read ------------------------------------------------------------------------------------


class _File(io.FileIO):
    """A file of which nobody reads much at once: what it says of its own sizes costs no memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        if size > _MOST:
            raise BadZipFile(f"{size} bytes at once")
        return super().read(size) or b""


class _Pack:
    """A pack that is open to be read; its manifest is checked when it is opened."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._name = repr(str(path))
        self._limits = limits
        with self._reading():
            if path.exists() and not path.is_file():  # before it is opened: it may block, or be
                raise self.bad("is no file")  # endless
            self._file = _File(path)
        try:
            with self._reading():
                self._zip = ZipFile(self._file)
                self._check_members()
                self.manifest = self._read_manifest()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def bad(self, why: str) -> BadPack:
        """Return the error that says so of this pack."""
        return BadPack(f"pack {self._name}: {why}")

    def episodes(self) -> Iterator[Episode]:
        """Iterate over the episodes, each one checked, and at the end all of them together."""
        steps = number = 0
        seen: set[bytes] = set()
        named: set[str] = set()
        for number, line in enumerate(self._lines(), 1):
            if number > self.manifest.episodes:
                break
            try:
                episode = loads(line)
                self._check_rewards(episode)
            except InvalidValue as error:
                raise self.bad(f"line {number}: {error}") from error
            key = sha256(episode.id.encode()).digest()[:16]
            if key in seen:
                raise self.bad(f"line {number}: episode {shown(episode.id)} is in it twice")
            seen.add(key)
            named.update(*(step.state for step in episode.steps), episode.final_state or ())
            if len(named) > self._limits.fields:
                raise self._beyond("fields", len(named), f"line {number}")
            steps += len(episode.steps)
            yield episode
        if (number, steps) != (self.manifest.episodes, self.manifest.steps):
            raise self.bad("holds another number of episodes or steps than its manifest says")

    def _lines(self) -> Iterator[bytes]:
        """Iterate over the lines of the episodes; their SHA-256 is compared at the end."""
        digest, rest = sha256(), b""
        with self._reading():
            member = self._zip.open(_EPISODES)
        with member:
            while chunk := self._chunk(member):
                digest.update(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                longest = max(map(len, [*lines, rest]))
                if longest > self._limits.episode:
                    raise self._beyond("episode", longest, f"a line of {_EPISODES}")
                yield from lines
        if rest:
            raise self.bad("its last line has no end")
        if digest.hexdigest() != self.manifest.sha256:
            raise self.bad("is damaged: its episodes have another SHA-256 than its manifest says")

    def _chunk(self, member: IO[bytes]) -> bytes:
        with self._reading():
            return member.read(_CHUNK)

    def _check_rewards(self, episode: Episode) -> None:
        for t, step in enumerate(episode.steps):
            finite(f"steps[{t}].reward", step.reward, self._limits.reward)
            finite(f"steps[{t}].judged", step.judged or 0.0, self._limits.reward)

    def _check_members(self) -> None:
        members = self._zip.infolist()
        names = [member.orig_filename for member in members]
        if sorted(names) != [_EPISODES, _MANIFEST]:
            odd = next((n for n in names if n not in (_EPISODES, _MANIFEST)), None)
            held = "lacks a member, or has one twice" if odd is None else f"holds {shown(odd)}"
            raise self.bad(f"{held}: a pack has the members {_EPISODES} and {_MANIFEST}")
        for member in members:
            if member.flag_bits & _ENCRYPTED:
                raise self.bad(f"{member.filename} is encrypted: a pack is not")
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise self.bad(f"{member.filename} is a link or something else, but no file")
            if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise self.bad(f"{member.filename} is compressed in a way that a pack is not")

    def _read_manifest(self) -> Manifest:
        size = self._zip.getinfo(_MANIFEST).file_size
        if size > _MANIFEST_SIZE:
            raise self.bad(f"{_MANIFEST} claims {size} bytes: more than a manifest has")
        try:
            manifest = _manifest(self._zip.read(_MANIFEST))
        except InvalidValue as error:
            raise self.bad(f"{_MANIFEST}: {error}") from error
        size = self._zip.getinfo(_EPISODES).file_size
        if max(size, manifest.bytes) > self._limits.bytes:
            raise self._beyond("bytes", max(size, manifest.bytes), _EPISODES)
        if manifest.episodes > self._limits.episodes:
            raise self._beyond("episodes", manifest.episodes, _MANIFEST)
        if size != manifest.bytes:
            raise self.bad(f"{_EPISODES} has {size} bytes, its manifest says {manifest.bytes}")
        return manifest

    def _beyond(self, limit: str, asked: int, where: str) -> BadPack:
        most = getattr(self._limits, limit)
        return self.bad(
            f"{where} claims {asked}, more than the {most} allowed: if you trust it, raise the "
            f"limit `{limit}`"
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn the errors of files and of zip files into ours."""
        try:
            yield
        except _DAMAGE as error:
            raise self.bad(f"is no pack, or damaged ({error}): get it anew") from error
        except OSError as error:
            raise self.bad(f"cannot be read ({error.strerror or error}): check the path") from error


def _manifest(data: bytes) -> Manifest:
    told = strict(data)
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise InvalidValue("format", told, f"must be {_FORMAT!r}")
    version = count("version", told.get("version"), least=1)
    if version > FORMAT:
        raise InvalidValue(
            "version", version, f"must be at most {FORMAT}: install a newer jitrl, which reads it"
        )
    held = exactly("manifest", told, ["format", *(field.name for field in fields(Manifest))])
    if not re.fullmatch("[0-9a-f]{64}", text("sha256", held["sha256"])):
        raise InvalidValue("sha256", held["sha256"], "must be 64 hexadecimal digits")
    return Manifest(
        version=version,
        jitrl=text("jitrl", held["jitrl"]),
        made=moment("made", held["made"]),
        episodes=count("episodes", held["episodes"]),
        steps=count("steps", held["steps"]),
        bytes=count("bytes", held["bytes"]),
        sha256=held["sha256"],
    )
