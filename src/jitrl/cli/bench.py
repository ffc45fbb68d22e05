"""`jitrl bench`: plays a study, and tells beforehand what it will take."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from jitrl.agents.player import Played
from jitrl.bench.jobs import Pool, Processes
from jitrl.bench.language import Access
from jitrl.checks import count, finite
from jitrl.cli import options
from jitrl.cli.options import Reached
from jitrl.cli.progress import duration
from jitrl.cli.screen import clean, console, many, said, show_table, table, tell
from jitrl.errors import InvalidValue
from jitrl.models.ledger import Total
from jitrl.study.plan import Cell, Plan, read
from jitrl.study.play import RECORDING, Watcher, play
from jitrl.study.price import Row, price


def bench(
    plan: Annotated[Path, typer.Argument(help="The plan: a TOML file (docs/studies.md).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study.", show_default="studies/NAME-OF-PLAN")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs at once.", show_default="as many as there are cores")
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
    recording = Path(RECORDING) if record else None
    access = Reached(
        budget, budget_tokens, prices, recording, replay and replay.absolute(), timeout, retries
    ).access()
    at_once = os.cpu_count() or 1 if workers is None else count("workers", workers, least=1)
    screen = console()
    if dry_run:
        _tell_price(screen, planned, access, finite("--latency", latency), at_once)
        return
    screen.print(
        clean(
            f"{planned.title}: {many(len(planned.worlds), 'world')}, "
            f"{many(len(planned.arms), 'arm')}, {many(len(planned.seeds), 'seed')}: "
            f"{many(len(planned.cells), 'run')}, {at_once} at once, into {folder}"
        ),
        soft_wrap=True,
    )
    started = time.monotonic()
    try:
        with said(), _display(screen, planned) as watcher:
            outcome = play(
                planned, folder, _pool(ray, at_once, folder), access=access, watcher=watcher
            )
    except KeyboardInterrupt:
        again = shlex.join(["jitrl", "bench", str(plan), "--out", str(folder)])
        tell(f"jitrl: interrupted: finished episodes are kept; continue with: {again}")
        raise typer.Exit(130) from None
    screen.print(f"played in {duration(time.monotonic() - started)}")
    for cell, why in outcome.failed.items():
        tell(f"jitrl: {cell.folder}: {why}")
    if outcome.failed:
        raise typer.Exit(1)


def _pool(ray: str | None, workers: int, out: Path) -> Callable[[], Pool]:
    """Return what makes the workers: processes of this machine, or of a cluster."""
    if ray is None:
        return lambda: Processes(workers)
    from jitrl.study.cluster import Cluster

    return lambda: Cluster(ray, out)


def _tell_price(screen: Console, plan: Plan, access: Access, latency: float, workers: int) -> None:
    if latency < 0:
        raise InvalidValue("--latency", latency, "must be seconds, at least 0")
    rows = price(plan, access, latency=latency)
    columns = ("world", "arm", "runs", "episodes", "steps", "calls", "tokens", "dollars", "hours")
    shown = [(row.world, row.arm, *_numbers([row])) for row in rows]
    show_table(screen, columns, [*shown, ("all", "", *_numbers(rows))])
    hours = sum(row.seconds for row in rows) / 3600 / workers
    screen.print(
        f"At most: replies that have to be asked for again come on top. {workers} at once: "
        f"{hours:.1f} hours, if a call of a model lasts {latency:g} s and a step of a world as "
        "long as it did just now.",
        style="dim",
    )


def _numbers(rows: Sequence[Row]) -> tuple[str, ...]:
    usage = [row.use.usage for row in rows]
    dollars = [row.use.dollars for row in rows]
    known = [one for one in dollars if one is not None]
    return (
        f"{sum(row.runs for row in rows):,}",
        f"{sum(row.episodes for row in rows):,}",
        f"{sum(row.steps for row in rows):,}",
        f"{sum(one.calls for one in usage):,}",
        f"{sum(one.input + one.output for one in usage):,}",
        f"{sum(known):,.2f}" if len(known) == len(dollars) else "unknown",
        f"{sum(row.seconds for row in rows) / 3600:.2f}",
    )


class _Arms(Watcher):
    """Counts the episodes of each arm."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._cells: dict[Path, list[float]] = {cell.folder: [] for cell in plan.cells}
        self._spent: dict[Path, Total] = {}
        self._ended: dict[Path, bool] = {}
        self._before = 0
        self._started = time.monotonic()

    def begun(self, finished: Sequence[Cell]) -> None:
        """Count what is there already."""
        self._before = len(finished)
        self._ended = dict.fromkeys((cell.folder for cell in finished), True)

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        """Count an episode."""
        self._cells[cell.folder].append(played.score)
        self._spent[cell.folder] = spent

    def ended(self, cell: Cell, why: str) -> None:
        """Count a cell."""
        self._ended[cell.folder] = not why

    def table(self) -> Table:
        """Return how the arms stand."""
        rows = [self._row(arm) for arm in self._plan.arms]
        done = len(self._ended)
        left = len(self._plan.cells) - done
        ours = done - self._before
        eta = "?"
        if ours:
            eta = duration((time.monotonic() - self._started) / ours * left)
        rows.append(("all", f"{done}/{len(self._plan.cells)}", "", "", self._money(None), eta))
        return table(("arm", "runs done", "episodes", "mean score", "dollars", "ETA"), rows)

    def _row(self, arm: str) -> tuple[str, ...]:
        folders = [cell.folder for cell in self._plan.cells if cell.arm == arm]
        scores = [score for folder in folders for score in self._cells[folder]]
        done = sum(folder in self._ended for folder in folders)
        mean = f"{sum(scores) / len(scores):.2f}" if scores else ""
        return (arm, f"{done}/{len(folders)}", f"{len(scores):,}", mean, self._money(folders), "")

    def _money(self, folders: Sequence[Path] | None) -> str:
        found = [one for at, one in self._spent.items() if folders is None or at in folders]
        if any(one.dollars is None for one in found):
            return "unknown"
        return f"{sum(one.known_dollars for one in found):.4f}"


