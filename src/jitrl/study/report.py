"""The report of a study, from its run folders alone: a page, the same as Markdown, plain files."""

from __future__ import annotations

import base64
import csv
import io
import json
import shlex
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from jitrl.bench import tables as writing_tables
from jitrl.bench.files import replace_file, writing
from jitrl.bench.report import html_command
from jitrl.bench.tables import Table
from jitrl.study import tables
from jitrl.study.figure import draw
from jitrl.study.play import PLAN, spent
from jitrl.study.results import Study

FILES = ("curves.png", "report.html", "report.md", "differences.csv", "attempts.csv")
NOTE = (
    "Average: of all attempts, over seeds and tasks. Final: the last attempt at a task; of a game "
    "the mean of its last ten episodes. Area: the average as a share of the highest score. In "
    "brackets: 95 % intervals by a bootstrap that draws seeds and tasks anew, Student's t where "
    "there are fewer than ten of either. Differences are paired by seed and task; p is corrected "
    "for all rows of the table (Holm), and no winner is named where the interval holds zero. What "
    "each figure means, and how often the intervals hold the truth: docs/statistics.md."
)


def write(study: Study, folder: Path) -> list[Path]:
    """Write the report into a folder, and return its files.

    Raises MissingExtra where matplotlib or scipy is not installed, RunError where the folder cannot
    be written.
    """
    parts = sections(study)
    contents = {
        "curves.png": draw(study, "png"),
        "report.html": page(study, parts).encode(),
        "report.md": markdown(study, parts).encode(),
        "differences.csv": differences(study).encode(),
        "attempts.csv": attempts(study).encode(),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            replace_file(folder / name, content)
    return [folder / name for name in contents]


def sections(study: Study) -> list[tuple[str, Table]]:
    """Return the tables with their headings; those that say nothing are left out."""
    found = [
        ("Scores", tables.scores(study)),
        (f"Against {study.plan.baseline}", tables.differences(study)),
        *tables.views(study),
        ("What memory did to decisions", tables.memory(study)),
        ("What it cost", tables.costs(study)),
    ]
    return [(title, table) for title, table in found if table.rows]


def page(study: Study, parts: Sequence[tuple[str, Table]]) -> str:
    """Return the report as one HTML page that needs nothing from outside."""
    template = Template(files("jitrl.bench").joinpath("report.html").read_text(encoding="utf-8"))
    (_, first), *more = parts
    wide, narrow = (_data(draw(study, "svg", narrow=narrow)) for narrow in (False, True))
    picture = (
        f'<picture>\n<source media="(max-width: 600px)" srcset="{narrow}">\n'
        f'<img alt="Mean of each arm by episode or attempt, with its 95 % band" src="{wide}">\n'
        "</picture>"
    )
    return template.substitute(
        title=escape(study.plan.title),
        subtitle=escape(_subtitle(study)),
        picture=picture,
        scores=writing_tables.html(first),
        note=escape(NOTE),
        more="\n".join(
            f"<h2>{escape(title)}</h2>\n{writing_tables.html(table)}" for title, table in more
        ),
        commands="".join(html_command(line) for line in commands(study)),
        runs=writing_tables.html(_runs(study)),
        configuration=f"<pre>{escape(study.plan.text)}</pre>\n{_versions(study)}",
    )


def markdown(study: Study, parts: Sequence[tuple[str, Table]]) -> str:
    """Return the tables, the plan and the commands as Markdown."""
    found = [f"# {study.plan.title}", _subtitle(study), "![curves](curves.png)", NOTE]
    for title, table in parts:
        found += [f"## {title}", writing_tables.markdown(table)]
    found += ["## How to repeat this", "\n".join(f"    {line}" for line in commands(study))]
    found += ["## The plan", f"```toml\n{study.plan.text.strip()}\n```"]
    return "\n\n".join(found) + "\n"


def commands(study: Study) -> list[str]:
    """Return the commands that play the study again, and report on it."""
    out = study.path.name
    plan = shlex.join(["jitrl", "bench", PLAN, "--out", out])
    return [plan, shlex.join(["jitrl", "report", out])]


def differences(study: Study) -> str:
    """Return a row for each world and arm against the baseline, as CSV, numbers in full."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    ends = [f"{name}{end}" for name in ("average", "final") for end in ("", "_low", "_high")]
    out.writerow(["world", "arm", "baseline", "n", *ends, "p", "p_holm", "verdict"])
    for one in tables.compared(study):
        numbers = [
            repr(float(value))
            for found in (one.average.estimate, one.final.estimate)
            for value in (found.mean, found.low, found.high)
        ]
        p = [repr(float(one.average.p)), repr(float(one.average.adjusted))]
        first = [one.world, one.arm, study.plan.baseline, one.average.estimate.n]
        out.writerow([*first, *numbers, *p, one.average.verdict])
    return text.getvalue()


def attempts(study: Study) -> str:
    """Return a row for each finished episode, as CSV: what every figure is computed from."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(
        ("world", "arm", "seed", "episode", "task", "score", "steps", "kl", "changed", "seconds")
    )
    for entry in study.entries.values():
        for seed, run in entry.runs.items():
            for one in run.episodes:
                numbers = (one.task, repr(float(one.score)), one.steps, repr(float(one.kl)))
                seconds = one.seconds.get("total", "")
                first = (entry.world, entry.arm, seed, one.number)
                out.writerow((*first, *numbers, one.changed, seconds))
    return text.getvalue()


def _runs(study: Study) -> Table:
    """Return a row for each run."""
    rows = []
    for entry in study.entries.values():
        for seed, run in entry.runs.items():
            scores = [played.score for played in run.episodes]
            dollars = sum(spent(part.path).known_dollars for part in run.folders)
            rows.append(
                (
                    str(run.path.relative_to(study.path)),
                    *(entry.world, entry.arm, str(seed), str(len(scores))),
                    *(f"{sum(scores) / len(scores):.3f}", f"{dollars:.4f}"),
                )
            )
    return Table(("run", "world", "arm", "seed", "episodes", "mean score", "dollars"), rows)


def _subtitle(study: Study) -> str:
    plan, begun = study.plan, sum(len(entry.runs) for entry in study.entries.values())
    versions = {
        f"jitrl {run.manifest.versions.get('jitrl', '?')}"
        for entry in study.entries.values()
        for run in entry.runs.values()
    }
    return (
        f"{begun} of {len(plan.cells)} runs: {len(plan.worlds)} worlds, {len(plan.arms)} arms, "
        f"seeds {', '.join(map(str, plan.seeds))}; {', '.join(sorted(versions))}"
    )


def _versions(study: Study) -> str:
    """Return what the first run of each world was played with."""
    shown = []
    for stage in study.stages():
        entry = study.of_world(stage.label)[0]
        first = next(iter(entry.runs.values())).manifest
        held = {"world": dict(first.world), "preset": first.preset, "versions": first.versions}
        text = escape(json.dumps(held, indent=2, ensure_ascii=False))
        name = escape(f"{entry.world}, {entry.arm}")
        shown.append(f"<details><summary>{name}</summary>\n<pre>{text}</pre></details>")
    return "\n".join(shown)


def _data(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
