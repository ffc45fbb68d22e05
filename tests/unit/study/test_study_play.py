from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from language_kit import breaking, serving
from study_kit import Here, results

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import read
from jitrl.bench.jobs import Pool, Processes
from jitrl.bench.language import Access
from jitrl.bench.runner import open_world
from jitrl.bench.usage import spent
from jitrl.errors import BadRun, BudgetSpent, InvalidValue, RunError
from jitrl.models.budget import Budget
from jitrl.models.ledger import Total
from jitrl.models.prices import Prices
from jitrl.study.plan import Cell, Plan, parse
from jitrl.study.play import Watcher, is_finished, play
from jitrl.testing import Fault
from jitrl.worlds import World

ARMS = '[[arm]]\nagent = "static"\n[[arm]]\nagent = "jitrl"\n'
TWO = (
    '[[world]]\nname = "corridor:4"\n'
    '[[world]]\nname = "corridor:6"\nlabel = "next"\nstart = "corridor:4"\n'
)


def planned(text: str = TWO, arms: str = ARMS, **choices: object) -> Plan:
    values = {"episodes": 3, "steps": 6, "seeds": 2, **choices}
    lines = [f"{name} = {value!r}\n" for name, value in values.items()]
    return parse("".join(lines) + text + arms)


def asking(url: str, **choices: object) -> Plan:
    text = '[[world]]\nname = "corridor:3"\n'
    arms = ARMS + '[[arm]]\nagent = "reflexion"\n'
    model = {"model": "openai/scripted", "base_url": url, "scores": "stated", "seeds": 1}
    return planned(text, arms, **model, **choices)


class Heard(Watcher):
    def __init__(self, then: Callable[[Cell], None] = lambda cell: None) -> None:
        self.finished: list[Path] = []
        self.episodes: list[tuple[Path, int]] = []
        self.ends: dict[Path, str] = {}
        self.spent: dict[Path, Total] = {}
        self._then = then

    def begun(self, finished: Sequence[Cell]) -> None:
        self.finished = [cell.folder for cell in finished]

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        self.episodes.append((cell.folder, played.number))
        self.spent[cell.folder] = spent
        self._then(cell)

    def ended(self, cell: Cell, why: str) -> None:
        self.ends[cell.folder] = why


def test_every_cell_is_played_after_the_one_that_it_begins_with(tmp_path: Path) -> None:
    plan, pool, heard = planned(), Here(), Heard()
    assert play(plan, tmp_path / "out", lambda: pool, watcher=heard).failed == {}
    assert pool.begun == [tmp_path / "out" / cell.folder for cell in plan.cells]
    assert heard.ends == {cell.folder: "" for cell in plan.cells}
    assert heard.episodes == [(cell.folder, n) for cell in plan.cells for n in range(3)]
    begun = read(tmp_path / "out" / "runs/next/jitrl-1").manifest
    assert begun.begins == read(tmp_path / "out" / "runs/corridor-4/jitrl-1").manifest.run
    assert (tmp_path / "out" / "plan.toml").read_text() == plan.text
    assert pool.closed == 1


def test_processes_play_what_one_process_plays(tmp_path: Path) -> None:
    plan = planned()
    play(plan, tmp_path / "here", Here)
    assert play(plan, tmp_path / "there", lambda: Processes(2)).failed == {}
    assert results(tmp_path / "here") == results(tmp_path / "there")


def test_a_study_that_is_finished_is_not_touched(tmp_path: Path) -> None:
    plan, again, heard = planned(), Here(), Heard()
    play(plan, tmp_path, Here)
    held = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    assert play(plan, tmp_path, lambda: again, watcher=heard).failed == {}
    assert again.begun == []
    assert heard.finished == [cell.folder for cell in plan.cells]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")} == held


def test_a_cell_that_fails_takes_those_that_stand_on_it_and_no_other(tmp_path: Path) -> None:
    broken = TWO.replace("corridor:4", "corridor:x", 1).replace(
        'name = "corridor:x"\n', 'name = "corridor:x"\nlabel = "corridor:4"\n'
    )
    plan, heard = planned(broken, seeds=1), Heard()
    outcome = play(plan, tmp_path, Here, watcher=heard)
    why = "corridor 'x' has no length: write corridor:5"
    assert outcome.failed == {
        Path("runs/corridor-4/static-0"): why,
        Path("runs/corridor-4/jitrl-0"): why,
        Path("runs/next/jitrl-0"): "it begins with 'runs/corridor-4/jitrl-0', which failed",
    }
    assert heard.ends == {**outcome.failed, Path("runs/next/static-0"): ""}
    assert is_finished(next(c for c in plan.cells if c.folder.match("next/static-0")), tmp_path)


