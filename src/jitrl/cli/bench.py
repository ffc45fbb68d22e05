"""`jitrl bench`: plays a study, and tells beforehand what it will take."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jitrl.bench.jobs import Pool, Processes
from jitrl.bench.language import Access
from jitrl.checks import count, finite
from jitrl.cli import options
from jitrl.cli.bench_display import study_display
from jitrl.cli.options import Reached
from jitrl.cli.progress import duration
from jitrl.cli.screen import clean, console, many, said, show_table, tell
from jitrl.errors import InvalidValue
from jitrl.models import Usage
from jitrl.models.budget import Estimate
from jitrl.study.plan import Plan, read
from jitrl.study.play import RECORDING, Outcome, is_finished, play
from jitrl.study.price import Row, elapsed, price


def bench(
    plan: Annotated[Path, typer.Argument(help="The plan: a TOML file (docs/studies.md).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study.", show_default="studies/NAME-OF-PLAN")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Runs at once on this machine.", show_default="as many as there are cores"
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Play on the Ray cluster at this address; `auto` for a running one."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it will take at most.")
    ] = False,
    latency: Annotated[
        float, typer.Option(help="Seconds that a model call is taken to last, in a dry run.")
    ] = 2.0,
    games: options.Games = None,
    budget: Annotated[
        float | None, typer.Option(help="Dollars for all; it stops after an episode.")
    ] = None,
    budget_tokens: options.BudgetTokens = None,
    prices: options.PriceFile = None,
    record: Annotated[
        bool, typer.Option("--record", help="Record each run's calls in its folder.")
    ] = False,
    replay: Annotated[
        Path | None, typer.Option(help="Folder of a recorded study to replay the calls from.")
    ] = None,
    timeout: options.Timeout = None,
    retries: options.Retries = None,
) -> None:
    """Play worlds x arms x seeds as a plan says, several at once; started again, it goes on."""
    planned = read(plan, games)
    folder = (Path("studies") / plan.stem if out is None else out).absolute()
    reached = Reached(
        budget,
        budget_tokens,
        prices,
        Path(RECORDING) if record else None,
        None if replay is None else replay.absolute(),
        timeout,
        retries,
    )
    access = reached.access()
    at_once = os.cpu_count() or 1 if workers is None else count("--workers", workers, least=1)
    screen = console()
    if finite("--latency", latency) < 0:
        raise InvalidValue("--latency", latency, "must be seconds, at least 0")
    if dry_run:
        _tell_price(screen, planned, access, latency, at_once)
        return
    again = _again(plan, folder, workers, ray, games, reached)
    started = time.monotonic()
    try:
        outcome = _play(screen, planned, folder, access, _pool(ray, at_once, folder))
    except KeyboardInterrupt:
        tell(f"jitrl: interrupted: finished episodes are kept; continue with: {shlex.join(again)}")
        raise typer.Exit(130) from None
    screen.print(f"played in {duration(time.monotonic() - started)}")
    for path, why in outcome.failed.items():
        tell(f"jitrl: {path}: {why}")
    if outcome.failed:
        raise typer.Exit(1)


def _play(
    screen: Console, plan: Plan, out: Path, access: Access, pool: Callable[[], Pool]
) -> Outcome:
    """Play a study, showing how it goes."""
    many_of = (
        (plan.worlds, "world"),
        (plan.arms, "arm"),
        (plan.seeds, "seed"),
        (plan.cells, "run"),
    )
    told = ", ".join(many(len(what), name) for what, name in many_of)
    screen.print(clean(f"{plan.title}: {told}: into {out}"), soft_wrap=True)
    rows = []
    if not all(is_finished(cell, out) for cell in plan.cells):
        rows = price(plan, access, steps=0)
        uses = [row.use for row in rows if row.use is not None and row.use.usage.calls]
        if uses:
            screen.print(clean(f"expected: {_together(uses)}"), soft_wrap=True)
    with said(), study_display(screen, plan, out, rows) as watcher:
        return play(plan, out, pool, access=access, watcher=watcher)


def _again(
    plan: Path,
    out: Path,
    workers: int | None,
    ray: str | None,
    games: Path | None,
    reached: Reached,
) -> list[str]:
    """Return the command that goes on."""
    given = {"--workers": workers, "--ray": ray, "--games": games}
    words = [word for name, value in given.items() if value is not None for word in (name, value)]
    more = replace(reached, record=None).words()
    recorded = [] if reached.record is None else ["--record"]
    command = ["jitrl", "bench", plan, "--out", out, *words, *more, *recorded]
    return [str(word) for word in command]


def _pool(ray: str | None, workers: int, out: Path) -> Callable[[], Pool]:
    """Return what makes the workers: processes of this machine, or of a cluster."""
    if ray is None:
        return lambda: Processes(workers)
    from jitrl.study.cluster import Cluster

    return lambda: Cluster(ray, out)


def _tell_price(screen: Console, plan: Plan, access: Access, latency: float, workers: int) -> None:
    """Say what a study will take at most; exit with 1 where a world cannot be looked at."""
    with said():
        rows = price(plan, access, latency=latency)
    columns = ("world", "arm", "runs", "episodes", "steps", "calls", "tokens", "dollars", "hours")
    shown = [(row.world, row.arm, *_numbers([row])) for row in rows]
    show_table(screen, columns, [*shown, ("all", "", *_numbers(rows))])
    uses = [row.use for row in rows if row.use is not None]
    asked = _together(uses)
    told = (
        "At most: an episode may end earlier; replies that have to be asked for again come on top."
    )
    if asked.usage.calls:
        told += f" In all {asked}."
    screen.print(clean(told), style="dim")
    seconds = elapsed(plan, rows, workers)
    if seconds is not None:
        assumed = "a step of a world is taken to last as long as it did just now"
        if asked.usage.calls:
            assumed += f", a call of a model {latency:g} s (--latency)"
        told = f"{workers} at once: {seconds / 3600:.2f} hours; {assumed}."
        screen.print(clean(told), style="dim")
    problems = dict.fromkeys((row.world, row.problem) for row in rows if row.problem)
    for world, problem in problems:
        tell(f"jitrl: {world}: {problem}")
    if problems:
        raise typer.Exit(1)


def _numbers(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what some rows take together; "?" where one of them is not known."""
    uses = [row.use for row in rows]
    seconds = [row.seconds for row in rows]
    return (
        f"{sum(row.runs for row in rows):,}",
        _sum([row.episodes for row in rows]),
        _sum([row.steps for row in rows]),
        _sum([None if use is None else use.usage.calls for use in uses]),
        _sum([None if use is None else use.usage.input + use.usage.output for use in uses]),
        _sum([None if use is None else use.dollars for use in uses], ".2f"),
        _sum([None if one is None else one / 3600 for one in seconds], ".2f"),
    )


def _sum(values: Sequence[float | None], form: str = "") -> str:
    known = [value for value in values if value is not None]
    return format(sum(known), "," + form) if len(known) == len(values) else "?"


def _together(uses: Sequence[Estimate]) -> Estimate:
    return sum(uses, Estimate(Usage(), 0.0, (), ()))
