"""What the commands share: consoles, texts made safe to show, and how a failure is told."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jitrl.errors import BadRun, InvalidValue, JitrlError, NewerMemory, NotAMemory

_TEXTS = ("action", "task", "state", "stored", "id", "what it means", "guarantee")
_INPUT = (InvalidValue, BadRun, NotAMemory, NewerMemory)


def console() -> Console:
    """Return a console on stdout: control codes only where it is a terminal."""
    terminal = Console(highlight=False, markup=False, emoji=False)
    if not terminal.is_terminal:
        terminal.width = max(terminal.width, 120)
    return terminal


def clean(text: str) -> Text:
    """Return a text of unknown origin without control characters, line breaks excepted."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def one_line(text: str, width: int = 60) -> Text:
    """Return the first words of a text, on one line of at most `width` characters."""
    words = " ".join(text.split())
    return clean(words if len(words) <= width else words[: width - 1] + "\u2026")


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table; numbers stand to the right, the first column and other texts to the left."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        left = i == 0 or column in _TEXTS
        result.add_column(column, justify="left" if left else "right", overflow="fold")
    for row in rows:
        result.add_row(*(clean(cell) if isinstance(cell, str) else cell for cell in row))
    return result


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values."""
    result = Table(box=None, pad_edge=False, show_header=False)
    result.add_column(style="dim")
    result.add_column(overflow="fold")
    for name, value in rows:
        result.add_row(name, clean(value))
    return result


def tell(message: str) -> None:
    """Write one line to stderr."""
    line = " ".join(clean(message).plain.split())
    Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True).print(line)


def failure(error: Exception) -> int | None:
    """Tell of an error in one line and return the exit code; None for one that is not ours."""
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()  # nobody reads any more; no complaint at the end of the process
        return 1
    if isinstance(error, OSError):
        where = f"{error.filename!r}: " if error.filename else ""
        tell(f"jitrl: {where}{error.strerror or error}: check the path, its rights, the disk")
        return 1
    if not isinstance(error, JitrlError):
        return None
    tell(f"jitrl: {error}")
    return 2 if isinstance(error, _INPUT) else 1
