from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jitrl.bench.configuration import Configuration
from jitrl.study.plan import Cell
from jitrl.study.play import Schedule

WHAT = Configuration("textworld:1")


def cells(parents: list[int | None]) -> list[Cell]:
    """A cell for each place, that stands on an earlier one or on none."""
    return [
        Cell("w", "a", 0, Path(str(i)), WHAT, None if parent is None else Path(str(parent % i)))
        if i
        else Cell("w", "a", 0, Path("0"), WHAT)
        for i, parent in enumerate(parents)
    ]


forests = st.lists(st.none() | st.integers(0, 10), min_size=1, max_size=9).map(cells)
HAPPENED = ("finished", "failed", "died")


@given(forests, st.data())
def test_whatever_happens_every_cell_comes_to_its_end_after_those_it_stands_on(
    planned: list[Cell], data: st.DataObject
) -> None:
    schedule = Schedule(planned)
    begun: list[Path] = []
    ended: dict[Path, str] = {}
    own: dict[Path, str] = {}
    running: list[Cell] = []
    while True:
        while (cell := schedule.next()) is not None:
            assert cell.after is None or ended[cell.after] == "finished"
            begun.append(cell.folder)
            running.append(cell)
        if not running:
            break
        cell = running.pop(data.draw(st.integers(0, len(running) - 1)))
        happened = data.draw(st.sampled_from(HAPPENED))
        if happened == "finished":
            schedule.finish(cell)
            ended[cell.folder] = "finished"
        else:
            for lost in schedule.fail(cell, happened, died=happened == "died"):
                assert lost.folder not in ended
                ended[lost.folder] = "failed"
                own.setdefault(cell.folder, happened)
        states = (schedule.done, schedule.under_way, set(schedule.failed))
        waiting = {cell.folder for cell in schedule.waiting}
        assert sum(map(len, states)) + len(waiting) == len(planned)
        assert set().union(waiting, *states) == {cell.folder for cell in planned}
    assert ended.keys() == {cell.folder for cell in planned}
    for cell in planned:
        failed = cell.folder in own or (cell.after is not None and ended[cell.after] == "failed")
        assert (ended[cell.folder] == "failed") is failed
        assert begun.count(cell.folder) <= 4
        if own.get(cell.folder) == "died":
            assert begun.count(cell.folder) == 4


@given(forests, st.integers(0, 2**9))
def test_what_is_finished_is_never_begun(planned: list[Cell], mask: int) -> None:
    finished = {cell.folder for i, cell in enumerate(planned) if mask >> i & 1}
    schedule = Schedule(planned, finished)
    begun = set()
    while (cell := schedule.next()) is not None:
        begun.add(cell.folder)
        schedule.finish(cell)
    assert begun == {cell.folder for cell in planned} - finished


def test_cells_that_stand_on_one_that_failed_say_so() -> None:
    first, second, third, other = cells([None, 0, 1, None])
    schedule = Schedule([first, second, third, other])
    assert schedule.next() is first
    assert schedule.fail(first, "no sites") == [first, second, third]
    assert schedule.failed == {
        Path("0"): "no sites",
        Path("1"): "it begins with '0', which failed",
        Path("2"): "it begins with '1', which failed",
    }
    assert schedule.next() is other
    assert schedule.next() is None


def test_a_cell_whose_worker_died_is_taken_up_before_any_other() -> None:
    first, second = cells([None, None])
    schedule = Schedule([first, second])
    assert schedule.next() is first
    assert schedule.fail(first, "killed", died=True) == []
    assert schedule.next() is first
