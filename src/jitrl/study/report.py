"""The report of a study, from its run folders alone: a page, the same as Markdown, plain files."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from html import escape
from pathlib import Path

from jitrl.bench import page as pages
from jitrl.bench import tables as writing_tables
from jitrl.bench.files import write_all
from jitrl.bench.tables import Table
from jitrl.study import tables
from jitrl.study.figure import draw
from jitrl.study.play import PLAN
from jitrl.study.results import Study
from jitrl.study.tables import Compared

FILES = (
    *("curves.png", "report.html", "report.md"),
    *("differences.csv", "scores.csv", "attempts.csv"),
)
NOTE = (
    "Average: of all attempts, over seeds and tasks. Final: the last attempt at a task; of a game "
    "the mean of its last ten episodes. Area: the average as a share of the highest score. In "
    "brackets: 95 % intervals by Student's t over seeds and over tasks, whose half widths add in "
    "squares. Differences are paired by seed and task; p is corrected for all rows of the table "
    "(Holm), and no winner is named where the interval holds zero. What each figure means, and how "
    "often the intervals hold the truth: docs/statistics.md."
)


@dataclass(frozen=True)
class Findings:
    """What a study shows, worked out once.

    compared  each arm against the baseline
    sections  the tables with their headings; those that say nothing are left out
    """

    study: Study
    compared: list[Compared]
    sections: list[tuple[str, Table]]


def findings(study: Study) -> Findings:
    """Work out what a study shows; raises MissingExtra where scipy is not installed."""
    compared = tables.compared(study)
    found = [
        ("Scores", tables.scores(study)),
        (f"Against {study.plan.baseline}", tables.differences(study, compared)),
        *tables.views(study, compared),
        ("What memory did to decisions", tables.memory(study)),
        ("What it cost", tables.costs(study)),
    ]
    return Findings(study, compared, [(title, table) for title, table in found if table.rows])


def write(found: Findings, folder: Path) -> list[Path]:
    """Write the report into a folder, and return its files.

    Raises MissingExtra where matplotlib is not installed, RunError where the folder cannot be
    written.
    """
    contents = {
        "curves.png": draw(found.study, "png"),
        "report.html": page(found).encode(),
        "report.md": markdown(found).encode(),
        "differences.csv": differences(found).encode(),
        "scores.csv": scores(found.study).encode(),
        "attempts.csv": attempts(found.study).encode(),
    }
    return write_all(folder, contents)


def page(found: Findings) -> str:
    """Return the report as one HTML page that needs nothing from outside."""
    study = found.study
    (_, first), *more = found.sections
    alt = "Mean of each arm by episode or attempt, with its 95 % band"
    return pages.filled(
        title=study.plan.title,
        subtitle=_subtitle(study),
        picture=pages.picture(lambda narrow: draw(study, "svg", narrow=narrow), alt),
        scores=[first],
        note=NOTE,
        more=more,
        commands=commands(study),
        runs=[_runs(study)],
        configuration=f"<pre>{escape(study.plan.text)}</pre>\n{_versions(study)}",
    )


def markdown(found: Findings) -> str:
    """Return the tables, the plan and the commands as Markdown."""
    study = found.study
    parts = [f"# {study.plan.title}", _subtitle(study), "![curves](curves.png)", NOTE]
    for title, table in found.sections:
        parts += [f"## {title}", writing_tables.markdown(table)]
    parts += ["## How to repeat this", "\n".join(f"    {line}" for line in commands(study))]
    parts += ["## The plan", f"```toml\n{study.plan.text.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def commands(study: Study) -> list[str]:
    """Return the commands that go on with the study, and report on it, beside its folder.

    Where models and story files are, and how many run at once, is the machine's own matter.
    """
    out = study.path.name
    plan = shlex.join(["jitrl", "bench", f"{out}/{PLAN}", "--out", out])
    return [plan, shlex.join(["jitrl", "report", out])]


def differences(found: Findings) -> str:
    """Return a row for each world and arm against the baseline, as CSV, numbers in full."""
    ends = [f"{name}{end}" for name in ("average", "final") for end in ("", "_low", "_high")]
    rows = []
    for one in found.compared:
        numbers = [
            repr(float(value))
            for estimate in (one.average.estimate, one.final.estimate)
            for value in (estimate.mean, estimate.low, estimate.high)
        ]
        p = [repr(float(one.average.p)), repr(float(one.average.adjusted))]
        first = [one.world, one.arm, found.study.plan.baseline, one.average.estimate.n]
        rows.append([*first, *numbers, *p, one.average.verdict])
    columns = ["world", "arm", "baseline", "n", *ends, "p", "p_holm", "verdict"]
    return writing_tables.comma_separated(columns, rows)


def scores(study: Study) -> str:
    """Return a row for each run and task, as CSV: the scores of its attempts, in their order.

    "-" for an attempt that was not played.
    """
    rows = []
    for entry in study.entries.values():
        for seed, run in entry.runs.items():
            of_seed = entry.scores[study.plan.seeds.index(seed)]
            tasks = [task.name for task in run.manifest.tasks] or [run.configuration.world]
            for task, found in zip(tasks, of_seed.tolist(), strict=True):
                told = " ".join("-" if math.isnan(score) else f"{score:.12g}" for score in found)
                rows.append((entry.world, entry.arm, seed, task, told))
    return writing_tables.comma_separated(("world", "arm", "seed", "task", "scores"), rows)


def attempts(study: Study) -> str:
    """Return a row for each finished episode, as CSV: what scores, KL and changes come from."""
    rows = []
    for entry in study.entries.values():
        for seed, run in entry.runs.items():
            for one in run.episodes:
                numbers = (one.task, repr(float(one.score)), one.steps, repr(float(one.kl)))
                seconds = one.seconds.get("total", "")
                first = (entry.world, entry.arm, seed, one.number)
                rows.append((*first, *numbers, one.changed, seconds))
    columns = ("world", "arm", "seed", "episode", "task", "score", "steps", "kl", "changed")
    return writing_tables.comma_separated((*columns, "seconds"), rows)


def _runs(study: Study) -> Table:
    """Return a row for each run."""
    rows = []
    for entry in study.entries.values():
        for seed, run in entry.runs.items():
            scores = [played.score for played in run.episodes]
            dollars = entry.spent[seed].known_dollars
            rows.append(
                (
                    str(run.path.relative_to(study.path)),
                    *(entry.world, entry.arm, str(seed), str(len(scores))),
                    *(f"{sum(scores) / len(scores):.3f}", f"{dollars:.4f}"),
                )
            )
    return Table(("run", "world", "arm", "seed", "episodes", "mean score", "dollars"), rows)


def _subtitle(study: Study) -> str:
    plan, runs = study.plan, [run for e in study.entries.values() for run in e.runs.values()]
    return (
        f"{len(runs)} of {len(plan.places)} runs: {len(plan.worlds)} worlds, "
        f"{len(plan.arms)} arms, seeds {', '.join(map(str, plan.seeds))}; {pages.versions(runs)}"
    )


def _versions(study: Study) -> str:
    """Return what the first run of each world was played with."""
    shown = []
    for stage in study.stages():
        entry = study.of_world(stage.label)[0]
        first = next(iter(entry.runs.values())).manifest
        held = {"world": dict(first.world), "preset": first.preset, "versions": first.versions}
        shown.append(pages.folded(f"{entry.world}, {entry.arm}", held))
    return "\n".join(shown)