def test_a_model_that_fails_ends_its_cell_alone(tmp_path: Path) -> None:
    arms = ARMS.replace('"jitrl"\n', '"jitrl"\nmodel = "openai/scripted"\n')
    arms += 'base_url = "http://127.0.0.1:9/v1"\n'
    plan = planned('[[world]]\nname = "corridor:3"\n', arms, seeds=1)
    outcome = play(plan, tmp_path, Here, access=Access(retries=0))
    assert list(outcome.failed) == [Path("runs/corridor-3/jitrl-0")]
    assert "127.0.0.1:9" in outcome.failed[Path("runs/corridor-3/jitrl-0")]


def test_a_damaged_run_ends_its_cell_alone(tmp_path: Path) -> None:
    plan = planned(seeds=1)
    play(plan, tmp_path, Here)
    (tmp_path / "runs/corridor-4/static-0/run.json").write_text("{")
    assert list(play(plan, tmp_path, Here).failed) == [Path("runs/corridor-4/static-0")]


@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_account_of_calls_ends_its_cell_alone(tmp_path: Path, finished: bool) -> None:
    with serving() as server:
        plan = asking(server.url)
        play(plan, tmp_path, Here)
        damaged, *others = (cell.folder for cell in plan.cells)
        if not finished:
            plan = asking(server.url, episodes=4)
        (tmp_path / damaged / "calls.jsonl").write_text("Dear\n")
        heard = Heard()
        outcome = play(plan, tmp_path, Here, watcher=heard)
    assert list(outcome.failed) == [damaged]
    assert "calls.jsonl" in outcome.failed[damaged]
    assert heard.finished == (others if finished else [])
    assert all(is_finished(cell, tmp_path) for cell in plan.cells[1:])


def test_attempts_that_never_began_are_told_and_made_when_it_is_started_again(
    tmp_path: Path,
) -> None:
    down = tmp_path / "down"
    down.write_text("locks:1\n")
    text = f'[[world]]\nname = "locks:2"\noption = {{ down = "{down}" }}\n'
    plan = parse(f"attempts = 2\nsteps = 3\n{text}{ARMS}")
    outcome = play(plan, tmp_path / "out", Here)
    assert outcome.failed == {
        cell.folder: "2 attempts never began: start again to make them again" for cell in plan.cells
    }
    down.write_text("")
    assert play(plan, tmp_path / "out", Here).failed == {}
    assert all(is_finished(cell, tmp_path / "out") for cell in plan.cells)


def test_a_worker_that_dies_is_replaced_three_times(tmp_path: Path) -> None:
    plan, deaths = planned(seeds=1), [3]

    def dies(job: object) -> bool:
        deaths[0] -= 1
        return deaths[0] >= 0

    pool = Here(dies)  # type: ignore[arg-type]
    assert play(plan, tmp_path / "a", lambda: pool).failed == {}
    assert len(pool.begun) == len(plan.cells) + 3
    deaths[0] = 4
    failed = play(plan, tmp_path / "b", lambda: Here(dies)).failed  # type: ignore[arg-type]
    assert failed == {plan.cells[0].folder: "a worker died"}


def deadly(configuration: Configuration) -> World:
    """Open a world that takes its process along, in the second episode, unless it did before."""
    world = open_world(configuration)
    begin, marker = world.reset, Path(os.environ["JITRL_TEST_MARKER"])

    def reset(seed: int) -> object:
        with marker.open("a+") as file:
            file.seek(0)
            if len(file.read()) in (1, 3):
                file.write("x")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            file.write(".")
        return begin(seed)

    world.reset = reset  # type: ignore[method-assign, assignment]
    return world


def test_a_worker_process_that_is_killed_costs_its_episode_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JITRL_TEST_MARKER", str(tmp_path / "marker"))
    plan = planned(seeds=1)
    play(plan, tmp_path / "whole", Here)
    outcome = play(plan, tmp_path / "killed", lambda: Processes(1, deadly))
    assert outcome.failed == {}
    assert (tmp_path / "marker").read_text().count("x") == 2
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    plan = planned(seeds=1)

    def again(cell: Cell) -> None:
        with pytest.raises(RunError, match="another process is writing"):
            play(plan, tmp_path, Here)

    heard = Heard(again)
    assert play(plan, tmp_path, Here, watcher=heard).failed == {}
    assert heard.episodes


ADDED = [
    pytest.param({"seeds": 3}, TWO, ARMS, id="seeds"),
    pytest.param({}, TWO + '[[world]]\nname = "corridor:5"\n', ARMS, id="a world"),
    pytest.param({}, TWO, ARMS + '[[arm]]\nagent = "null"\n', id="an arm"),
    pytest.param({"title": "Another"}, TWO, ARMS, id="a title"),
]


