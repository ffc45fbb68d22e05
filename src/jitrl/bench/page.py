"""The page of a report: one template, filled with parts that need nothing from outside."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from html import escape
from importlib.resources import files
from string import Template

from jitrl.bench import tables
from jitrl.bench.folder import Run
from jitrl.bench.tables import Table


def filled(
    *,
    title: str,
    subtitle: str,
    picture: str,
    scores: Iterable[Table],
    note: str,
    more: Iterable[tuple[str, Table]],
    commands: Iterable[str],
    runs: Iterable[Table],
    configuration: str,
) -> str:
    """Return the page; `picture` and `configuration` are HTML, all else is text."""
    template = Template(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        picture=picture,
        scores="\n".join(map(tables.html, scores)),
        note=escape(note),
        more="\n".join(f"<h2>{escape(head)}</h2>\n{tables.html(table)}" for head, table in more),
        runs="\n".join(map(tables.html, runs)),
        commands="".join(map(_command, commands)),
        configuration=configuration,
    )


def picture(draw: Callable[[bool], bytes], alt: str) -> str:
    """Return a picture, which is another one on a phone: `draw(narrow)` returns it as SVG."""
    wide, narrow = (_data(draw(narrow)) for narrow in (False, True))
    return (
        f'<picture>\n<source media="(max-width: 600px)" srcset="{narrow}">\n'
        f'<img alt="{escape(alt)}" src="{wide}">\n'
        "</picture>"
    )


def versions(runs: Iterable[Run]) -> str:
    """Return the versions that some runs were played with."""
    found = {f"jitrl {run.manifest.versions.get('jitrl', '?')}" for run in runs}
    return ", ".join(sorted(found))


def folded(label: str, held: object) -> str:
    """Return something as JSON, which is shown when its label is clicked."""
    text = json.dumps(held, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(label)}</summary>\n<pre>{escape(text)}</pre></details>"


def _data(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _command(line: str) -> str:
    """Return a command whose lines break between words alone, not after the dashes of an option."""
    words = " ".join(f"<span>{escape(word)}</span>" for word in line.split(" "))
    return f"<div>{words}</div>"
