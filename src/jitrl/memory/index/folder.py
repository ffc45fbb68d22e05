"""The index beside its memory: what is saved of it, and how it is found again.

    <beside>/<digest of how texts are cut>/
        manifest       JSON: salt, epoch, revisions and a mark of the memory, the files; replaced
                       atomically
        <name>.part    the states and steps of a run of episodes (`jitrl.memory.index.columns`)
        <name>.changes what changed since in episodes of the parts
        lock           locked by who writes

All of it is derived from the memory: what is missing or damaged is built anew. One process writes
at a time; the others read what there is, and keep what they add to themselves.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from jitrl.errors import StoreError
from jitrl.memory.contract import Finding, Pulse
from jitrl.memory.index import columns
from jitrl.memory.index.columns import Array, Damaged
from jitrl.memory.index.engine import Engine
from jitrl.memory.index.evidence import Columns
from jitrl.memory.index.segment import Part, Sealed
from jitrl.similarity import UNNAMED, Field

try:
    import fcntl
except ImportError:  # a system without locks of this kind: nothing is saved there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_VERSION = 1
_TRIES = 3
_TEXTS = ("column", "digests", "sizes", "starts", "features", "hashes", "text_starts", "texts",
          "row_starts", "rows")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Saved:
    """What a folder held.

    epoch, revision  of the memory, up to which everything is there
    seen             of what came later, nothing after that revision
    mark             of `seen`
    """

    salt: bytes
    epoch: str
    revision: int
    seen: int
    mark: str
    parts: list[Part]
    steps: list[Columns]
    changes: Columns | None


class Folder:
    """Where an index is saved."""

    def __init__(self, beside: Path, fields: Sequence[Field]) -> None:
        cut = sorted((field.name, field.n, field.multiset) for field in fields)
        meant = json.dumps([_VERSION, cut, UNNAMED.n, UNNAMED.multiset])
        self.path = Path(beside) / sha256(meant.encode()).hexdigest()[:16]
        self._pid = os.getpid()
        self._lock: int | None = None
        self._refused = False
        self._saved: tuple[int, list[str | None]] | None = None  # revision and parts

    def __del__(self) -> None:
        if getattr(self, "_lock", None) is not None:
            self.release()

    # --- reading

    def load(self, pulse: Pulse) -> Saved | None:
        """Return what is saved, if it is of this epoch; None where there is nothing of use."""
        for attempt in range(1, _TRIES + 1):
            try:
                told = self._manifest()
                if told is None or told["epoch"] != pulse.epoch:
                    return None
                if not 0 < told["revision"] <= told["seen"] <= pulse.revision:
                    raise Damaged("it knows more than the memory")
                return self._loaded(told)
            except FileNotFoundError as error:
                if attempt == _TRIES:  # else: others have replaced it meanwhile
                    log.warning(
                        "the saved index %s lacks %s: built anew", self.path, error.filename
                    )
            except (Damaged, KeyError, TypeError, ValueError, IndexError) as error:
                log.warning("the saved index %s is damaged (%s): built anew", self.path, error)
                return None
            except OSError as error:
                log.warning("the saved index %s cannot be read (%s): built anew", self.path, error)
                return None
        return None

    def damage(self) -> str | None:
        """Return what is wrong with what is saved; None for nothing."""
        missing = ""
        for _ in range(_TRIES):  # others may replace it meanwhile
            try:
                if (told := self._manifest()) is not None:
                    self._loaded(told)
                return None
            except FileNotFoundError as error:
                missing = f"lacks {error.filename}"
            except (Damaged, KeyError, TypeError, ValueError, IndexError) as error:
                return f"is damaged ({error})"
            except OSError as error:
                return f"cannot be read ({error.strerror})"
        return missing

    def _manifest(self) -> dict[str, Any] | None:
        try:
            raw = (self.path / "manifest").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        crc, _, body = raw.partition(b"\n")
        if crc != b"%08x" % zlib.crc32(body):
            raise Damaged("the manifest")
        told: dict[str, Any] = json.loads(body)
        if told["version"] != _VERSION:
            raise Damaged(f"version {told['version']}")
        return told

    def _loaded(self, told: dict[str, Any]) -> Saved:
        parts, steps = [], []
        base = first = 0
        for name in told["parts"]:
            stamp = _stamp(self.path / name)
            meta, arrays = columns.read(self.path / name)
            if meta["salt"] != told["salt"] or (meta["base"], meta["episodes"][0]) != (base, first):
                raise Damaged(f"{name} belongs to another index")
            parts.append(_part(name, stamp, meta, arrays))
            steps.append(Columns.of(arrays, meta["actions"]))
            base, first = parts[-1].end, parts[-1].episodes.stop
        changes = None
        if told["changes"] is not None:
            meta, arrays = columns.read(self.path / told["changes"])
            if meta["salt"] != told["salt"]:
                raise Damaged(f"{told['changes']} belongs to another index")
            changes = Columns.of(arrays, [])
        self._saved = (told["revision"], told["parts"])
        salt = bytes.fromhex(told["salt"])
        return Saved(
            salt, told["epoch"], told["revision"], told["seen"], told["mark"], parts, steps, changes
        )

    def touched(self, parts: Sequence[Part]) -> bool:
        """Say whether a file that is mapped was written to; one that was deleted stays as it was.

        We never do that: what is changed is written under a new name.
        """
        for part in parts:
            with suppress(FileNotFoundError, NotADirectoryError):
                if part.file is not None and _stamp(self.path / part.file) != part.stamp:
                    return True
        return False

    # --- writing

    @property
    def willing(self) -> bool:
        """Whether it is worth a try to save something."""
        return not self._refused

    def retry(self) -> bool:
        """Try once more to become the one who writes."""
        self._refused = False
        return self.own()

    def own(self) -> bool:
        """Become, or be, the one who writes; False where that is somebody else, or nobody can."""
        if fcntl is None:
            return False
        path = self.path / "lock"
        try:
            if self._lock is not None and _is(self._lock, path):
                return True
            self.release()  # a lock in a folder that was deleted locks nothing
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(self._lock, path):
                return True
        except OSError as error:  # read-only, or somebody else's
            log.debug("the index is not saved in %s: %s", self.path, error)
        self.release()
        self._refused = True
        return False

    def release(self) -> None:
        """Let others write."""
        if self._lock is not None:
            if self._pid == os.getpid():  # a fork shares the lock, and must not end it
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
        self._lock = None

    def discard(self) -> None:
        """Delete what is saved, if nobody else writes here."""
        self._saved = None
        try:
            if self.path.is_dir() and self.own():
                (self.path / "manifest").unlink(missing_ok=True)
                self._clear(())
        except OSError as error:
            log.warning("the saved index %s cannot be deleted: %s", self.path, error)

    def save(self, engine: Engine) -> None:
        """Save all that is sealed, unless somebody else writes here. Raises OSError."""
        if not engine.revision or not self.own() or not _current(engine):
            return
        for part in list(engine.parts):
            if not part.sealed:
                break
            if part.file is None or not (self.path / part.file).exists():
                self._write(part, engine)
        with engine.lock:
            parts = []
            for part in engine.parts:
                if part.file is None:
                    break
                parts.append(part)
            if not parts or not parts[-1].revision:
                return
            upto = parts[-1].episodes.stop
            whole = upto == len(engine.evidence.numbers)
            revision = engine.revision if whole else parts[-1].revision
            files = [part.file for part in parts]
            if self._saved == (revision, files):
                return
            changes = engine.evidence.changed(upto)
        seen = engine.memory.pulse().revision  # a read goes on beyond the revision it ends with
        salt = engine.features.salt.hex()
        changed = None
        if changes is not None:
            changed = f"{secrets.token_hex(8)}.changes"
            columns.write(self.path / changed, {"salt": salt}, changes.arrays())
        told = {
            "version": _VERSION,
            "epoch": engine.epoch,
            "salt": salt,
            "revision": revision,
            "seen": seen,
            "mark": engine.memory.mark(seen),
            "parts": files,
            "changes": changed,
        }
        self._publish(told)
        self._saved = (revision, files)
        if not _current(engine):  # somebody forgot something meanwhile, or put a copy in its place
            self.discard()

    def _write(self, part: Part, engine: Engine) -> None:
        """Write a part to a file, and let the engine use that."""
        name = f"{secrets.token_hex(8)}.part"
        with engine.lock:
            steps = engine.evidence.columns(part.episodes)
        meta = {
            "salt": engine.features.salt.hex(),
            "base": part.base,
            "episodes": [part.episodes.start, part.episodes.stop],
            "revision": part.revision,
            "fields": list(part.fields),
            "actions": steps.names,
        }
        arrays: dict[str, Array] = {"states": part.numbers, "order": part.order}
        for i, texts in enumerate(part.fields.values()):
            arrays |= {f"{i}.{kind}": getattr(texts, kind) for kind in _TEXTS}
        try:
            columns.write(self.path / name, meta, arrays | steps.arrays())
            mapped = _part(name, _stamp(self.path / name), *columns.read(self.path / name))
        except BaseException:
            with engine.lock:
                engine.evidence.soil(part.episodes)
            raise
        with engine.lock:
            at = next(i for i, each in enumerate(engine.parts) if each is part)
            engine.parts[at] = mapped

    def _publish(self, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        new = self.path / "manifest.new"
        new.write_bytes(b"%08x\n" % zlib.crc32(body) + body)
        new.replace(self.path / "manifest")
        self._clear([*told["parts"], told["changes"]])

    def _clear(self, kept: Sequence[str | None]) -> None:
        """Delete the files of ours that are not kept; who has them open keeps them."""
        for path in self.path.iterdir():
            if path.suffix in (".part", ".changes") and path.name not in kept:
                path.unlink(missing_ok=True)


def verify(beside: Path | None) -> Iterator[Finding]:
    """Check all that is saved beside a memory; yield what is wrong: it is built anew when used."""
    if beside is None or not beside.is_dir():
        return
    for path in sorted(beside.iterdir()):
        folder = Folder(beside, ())
        folder.path = path
        if (what := folder.damage()) is not None:
            yield Finding(f"the index {path.name} {what}")


def _current(engine: Engine) -> bool:
    """Say whether the memory is still the one that the engine read."""
    try:
        return engine.current(engine.memory.pulse())
    except StoreError as error:
        log.debug("the index is not saved: %s", error)
        return False


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _stamp(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_size, told.st_mtime_ns


def _part(
    name: str, stamp: tuple[int, int], meta: dict[str, Any], arrays: dict[str, Array]
) -> Part:
    fields = {
        field: Sealed(**{kind: arrays[f"{i}.{kind}"] for kind in _TEXTS})
        for i, field in enumerate(meta["fields"])
    }
    return Part(
        base=meta["base"],
        numbers=arrays["states"],
        order=arrays["order"],
        fields=fields,
        episodes=range(*meta["episodes"]),
        revision=meta["revision"],
        file=name,
        stamp=stamp,
    )
