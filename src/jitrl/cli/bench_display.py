"""How a study is watched while it is played: a table on a terminal, a line a run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from jitrl.agents.player import Played
from jitrl.bench.folder import read
from jitrl.cli.progress import duration
from jitrl.cli.screen import clean, many, table
from jitrl.errors import JitrlError
from jitrl.models.ledger import Total
from jitrl.study.plan import Cell, Plan
from jitrl.study.play import Watcher, asks, known_spent
from jitrl.study.price import Row

_Study = tuple[Plan, Path, Sequence[Row], Callable[[], float]]
_AROUND = 8  # lines of a screen that are no rows of the table


class _Tally(Watcher):
    """Counts the episodes of a study.

    expected  what its worlds and arms take at most, where that is known; empty: nobody asked
    """

    def __init__(
        self, plan: Plan, out: Path, expected: Sequence[Row], clock: Callable[[], float]
    ) -> None:
        self.plan, self._out, self._clock = plan, out, clock
        known = [row for row in expected if row.episodes is not None]
        self._wanted = {(row.world, row.arm): (row.episodes or 0) // row.runs for row in known}
        self._expected = [row.use for row in expected]
        self._scores: dict[Path, dict[int, float]] = {cell.folder: {} for cell in plan.cells}
        self._spent: dict[Path, Total] = {}
        self._ended: dict[Path, str] = {}
        self._fresh, self._started = 0, clock()

    def begun(self, finished: Sequence[Cell]) -> None:
        """Count what is there already."""
        for cell in self.plan.cells:
            with suppress(JitrlError):  # it has not begun, or is damaged: whoever plays it says so
                played = read(self._out / cell.folder).episodes
                self._scores[cell.folder] = {one.number: one.score for one in played}
            self._spent[cell.folder] = known_spent(self._out / cell.folder)
        self._ended = {cell.folder: "" for cell in finished}
        self._started = self._clock()

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        """Count an episode, unless it is known."""
        self._fresh += played.number not in self._scores[cell.folder]
        self._scores[cell.folder][played.number] = played.score
        self._spent[cell.folder] = spent

    def ended(self, cell: Cell, why: str) -> None:
        """Count a run."""
        self._ended[cell.folder] = why
        self._spent[cell.folder] = known_spent(self._out / cell.folder)

    @property
    def runs(self) -> str:
        """How many runs have ended, of how many."""
        return f"{len(self._ended)}/{len(self.plan.cells)}"

    @property
    def money(self) -> str:
        """What was spent, and what is at most expected; "" where no model is called."""
        if not any(asks(cell.configuration) for cell in self.plan.cells):
            return ""
        now = self._dollars(self.plan.cells)
        now = now if now == "unknown" else f"${now}"
        if not self._expected:
            return f"{now} spent"
        dollars = [None if use is None else use.dollars for use in self._expected]
        known = [one for one in dollars if one is not None]
        most = f"${sum(known):,.2f}" if len(known) == len(dollars) else "?"
        return f"{now} of at most {most} spent"

    @property
    def left(self) -> str:
        """Say how long what can be played will take, going by the episodes of this start."""
        going = [cell for cell in self.plan.cells if cell.folder not in self._ended]
        if not going:
            return f"ETA {duration(0)}"
        if not self._fresh:
            return "ETA ?"
        wanted = [self._wanted.get((cell.world, cell.arm), 0) for cell in going]
        done = [len(self._scores[cell.folder]) for cell in going]
        episodes = sum(max(all - some, 0) for all, some in zip(wanted, done, strict=True))
        return f"ETA {duration((self._clock() - self._started) / self._fresh * episodes)}"

    def row(self, cells: Sequence[Cell]) -> tuple[str, str, str, str]:
        """Return the runs, episodes, mean score and dollars of some cells."""
        ended = sum(cell.folder in self._ended for cell in cells)
        scores = [score for cell in cells for score in self._scores[cell.folder].values()]
        wanted = self._episodes(cells)
        return (
            f"{ended}/{len(cells)}",
            f"{len(scores):,}/{'?' if wanted is None else f'{wanted:,}'}",
            f"{sum(scores) / len(scores):.2f}" if scores else "",
            self._dollars(cells),
        )

    def _episodes(self, cells: Sequence[Cell]) -> int | None:
        """Return how many episodes some cells have; None where nobody knows."""
        each = []
        for cell in cells:
            finished = self._ended.get(cell.folder) == ""
            known = len(self._scores[cell.folder]) if finished else None
            each.append(self._wanted.get((cell.world, cell.arm), known))
        known_ones = [one for one in each if one is not None]
        return sum(known_ones) if len(known_ones) == len(each) else None

    def _dollars(self, cells: Sequence[Cell]) -> str:
        found = sum((self._spent.get(cell.folder, Total()) for cell in cells), Total())
        if not found.usage.calls and not found.unpriced:
            return "0"
        return "unknown" if found.dollars is None else f"{found.dollars:.4f}"


class _Lines(_Tally):
    """Prints a line for each run that ends."""

    def __init__(self, screen: Console, *study: *_Study) -> None:
        super().__init__(*study)
        self._screen = screen

    def begun(self, finished: Sequence[Cell]) -> None:
        """Say how many are there already."""
        super().begun(finished)
        if finished:
            self._screen.print(f"{many(len(finished), 'run')} finished before")

    def ended(self, cell: Cell, why: str) -> None:
        """Print it."""
        super().ended(cell, why)
        scores = list(self._scores[cell.folder].values())
        mean = f", mean {sum(scores) / len(scores):.2f}" if scores else ""
        told = f"failed: {why}" if why else f"{many(len(scores), 'episode')}{mean}"
        line = f"{self.runs}   {cell.world}, {cell.arm}, seed {cell.seed}: {told}   {self.left}"
        self._screen.print(clean("   ".join(filter(None, (line, self.money)))), soft_wrap=True)


class _Table(_Tally):
    """Shows how the arms stand."""

    def __init__(self, live: Live, *study: *_Study) -> None:
        super().__init__(*study)
        self._live, plan = live, self.plan
        few = len(plan.worlds) * len(plan.arms) + _AROUND <= live.console.height
        self._worlds = [stage.label for stage in plan.worlds] if few else []

    def begun(self, finished: Sequence[Cell]) -> None:
        """Draw it."""
        super().begun(finished)
        self._live.update(self.table(), refresh=True)

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        """Draw it anew."""
        super().played(cell, played, spent)
        self._live.update(self.table())

    def ended(self, cell: Cell, why: str) -> None:
        """Draw it anew."""
        super().ended(cell, why)
        self._live.update(self.table())

    def table(self) -> Group:
        """Return a row for each arm of each world; of each arm where the screen is too low.

        Scores of several worlds have no mean.
        """
        rows = []
        for world in self._worlds or [""]:
            for arm in self.plan.arms:
                cells = [cell for cell in self.plan.cells if cell.arm == arm]
                cells = [cell for cell in cells if cell.world == world or not world]
                if cells:
                    ended, episodes, mean, dollars = self.row(cells)
                    mean = mean if len({cell.world for cell in cells}) == 1 else ""
                    rows.append((world, arm, ended, episodes, mean, dollars))
        columns = ("world", "arm", "runs", "episodes", "mean score", "dollars")
        shown = table(columns, rows) if self._worlds else table(columns[1:], [r[1:] for r in rows])
        line = "   ".join(filter(None, (f"{self.runs} runs", self.left, self.money)))
        return Group(shown, clean(line))


@contextmanager
def study_display(
    screen: Console,
    plan: Plan,
    out: Path,
    expected: Sequence[Row],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Watcher]:
    """Show a study in the folder `out` while it is played."""
    if not screen.is_terminal:
        yield _Lines(screen, plan, out, expected, clock)
        return
    with Live(console=screen, refresh_per_second=4) as live:
        yield _Table(live, plan, out, expected, clock)
