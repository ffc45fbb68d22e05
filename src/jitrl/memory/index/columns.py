"""A file of named arrays that is mapped into memory, and checked when it is opened.

    jitrl-columns 1 <length of the header> <CRC-32 of the header>
    the header: JSON
    the arrays, little-endian, each at a multiple of 64 bytes

The header tells where each array is and its CRC-32, and holds what else the writer wants to say.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_MAGIC = b"jitrl-columns 1 "
_FIRST_LINE = len(_MAGIC) + 12 + 1 + 8 + 1
_KINDS = {"<i8", "<i4", "<u8", "<f8", "|u1"}


class Damaged(Exception):
    """The file is not as it was written."""


def write(path: Path, meta: Mapping[str, object], arrays: Mapping[str, Array]) -> None:
    """Write the arrays to a new file. Raises OSError."""
    little = {
        name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }
    places: list[tuple[str, str, int, int, int]] = []
    at = 0
    for name, array in little.items():
        crc = zlib.crc32(array.view(np.uint8).data if array.size else b"")
        places.append((name, array.dtype.str, at, array.size, crc))
        at += -(-array.nbytes // 64) * 64
    header = json.dumps({"meta": meta, "arrays": places, "size": at}).encode()
    with path.open("xb") as file:
        file.write(_MAGIC + b"%012d %08x\n" % (len(header), zlib.crc32(header)))
        file.write(header)
        start = _aligned(_FIRST_LINE + len(header))
        for place, array in zip(places, little.values(), strict=True):
            file.seek(start + place[2])
            if array.size:
                file.write(array.view(np.uint8).data)
        file.truncate(start + at)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what the writer wanted to say, and the arrays. Raises OSError or Damaged.

    The arrays are mapped: what is written to them stays with this process.
    """
    with path.open("rb") as file:
        try:
            raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except ValueError as error:
            raise Damaged(f"{path} is empty") from error
    try:
        return _parsed(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path}: {error}") from error


def _parsed(raw: mmap.mmap) -> tuple[dict[str, Any], dict[str, Array]]:
    line = raw[:_FIRST_LINE]
    if not line.startswith(_MAGIC) or line[-1:] != b"\n":
        raise ValueError("unknown version")
    length, crc = line[len(_MAGIC) :].split()
    header = raw[_FIRST_LINE : _FIRST_LINE + int(length)]
    if zlib.crc32(header) != int(crc, 16):
        raise ValueError("the header is damaged")
    told = json.loads(header)
    start = _aligned(_FIRST_LINE + len(header))
    if len(raw) != start + told["size"]:
        raise ValueError("cut short, or longer than it was")
    arrays = {}
    for name, kind, at, count, crc32 in told["arrays"]:
        if kind not in _KINDS:
            raise ValueError(f"array {name} of kind {kind}")
        array = np.frombuffer(raw, np.dtype(kind), count, start + at)
        if zlib.crc32(array.view(np.uint8).data if count else b"") != crc32:
            raise ValueError(f"array {name} is damaged")
        arrays[name] = array.view(array.dtype.newbyteorder("="))
    return told["meta"], arrays


def _aligned(length: int) -> int:
    return -(-length // 64) * 64
