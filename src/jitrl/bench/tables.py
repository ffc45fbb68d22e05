"""Tables of texts, and how they are written."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from jitrl.bench.statistics import Estimate

_MANY = 6  # columns
_BRACKET = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the row."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def estimated(estimate: Estimate, *, signed: bool = False, digits: int = 2) -> str:
    """Return a mean with its interval, as far as they are known.

    >>> estimated(Estimate(0.5, 0.25, 0.75, 3))
    '0.50 [0.25, 0.75]'
    """
    if math.isnan(estimate.mean):
        return "?"
    form = f"{'+' if signed else ''}.{digits}f"
    text = format(estimate.mean, form)
    if estimate.known:
        text += f" [{format(estimate.low, form)}, {format(estimate.high, form)}]"
    return text


def shown(mean: Estimate) -> str:
    """Say what a mean difference shows; nothing, where its interval holds zero."""
    if not mean.known:
        return "nothing shown" if mean.n != 1 else "one seed: nothing shown"
    if mean.low <= 0 <= mean.high:
        return "no difference shown"
    return "higher than static" if mean.low > 0 else "lower than static"


def html(table: Table) -> str:
    """Return a table as HTML; one of many columns is set smaller, and breaks before a bracket."""
    kind = "cards wide" if len(table.columns) > _MANY else "cards"
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = [
        "".join(
            f'<td data-name="{escape(column)}">{_whole(escape(cell))}</td>'
            for column, cell in zip(table.columns, row, strict=True)
        )
        for row in table.rows
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _whole(cell: str) -> str:
    """Return a cell whose brackets do not break."""
    return _BRACKET.sub(lambda found: found[0].replace(" ", "\u00a0"), cell)


def comma_separated(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of anything as CSV."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(columns)
    out.writerows(rows)
    return text.getvalue()


def markdown(table: Table) -> str:
    """Return a table as Markdown."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = ["---"] + ["---:"] * (len(table.columns) - 1)
    return "\n".join([line(table.columns), line(rule), *(line(row) for row in table.rows)])
