from __future__ import annotations

import re
from contextlib import closing, suppress
from pathlib import Path

import pytest
from cli_kit import Cli, complaint
from memory_cli_kit import command_line, episode, fill, ids, present, step, told

from jitrl.memory import Selection, SqliteMemory

EVERY = ["a-0", "a-1", "b-0", "c-0"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    fill(tmp_path / "m.db")
    return command_line(monkeypatch, capsys, tmp_path)


def test_quarantine_takes_out_what_is_meant_and_release_brings_it_back(cli: Cli) -> None:
    code, out, err = cli("quarantine", "m.db", "--run", "a", "--why", "hallucinated", "--yes")
    assert (code, err) == (0, "")
    assert re.search(r"episodes +2 with 4 steps", out)
    assert re.search(r"runs +a \(2\)", out)
    assert re.search(r"tasks +house \(2\)", out)
    assert "2 episodes put into quarantine" in out
    assert present("m.db") == EVERY[2:]
    assert ids(cli("show", "m.db", "--quarantined", "--json")) == EVERY[:2]
    assert "1 episode released" in cli("release", "m.db", "--id", "a-1", "--yes")[1]
    assert present("m.db") == EVERY[1:]


def test_what_was_in_quarantine_through_a_rollback_comes_back_when_it_is_released(cli: Cli) -> None:
    cli("snapshot", "m.db", "first")
    fill("m.db", (episode("d-0", "d"), episode("d-1", "d")))
    cli("quarantine", "m.db", "--id", "d-0", "--why", "looks made up", "--yes")
    out = cli("rollback", "m.db", "first", "--keep", "now", "--yes")[1]
    assert "1 episode would no longer be present, 0 episodes would be again" in out
    assert "1 episode would stay in quarantine" in out
    assert present("m.db") == EVERY
    assert cli("release", "m.db", "--id", "d-0", "--yes")[1].endswith("1 episode released\n")
    assert present("m.db") == [*EVERY, "d-0"]
    cli("quarantine", "m.db", "--id", "d-1", "--why", "this one as well", "--yes")
    assert "1 of them stay rolled back" in cli("release", "m.db", "--id", "d-1", "--yes")[1]


def test_what_changes_nothing_says_so(cli: Cli) -> None:
    cli("quarantine", "m.db", "--source", "team C", "--why", "x", "--yes")
    code, out, _ = cli("quarantine", "m.db", "--source", "team C", "--why", "y")
    assert (code, "already: nothing was changed" in out) == (0, True)
    code, out, _ = cli("release", "m.db", "--run", "a")
    assert (code, "none of them is in quarantine: nothing was changed" in out) == (0, True)


def test_what_is_forgotten_is_gone_and_what_cannot_be_reached_is_told(
    cli: Cli, tmp_path: Path
) -> None:
    cli("snapshot", "m.db", "all")
    code, out, err = cli("forget", "m.db", "--text", "red door", "--yes")
    assert (code, err) == (0, "")
    for out_of_reach in ("copies", "backups", "packs", "snapshots of the disk"):
        assert out_of_reach in out
    assert "1 episode forgotten" in out
    assert present("m.db") == ["a-0", "b-0", "c-0"]
    for file in tmp_path.iterdir():
        assert b"red door" not in file.read_bytes()
    assert (
        "no longer present, 0 episodes present again" in cli("rollback", "m.db", "all", "--yes")[1]
    )


def test_what_an_interrupted_forget_leaves_behind_is_found_and_swept(
    cli: Cli, tmp_path: Path
) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("writing the file"):
            raise KeyboardInterrupt

    with closing(SqliteMemory("m.db")) as memory, suppress(KeyboardInterrupt):
        memory.forget(Selection(text="red door"), stop)
    assert "jitrl memory vacuum m.db" in complaint(cli("verify", "m.db", "--json"), 1)
    assert cli("vacuum", "m.db")[0] == 0
    assert cli("verify", "m.db")[0] == 0
    assert b"red door" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("quarantine", "--why", "x", "--run", "a"),
        ("forget", "--run", "a"),
        ("rollback", "none"),
    ],
)
def test_a_dry_run_changes_nothing(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    with closing(SqliteMemory("m.db")) as memory:
        memory.snapshot("none")
        memory.append(episode("d-0", "a"))
    before = (tmp_path / "m.db").read_bytes()
    code, out, _ = cli(words[0], "m.db", *words[1:], "--dry-run")
    assert (code, "episode" in out) == (0, True)
    assert (tmp_path / "m.db").read_bytes() == before
    assert present("m.db") == [*EVERY, "d-0"]


@pytest.mark.parametrize(
    "words",
    [
        ("quarantine", "--why", "x", "--run", "a"),
        ("release", "--run", "b"),
        ("forget", "--run", "a"),
        ("rollback", "all"),
        ("cap", "1"),
    ],
)
def test_without_a_terminal_nothing_is_changed_unless_told_so(
    cli: Cli, words: tuple[str, ...]
) -> None:
    cli("snapshot", "m.db", "all")
    cli("quarantine", "m.db", "--run", "b", "--why", "x", "--yes")
    assert "--yes" in complaint(cli(words[0], "m.db", *words[1:]), 2)
    assert present("m.db") == ["a-0", "a-1", "c-0"]
    assert told(cli("stats", "m.db", "--json"))["quarantined"] == 1


def test_a_rollback_tells_what_it_changed_and_how_to_come_back(cli: Cli) -> None:
    cli("snapshot", "m.db", "early")
    fill("m.db", (episode("d-0", "d"),))
    code, out, _ = cli("rollback", "m.db", "early", "--yes")
    assert (code, "--keep NAME makes one, to come back" in out) == (0, True)
    assert "1 episode no longer present, 0 episodes present again" in out
    assert present("m.db") == EVERY
    assert "rolled back" in cli("show", "m.db", "--all")[1]
    fill("m.db", (episode("e-0", "e"),))
    out = cli("rollback", "m.db", "early", "--yes", "--keep", "late")[1]
    assert "to come back: jitrl memory rollback m.db late" in out
    assert (
        "0 episodes no longer present, 1 episode present again"
        in (cli("rollback", "m.db", "late", "--yes")[1])
    )
    assert present("m.db") == [*EVERY, "e-0"]


def test_a_snapshot_that_is_in_the_way_stops_a_rollback(cli: Cli) -> None:
    cli("snapshot", "m.db", "early")
    fill("m.db", (episode("d-0", "d"),))
    said = complaint(cli("rollback", "m.db", "early", "--yes", "--keep", "early"), 2)
    assert "'early'" in said
    assert present("m.db") == [*EVERY, "d-0"]


def test_a_snapshot_is_dropped_by_its_name(cli: Cli) -> None:
    assert "'a b' names 4 episodes" in cli("snapshot", "m.db", "a b")[1]
    assert "a b" in complaint(cli("snapshot", "m.db", "a b"), 2)
    assert cli("snapshot", "m.db", "a b", "--drop")[0] == 0
    assert told(cli("snapshots", "m.db", "--json")) == []
    assert "a b" in complaint(cli("snapshot", "m.db", "a b", "--drop"), 2)
    assert present("m.db") == EVERY


def test_a_cap_is_set_shown_and_lifted(cli: Cli) -> None:
    assert cli("cap", "m.db")[1] == "no cap\n"
    assert "0 episodes went" in cli("cap", "m.db", 9)[1]
    assert "about 3 episodes would go" in cli("cap", "m.db", 1, "--dry-run")[1]
    assert cli("cap", "m.db")[1] == "9 episodes, oldest first\n"
    assert "2 episodes went" in cli("cap", "m.db", 2, "--policy", "per-state", "--yes")[1]
    assert told(cli("stats", "m.db", "--json"))["cap"] == {"episodes": 2, "policy": "per-state"}
    assert len(present("m.db")) == 2
    assert cli("cap", "m.db", "--off")[1] == "no cap\n"
    assert cli("cap", "m.db")[1] == "no cap\n"


def test_numbers_of_thousands_are_told_as_people_read_them(cli: Cli) -> None:
    fill("big.db", tuple(episode(f"e-{i}", "r", step(0, "hall")) for i in range(1001)))
    out = cli("release", "big.db", "--run", "r")[1]
    assert "1,001 with 1,001 steps" in out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("quarantine", "m.db", "--why", "x", "--yes"), "--run"),
        (("release", "m.db", "--yes"), "--run"),
        (("forget", "m.db", "--yes"), "--run"),
        (("forget", "m.db", "--yes", "--text", ""), "text"),
        (("forget", "m.db", "--yes", "--run", "nobody"), "'nobody'"),
        (("quarantine", "m.db", "--why", "x", "--run", "nobody"), "'nobody'"),
        (("forget", "m.db", "--since", "soon"), "since"),
        (("rollback", "m.db", "nothing", "--yes"), "snapshot"),
        (("snapshot", "m.db", ""), "name"),
        (("cap", "m.db", "0"), "episodes"),
        (("cap", "m.db", "5", "--policy", "worst"), "policy"),
        (("cap", "m.db", "5", "--off"), "--off"),
        (("cap", "m.db", "--policy", "oldest"), "--policy"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(
    cli: Cli, words: tuple[str, ...], named: str
) -> None:
    assert named in complaint(cli(*words), 2)
    assert present("m.db") == EVERY


def test_a_reason_must_be_given_for_a_quarantine(cli: Cli) -> None:
    code, _, err = cli("quarantine", "m.db", "--run", "a", "--yes")
    assert (code, "--why" in err) == (2, True)


@pytest.mark.parametrize("command", ["snapshot", "rollback", "forget", "quarantine", "release"])
def test_a_memory_that_is_not_there_is_not_made(cli: Cli, tmp_path: Path, command: str) -> None:
    named = {"snapshot": ("x",), "rollback": ("x",), "quarantine": ("--why", "x", "--run", "a")}
    words = named.get(command, ("--run", "a"))
    assert "no memory at" in complaint(cli(command, "none.db", *words), 1)
    assert not (tmp_path / "none.db").exists()
