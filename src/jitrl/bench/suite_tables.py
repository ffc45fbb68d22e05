"""The tables of a report on runs over the tasks of a suite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jitrl.bench import suites, tables
from jitrl.bench.folder import Run, judged
from jitrl.bench.statistics import Group, labels, summary
from jitrl.bench.suites import Results
from jitrl.bench.tables import Table, estimated, shown
from jitrl.worlds import Task

_RESULTS = ("tasks", "attempts", "Avg", "Final", "pass@any")
_UNBEGUN = "never began"
_FEW = 20  # tasks that get a row each
_CSV = ("run", "agent", "preset", "seed", "task", "sites", "template", "attempt", "episode")
_CSV_PLAYED = ("success", "score", "steps", "reason", "seconds")


def scores(among: Sequence[Group]) -> Table:
    """Return how each group did."""
    more = _unbegun([run for group in among for run in group.runs])
    rows = [
        (
            *(label, str(len(group.seeds))),
            *_cells(suites.results(suites.of_group(group)), group.verdict),
            *(str(sum(len(run.unbegun) for run in group.runs)) for _ in more),
        )
        for group, label in zip(among, labels(among), strict=True)
    ]
    return Table(("agent", "seeds", *_RESULTS, *more), rows)


def compared(among: Sequence[Group]) -> Table:
    """Return the paired differences of each group to the static one, and what they show."""
    names = dict(zip(map(id, among), labels(among), strict=True))
    rows = [
        (
            f"{names[id(found.group)]} \u2212 {names[id(found.static)]}",
            estimated(found.average, signed=True, digits=3),
            estimated(found.final, signed=True, digits=3),
            shown(found.average),
        )
        for found in suites.differences(among)
    ]
    return Table(("difference", "Avg", "Final", "what it shows"), rows)


def sections(among: Sequence[Group]) -> list[tuple[str, Table]]:
    """Return the tables that say more, each with its heading; those that say nothing are left out.

    By site where there are several, by template where tasks share one, by task where they are few.
    """
    tasks = [task for group in among for task in group.runs[0].manifest.tasks]
    sites = {suites.site(task) for task in tasks}
    names = {task.name for task in tasks}
    templates = {task.template for task in tasks} - {""}
    found = []
    if len(sites) > 1:
        found.append(("By site", _by(among, suites.site)))
    if 0 < len(templates) < len(names):
        found.append(("By template", _by(among, suites.template)))
    if 1 < len(names) <= _FEW:
        found.append(("By task", _by(among, suites.task)))
    found.append(("Never began", unbegun(among)))
    found.append(("What went wrong", wrong(among)))
    return [(title, table) for title, table in found if table.rows]


def wrong(among: Sequence[Group]) -> Table:
    """Return why attempts ended where something went wrong, and how often that was."""
    rows = [
        (f"{label}{reason}", str(count))
        for group, label in zip(among, _prefixes(among), strict=True)
        for reason, count in suites.reasons(group.runs)
    ]
    return Table(("attempts that ended with a reason", "attempts"), rows)


def unbegun(among: Sequence[Group]) -> Table:
    """Return the tasks at which attempts never began, how many did not, and why the first."""
    rows = [
        (f"{prefix}{task}", str(count), " ".join(why.split()))
        for group, prefix in zip(among, _prefixes(among), strict=True)
        for task, count, why in suites.unbegun(group.runs)
    ]
    return Table(("task", _UNBEGUN, "why"), rows)


def _unbegun(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the column of attempts that never began, where there are any."""
    return (_UNBEGUN,) if any(run.unbegun for run in runs) else ()


