from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest
from cli_kit import Cli, command_line, complaint
from plugin_kit import PLUGIN

from jitrl.bench.folder import read
from jitrl.memory.sql.sqlite_file import SCHEMA_VERSION

SHORT = ("--episodes", "3", "--steps", "8")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Call the command line in an empty folder; (exit code, stdout, stderr)."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    monkeypatch.chdir(tmp_path)
    return command_line(monkeypatch, capsys)


def test_the_version_is_told(cli: Cli) -> None:
    code, out, _ = cli("--version")
    assert code == 0
    assert re.fullmatch(r"jitrl \d+\.\d+\.\d+\n", out)


@pytest.mark.parametrize(
    "command", [[], ["run"], ["demo"], ["report"], ["explain"], ["memory", "show"]]
)
def test_every_command_has_help(cli: Cli, command: list[str]) -> None:
    code, out, _ = cli(*command, "--help")
    assert code == 0
    assert "Usage" in out


def test_a_run_ends_with_a_table_and_a_picture(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("run", "corridor:5", *SHORT)
    assert (code, err) == (0, "")
    folder = tmp_path / "runs" / "corridor-5-jitrl-default-0"
    for said in ("finished 3/3", "KL spent", "ETA", "mean score", "searching actions"):
        assert said in out
    for name in ("run.json", "steps.jsonl", "episodes.jsonl", "memory.db"):
        assert (folder / name).is_file()
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "report.html").is_file()


def test_no_control_codes_are_written_to_what_is_no_terminal(cli: Cli) -> None:
    assert "\x1b" not in cli("run", "corridor:5", *SHORT)[1]
    assert "\x1b" not in cli("demo", "--world", "corridor:5", *SHORT, "--seeds", "1")[1]


def test_a_resumed_run_keeps_its_number_of_episodes_or_gets_more(cli: Cli) -> None:
    cli("run", "corridor:5", *SHORT)
    complaint(cli("run", "corridor:5", *SHORT), 2)
    code, out, _ = cli("run", "corridor:5", "--steps", "8", "--resume")
    assert (code, "episode 4" in out) == (0, False)
    code, out, _ = cli("run", "corridor:5", "--steps", "8", "--resume", "--episodes", "5")
    assert (code, "finished 5/5" in out) == (0, True)
    said = complaint(cli("run", "corridor:5", "--steps", "9", "--resume"), 2)
    assert "another steps" in said


