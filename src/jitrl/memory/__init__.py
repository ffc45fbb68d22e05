"""The memory: the only thing that learns. Episodes are stored whole, and retrieved by state.

contract   what a memory is: record, what an index reads, governance
sql/       the system of record, in SQLite or PostgreSQL
index/     the nearest states, exactly: derived from the record, kept beside it
packs/     from one memory to another: packs, merging
repair/    what is whole of a damaged file
redaction  secrets, before anything is written
opening    a memory by its address
"""

from __future__ import annotations

from jitrl.memory.contract import (
    Cap,
    Difference,
    Entry,
    Finding,
    Governed,
    Head,
    Memory,
    Pulse,
    Selection,
    Size,
    Snapshot,
    Trail,
)
from jitrl.memory.index import Cut, Index, ReturnsRule, View
from jitrl.memory.opening import open
from jitrl.memory.redaction import Redaction
from jitrl.memory.sql.sqlite import SqliteMemory

__all__ = [
    "Cap",
    "Cut",
    "Difference",
    "Entry",
    "Finding",
    "Governed",
    "Head",
    "Index",
    "Memory",
    "Pulse",
    "Redaction",
    "ReturnsRule",
    "Selection",
    "Size",
    "Snapshot",
    "SqliteMemory",
    "Trail",
    "View",
    "open",
]
