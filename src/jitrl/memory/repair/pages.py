"""Rows straight from the pages of a SQLite file, whatever has become of its trees and its schema.

Every page that holds rows can be read alone: so one that is damaged, or missing, hides no other.
What comes out is only what *may* have been a row: whoever asks has to check it. The format:
https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from jitrl.memory.sql import wal

Value = int | float | str | bytes | None
_INNER_INDEX, _LEAF_INDEX, _LEAF_TABLE = 2, 10, 13
_FILE_HEADER = 100
_PAGE_SIZES = tuple(2**i for i in range(9, 17))
_LONGEST = 1 << 30  # bytes of a row: SQLite's own bound
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # serial type -> bytes
_UNREADABLE = (ValueError, IndexError, struct.error, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Found:
    """What may be a row.

    rowid   of a table that has them: its integer primary key, which `values` holds as None; None
            for a row of an index, or of a table without
    """

    rowid: int | None
    values: tuple[Value, ...]


@dataclass
class Image:
    """A database file with some frames of its log laid over it.

    file    descriptor of the database
    log     descriptor of its log, None for none
    laid    page -> place of its content in the log
    pages   how many there are, readable ones or not
    """

    file: int
    page_size: int
    pages: int
    log: int | None = None
    laid: dict[int, int] = field(default_factory=dict)

    def page(self, number: int) -> bytes | None:
        """Return the content of a page, from 1; None for one that cannot be read."""
        place = self.laid.get(number)
        try:
            if place is not None and self.log is not None:
                held = os.pread(self.log, self.page_size, place)
            else:
                held = os.pread(self.file, self.page_size, (number - 1) * self.page_size)
        except OSError:
            return None
        return held.ljust(self.page_size, b"\0") if held else None  # cut within: the rest is gone

    def rows(self, number: int) -> Iterator[Found]:
        """Iterate over what may be rows on a page."""
        held = self.page(number)
        if held is None:
            return
        start = _FILE_HEADER if number == 1 else 0
        kind = held[start]
        kinds = [kind]
        if kind == 0:  # free, or the rest of a long row; or else its first byte is damaged
            kinds = [_INNER_INDEX] if _plausible(held, start) else []
        elif kind not in (_LEAF_TABLE, _LEAF_INDEX, _INNER_INDEX):
            kinds = [_LEAF_TABLE, _LEAF_INDEX]
        for kind in kinds:
            yield from self._cells(held, start, kind)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the pages; one that is far too high was damaged itself."""
        beyond = sorted(number for number in self.laid if number > self.pages)
        return [*range(1, self.pages + 1), *beyond]

    def _cells(self, held: bytes, start: int, kind: int) -> Iterator[Found]:
        inner = kind == _INNER_INDEX
        first = start + (12 if inner else 8)
        count = min(int.from_bytes(held[start + 3 : start + 5]), (len(held) - first) // 2)
        places = struct.unpack_from(f">{count}H", held, first)
        found, failed = set(), count == 0
        for place in places:
            try:
                yield self._row(held, place + 4 * inner, kind)
                found.add(place)
            except _UNREADABLE:
                failed = True
        if failed:  # the places are damaged, or the rows: try everywhere
            for place in range(first, len(held) - 4):
                if place not in found:
                    try:
                        yield self._row(held, place + 4 * inner, kind)
                    except _UNREADABLE:
                        continue

    def _row(self, held: bytes, place: int, kind: int) -> Found:
        """Return the row at a place of a page; raises one of _UNREADABLE."""
        size, place = _varint(held, place)
        rowid = None
        if kind == _LEAF_TABLE:
            rowid, place = _varint(held, place)
            rowid -= (rowid >= 1 << 63) << 64
        if not 2 <= size <= _LONGEST:
            raise ValueError(size)
        here = _on_page(size, self.page_size, kind)
        if place + here > len(held):
            raise ValueError(place)
        payload = held[place : place + here]
        if here < size:
            (following,) = struct.unpack_from(">I", held, place + here)
            payload += self._rest(following, size - here)
        return Found(rowid, _values(payload))

    def _rest(self, number: int, size: int) -> bytes:
        """Return the bytes of a long row that stand on pages of their own."""
        parts = []
        while size > 0:
            if not 1 < number <= self.pages:
                raise ValueError(number)
            held = self.page(number)
            if held is None:
                raise ValueError(number)
            parts.append(held[4 : 4 + size])
            size -= len(parts[-1])
            number = int.from_bytes(held[:4])
        return b"".join(parts)


def _plausible(held: bytes, start: int) -> bool:
    """Return whether the head of a page can be that of an inner page of an index."""
    _, _, count, content, loose = struct.unpack_from(">BHHHB", held, start)
    return bool(count > 0 and start + 12 + 2 * count <= content <= len(held) and loose <= 60)


def _on_page(size: int, usable: int, kind: int) -> int:
    """Return how many bytes of a row stand on its own page."""
    least = (usable - 12) * 32 // 255 - 23
    most = usable - 35 if kind == _LEAF_TABLE else (usable - 12) * 64 // 255 - 23
    if size <= most:
        return size
    fitting = least + (size - least) % (usable - 4)
    return fitting if fitting <= most else least


def _varint(held: bytes, place: int) -> tuple[int, int]:
    """Return a number of variable length, and the place behind it."""
    value = 0
    for i in range(8):
        byte = held[place + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + i + 1
    return value << 8 | held[place + 8], place + 9


def _values(payload: bytes) -> tuple[Value, ...]:
    """Return the values of a row; raises one of _UNREADABLE."""
    end, place = _varint(payload, 0)
    if not 1 <= end <= len(payload):
        raise ValueError(end)
    kinds = []
    while place < end:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    if place != end:
        raise ValueError(place)
    values: list[Value] = []
    for kind in kinds:
        value, place = _value(payload, place, kind)
        values.append(value)
    if place != len(payload):
        raise ValueError(place)
    return tuple(values)


def _value(payload: bytes, place: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, place
    if kind in (8, 9):
        return kind - 8, place
    if kind in (10, 11):
        raise ValueError(kind)
    size = 8 if kind == 7 else _INTEGERS[kind] if kind in _INTEGERS else (kind - 12) // 2
    held = payload[place : place + size]
    if len(held) != size:
        raise ValueError(kind)
    place += size
    if kind == 7:
        return struct.unpack(">d", held)[0], place
    if kind in _INTEGERS:
        return int.from_bytes(held, signed=True), place
    return held if kind % 2 == 0 else held.decode(), place


def page_size(file: int, log: wal.Log | None) -> int:
    """Return the page size of a database: as it says, or as its log does, or the usual one."""
    try:
        said = int.from_bytes(os.pread(file, 2, 16))
    except OSError:
        said = 0
    said = 65536 if said == 1 else said
    if said in _PAGE_SIZES:
        return said
    return log.page_size if log is not None else 4096


def images(
    file: int, log_file: int | None, log: wal.Log | None, witness: wal.Witness | None
) -> list[Image]:
    """Return what a database may have been, the likeliest first.

    With the transactions that SQLite would accept, with all frames of the log that are whole, with
    all of them, and without its log. What was not committed is in none.
    """
    size = page_size(file, log)
    length = -(-os.fstat(file).st_size // size)
    plain = Image(file, size, length)
    if log is None or log_file is None:
        return [plain]
    end = _committed(log, witness)
    every = np.arange(end)
    found, seen = [], set()
    for frames in (every[: log.committed], every[log.follows[:end]], every):
        if len(frames) and frames.tobytes() not in seen:
            seen.add(frames.tobytes())
            pages, places = log.pages[frames].tolist(), (56 + frames * (24 + size)).tolist()
            most = min(int(log.sizes[frames].max()), length + end)
            laid = dict(zip(pages, places, strict=True))
            found.append(Image(file, size, max(length, most), log_file, laid))
    return [*found, plain]


def _committed(log: wal.Log, witness: wal.Witness | None) -> int:
    """Return up to which frame the transactions of a log were committed, whole or not."""
    if witness is not None and witness.salts == log.salts:
        return min(max(witness.frames, log.committed), len(log.pages))
    ours = log.current.copy()
    if log.header:  # what follows from the first frame on is ours, if its salts are damaged too
        ours |= np.logical_and.accumulate(log.follows)
    ends = np.flatnonzero(ours & (log.sizes > 0))
    return int(ends[-1]) + 1 if len(ends) else 0