def test_a_run_finishes_without_matplotlib_and_scipy(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    code, out, _ = cli("run", "corridor:5", *SHORT)
    assert code == 0
    assert "mean score" in out
    assert "no picture: pictures need matplotlib: pip install 'jitrl[report]'" in out
    folder = tmp_path / "runs" / "corridor-5-jitrl-default-0"
    assert not (folder / "report.html").exists()
    assert "pip install 'jitrl[report]'" in complaint(cli("report", folder), 1)


def test_a_step_can_be_explained_from_the_log(cli: Cli) -> None:
    cli("run", "corridor:5", *SHORT, "--out", "run")
    code, out, _ = cli("explain", "run", "--episode", 2, "--step", 3)
    assert code == 0
    for said in ("episode 2, step 3", "corridor", "chose '", "before", "similarity", "it earned"):
        assert said in out
    assert "room 0 of a corridor" in out.split("similarity")[1]


@pytest.mark.parametrize(("episode", "step"), [(3, 0), (-1, 0), (0, 8), (0, -1)])
def test_a_step_that_was_not_played_is_told(cli: Cli, episode: int, step: int) -> None:
    cli("run", "corridor:5", *SHORT, "--out", "run")
    said = complaint(cli("explain", "run", "--episode", episode, "--step", step), 2)
    assert ("episode" in said) == (step == 0)


def test_a_report_compares_run_folders(cli: Cli, tmp_path: Path) -> None:
    for agent in ("jitrl", "static"):
        for seed in (0, 1):
            out = f"{agent}-{seed}"
            cli("run", "corridor:5", *SHORT, "--agent", agent, "--seed", seed, "--out", out)
    folders = ["jitrl-0", "jitrl-1", "static-0", "static-1", "jitrl-0/"]
    code, out, _ = cli("report", *folders, "--out", "all")
    assert code == 0
    assert "jitrl default \u2212 static" in out
    assert {file.name for file in (tmp_path / "all").iterdir()} == {
        "curve.png",
        "report.csv",
        "report.html",
        "report.md",
    }


def test_a_demo_plays_both_arms_and_continues(cli: Cli, tmp_path: Path) -> None:
    words = ("demo", "--world", "corridor:5", "--steps", "8", "--seeds", "2", "--out", "d")
    code, out, err = cli(*words, "--episodes", "2")
    assert (code, err) == (0, "")
    for said in ("static, seed 1: 2 episodes", "jitrl, seed 1: 2 episodes", "jitrl default"):
        assert said in out
    assert (tmp_path / "d" / "report.html").is_file()
    code, out, _ = cli(*words, "--episodes", "3")
    assert (code, "jitrl, seed 1: 3 episodes" in out) == (0, True)


def test_a_run_over_tasks_ends_with_its_results_and_their_definitions(cli: Cli) -> None:
    code, out, err = cli("run", "locks:jammed-4", "--attempts", "2", "--out", "run")
    assert (code, err) == (0, "")
    for said in (
        "finished 8/8   episode 7: locks:jam, attempt 1: failure (",
        "Avg",
        "Final",
        "pass@any",
        "front",
        "no such door",
        "Final: share of tasks whose last attempt succeeded.",
    ):
        assert said in out
    code, out, _ = cli("explain", "run", "--episode", 2, "--step", 0)
    assert (code, "episode 2, step 0 of locks:1, attempt 0" in out) == (0, True)
    late = next(n for n in (6, 7) if cli("explain", "run", "--episode", n, "--step", 0)[0] == 0)
    said = cli("explain", "run", "--episode", late, "--step", 0)[1]
    assert any(f"what went wrong: {why}" in said for why in ("time-out: the dial", "no such door:"))


def test_where_nobody_judges_a_run_says_so_before_it_plays_and_shows_no_score(cli: Cli) -> None:
    words = ("run", "locks:2", "--option", "silent=true", "--attempts", "2")
    code, out, err = cli(*words, "--out", "run")
    said = "jitrl: nobody judges locks:2, nothing can be learned: name a --judge-model\n"
    assert (code, err) == (0, said)
    assert out.count("over, without a verdict") == 4
    assert re.search(r"^Avg +- *$", out, re.M)
    assert not any(word in out for word in ("failure", "success so far", "0.000 ["))
    out = cli("explain", "run", "--episode", 0, "--step", 0)[1]
    assert "there is no verdict on it" in out and "score" not in out
    assert "failure" not in cli("report", "run")[1]
    assert cli(*words, "--agent", "static", "--out", "static")[2] == ""  # it would learn nothing


def test_a_run_in_several_processes_is_explained_and_reported_as_one(
    cli: Cli, tmp_path: Path
) -> None:
    words = ("run", "locks:3", "--workers", "2", "--order", "passes", "--out", "run")
    code, out, err = cli(*words, "--attempts", "2")
    assert (code, err) == (0, "")
    assert "finished 6/6" in out
    for episode in range(6):
        code, out, _ = cli("explain", "run", "--episode", episode, "--step", 0)
        assert (code, f"step 0 of locks:{episode % 3}, attempt {episode // 3}" in out) == (0, True)
    assert "one of 6 finished episodes, from 0" in complaint(
        cli("explain", "run", "--episode", 6, "--step", 0), 2
    )
    assert "jitrl default" in cli("report", "run")[1]
    rows = (tmp_path / "run" / "attempts.csv").read_text().splitlines()
    assert len(rows) == 7
    code, out, _ = cli(*words, "--resume", "--attempts", "3")
    assert (code, "finished 9/9" in out) == (0, True)
    assert cli(*words, "--resume")[1].count("episode ") == 0  # as long as it was


def test_preset_and_steps_are_the_worlds_own_unless_they_are_given(
    cli: Cli, tmp_path: Path
) -> None:
    cli("run", "locks:1", "--out", "a")
    cli("run", "locks:1", "--out", "b", "--steps", "3", "--preset", "paper")
    own, given = (read(tmp_path / name).configuration for name in "ab")
    assert (own.preset, own.steps) == ("default", 7)
    assert (given.preset, given.steps) == ("paper", 3)
    cli("run", "corridor:1", "--out", "c", "--episodes", "1")
    assert read(tmp_path / "c").configuration.steps == 50


def test_what_a_world_is_opened_with_can_be_given(cli: Cli, tmp_path: Path) -> None:
    cli("run", "locks:1", "--option", "hard=true", "--option", "log=log.txt", "--out", "run")
    assert (tmp_path / "log.txt").read_text() == "locks:0\n"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["world"]["kind"] == "hard"
    code, _, err = cli("run", "locks:1", "--option", "hard", "--out", "x")
    assert (code, "--option must be NAME=VALUE" in err) == (2, True)


def test_a_memory_can_be_looked_at(cli: Cli, tmp_path: Path) -> None:
    cli("run", "corridor:5", *SHORT, "--memory", "m.db")
    before = (tmp_path / "m.db").read_bytes()
    code, out, _ = cli("memory", "stats", "m.db")
    assert code == 0
    assert re.search(r"episodes +3 \(", out)
    assert re.search(r"steps +24", out)
    assert re.search(r"tasks +corridor:5 \(3\)", out)
    code, out, _ = cli("memory", "show", "m.db", "--limit", 2)
    assert "1 older" in out
    code, out, _ = cli("memory", "show", "m.db", "--episode", 1, "--gamma", 1)
    assert (code, "return" in out, "gamma 1" in out) == (0, True, True)
    assert (tmp_path / "m.db").read_bytes() == before


def test_returns_are_shown_under_the_gamma_that_is_asked_for(cli: Cli) -> None:
    cli("run", "corridor:1", "--episodes", 1, "--steps", 50, "--out", "run")
    out = cli("memory", "show", "run/memory.db", "--episode", 1, "--gamma", 1)[1]
    rows = [line.split() for line in out.partition("\nstep")[2].splitlines()[1:]]
    rewards = [next(float(word) for word in row[2:] if word.isdigit()) for row in rows]
    first = float(next(word for word in rows[0] if re.fullmatch(r"\d\.\d{3}", word)))
    assert first == sum(rewards)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run", "chess:1"], "chess:1"),
        (["run", "corridor"], "corridor:NAME"),
        (["run", "corridor:x"], "'x'"),
        (["run", "corridor:5", "--agent", "genius"], "genius"),
        (["run", "corridor:5", "--preset", "best"], "best"),
        (["run", "corridor:5", "--set", "betta=1"], "betta"),
        (["run", "corridor:5", "--set", "beta=-1"], "beta"),
        (["run", "corridor:5", "--set", "beta"], "NAME=VALUE"),
        (["run", "corridor:5", "--episodes", "0"], "episodes"),
        (["run", "corridor:5", "--episodes", "-4"], "episodes"),
        (["run", "corridor:5", "--steps", "0"], "steps"),
        (["run", "corridor:5", "--proposals", "0"], "proposals"),
        (["run", "corridor:5", "--seed", "-1"], "seed"),
        (["run", "corridor:5", "--agent", "static", "--memory", "m.db"], "memory"),
        (["run", "corridor:5", "--games", "."], "games"),
        (["run", "corridor:5", "--attempts", "2"], "attempts"),
        (["run", "corridor:5", "--workers", "2"], "workers"),
        (["run", "locks:2", "--workers", "3"], "workers"),
        (["run", "locks:2", "--attempts", "0"], "attempts"),
        (["run", "locks:2", "--order", "random"], "tasks, passes"),
        (["run", "locks:2", "--reset-command", "true"], "passes"),
        (["demo", "--world", "corridor:5", "--seeds", "0"], "seeds"),
        (["demo", "--world", "chess:1"], "chess:1"),
        (["report", "nowhere"], "nowhere"),
        (["explain", "nowhere", "--episode", "0", "--step", "0"], "nowhere"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(
    cli: Cli, tmp_path: Path, words: list[str], named: str
) -> None:
    assert named in complaint(cli(*words), 2)
    assert not (tmp_path / "runs").exists()


def test_a_game_that_is_missing_or_unsupported_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JITRL_GAMES", raising=False)
    complaint(cli("run", "jericho:zork1"), 2)
    assert "zork1" in complaint(cli("run", "jericho:zork1", "--games", tmp_path), 2)
    (tmp_path / "zork1.z5").write_bytes(b"no story at all" * 99)
    assert "zork1" in complaint(cli("run", "jericho:zork1", "--games", tmp_path), 2)
    assert not (tmp_path / "runs").exists()


def test_a_count_that_is_no_number_is_a_usage_error(cli: Cli) -> None:
    code, _, err = cli("run", "corridor:5", "--episodes", "many")
    assert (code, "--episodes" in err) == (2, True)


def test_a_file_that_is_no_memory_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.db").write_text("a diary, and no database at all, long enough to be read as one")
    for words in (["memory", "stats"], ["memory", "show"], ["run", "corridor:5", "--memory"]):
        assert "is not a memory" in complaint(cli(*words, "m.db"), 2)
    assert not (tmp_path / "runs").exists()


def test_a_memory_of_a_newer_version_is_told(cli: Cli, tmp_path: Path) -> None:
    cli("run", "corridor:5", *SHORT, "--memory", "m.db")
    database = sqlite3.connect(tmp_path / "m.db")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    assert "newer jitrl" in complaint(cli("memory", "stats", "m.db"), 2)
    said = complaint(cli("run", "corridor:5", "--memory", "m.db", "--out", "x"), 2)
    assert "newer jitrl" in said


def test_a_memory_that_is_not_there_is_told(cli: Cli) -> None:
    assert "no memory at" in complaint(cli("memory", "stats", "m.db"), 1)
    said = complaint(cli("run", "corridor:5", "--memory", "no/such/folder/m.db"), 1)
    assert "does not exist" in said


@pytest.mark.parametrize(
    "words",
    [["--episode", "4"], ["--episode", "-1"], ["--limit", "0"], ["--gamma", "2"]],
)
def test_what_a_memory_cannot_show_is_told(cli: Cli, words: list[str]) -> None:
    cli("run", "corridor:5", *SHORT, "--memory", "m.db")
    assert words[0][2:] in complaint(cli("memory", "show", "m.db", *words), 2)


def test_a_damaged_run_is_told(cli: Cli, tmp_path: Path) -> None:
    cli("run", "corridor:5", *SHORT, "--out", "run")
    (tmp_path / "run" / "run.json").write_text('{"format": 1')
    for words in (["report"], ["explain", "--episode", "0", "--step", "0"]):
        assert "run.json" in complaint(cli(*words, "run"), 2)
    said = complaint(cli("run", "corridor:5", "--resume", *SHORT, "--out", "run"), 2)
    assert "damaged" in said


def test_an_out_that_is_a_file_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file" in complaint(cli("run", "corridor:5", *SHORT, "--out", "file"), 1)
    assert "file" in complaint(cli("run", "corridor:5", *SHORT, "--out", "file/run"), 1)


def test_an_out_that_is_a_system_folder_without_room_is_told(cli: Cli) -> None:
    said = complaint(cli("run", "corridor:5", *SHORT, "--out", "/proc/run"), 1)
    assert "/proc/run" in said


def test_help_does_not_load_what_only_a_run_needs(cli: Cli) -> None:
    loaded = "import sys, jitrl.cli; print([m for m in sys.modules if m.split('.')[0] in %r])"
    heavy = ("matplotlib", "scipy", "textworld", "jericho")
    with os.popen(f'{sys.executable} -c "{loaded % (heavy,)}"') as process:
        assert process.read().strip() == "[]"
