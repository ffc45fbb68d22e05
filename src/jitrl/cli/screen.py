"""What the commands share: consoles, texts made safe to show, and how a failure is told."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jitrl.errors import BadPack, BadRun, InvalidValue, JitrlError, NewerMemory, NotAMemory

_TEXTS = (
    "action",
    "arm",
    "task",
    "state",
    "stored",
    "id",
    "what it means",
    "guarantee",
    "run",
    "source",
    "made",
    "held back",
    "what is wrong",
    "and then",
    "why",
)
_NUMBERS = ("number", "step", "similarity")
_TIMES = ("stored", "made")
_ID = 36  # characters of an id that stay on one line: it is there to be copied
_INPUT = (InvalidValue, BadRun, NotAMemory, NewerMemory, BadPack)


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
    if len(words) > width:
        cut = words[: width - 1]
        end = cut.rfind(" ")
        words = (cut[:end] if end > width // 2 else cut) + "\u2026"
    line = clean(words)
    line.no_wrap, line.overflow = True, "ellipsis"  # where a table has less room still
    return line


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table; numbers stand to the right, the first column and other texts to the left.

    Where the screen is narrow texts give way, not numbers.
    """
    result = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[clean(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    for i, column in enumerate(columns):
        left = column in _TEXTS or (i == 0 and column not in _NUMBERS)
        longest = max((row[i].cell_len for row in cells), default=0)
        result.add_column(
            column,
            justify="left" if left else "right",
            overflow="fold",
            no_wrap=not left or column in _TIMES or (column == "id" and longest <= _ID),
        )
    for row in cells:
        result.add_row(*row)
    return result


def show_table(screen: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; where the screen is too narrow for it, a list of names and values a row."""
    shown = table(columns, rows)
    unbounded = screen.options.update(max_width=10_000)
    if screen.measure(shown, options=unbounded).maximum <= screen.width:
        screen.print(shown)
        return
    for i, row in enumerate(rows):
        if i:
            screen.print()
        screen.print(facts(zip(columns, row, strict=True)))


def counted(names: Mapping[str, int]) -> str:
    """Return names with how often each was seen, the most frequent first, eight at most."""
    found = Counter(names).most_common()
    shown = [f"{name or '(none)'} ({count})" for name, count in found[:8]]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return ", ".join(shown) + more or "none"


def many(count: int, name: str) -> str:
    """Return a number with its noun.

    >>> many(1, "episode"), many(1200, "step")
    ('1 episode', '1,200 steps')
    """
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def in_bytes(count: float) -> str:
    """Return a number of bytes as people read it.

    >>> in_bytes(812), in_bytes(81_234_567)
    ('812 bytes', '81.2 MB')
    """
    for unit, bytes in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes:
            return f"{count / bytes:.1f} {unit}"
    return f"{count:.0f} bytes"


def when(stored: str) -> str:
    """Return a time, ISO 8601 in UTC, to the second.

    >>> when("2026-11-24T12:00:00.123+00:00")
    '2026-11-24 12:00:00'
    """
    return stored[:19].replace("T", " ")


def between(times: Sequence[str]) -> str:
    """Return the first and the last of some times."""
    ends = dict.fromkeys(when(time) for time in (*times[:1], *times[-1:]))
    return f"{' to '.join(ends)} UTC" if ends else "nothing yet"


def whereabouts(state: Mapping[str, str]) -> str:
    """Return the field of a state that tells best where it is."""
    return state.get("room") or next(iter(state.values()), "")


def as_json(value: object) -> None:
    """Write a value to stdout as JSON: for programs."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values."""
    result = Table(box=None, pad_edge=False, show_header=False)
    result.add_column(style="dim")
    result.add_column(overflow="fold")
    for name, value in rows:
        result.add_row(name, clean(value))
    return result


def say(message: str) -> None:
    """Write a line to stdout; the screen may wrap it, we do not."""
    console().print(clean(message), soft_wrap=True)


def tell(message: str) -> None:
    """Write one line to stderr."""
    line = " ".join(clean(message).plain.split())
    Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True).print(line)


@contextmanager
def said() -> Iterator[None]:
    """Show what the library warns of, a line each, on stderr."""
    handler = _Lines(logging.WARNING)
    root = logging.getLogger("jitrl")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(f"jitrl: {record.getMessage()}")


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