@pytest.mark.parametrize(("choices", "text", "arms"), ADDED)
def test_a_plan_that_only_adds_goes_on_in_the_folder(
    tmp_path: Path, choices: dict[str, object], text: str, arms: str
) -> None:
    play(planned(), tmp_path / "out", Here)
    plan, pool = planned(text, arms, **choices), Here()
    play(plan, tmp_path / "out", lambda: pool)
    known = {cell.folder for cell in planned().cells}
    new = [tmp_path / "out" / cell.folder for cell in plan.cells if cell.folder not in known]
    assert pool.begun == new
    play(plan, tmp_path / "whole", Here)
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_a_longer_plan_goes_on_to_what_it_would_have_been(tmp_path: Path) -> None:
    text = '[[world]]\nname = "corridor:4"\n'
    play(planned(text), tmp_path / "out", Here)
    play(planned(text, episodes=5), tmp_path / "out", Here)
    play(planned(text, episodes=5), tmp_path / "whole", Here)
    assert results(tmp_path / "out") == results(tmp_path / "whole")


THIRTY = [(None, 30), (30, None), (30, 31)]


@pytest.mark.parametrize(("was", "will"), THIRTY)
def test_as_many_episodes_in_other_words_are_not_played_again(
    tmp_path: Path, was: int | None, will: int | None
) -> None:
    def plan(episodes: int | None) -> Plan:
        said = "" if episodes is None else f"episodes = {episodes}\n"
        return parse(f'steps = 2\n{said}[[world]]\nname = "corridor:4"\n{ARMS}')

    play(plan(was), tmp_path, Here)
    pool = Here()
    assert play(plan(will), tmp_path, lambda: pool).failed == {}
    assert bool(pool.begun) == (will == 31)
    with pytest.raises(BadRun, match=f"has {will or 30} episodes, more than 2"):
        play(plan(2), tmp_path, Here)


def suite(attempts: int, order: str) -> Plan:
    text = '[[world]]\nname = "locks:2"\n'
    return parse(f'steps = 3\nattempts = {attempts}\norder = "{order}"\n{text}{ARMS}')


def test_passes_over_a_suite_may_grow(tmp_path: Path) -> None:
    play(suite(2, "passes"), tmp_path / "out", Here)
    play(suite(3, "passes"), tmp_path / "out", Here)
    play(suite(3, "passes"), tmp_path / "whole", Here)
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_attempts_that_are_numbered_by_task_cannot_grow_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    plan = suite(2, "tasks")
    play(plan, tmp_path, Here)
    held = results(tmp_path)
    with pytest.raises(BadRun, match="has attempts 2, not 3, in the order of tasks; name another"):
        play(suite(3, "tasks"), tmp_path, Here)
    assert results(tmp_path) == held
    pool = Here()
    assert play(plan, tmp_path, lambda: pool).failed == {}
    assert pool.begun == []


OTHERS = [
    ({"seeds": 1}, TWO, ARMS, r"it has 'runs/corridor-4/static-1', which this plan lacks"),
    ({"episodes": 2}, TWO, ARMS, r"has 3 episodes, more than 2"),
    ({"steps": 7}, TWO, ARMS, r"has steps 6, not 7"),
    ({}, TWO, ARMS + "set = { beta = 5 }\n", r"has overrides \{\}, not \{'beta': 5\}"),
    ({}, TWO.replace('start = "corridor:4"\n', ""), ARMS, r"has start 'runs/corridor-4/jitrl-0'"),
    ({}, TWO + "option = { a = 1 }\n", ARMS, r"has other options"),
    ({"episodes": 5}, TWO, ARMS, r"has begun with '.*', which must stay as long as it was"),
]


@pytest.mark.parametrize(("choices", "text", "arms", "told"), OTHERS, ids=range(len(OTHERS)))
def test_another_plan_is_refused_and_the_one_that_is_there_stays(
    tmp_path: Path, choices: dict[str, object], text: str, arms: str, told: str
) -> None:
    play(planned(), tmp_path, Here)
    with pytest.raises(BadRun, match=told) as raised:
        play(planned(text, arms, **choices), tmp_path, Here)
    assert str(raised.value).endswith("name another folder with --out")
    assert (tmp_path / "plan.toml").read_text() == planned().text


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(BadRun, match="holds files, but no study"):
        play(planned(), tmp_path, Here)


def priced(budget: Budget, tmp_path: Path) -> Access:
    (tmp_path / "prices.toml").write_text('["openai/scripted"]\ninput = 400.0\noutput = 400.0\n')
    return Access(budget, Prices.load(tmp_path / "prices.toml"))


