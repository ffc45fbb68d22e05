"""A report on finished runs, from their folders alone: tables, a picture, a page, plain files."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from jitrl.bench import page as pages
from jitrl.bench import suite_tables, suites, tables
from jitrl.bench.figure import draw
from jitrl.bench.files import write_all
from jitrl.bench.folder import Run
from jitrl.bench.statistics import LAST, Estimate, Group, differences, groups, labels, summary
from jitrl.bench.tables import Table, estimated, shown

_CSV = (
    *("world", "agent", "preset", "overrides", "models"),
    *("steps", "proposals", "seeds", "episodes"),
    *("mean", "mean_low", "mean_high", "last", "last_low", "last_high", "best"),
    *("difference", "difference_low", "difference_high"),
    *("tasks", "attempts", "any", "any_low", "any_high", "unbegun"),
)
FILES = ("curve.png", "report.html", "report.md", "report.csv")
ATTEMPTS = "attempts.csv"


def write(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write the report on the runs into a folder, and return its files.

    Those of suites have one more: a row for each attempt.

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
    if tried := [run for group in among if group.suite for run in group.runs]:
        contents[ATTEMPTS] = suite_tables.comma_separated(tried).encode()
    return write_all(folder, contents)


def results(among: Sequence[Group]) -> tuple[list[Table], list[tuple[str, Table]], str]:
    """Return the tables of scores, more tables with their headings, and how to read them all."""
    games, tried = split(among)
    first, more, notes = [], [], []
    if games:
        first.append(scores(games))
        more.append(("Against static", compared(games)))
        notes.append(note(games))
    if tried:
        first.append(suite_tables.scores(tried))
        more.append(("Against static", suite_tables.compared(tried)))
        more += suite_tables.sections(tried)
        notes.append(suite_tables.note(tried))
    return first, [(heading, table) for heading, table in more if table.rows], " ".join(notes)


def split(among: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """Return the groups that play a world episode after episode, and those of suites."""
    return [one for one in among if not one.suite], [one for one in among if one.suite]


def each(among: Sequence[Group]) -> list[Table]:
    """Return the tables with a row for each run."""
    games, tried = ([run for one in part for run in one.runs] for part in split(among))
    return [
        table(runs) for table, runs in ((each_run, games), (suite_tables.each_run, tried)) if runs
    ]


def scores(among: Sequence[Group]) -> Table:
    """Return the score of each group."""
    columns = ("agent", "seeds", "episodes", "mean score", f"last {LAST}", "best")
    rows = [
        (
            label,
            str(len(group.seeds)),
            str(group.episodes),
            estimated(group.mean()),
            estimated(group.last()),
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
            estimated(found.mean, signed=True),
            estimated(found.last, signed=True),
            shown(found.mean),
        )
        for found in differences(among)
    ]
    return Table(columns, rows)


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
    runs = [run for group in among for run in group.runs]
    first, more, read = results(among)
    alt = "Score by episode, or success by attempt: a curve for each row of the table below"
    return pages.filled(
        title=title(among),
        subtitle=_subtitle(among),
        picture=pages.picture(lambda narrow: draw(among, "svg", narrow=narrow), alt),
        scores=first,
        note=read,
        more=more,
        commands=commands(runs),
        runs=each(among),
        configuration="\n".join(
            _details(label, group) for label, group in zip(labels(among), among, strict=True)
        ),
    )


def markdown(among: Sequence[Group]) -> str:
    """Return the tables and the commands as Markdown."""
    runs = [run for group in among for run in group.runs]
    parts = [f"# {title(among)}", _subtitle(among), "![learning curve](curve.png)"]
    first, more, read = results(among)
    parts += ["## Scores", *(tables.markdown(table) for table in first), read]
    for heading, table in more:
        parts += [f"## {heading}", tables.markdown(table)]
    parts += ["## Runs", *(tables.markdown(table) for table in each(among))]
    parts += ["## How to repeat this", "\n".join(f"    {line}" for line in commands(runs))]
    return "\n\n".join(parts) + "\n"


def comma_separated(among: Sequence[Group]) -> str:
    """Return one row per group, numbers in full; an unknown one is empty.

    Of a suite "mean" is Avg, and "last" is Final.
    """
    against = {id(found.group): found.mean for found in differences(among)}
    against |= {id(found.group): found.average for found in suites.differences(among)}
    rows = []
    for group in among:
        what = group.configuration
        difference = _ends(against.get(id(group)))
        if group.suite:
            found = suites.results(suites.of_group(group))
            shares: tuple[float, ...] = (
                *_ends(found.average),
                *_ends(found.final),
                *_ends(found.any),
            )
            if not group.verdict:
                shares = (math.nan,) * len(shares)
            numbers = (*shares[:6], math.nan, *difference)
            rest: list[object] = [found.tasks, found.attempts, *map(_full, shares[6:])]
            rest.append(sum(len(run.unbegun) for run in group.runs))
        else:
            numbers = (*_ends(group.mean()), *_ends(group.last()), group.best(), *difference)
            rest = [""] * 6
        rows.append(
            (
                *(what.world, what.agent, what.preset, json.dumps(dict(what.overrides))),
                json.dumps(what.acting | what.judging) if what.model or what.judge_model else "",
                *(what.steps, what.proposals, " ".join(map(str, group.seeds)), group.episodes),
                *(*map(_full, numbers), *rest),
            )
        )
    return tables.comma_separated(_CSV, rows)


def _ends(estimate: Estimate | None) -> tuple[float, float, float]:
    return (estimate.mean, estimate.low, estimate.high) if estimate else (math.nan,) * 3


def _full(number: float) -> str:
    return "" if math.isnan(number) else repr(float(number))


def title(among: Sequence[Group]) -> str:
    """Return the headline: the worlds that were played."""
    played = dict.fromkeys(group.configuration.world for group in among)
    return f"Learning curve: {', '.join(played)}"


def commands(runs: Sequence[Run]) -> list[str]:
    """Return the commands that play the runs again, and the one that reports on them."""
    played = []
    for run in runs:
        wanted, count = run.configuration, len(run.episodes) + len(run.unbegun)
        if not (run.manifest.tasks and count == run.manifest.plan.total):
            wanted = wanted.extended(count)
        played.append(shlex.join(wanted.command(run.path)))
    return [*played, shlex.join(["jitrl", "report", *(str(run.path) for run in runs)])]


def _subtitle(among: Sequence[Group]) -> str:
    runs = [run for group in among for run in group.runs]
    steps = " or ".join(str(n) for n in sorted({run.configuration.steps for run in runs}))
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    return f"{count}, at most {steps} steps an episode; {pages.versions(runs)}"


def _details(label: str, group: Group) -> str:
    first = group.runs[0].manifest
    held: Mapping[str, object] = {
        "world": {"name": group.configuration.world} | dict(first.world),
        "agent": group.configuration.agent,
        "seeds": group.seeds,
        "steps": group.configuration.steps,
        "proposals": group.configuration.proposals,
        "memory": group.configuration.memory or "in the run folder",
        "options": group.configuration.what,
        "attempts": group.configuration.attempts,
        "order": group.configuration.order,
        "workers": group.configuration.workers,
        "reset command": group.configuration.reset_command,
        "models": group.configuration.acting | group.configuration.judging,
        "prompts": first.prompts,
        "preset": first.preset,
        "versions": first.versions,
    }
    return pages.folded(label, held)
