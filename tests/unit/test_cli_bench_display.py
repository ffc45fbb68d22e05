"""How a study is watched: runs, episodes, money and the time that is left, by a clock of ours."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from plugin_kit import plugin
from rich.console import Console
from study_kit import Here

from jitrl.agents.player import Played
from jitrl.bench.language import Access
from jitrl.bench.usage import spent
from jitrl.cli.bench_display import study_display
from jitrl.cli.progress import duration
from jitrl.models import Purpose, Usage
from jitrl.models.ledger import Ledger, Total
from jitrl.models.prices import Prices
from jitrl.study.plan import Cell, Plan, parse
from jitrl.study.play import Watcher, is_finished, play
from jitrl.study.price import Row, price

__all__ = ["plugin"]
ARMS = '[[arm]]\nagent = "static"\n[[arm]]\nagent = "jitrl"\n'
MODEL = 'model = "openai/scripted"\nbase_url = "http://127.0.0.1:9/v1"\n'
NOTHING, LEAST = Total(), Usage(calls=1, input=10, output=5)


def planned(episodes: int = 4, head: str = "", seeds: int = 1, worlds: int = 1) -> Plan:
    text = f"{head}episodes = {episodes}\nsteps = 3\nseeds = {seeds}\n"
    return parse(
        text + "".join(f'[[world]]\nname = "corridor:{9 + i}"\n' for i in range(worlds)) + ARMS
    )


def one(number: int, score: float = 1.0) -> Played:
    return Played(number, f"run-{number}", score, 0.0, 3, False, 0.0, 0, 0, {})


@dataclass
class Shown:
    """A study that is watched."""

    screen: Console
    watcher: Watcher
    now: list[float]

    @property
    def text(self) -> str:
        """All that was shown, without control codes."""
        assert isinstance(self.screen.file, io.StringIO)
        return re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", self.screen.file.getvalue())

    def plays(
        self,
        cell: Cell,
        *numbers: int,
        score: float = 1.0,
        total: Total = NOTHING,
        seconds: float = 10.0,
    ) -> None:
        """Tell of episodes that lasted so long each."""
        for number in numbers:
            self.now[0] += seconds
            self.watcher.played(cell, one(number, score), total)


@contextmanager
def watched(
    plan: Plan, out: Path, rows: list[Row] | None = None, terminal: bool = True, height: int = 25
) -> Iterator[Shown]:
    """Watch a study that begins, or goes on, in a folder, by a clock that stands still."""
    screen = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=160,
        height=height,
        markup=False,
        highlight=False,
    )
    now = [100.0]
    expected = price(plan, Access(), steps=0) if rows is None else rows
    with study_display(screen, plan, out, expected, lambda: now[0]) as watcher:
        shown = Shown(screen, watcher, now)
        watcher.begun([cell for cell in plan.cells if is_finished(cell, out)])
        yield shown


def last_frame(text: str) -> list[list[str]]:
    """Return the words of the lines of the table as it was drawn last."""
    lines = text.splitlines()
    start = max(number for number, line in enumerate(lines) if "mean score" in line)
    return [line.split() for line in lines[start:] if line.strip()]


@pytest.mark.parametrize("terminal", [True, False])
def test_at_the_start_the_time_that_is_left_is_not_known(tmp_path: Path, terminal: bool) -> None:
    plan = planned()
    with watched(plan, tmp_path, terminal=terminal) as shown:
        if terminal:
            assert ["corridor:9", "static", "0/1", "0/4", "0"] in last_frame(shown.text)
            assert "0/2 runs   ETA ?" in shown.text
        shown.watcher.ended(plan.cells[0], "no way in")
    assert "1/2" in shown.text
    assert set(re.findall("ETA [^\\s]+", shown.text)) == {"ETA ?"}


def test_the_time_that_is_left_goes_by_the_episodes_of_this_start(tmp_path: Path) -> None:
    play(planned(episodes=2, seeds=2), tmp_path, Here)
    plan = planned(episodes=4, seeds=3)
    with watched(plan, tmp_path, terminal=False) as shown:
        for cell in plan.cells:
            known = 0 if cell.seed == 2 else 2
            shown.plays(cell, *range(known), seconds=0.0)  # told again, as they were found
            shown.plays(cell, *range(known, 4))
            shown.watcher.ended(cell, "")
    told = [line.rpartition("   ")[2] for line in shown.text.splitlines()]
    left = [14, 12, 8, 6, 4, 0]  # episodes of the sixteen that were new, ten seconds each
    assert told == [f"ETA {duration(10.0 * episodes)}" for episodes in left]


def test_what_a_failed_run_lacks_takes_no_time(tmp_path: Path) -> None:
    plan = planned(seeds=2)
    with watched(plan, tmp_path, terminal=False) as shown:
        shown.plays(plan.cells[0], 0, 1, 2, 3)
        shown.watcher.ended(plan.cells[0], "")
        shown.watcher.ended(plan.cells[1], "no way in")
        shown.watcher.ended(plan.cells[2], "no way in")
        shown.plays(plan.cells[3], 0, 1, 2, 3)
        shown.watcher.ended(plan.cells[3], "")
    told = [line.rpartition("   ")[2] for line in shown.text.splitlines()]
    assert told == ["ETA 2 min 00 s", "ETA 1 min 20 s", "ETA 40 s", "ETA 0 s"]
    assert "2/4   corridor:9, static, seed 1: failed: no way in" in shown.text


def test_a_run_that_is_damaged_is_watched_as_one_without_episodes(tmp_path: Path) -> None:
    plan = planned()
    play(plan, tmp_path, Here)
    (tmp_path / plan.cells[0].folder / "run.json").write_text("{")
    with watched(plan, tmp_path) as shown:
        pass
    assert ["corridor:9", "static", "0/1", "0/4", "0"] in last_frame(shown.text)
    assert last_frame(shown.text)[-2][:4] == ["corridor:9", "jitrl", "1/1", "4/4"]


def paid(folder: Path, calls: int, dollars: float | None) -> Total:
    """Enter calls into the account of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder / "calls.jsonl")
    for _ in range(calls):
        ledger.add(Purpose("act", 0, 0), "openai/scripted", LEAST, dollars)
    ledger.close()
    return spent(folder)