def _judged(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the column of a judge's scores, where a run has nothing else to go by."""
    alone = any(run.configuration.judge_model and not _verdict(run) for run in runs)
    return ("judge per step",) if alone else ()


def _judge(run: Run) -> str:
    """Return the mean score that the judge gave a step of a run; a dash where there is no judge."""
    if not run.configuration.judges:
        return "-"
    scores = [score for steps in judged(run).values() for score in steps if score is not None]
    return f"{sum(scores) / len(scores):+.2f}" if scores else "?"


def _verdict(run: Run) -> bool:
    return Group((run,), 0).verdict


def each_run(runs: Sequence[Run]) -> Table:
    """Return one row per run: how it did, what memory did, what it cost."""
    more, scored = _unbegun(runs), _judged(runs)
    columns = (
        *("run", *_RESULTS, *scored, *more),
        *("KL per step", "changed by memory", "s per step without world", "ended with a reason"),
    )
    rows = []
    for run in runs:
        found = summary(run.episodes)
        rows.append(
            (
                run.path.name or str(run.path),
                *_cells(suites.results([suites.outcomes(run)]), _verdict(run)),
                *(_judge(run) for _ in scored),
                *(str(len(run.unbegun)) for _ in more),
                f"{found.kl_per_step:.3f}",
                f"{found.changed:.1%}",
                "?" if math.isnan(found.own_seconds) else f"{found.own_seconds:.4f}",
                str(sum(bool(played.reason) for played in run.episodes)),
            )
        )
    return Table(columns, rows)


def note(among: Sequence[Group]) -> str:
    """Say how the numbers are to be read."""
    parts: list[str] = []
    runs = [run for group in among for run in group.runs]
    told = [group for group in among if group.verdict]
    if told:
        parts += [*suites.DEFINITIONS, "Attempts that ended with a reason count like any other."]
    if len(told) < len(among):
        parts.append(suites.NO_VERDICT)
    if _judged(runs):
        parts.append(suites.JUDGE)
    if _unbegun(runs):
        parts.append(suites.UNBEGUN)
    if any(len(group.runs[0].manifest.tasks) > 1 or len(group.seeds) > 1 for group in told):
        parts.append(
            "In brackets: 95 % interval over the tasks (bootstrap, as attempts at a task depend "
            "on each other; Wilson for a share of tasks); with several seeds, that or Student's t "
            "over the seeds, the wider one. One seed says how other tasks would go, not another "
            "seed."
        )
    elif told:
        parts.append("One task and one seed: no interval, for attempts depend on each other.")
    return " ".join(parts)


def comma_separated(runs: Sequence[Run]) -> str:
    """Return one row per attempt, as CSV; without a verdict it has neither success nor score."""
    rows = []
    for run in runs:
        what, plan = run.configuration, run.manifest.plan
        for played in sorted((*run.episodes, *run.unbegun), key=lambda played: played.number):
            index, attempt = plan.place(played.number)
            task = plan.tasks[index]
            told = task.verdict and not played.unbegun
            verdict = ("", "") if not told else (int(played.success), repr(played.score))
            rows.append(
                (
                    *(run.path, what.agent, what.preset, what.seed, task.name),
                    *(" ".join(task.sites), task.template, attempt, played.number),
                    *(*verdict, played.steps, played.reason),
                    played.seconds.get("total", ""),
                )
            )
    return tables.comma_separated((*_CSV, *_CSV_PLAYED), rows)


def _by(among: Sequence[Group], label: Callable[[Task], str]) -> Table:
    found = [
        (name, f"{prefix}{name or '(none)'}", _cells(results, group.verdict))
        for group, prefix in zip(among, _prefixes(among), strict=True)
        for name, results in suites.by_label(group, label)
    ]
    found.sort(key=lambda row: row[0])  # the groups stay in order
    alone = label is suites.task  # a row is one task: no need to count them
    rows = [(row, *cells[alone:]) for _, row, cells in found]
    return Table((label.__name__, *_RESULTS[alone:]), rows)


def _prefixes(among: Sequence[Group]) -> list[str]:
    """Return what a row of a group begins with, where there are several."""
    return [f"{label}: " for label in labels(among)] if len(among) > 1 else [""] * len(among)


def _cells(found: Results, verdict: bool) -> tuple[str, ...]:
    estimates = (found.average, found.final, found.any)
    shares = (estimated(one, digits=3) if verdict else "-" for one in estimates)
    return (str(found.tasks), str(found.attempts), *shares)
