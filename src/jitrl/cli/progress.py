"""How a run and other long work is watched: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.plan import Plan
from jitrl.bench.runner import Listener
from jitrl.bench.statistics import LAST
from jitrl.cli.screen import clean, one_line, table
from jitrl.memory import contract

_WIDE = 120  # columns from which on a screen has room for a bar
ArmListener = Callable[[Configuration, Played], None]


class _Tally(Listener):
    """Counts the episodes of one run; `left` is the time that the others will take."""

    _wide = True

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._clock = clock
        self._started = clock()
        self._before = 0
        self._last: Played | None = None
        self.scores: list[float] = []
        self.kl = 0.0
        self.episodes = 0
        self.unbegun = 0

    def begun(self, finished: list[Played], episodes: int) -> None:
        self.episodes = episodes
        self._before = len(finished)
        self._started = self._clock()
        for played in finished:
            self._add(played)

    def played(self, played: Played) -> None:
        self._add(played)

    def _add(self, played: Played) -> None:
        self._last = played
        if played.unbegun:
            self.unbegun += 1
            return
        self.scores.append(played.score)
        self.kl += played.kl

    @property
    def status(self) -> str:
        """Say how the run stands, in one line."""
        if self._last is None:
            return "first episode under way"
        spent = f"KL spent {self.kl:.2f} nats   " if self._wide else ""
        return f"episode {self._last.number}: {self._how}   {spent}ETA {self._left}"

    @property
    def _how(self) -> str:
        """Say how the last episode went, and all so far."""
        played = self._last
        if played is None or not played.task:
            mean = sum(self.scores) / len(self.scores)
            return f"score {self.scores[-1]:g}   mean {mean:.2f}"
        attempt = self._plan.place(played.number)[1]
        verdict = self._verdict(played.number)
        went = "success" if played.success else "failure" if verdict else "over, without a verdict"
        went = "never began" if played.unbegun else went
        why = f" ({one_line(played.reason, 60)})" if played.reason and self._wide else ""
        if not verdict:
            return f"{played.task}, attempt {attempt}: {went}{why}"
        rate = "?"
        if self.scores:
            rate = f"{sum(score >= 1 for score in self.scores) / len(self.scores):.1%}"
        return f"{played.task}, attempt {attempt}: {went}{why}   success so far {rate}"

    def _verdict(self, number: int) -> bool:
        task = self._plan.task(number)
        return task is None or task.verdict

    @property
    def _left(self) -> str:
        tried = len(self.scores) + self.unbegun
        done = tried - self._before
        if done == 0:
            return "?"
        return duration((self._clock() - self._started) / done * max(self.episodes - tried, 0))


class _Lines(_Tally):
    """Prints a line for each finished episode."""

    def __init__(self, screen: Console, plan: Plan) -> None:
        super().__init__(plan)
        self._screen = screen

    def played(self, played: Played) -> None:
        super().played(played)
        line = f"finished {len(self.scores)}/{self.episodes}   {self.status}"
        self._screen.print(clean(line), soft_wrap=True)


class _Bar(_Tally):
    """Moves a progress bar, step by step."""

    def __init__(self, progress: Progress, plan: Plan, steps: int, wide: bool) -> None:
        super().__init__(plan)
        self._wide = wide
        self._progress = progress
        self._steps = steps
        self._task = progress.add_task("", total=None, status=self.status, step="")

    def begun(self, finished: list[Played], episodes: int) -> None:
        super().begun(finished, episodes)
        self._progress.update(
            self._task,
            total=max(episodes, len(finished)),
            completed=len(finished),
            status=self.status,
        )

    def stepped(self, number: int, t: int, score: float) -> None:
        scored = f", score {score:g}" if self._wide and self._verdict(number) else ""
        self._progress.update(self._task, step=f"step {t + 1}/{self._steps}{scored}")

    def played(self, played: Played) -> None:
        super().played(played)
        advance = 0 if played.unbegun else 1
        self._progress.update(self._task, advance=advance, status=self.status, step="")


@contextmanager
def run_display(screen: Console, steps: int, plan: Plan) -> Iterator[Listener]:
    """Show one run, of at most so many steps an episode, while it is played."""
    if not screen.is_terminal:
        yield _Lines(screen, plan)
        return
    wide = screen.width >= _WIDE
    columns = (
        TextColumn("finished"),
        MofNCompleteColumn(),
        *([BarColumn(bar_width=24)] if wide else []),
        TextColumn("{task.fields[status]}", markup=False),
        TextColumn("{task.fields[step]}", style="dim", markup=False),
    )
    with Progress(*columns, console=screen) as progress:
        yield _Bar(progress, plan, steps, wide)


class _Arms:
    """Runs with memory and without, counted side by side."""

    def __init__(self, runs: Sequence[Configuration]) -> None:
        self._runs = runs
        self._scores: dict[tuple[str, int], list[float]] = {
            (run.agent, run.seed): [] for run in runs
        }

    def add(self, run: Configuration, played: Played) -> list[float]:
        """Count an episode, and return the scores of its run so far."""
        scores = self._scores[run.agent, run.seed]
        scores.append(played.score)
        return scores

    def table(self) -> Table:
        """Return how the arms stand."""
        rows = []
        for agent in dict.fromkeys(run.agent for run in self._runs):
            runs = [scores for (name, _), scores in self._scores.items() if name == agent]
            wanted = sum(run.episodes or 0 for run in self._runs if run.agent == agent)
            every = [score for scores in runs for score in scores]
            last = [score for scores in runs for score in scores[-LAST:]]
            rows.append(
                (
                    "with memory" if agent == "jitrl" else "without memory",
                    f"{len(every)}/{wanted}",
                    _mean(every),
                    _mean(last),
                    f"{max(every):g}" if every else "",
                )
            )
        return table(("", "episodes", "mean score", f"last {LAST} so far", "best"), rows)


@contextmanager
def arms_display(screen: Console, runs: Sequence[Configuration]) -> Iterator[ArmListener]:
    """Show several runs while they are played."""
    arms = _Arms(runs)
    if screen.is_terminal:
        with Live(arms.table(), console=screen, refresh_per_second=4) as live:

            def redraw(run: Configuration, played: Played) -> None:
                arms.add(run, played)
                live.update(arms.table())

            yield redraw
        return

    def line(run: Configuration, played: Played) -> None:
        scores = arms.add(run, played)
        if len(scores) == run.episodes:
            screen.print(
                clean(
                    f"{run.agent}, seed {run.seed}: {run.episodes} episodes, "
                    f"mean {_mean(scores)}, last {LAST} {_mean(scores[-LAST:])}"
                )
            )

    yield line


@contextmanager
def work_display(what: str) -> Iterator[contract.Progress]:
    """Show long work while it is done, on stderr if that is a terminal; nothing remains of it."""
    screen = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as progress:
        tasks = {what: progress.add_task(clean(what).plain, total=None)}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:  # the next part of the work takes the place of the last
                progress.remove_task(tasks.popitem()[1])
                tasks[what] = progress.add_task(clean(what).plain, total=None)
            progress.update(tasks[what], completed=done, total=total or None)

        yield told


def _mean(scores: Sequence[float]) -> str:
    return f"{sum(scores) / len(scores):.2f}" if scores else ""


def duration(seconds: float) -> str:
    """Return a time as people read it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