def test_money_is_told_for_each_arm_and_in_all_with_what_failed(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('["openai/scripted"]\ninput = 400.0\noutput = 400.0\n')
    plan = planned(head=MODEL)
    rows = price(plan, Access(prices=Prices.load(tmp_path / "prices.toml")), steps=0)
    most = sum(row.use.dollars or 0.0 for row in rows if row.use is not None)
    static, jitrl = plan.cells
    with watched(plan, tmp_path / "out", rows) as shown:
        assert f"$0 of at most ${most:,.2f} spent" in shown.text
        shown.plays(static, 0, total=paid(tmp_path / "out" / static.folder, 3, 0.5))
        paid(tmp_path / "out" / jitrl.folder, 1, 0.25)
        shown.watcher.ended(jitrl, "the model went away")
    frame = last_frame(shown.text)
    assert frame[-3] == ["corridor:9", "static", "0/1", "1/4", "1.00", "1.5000"]
    assert frame[-2] == ["corridor:9", "jitrl", "1/1", "0/4", "0.2500"]
    assert " ".join(frame[-1]).endswith(f"$1.7500 of at most ${most:,.2f} spent")


def test_money_that_nobody_knows_is_not_made_up(tmp_path: Path) -> None:
    plan = planned(head=MODEL)
    with watched(plan, tmp_path) as shown:
        shown.plays(plan.cells[0], 0, total=paid(tmp_path / plan.cells[0].folder, 1, None))
    assert shown.text.rstrip().endswith("unknown of at most ? spent")
    assert last_frame(shown.text)[-3][-1] == "unknown"


def test_where_no_model_is_called_no_money_is_told(tmp_path: Path) -> None:
    with watched(planned(), tmp_path) as shown:
        pass
    assert "spent" not in shown.text


def test_a_finished_study_is_told_as_it_is_with_nothing_expected(tmp_path: Path) -> None:
    plan = planned()
    play(plan, tmp_path, Here)
    asking = planned(head=MODEL)
    for cell in asking.cells:
        paid(tmp_path / cell.folder, 2, 0.5)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, markup=False, highlight=False)
    with study_display(console, asking, tmp_path, []) as watcher:
        watcher.begun(asking.cells)
    text = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    frame = last_frame(text)
    assert [row[:4] for row in frame[-3:-1]] == [
        ["corridor:9", arm, "1/1", "4/4"] for arm in ("static", "jitrl")
    ]
    assert " ".join(frame[-1]) == "2/2 runs ETA 0 s $2.0000 spent"


def test_a_low_screen_has_a_row_for_each_arm_and_no_mean_of_different_worlds(
    tmp_path: Path,
) -> None:
    plan = planned(worlds=2)
    for height, rows in ((12, 4), (11, 2)):
        with watched(plan, tmp_path, height=height) as shown:
            shown.plays(plan.cells[0], 0, score=3.0)
        frame = last_frame(shown.text)
        arms = [row for row in frame if "static" in row or "jitrl" in row]
        assert len(arms) == rows
        assert ("corridor:9" in arms[0], "3.00" in arms[0]) == (rows == 4, rows == 4)
        assert ("0/2" in arms[0], "1/8" in arms[0]) == (rows == 2, rows == 2)
