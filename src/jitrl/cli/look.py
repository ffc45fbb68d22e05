"""`jitrl report` and `explain`: what looks at runs, without changing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jitrl.bench.codec import LoggedStep
from jitrl.bench.folder import Run, find, judged, read
from jitrl.cli.results import show_report, show_study
from jitrl.cli.screen import clean, console, facts, many, one_line, table, whereabouts
from jitrl.errors import InvalidValue
from jitrl.study.play import PLAN
from jitrl.study.results import load


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders of any number of arms, or a study.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write.", show_default="the run folder, or report/"),
    ] = None,
) -> None:
    """Compare runs, or report on a study: tables with intervals, a curve, and a page to open."""
    if any((path / PLAN).is_file() for path in runs):
        if len(runs) > 1:
            raise InvalidValue("runs", [str(path) for path in runs], "must be one study alone")
        show_study(console(), load(runs[0]), out or runs[0])
        return
    folders = list({path.resolve(): path for path in runs}.values())
    if out is None:
        out = folders[0] if len(folders) == 1 else Path("report")
    show_report(console(), [read(path) for path in folders], out)


def explain(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    episode: Annotated[int, typer.Option(help="Number of the episode, from 0.")],
    step: Annotated[int, typer.Option(help="Number of the step, from 0.")],
    limit: Annotated[int, typer.Option(help="Neighbours shown at most.")] = 20,
) -> None:
    """Say why a step was taken: policy before and after, values, and the memories behind it."""
    _positive("limit", limit)
    found = read(run)
    logged = find(found, {(episode, step)}).get((episode, step))
    if logged is None:
        raise _not_played(found, episode, step)
    screen = console()
    what, plan = found.configuration, found.manifest.plan
    asked = f", {what.model} by {what.scores}" if what.model else ""
    task = plan.task(episode)
    of = what.world if task is None else f"{task.name}, attempt {plan.place(episode)[1]}"
    screen.print(clean(f"episode {episode}, step {step} of {of}{asked}"))
    screen.print(facts(logged.decision.state.items()))
    screen.print()
    screen.print(clean(str(logged.decision)), soft_wrap=True)
    verdict = task is None or task.verdict
    earned = f"it earned {logged.reward:+g}: score {logged.score:g}"
    end = "; the episode ended" if logged.terminated else ""
    screen.print(f"{earned if verdict else 'there is no verdict on it'}{end}")
    if logged.reason:
        screen.print(clean(f"what went wrong: {logged.reason}"))
    if what.judges:
        scores = judged(found).get(episode, [])
        score = scores[step] if step < len(scores) else None
        said = "did not score it" if score is None else f"gave it {score:+g}"
        screen.print(clean(f"the judge {what.judge_model} {said}; returns are of: {what.credit}"))
    _neighbours(found, logged, limit)


def _neighbours(run: Run, logged: LoggedStep, limit: int) -> None:
    """Print where the evidence comes from, with its states where this run's log has them."""
    neighbours = logged.decision.neighbours
    if not neighbours:
        return
    shown = [(step, _place(run, step.episode, step.t)) for step in neighbours[:limit]]
    held = find(run, {place for _, place in shown if place is not None})
    rows = [
        (
            one_line(step.episode, 36) if place is None else str(place[0]),
            str(step.t),
            f"{step.similarity:.3f}",
            f"{step.return_:.3g}",
            one_line(step.action, 32),
            one_line(step.task, 24),
            one_line(whereabouts(held[place].decision.state), 40) if place in held else "",
        )
        for step, place in shown
    ]
    screen = console()
    screen.print()
    columns = ("episode", "step", "similarity", "return", "action", "task", "state")
    screen.print(table(columns, rows))
    if len(neighbours) > limit:
        screen.print(f"... and {len(neighbours) - limit} more: --limit shows them")


def _place(run: Run, id: str, t: int) -> tuple[int, int] | None:
    """Return (episode, step) of a remembered step of this run; None for another's."""
    name, _, number = id.rpartition("-")
    return (int(number), t) if name == run.manifest.run and number.isdecimal() else None


def _not_played(run: Run, episode: int, step: int) -> InvalidValue:
    for played in run.unbegun:
        if played.number == episode:
            rule = f"never began: {played.reason}: jitrl run --resume tries it again"
            return InvalidValue("episode", episode, rule)
    steps = {played.number: played.steps for played in run.episodes}
    if episode not in steps:
        rule = f"must be the number of one of {many(len(steps), 'finished episode')}, from 0"
        return InvalidValue("episode", episode, rule)
    return InvalidValue("step", step, f"must be one of its {many(steps[episode], 'step')}, from 0")


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise InvalidValue(name, value, "must be at least 1")
    return value
