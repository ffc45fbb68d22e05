"""The memory: the only thing that learns. Episodes are stored whole, and retrieved by state."""

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