class _Lines(_Arms):
    """Prints a line for each run that ends."""

    def __init__(self, plan: Plan, screen: Console) -> None:
        super().__init__(plan)
        self._screen = screen

    def begun(self, finished: Sequence[Cell]) -> None:
        """Say how many are there already."""
        super().begun(finished)
        if finished:
            self._screen.print(f"{many(len(finished), 'run')} finished before")

    def ended(self, cell: Cell, why: str) -> None:
        """Print it."""
        super().ended(cell, why)
        scores = self._cells[cell.folder]
        mean = f"mean {sum(scores) / len(scores):.2f}" if scores else "no episode"
        how = f"failed: {why}" if why else f"{many(len(scores), 'episode')}, {mean}"
        line = f"{len(self._ended)}/{len(self._plan.cells)}   {cell.world}, {cell.arm}, seed "
        self._screen.print(clean(f"{line}{cell.seed}: {how}"), soft_wrap=True)


class _Table(_Arms):
    """Shows the arms while they are played."""

    def __init__(self, plan: Plan, live: Live) -> None:
        super().__init__(plan)
        self._live = live

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        """Draw the table anew."""
        super().played(cell, played, spent)
        self._live.update(self.table())

    def ended(self, cell: Cell, why: str) -> None:
        """Draw the table anew."""
        super().ended(cell, why)
        self._live.update(self.table())


@contextmanager
def _display(screen: Console, plan: Plan) -> Iterator[Watcher]:
    """Show a study while it is played: a table on a terminal, lines elsewhere."""
    if not screen.is_terminal:
        yield _Lines(plan, screen)
        return
    with Live(_Arms(plan).table(), console=screen, refresh_per_second=4) as live:
        yield _Table(plan, live)