def test_a_budget_is_of_all_cells_together_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with serving() as server:
        plan = asking(server.url)
        play(plan, tmp_path / "whole", Here, access=priced(Budget(), tmp_path))
        paid = [spent(tmp_path / "whole" / cell.folder).known_dollars for cell in plan.cells]
        episode = max(paid) / 2  # more than any of its three
        limit = paid[0] + paid[1] / 2
        out = tmp_path / "out"
        with pytest.raises(BudgetSpent, match="start again with a larger one to go on"):
            play(plan, out, lambda: Processes(1), access=priced(Budget(limit), tmp_path))
        used = sum(spent(out / cell.folder).known_dollars for cell in plan.cells)
        assert limit <= used <= limit + 2 * episode
        assert not is_finished(plan.cells[2], out)
        with pytest.raises(BudgetSpent):
            play(plan, out, Here, access=priced(Budget(limit), tmp_path))
        assert sum(spent(out / c.folder).known_dollars for c in plan.cells) == used
        play(plan, out, Here, access=priced(Budget(limit * 100), tmp_path))
        assert results(out) == results(tmp_path / "whole")
        tokens = Budget(tokens=1)  # spent, and nothing is left to play
        assert play(plan, out, Here, access=priced(tokens, tmp_path)).failed == {}


def test_a_budget_says_what_is_missing_and_counts_what_a_cell_paid_before_it_failed(
    tmp_path: Path,
) -> None:
    broken = Fault("status", status=400)
    with breaking(4, broken) as server:  # in the first episode
        plan, pool, heard = asking(server.url), Here(), Heard()
        with pytest.raises(BudgetSpent) as raised:
            access = Access(Budget(tokens=1), retries=0)
            play(plan, tmp_path, lambda: pool, access=access, watcher=heard)
    assert str(raised.value).endswith(
        "of 1 tokens, and 3 of 3 runs are not finished: start again with a larger one to go on"
    )
    assert pool.begun == [tmp_path / plan.cells[0].folder]
    assert heard.episodes == []
    assert "400" in heard.ends[plan.cells[0].folder]


def test_where_nothing_is_left_but_what_failed_that_is_told_and_not_the_budget(
    tmp_path: Path,
) -> None:
    with breaking(4, Fault("status", status=400)) as server:
        plan = asking(server.url)
        plan = replace(plan, cells=plan.cells[:1])
        outcome = play(plan, tmp_path, Here, access=Access(Budget(tokens=1), retries=0))
    assert "400" in outcome.failed[plan.cells[0].folder]


def test_a_budget_of_dollars_needs_the_prices_of_all_models_beforehand(tmp_path: Path) -> None:
    plan = asking("http://127.0.0.1:9/v1")
    with pytest.raises(InvalidValue, match="needs the price of openai/scripted"):
        play(plan, tmp_path / "out", Here, access=Access(Budget(dollars=1.0)))
    assert not (tmp_path / "out").exists()


def test_a_recorded_study_is_replayed_to_the_byte_without_a_network(tmp_path: Path) -> None:
    with serving() as server:
        plan, heard = asking(server.url), Heard()
        play(plan, tmp_path / "one", Here, access=Access(record=Path("yes")), watcher=heard)
        before = len(server.requests)
        access = Access(replay=tmp_path / "one")
        assert play(plan, tmp_path / "two", Here, access=access).failed == {}
        assert len(server.requests) == before > 0
    assert results(tmp_path / "one", paid=True) == results(tmp_path / "two", paid=True)
    for cell in plan.cells:
        assert heard.spent[cell.folder].usage.calls > 0


def test_a_replay_of_a_study_that_lacks_a_cell_fails_there_alone(tmp_path: Path) -> None:
    with serving() as server:
        plan = asking(server.url)
        play(plan, tmp_path / "one", Here, access=Access(record=Path("yes")))
    (tmp_path / "one" / plan.cells[1].folder / "recording").unlink()
    failed = play(plan, tmp_path / "two", Here, access=Access(replay=tmp_path / "one")).failed
    assert list(failed) == [plan.cells[1].folder]
    assert "No such file" in failed[plan.cells[1].folder]


def test_a_pool_is_closed_whatever_is_raised(tmp_path: Path) -> None:
    pool = Here()

    def stop(cell: Cell) -> None:
        raise KeyboardInterrupt

    def made() -> Pool:
        return pool

    with pytest.raises(KeyboardInterrupt):
        play(planned(), tmp_path, made, watcher=Heard(stop))
    assert pool.closed == 1
    play(planned(), tmp_path, Here)
