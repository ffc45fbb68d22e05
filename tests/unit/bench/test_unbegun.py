"""Attempts that never began: told apart, counted nowhere, made again when a run is continued."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from folders import Interrupting, drop_lines, log_of

from jitrl.agents.player import Played
from jitrl.bench import report, suites
from jitrl.bench.codec import episode_line
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, read
from jitrl.bench.jobs import Job, play_all
from jitrl.bench.parts import play_parts
from jitrl.bench.runner import Listener, open_world, run
from jitrl.bench.statistics import groups
from jitrl.cli import main
from jitrl.errors import BadRun
from jitrl.memory import SqliteMemory

ORDERS = ["tasks", "passes"]
NAMES = ["locks:0", "locks:1", "locks:2", "locks:3"]


class Site:
    """Tasks that cannot begin, for as long as they are named here, and what was begun."""

    def __init__(self, folder: Path) -> None:
        self._down, self._log = folder / "down", folder / "log"
        self.options = {"down": str(self._down), "log": str(self._log), "hard": True}
        self.down()

    def down(self, *names: str) -> None:
        self._down.write_text("\n".join(names))

    def begun(self) -> list[str]:
        """The tasks that were reset since this was asked last."""
        found = self._log.read_text().split() if self._log.exists() else []
        self._log.write_text("")
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def what(site: Site, **choices: object) -> Configuration:
    values = {"world": "locks:4", "attempts": 3, "steps": 5, "options": site.options, **choices}
    return Configuration(**values)  # type: ignore[arg-type]


def play(
    path: Path,
    site: Site,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    seeds: dict[str, list[int]] | None = None,
    **choices: object,
) -> Run:
    wanted = what(site, **choices)
    with closing(open_world(wanted)) as world:
        if wanted.workers > 1:
            return play_parts(wanted, path, world, resume=resume, listener=listener)
        if seeds is not None:
            reset = world.reset

            def heard(seed: int, task: str, limit: int) -> object:
                seeds.setdefault(task, []).append(seed)
                return reset(seed, task, limit)

            world.reset = heard  # type: ignore[method-assign, assignment]
        return run(wanted, path, world, resume=resume, listener=listener)


def told(episodes: list[Played]) -> list[dict[str, object]]:
    """The episodes without what a repetition changes."""
    found = [json.loads(episode_line(one)) for one in episodes]
    return [{key: one[key] for key in one if key not in ("seconds", "id")} for one in found]


def stored(path: Path) -> list[str]:
    with closing(SqliteMemory(path / "memory.db", readonly=True)) as memory:
        return [episode.id for episode in memory.episodes()]


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "episodes.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("order", ORDERS)
def test_an_attempt_that_never_began_is_told_apart_and_counts_nowhere(
    tmp_path: Path, site: Site, order: str
) -> None:
    site.down("locks:1")
    found = play(tmp_path / "run", site, order=order)
    assert {one.task for one in found.unbegun} == {"locks:1"}
    assert len(found.unbegun) == 3
    assert {(one.steps, one.reason) for one in found.unbegun} == {
        (0, "could not begin: no way to locks:1")
    }
    assert sorted({one.task for one in found.episodes}) == ["locks:0", "locks:2", "locks:3"]
    assert [line.get("unbegun") for line in lines_of(tmp_path / "run")].count(True) == 3
    assert set(stored(tmp_path / "run")) == {one.id for one in found.episodes}
    again = read(tmp_path / "run")
    assert (again.episodes, again.unbegun) == (found.episodes, found.unbegun)
    shares = suites.results(suites.of_group(groups([found])[0]))
    assert (shares.tasks, shares.attempts, shares.final.n) == (3, 9, 3)


@pytest.mark.parametrize("order", ORDERS)
def test_continued_it_makes_these_attempts_and_no_others_as_they_would_have_been(
    tmp_path: Path, site: Site, order: str
) -> None:
    whole_seeds: dict[str, list[int]] = {}
    seeds: dict[str, list[int]] = {}
    whole = play(tmp_path / "whole", site, order=order, agent="static", seeds=whole_seeds)
    site.down("locks:1", "locks:3")
    path = tmp_path / "run"
    play(path, site, order=order, agent="static")
    before = (path / "episodes.jsonl").read_bytes()
    site.begun()
    site.down("locks:3")
    some = play(path, site, order=order, agent="static", resume=True, seeds=seeds)
    assert sorted(site.begun()) == ["locks:1"] * 3 + ["locks:3"] * 3
    assert seeds == {name: whole_seeds[name] for name in ("locks:1", "locks:3")}
    assert {one.task for one in some.unbegun} == {"locks:3"}
    site.down()
    done = play(path, site, order=order, agent="static", resume=True)
    assert site.begun() == ["locks:3"] * 3
    assert done.unbegun == ()
    assert told(done.episodes) == told(whole.episodes)
    assert (path / "episodes.jsonl").read_bytes().startswith(before)  # nothing is taken back
    play(path, site, order=order, agent="static", resume=True)
    assert site.begun() == []


@pytest.mark.parametrize("order", ORDERS)
def test_broken_off_anywhere_nothing_is_lost_or_made_twice(
    tmp_path: Path, site: Site, order: str
) -> None:
    def begin(path: Path) -> None:
        site.down("locks:0", "locks:2")
        play(path, site, order=order, episodes=9)
        site.down("locks:2")  # it is tried again, in vain, and the run goes on

    begin(tmp_path / "whole")
    kept = (tmp_path / "whole" / "steps.jsonl").read_text().count("\n")
    whole = play(tmp_path / "whole", site, order=order, resume=True, episodes=None)
    more = (tmp_path / "whole" / "steps.jsonl").read_text().count("\n") - kept
    for after in (1, 2, more // 2, more - 1):
        path = tmp_path / f"run-{after}"
        begin(path)
        with pytest.raises(KeyboardInterrupt):
            play(path, site, order=order, resume=True, listener=Interrupting(after))
        done = play(path, site, order=order, resume=True)
        assert told(done.episodes) == told(whole.episodes)
        assert log_of(path)[0] == log_of(tmp_path / "whole")[0]
        assert stored(path) == stored(tmp_path / "whole")


def test_one_that_reached_the_memory_alone_is_not_made_again(tmp_path: Path, site: Site) -> None:
    path = tmp_path / "run"
    site.down("locks:0", "locks:1")
    play(path, site, attempts=1)
    site.down("locks:0")
    whole = play(path, site, attempts=1, resume=True)
    assert [one["task"] for one in lines_of(path)][-2:] == ["locks:0", "locks:1"]
    drop_lines(path / "episodes.jsonl", 1)
    assert len(read(path).unbegun) == 2
    site.begun()
    again = play(path, site, attempts=1, resume=True)
    assert site.begun() == ["locks:0"]
    assert told(again.episodes) == told(whole.episodes)
    assert len(stored(path)) == 3


def test_an_attempt_that_was_made_is_in_the_log_once(tmp_path: Path, site: Site) -> None:
    play(tmp_path / "run", site, attempts=1)
    log = tmp_path / "run" / "episodes.jsonl"
    log.write_text(log.read_text() + log.read_text().splitlines()[1] + "\n")
    with pytest.raises(BadRun, match="lacks episode 4"):
        read(tmp_path / "run")


def test_the_sites_are_reset_for_a_pass_that_is_come_back_to(tmp_path: Path, site: Site) -> None:
    path = tmp_path / "run"
    choices = {"order": "passes", "agent": "static", "reset_command": "true"}

    def resets() -> list[int]:
        lines = (path / "passes.jsonl").read_text().splitlines()
        return [json.loads(line)["pass"] for line in lines]

    class Outage(Listener):
        """Locks 1 and 2 are out of reach in the first pass, 3 in the last."""

        def played(self, played: Played) -> None:
            names = {1: (), 7: ("locks:3",)}.get(played.number - 2)
            if names is not None:
                site.down(*names)

    site.down("locks:1", "locks:2")
    found = play(path, site, listener=Outage(), **choices)
    assert [one.number for one in found.unbegun] == [1, 2, 11]
    assert resets() == [0, 1, 2]
    site.down()
    assert play(path, site, resume=True, **choices).unbegun == ()
    assert resets() == [0, 1, 2, 0, 2]
    assert [line["number"] for line in lines_of(path)][12:] == [1, 2, 11]


def test_where_nothing_was_played_since_the_sites_are_not_reset_again(
    tmp_path: Path, site: Site
) -> None:
    path = tmp_path / "run"
    choices = {"order": "passes", "attempts": 1, "reset_command": "true"}
    site.down("locks:2")
    play(path, site, **choices)
    site.down()
    play(path, site, resume=True, **choices)
    assert len((path / "passes.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("order", ORDERS)
def test_processes_make_them_again_and_no_others(tmp_path: Path, site: Site, order: str) -> None:
    choices = {"workers": 2, "order": order, "attempts": 2, "agent": "static"}
    if order == "passes":
        choices["reset_command"] = "true"
    whole = play(tmp_path / "whole", site, **choices | {"workers": 1})
    site.down("locks:1", "locks:2")
    path = tmp_path / "run"
    found = play(path, site, **choices)
    assert sorted(one.task for one in found.unbegun) == ["locks:1"] * 2 + ["locks:2"] * 2
    assert [one.number for one in found.unbegun] == sorted(one.number for one in found.unbegun)
    site.down()
    site.begun()
    heard: list[Played] = []

    class Hearing(Listener):
        def begun(self, finished: list[Played], episodes: int) -> None:
            heard.extend(finished)

        def played(self, played: Played) -> None:
            heard.append(played)

    done = play(path, site, resume=True, listener=Hearing(), **choices)
    assert sorted(site.begun()) == ["locks:1"] * 2 + ["locks:2"] * 2
    assert told(done.episodes) == told(whole.episodes)
    assert sorted(one.number for one in heard) == list(range(8))
    if order == "passes":
        lines = (path / "passes.jsonl").read_text().splitlines()
        assert [json.loads(line)["pass"] for line in lines] == [0, 1, 0, 1]


def test_runs_that_are_played_side_by_side_tell_of_finished_ones_alone(
    tmp_path: Path, site: Site
) -> None:
    site.down("locks:0")
    heard: list[Played] = []
    job = Job(what(site, attempts=1), tmp_path / "run")
    (found,) = play_all([job], on_episode=lambda job, played: heard.append(played))
    assert heard == found.episodes
    assert [one.task for one in found.unbegun] == ["locks:0"]
    site.down()
    (found,) = play_all([job])
    assert found.unbegun == ()


def test_what_is_learned_for_new_tasks_is_told_without_them(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    study = import_module("web_learning")
    runs = []
    for once in range(study.REPEATS):
        for agent in ("jitrl", "static"):
            site.down(*([NAMES[once]] if agent == "static" and once < 2 else []))
            path = tmp_path / f"{agent}-{once}"
            runs.append(play(path, site, attempts=1, agent=agent, seed=once))
    study.print_transfer(runs)
    said = capsys.readouterr().out
    assert "left out on both sides: 2, at locks:0, locks:1" in said
    assert len(said.splitlines()) == 5
    site.down(*NAMES)
    nothing = play(tmp_path / "nothing", site, attempts=1)
    study.print_transfer([nothing, play(tmp_path / "no", site, attempts=1, agent="static")])
    assert "left out on both sides: 8" in capsys.readouterr().out


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], site: Site) -> Cli:
    """Call `jitrl run` on the locks, or another command; (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")
    given = [f"{name}={json.dumps(value)}" for name, value in site.options.items()]
    options = [word for option in given for word in ("--option", option)]

    def call(*words: object) -> tuple[int, str, str]:
        more = options if words[0] == "run" else []
        monkeypatch.setattr(sys, "argv", ["jitrl", *map(str, words), *more])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_run_that_ends_with_them_fails_says_which_and_how_to_go_on(
    cli: Cli, site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    words = ("run", "locks:4", "--attempts", 2, "--steps", 5, "--out", path)
    site.down("locks:1", "locks:3")
    code, out, err = cli(*words)
    assert code == 1
    assert err == (
        "jitrl: 4 attempts never began, at locks:1 (2), locks:3 (2); the first: could not begin: "
        "no way to locks:1; --resume tries again\n"
    )
    for said in ("locks:1, attempt 0: never began (", suites.UNBEGUN, "success so far"):
        assert said in " ".join(out.split())
    assert "could not begin" in (path / "report.md").read_text()
    code, out, err = cli("report", path)
    assert (code, err) == (0, "")
    assert "never began" in out
    code, _, err = cli("explain", path, "--episode", 2, "--step", 0)
    assert code == 2
    assert "never began: could not begin: no way to locks:1" in err
    site.down()
    code, out, err = cli(*words, "--resume")
    assert (code, err) == (0, "")
    assert "never began" not in out
    assert "never began" not in (path / "report.md").read_text().lower()


def test_a_run_none_of_whose_attempts_began_says_so_and_has_no_result(
    cli: Cli, site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    words = ("run", "locks:2", "--steps", 5, "--out", path)
    site.down("locks:0", "locks:1")
    code, _, err = cli(*words)
    assert (code, err.count("\n")) == (1, 1)
    assert "2 attempts never began, at locks:0 (1), locks:1 (1)" in err
    code, _, err = cli("report", path)
    assert code == 2
    assert "none of the attempts" in err
    assert "--resume" in err
    site.down()
    assert cli(*words, "--resume")[0] == 0


def test_the_plain_tables_have_no_verdict_on_them(tmp_path: Path, site: Site) -> None:
    site.down("locks:1")
    found = play(tmp_path / "run", site, attempts=1)
    report.write([found], tmp_path / "report")
    rows = (tmp_path / "report" / "attempts.csv").read_text().splitlines()
    assert [row.split(",")[9:11] == ["", ""] for row in rows[1:]] == [False, True, False, False]
    assert (tmp_path / "report" / "report.csv").read_text().splitlines()[1].endswith(",1")
    assert "never began" in (tmp_path / "report" / "report.html").read_text()
