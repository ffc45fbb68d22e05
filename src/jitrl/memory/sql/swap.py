"""Put a new memory in the place of a damaged one: all its files, or none, whatever happens.

A database and its log belong together, and a file system renames one file at a time. So a plan is
written first: until it is carried out nobody opens the memory, and who repairs it again begins by
carrying it out.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jitrl.errors import MemoryUnavailable, NotAMemory
from jitrl.memory.contract import Finding

_SUFFIXES = ("", "-wal", "-shm")


def plan_of(path: Path) -> Path:
    """Return the path of the plan; while it exists the memory is being repaired."""
    return path.with_name(f"{path.name}-repair")


def new_of(path: Path) -> Path:
    """Return the path under which the new memory is made."""
    return path.with_name(f"{path.name}-repaired")


def check(path: Path) -> None:
    """Raise MemoryUnavailable for a memory that is being repaired."""
    if plan_of(path).exists():
        raise MemoryUnavailable(
            f"memory {str(path)!r} is being repaired: wait, or run `jitrl memory repair {path}` "
            "again if that was interrupted"
        )


def begin(path: Path) -> None:
    """Let nobody open the memory from now on."""
    plan_of(path).touch()


def clear(path: Path) -> None:
    """Delete what an interrupted repair has made."""
    for suffix in ("-journal", *_SUFFIXES):
        new = new_of(path)
        new.with_name(f"{new.name}{suffix}").unlink(missing_ok=True)


def give_up(path: Path) -> None:
    """Let the memory be opened again, as it is, unless the new one is about to take its place."""
    if plan_of(path).exists() and not plan_of(path).read_text():
        _end(path)


def _end(path: Path) -> None:
    clear(path)
    plan_of(path).unlink(missing_ok=True)


def commit(path: Path, findings: Iterable[Finding]) -> str:
    """Put the new memory in place, and the damaged one aside; returns under which name.

    The new one is closed by now; raises OSError if not all of it came to stand in its file.
    """
    if new_of(path).with_name(f"{new_of(path).name}-wal").exists():  # SQLite does not say so
        raise OSError(errno.EIO, "the new memory could not be written")
    aside = next(
        name
        for name in (f"{path.name}.damaged-{i}" for i in range(1, 1_000_000))
        if not any(path.with_name(f"{name}{suffix}").exists() for suffix in _SUFFIXES)
    )
    plan = {"aside": aside, "findings": [asdict(finding) for finding in findings]}
    draft = plan_of(path).with_name(f"{plan_of(path).name}-draft")
    _sync(new_of(path))
    draft.write_text(json.dumps(plan))
    _sync(draft)
    draft.replace(plan_of(path))
    _sync(path.parent)
    _carry_out(path, aside)
    return aside


def resume(path: Path) -> tuple[str, list[Finding]] | None:
    """Carry out a plan that was interrupted; returns the name aside, and what had been found.

    None where there is no plan, or nothing was decided yet.
    """
    try:
        text = plan_of(path).read_text()
    except FileNotFoundError:
        return None
    if not text:
        return None
    try:
        plan: dict[str, Any] = json.loads(text)
        aside, findings = str(plan["aside"]), [Finding(**found) for found in plan["findings"]]
        path.with_name(aside)  # a name, and no path
    except (ValueError, TypeError, KeyError) as error:
        raise NotAMemory(
            f"{str(plan_of(path))!r} is damaged: delete it and run `jitrl memory repair {path}`"
        ) from error
    _carry_out(path, aside)
    return aside, findings


def _carry_out(path: Path, aside: str) -> None:
    """Put everything in its place: again as often as one likes."""
    if new_of(path).exists():
        for suffix in _worth_keeping(path):
            old = path.with_name(f"{path.name}{suffix}")
            kept = path.with_name(f"{aside}{suffix}")
            if old.exists() and not kept.exists():
                _keep(old, kept)
        _sync(path.parent)
        for suffix in _SUFFIXES[1:]:
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
        new_of(path).replace(path)
        _sync(path.parent)
    _end(path)


def _worth_keeping(path: Path) -> tuple[str, ...]:
    """Return which files there are to be kept: an empty log says nothing."""
    log = path.with_name(f"{path.name}-wal")
    return _SUFFIXES if log.exists() and log.stat().st_size else _SUFFIXES[:1]


def _keep(old: Path, kept: Path) -> None:
    """Give a file another name as well, or copy it where a file system has no links."""
    try:
        os.link(old, kept)
    except FileExistsError:
        raise
    except OSError:
        draft = kept.with_name(f"{kept.name}-draft")
        shutil.copyfile(old, draft)
        _sync(draft)
        draft.replace(kept)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
