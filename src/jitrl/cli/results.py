"""What `jitrl run`, `demo` and `report` print at the end: tables, and what is left to do."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jitrl.bench import report
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import CALLS, Run
from jitrl.bench.rejudge import unscored
from jitrl.bench.statistics import groups
from jitrl.bench.tables import Table
from jitrl.bench.usage import usage_rows
from jitrl.cli.screen import counted, facts, many, show_table, table, tell
from jitrl.errors import MissingExtra
from jitrl.study import report as study_report
from jitrl.study.results import Study
from jitrl.worlds import Task

_SHORT = 20  # rows of a table that is printed beside the main one


def show_report(screen: Console, runs: list[Run], out: Path) -> None:
    """Print the tables of a report and write its files; raises MissingExtra where it cannot."""
    among = groups(runs)
    files = report.write(runs, out)
    first, more, note = report.results(among)
    screen.print()
    for part in first:
        show_table(screen, part.columns, part.rows)
        screen.print()
    _show_more(screen, more)
    screen.print(note, style="dim")
    screen.print(f"wrote {', '.join(str(file) for file in files)}", soft_wrap=True)


def show_study(screen: Console, study: Study, out: Path) -> None:
    """Print the tables of a study and write its report; raises MissingExtra where it cannot."""
    found = study_report.findings(study)
    files = study_report.write(found, out)
    for title, part in found.sections:
        screen.print(title, style="bold")
        show_table(screen, part.columns, part.rows)
        screen.print()
    screen.print(study_report.NOTE, style="dim")
    screen.print(f"wrote {', '.join(str(file) for file in files)}", soft_wrap=True)


def _show_more(screen: Console, more: Sequence[tuple[str, Table]]) -> None:
    """Print the tables that are short enough; the others are in the files."""
    for _, part in more:
        if len(part.rows) <= _SHORT:
            show_table(screen, part.columns, part.rows)
            screen.print()


def finish(screen: Console, finished: Run) -> None:
    """Print the table of one run, and draw its curve if that is possible."""
    if finished.unbegun and not finished.episodes:
        return  # there is no result: what there is to say is said at the end
    among = groups([finished])
    (part,) = report.each(among)
    screen.print(facts(zip(part.columns, part.rows[0], strict=True)))
    if finished.manifest.tasks:
        screen.print()
        _, more, note = report.results(among)
        _show_more(screen, more)
        screen.print(note, style="dim")
    if any((one.path / CALLS).exists() for one in finished.folders):
        screen.print()
        columns, rows = usage_rows(finished)
        screen.print(table(columns, rows))
    try:
        report.write([finished], finished.path)
        screen.print(f"wrote {finished.path / 'report.html'} and curve.png", soft_wrap=True)
    except MissingExtra as error:
        screen.print(f"no picture: {error}", soft_wrap=True)


def tell_unscored(run: Run) -> bool:
    """Tell of episodes that no judge has scored, and say whether there are any."""
    if without := unscored(run):
        command = shlex.join(["jitrl", "judge", str(run.path)])
        tell(f"jitrl: episodes stored as unscored: {without}; score them with: {command}")
    return bool(without)


def tell_unlearned(run: Run) -> None:
    """Tell of episodes from which nothing could be carried on in words."""
    if without := [str(played.number) for played in run.episodes if played.unlearned]:
        tell(
            f"jitrl: nothing was learned from {many(len(without), 'episode')}: "
            f"{', '.join(without)}; the model failed, or the budget was spent"
        )


def tell_unjudged(what: Configuration, tasks: Sequence[Task]) -> None:
    """Tell where nobody says what is good, so that there is nothing to learn from."""
    verdict = all(task.verdict for task in tasks)
    if what.stores and what.judge_model is None and not verdict:
        tell(f"jitrl: nobody judges {what.world}, nothing can be learned: name a --judge-model")


def tell_unbegun(run: Run) -> bool:
    """Tell of attempts that never began, and say whether there are any."""
    if run.unbegun:
        tell(
            f"jitrl: {many(len(run.unbegun), 'attempt')} never began, at "
            f"{counted(Counter(played.task for played in run.unbegun))}; the first: "
            f"{run.unbegun[0].reason}; --resume tries again"
        )
    return bool(run.unbegun)
