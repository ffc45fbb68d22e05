from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_kit import Cli, complaint
from memory_cli_kit import command_line, fill, present

EVERY = ["a-0", "a-1", "b-0", "c-0"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    fill(tmp_path / "m.db")
    return command_line(monkeypatch, capsys, tmp_path)


def damage(query: str) -> None:
    with closing(sqlite3.connect("m.db")) as database, database:
        database.execute(query)


def test_a_sound_memory_is_left_as_it_is(cli: Cli, tmp_path: Path) -> None:
    before = (tmp_path / "m.db").read_bytes()
    code, out, err = cli("repair", "m.db")
    assert (code, "sound" in out, err) == (0, True, "")
    assert (tmp_path / "m.db").read_bytes() == before
    assert not list(tmp_path.glob("*damaged*"))


def test_what_is_lost_is_named_and_the_rest_is_whole(cli: Cli, tmp_path: Path) -> None:
    damage("UPDATE steps SET reward = 5 WHERE episode = 2 AND t = 1")
    broken = (tmp_path / "m.db").read_bytes()
    code, out, _ = cli("repair", "m.db")
    assert code == 1
    assert re.search(r"\b2\b.* lost", out)
    assert "repaired: 3 episodes" in out
    assert "m.db.damaged-1" in out
    assert (tmp_path / "m.db.damaged-1").read_bytes() == broken
    assert present("m.db") == ["a-0", "b-0", "c-0"]
    assert cli("verify", "m.db")[0] == 0


def test_what_can_be_mended_is_mended_without_a_loss(cli: Cli) -> None:
    damage("UPDATE directory SET number = 1 WHERE kind = 1 AND number = 2")
    assert cli("verify", "m.db")[0] == 1
    code, out, _ = cli("repair", "m.db")
    assert (code, "nothing was lost" in out) == (0, True)
    assert present("m.db") == EVERY


def test_what_is_no_memory_cannot_be_repaired(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("a diary, and no database at all" * 99)
    complaint(cli("repair", "diary"), 2)
    assert (tmp_path / "diary").read_text() == "a diary, and no database at all" * 99
    assert "no memory at" in complaint(cli("repair", "none.db"), 1)
    assert "backup" in complaint(cli("repair", "postgresql://ann@/zork"), 2)
