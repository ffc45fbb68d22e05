"""A report on finished runs, from their folders alone: tables, a picture, a page, plain files."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from jitrl.bench.figure import draw
from jitrl.bench.files import replace_file, writing
from jitrl.bench.folder import Run
from jitrl.bench.statistics import (
    LAST,
    Difference,
    Estimate,
    Group,
    differences,
    groups,
    labels,
    summary,
)

_CSV = (
    *("world", "agent", "preset", "overrides", "models"),
    *("steps", "proposals", "seeds", "episodes"),
    *("mean", "mean_low", "mean_high", "last", "last_low", "last_high", "best"),
    *("difference", "difference_low", "difference_high"),
)
FILES = ("curve.png", "report.html", "report.md", "report.csv")


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the row."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def write(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write the report on the runs into a folder, and return its files.

    Raises BadRun for runs that cannot be compared, MissingExtra where matplotlib or scipy is not
    installed, RunError where the folder cannot be written.
    """
    among = groups(runs)
    contents = {
        "curve.png": draw(among, "png"),
        "report.html": page(among).encode(),
        "report.md": markdown(among).encode(),
        "report.csv": comma_separated(among).encode(),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            replace_file(folder / name, contents[name])
    return [folder / name for name in FILES]


def scores(among: Sequence[Group]) -> Table:
    """Return the score of each group."""
    columns = ("agent", "seeds", "episodes", "mean score", f"last {LAST}", "best")
    rows = [
        (
            label,
            str(len(group.seeds)),
            str(group.episodes),
            _estimate(group.mean()),
            _estimate(group.last()),
            f"{group.best():g}",
        )
        for group, label in zip(among, labels(among), strict=True)
    ]
    return Table(columns, rows)


def compared(among: Sequence[Group]) -> Table:
    """Return the paired differences of each group to the static one, and what they show."""
    names = dict(zip(map(id, among), labels(among), strict=True))
    columns = ("difference", "paired seeds", "mean score", f"last {LAST}", "what it shows")
    rows = [
        (
            f"{names[id(found.group)]} \u2212 {names[id(found.static)]}",
            str(found.mean.n),
            _estimate(found.mean, signed=True),
            _estimate(found.last, signed=True),
            verdict(found),
        )
        for found in differences(among)
    ]
    return Table(columns, rows)


def verdict(found: Difference) -> str:
    """Say what the mean difference shows; nothing, where its interval holds zero."""
    if not found.mean.known:
        return "one seed: nothing shown"
    if found.mean.low <= 0 <= found.mean.high:
        return "no difference shown"
    return "higher than static" if found.mean.low > 0 else "lower than static"


def each_run(runs: Sequence[Run]) -> Table:
    """Return one row per run: what it scored, what memory did, what it cost."""
    columns = (
        "run",
        "episodes",
        "mean score",
        f"last {LAST}",
        "best",
        "KL per step",
        "changed by memory",
        "s per step without world",
        "searching actions",
    )
    rows = []
    for run in runs:
        found = summary(run.episodes)
        rows.append(
            (
                run.path.name or str(run.path),
                str(found.episodes),
                f"{found.mean:.2f}",
                f"{found.last:.2f}",
                f"{found.best:g}",
                f"{found.kl_per_step:.3f}",
                f"{found.changed:.1%}",
                "?" if math.isnan(found.own_seconds) else f"{found.own_seconds:.4f}",
                "?" if math.isnan(found.searching) else f"{found.searching:.1%}",
            )
        )
    return Table(columns, rows)


def note(among: Sequence[Group]) -> str:
    """Say how the numbers are to be read."""
    several = any(len(group.seeds) > 1 for group in among)
    single = any(len(group.seeds) == 1 for group in among)
    parts = ["Mean score: of all episodes, averaged per seed, then over the seeds."]
    if several:
        parts.append("In brackets: 95 % interval, Student's t over the seeds.")
        parts.append("A difference is claimed where its interval leaves out 0, and nowhere else.")
    if single:
        parts.append("A single seed has no interval: it says nothing about the next one.")
    if any(len(run.episodes) > group.episodes for group in among for run in group.runs):
        parts.append("Episodes that not every seed of a row has finished are left out.")
    if any(group.configuration.memory is not None for group in among):
        parts.append("Runs that share a memory are not independent of each other.")
    return " ".join(parts)


def page(among: Sequence[Group]) -> str:
    """Return the report as one HTML page that needs nothing from outside."""
    template = Template(files("jitrl.bench").joinpath("report.html").read_text(encoding="utf-8"))
    runs = [run for group in among for run in group.runs]
    found = compared(among)
    return template.substitute(
        title=escape(title(among)),
        subtitle=escape(_subtitle(among)),
        picture=_picture(among),
        scores=_html_table(scores(among)),
        note=escape(note(among)),
        differences=f"<h2>Against static</h2>\n{_html_table(found)}" if found.rows else "",
        runs=_html_table(each_run(runs)),
        commands="".join(_html_command(line) for line in commands(runs)),
        configuration="\n".join(
            _details(label, group) for label, group in zip(labels(among), among, strict=True)
        ),
    )


def markdown(among: Sequence[Group]) -> str:
    """Return the tables and the commands as Markdown."""
    runs = [run for group in among for run in group.runs]
    parts = [f"# {title(among)}", _subtitle(among), "![learning curve](curve.png)"]
    parts += ["## Scores", _markdown_table(scores(among)), note(among)]
    if (found := compared(among)).rows:
        parts += ["## Against static", _markdown_table(found)]
    parts += ["## Runs", _markdown_table(each_run(runs))]
    parts += ["## How to repeat this", "\n".join(f"    {line}" for line in commands(runs))]
    return "\n\n".join(parts) + "\n"


def comma_separated(among: Sequence[Group]) -> str:
    """Return one row per group, numbers in full; an unknown one is empty."""
    against = {id(found.group): found.mean for found in differences(among)}
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(_CSV)
    for group in among:
        what = group.configuration
        estimates = (group.mean(), group.last(), against.get(id(group)))
        mean, last, difference = (
            (estimate.mean, estimate.low, estimate.high) if estimate else (math.nan,) * 3
            for estimate in estimates
        )
        numbers = (*mean, *last, group.best(), *difference)
        out.writerow(
            [what.world, what.agent, what.preset, json.dumps(dict(what.overrides))]
            + [json.dumps(what.acting | what.judging) if what.model or what.judge_model else ""]
            + [what.steps, what.proposals, " ".join(map(str, group.seeds)), group.episodes]
            + ["" if math.isnan(number) else repr(number) for number in numbers]
        )
    return text.getvalue()


def title(among: Sequence[Group]) -> str:
    """Return the headline: the worlds that were played."""
    played = dict.fromkeys(group.configuration.world for group in among)
    return f"Learning curve: {', '.join(played)}"


def commands(runs: Sequence[Run]) -> list[str]:
    """Return the commands that play the runs again, and the one that reports on them."""
    played = [
        shlex.join(run.configuration.extended(len(run.episodes)).command(run.path)) for run in runs
    ]
    return [*played, shlex.join(["jitrl", "report", *(str(run.path) for run in runs)])]


def _subtitle(among: Sequence[Group]) -> str:
    runs = [run for group in among for run in group.runs]
    steps = " or ".join(str(n) for n in sorted({run.configuration.steps for run in runs}))
    versions = sorted({f"jitrl {run.manifest.versions.get('jitrl', '?')}" for run in runs})
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    return f"{count}, at most {steps} steps an episode; {', '.join(versions)}"


def _estimate(estimate: Estimate, *, signed: bool = False) -> str:
    form = "+.2f" if signed else ".2f"
    text = format(estimate.mean, form)
    if estimate.known:
        text += f" [{format(estimate.low, form)}, {format(estimate.high, form)}]"
    return text


def _picture(among: Sequence[Group]) -> str:
    wide, narrow = (_data(draw(among, "svg", narrow=narrow)) for narrow in (False, True))
    return (
        f'<picture>\n<source media="(max-width: 600px)" srcset="{narrow}">\n'
        f'<img alt="Score by episode, a curve for each row of the table below" src="{wide}">\n'
        "</picture>"
    )


def _data(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = [
        "".join(
            f'<td data-name="{escape(column)}">{escape(cell)}</td>'
            for column, cell in zip(table.columns, row, strict=True)
        )
        for row in table.rows
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="cards">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _html_command(line: str) -> str:
    """Return a command whose lines break between words alone, not after the dashes of an option."""
    words = " ".join(f"<span>{escape(word)}</span>" for word in line.split(" "))
    return f"<div>{words}</div>"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = ["---"] + ["---:"] * (len(table.columns) - 1)
    return "\n".join([line(table.columns), line(rule), *(line(row) for row in table.rows)])


def _details(label: str, group: Group) -> str:
    first = group.runs[0].manifest
    held: Mapping[str, object] = {
        "world": {"name": group.configuration.world} | dict(first.world),
        "agent": group.configuration.agent,
        "seeds": group.seeds,
        "steps": group.configuration.steps,
        "proposals": group.configuration.proposals,
        "memory": group.configuration.memory or "in the run folder",
        "models": group.configuration.acting | group.configuration.judging,
        "prompts": first.prompts,
        "preset": first.preset,
        "versions": first.versions,
    }
    text = json.dumps(held, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(label)}</summary>\n<pre>{escape(text)}</pre></details>"
