from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
from cli_kit import Cli, complaint
from memory_cli_kit import command_line, episode, fill, ids, present, step, told

EVERY = ["a-0", "a-1", "b-0", "c-0"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    fill(tmp_path / "m.db")
    return command_line(monkeypatch, capsys, tmp_path)


def test_a_pack_is_written_and_described(cli: Cli, tmp_path: Path) -> None:
    cli("quarantine", "m.db", "--run", "b", "--why", "x", "--yes")
    code, out, err = cli("export", "m.db", "p.zip")
    assert (code, err) == (0, "")
    assert re.search(r"episodes +3\b", out)
    assert re.search(r"steps +6\b", out)
    with ZipFile(tmp_path / "p.zip") as pack:
        assert sha256(pack.read("episodes.jsonl")).hexdigest() in out


def test_only_what_is_meant_is_exported(cli: Cli) -> None:
    cli("export", "m.db", "p.zip", "--source", "team C")
    cli("import", "n.db", "p.zip")
    assert present("n.db") == ["c-0"]


def test_an_import_makes_a_memory_and_is_done_once(cli: Cli) -> None:
    cli("export", "m.db", "p.zip")
    code, out, err = cli("import", "n.db", "p.zip")
    assert (code, err) == (0, "")
    assert re.search(r"p\.zip: 4 episodes stored, 0 skipped.* 'pack:[0-9a-f]{12}'", out)
    assert "0 episodes stored, 4 skipped" in cli("import", "n.db", "p.zip")[1]
    assert present("n.db") == EVERY


def test_what_was_imported_can_be_selected_by_its_source(cli: Cli) -> None:
    cli("export", "m.db", "p.zip")
    cli("import", "n.db", "p.zip", "--source", "team B")
    assert ids(cli("show", "n.db", "--source", "team B", "--json")) == EVERY
    assert ids(cli("show", "n.db", "--source", "team C", "--json")) == []


def test_a_refused_pack_is_told_and_the_others_are_stored(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 and nothing behind it")
    cli("export", "m.db", "p.zip")
    outcome = cli("import", "n.db", "bad.zip", "none.zip", "p.zip")
    assert outcome[0] == 2
    first, second = outcome[2].splitlines()
    assert first.startswith("jitrl: pack 'bad.zip'")
    assert second.startswith("jitrl: pack 'none.zip'")
    assert "4 episodes stored" in outcome[1]
    assert present("n.db") == EVERY


def test_a_pack_that_asks_too_much_is_refused(cli: Cli) -> None:
    cli("export", "m.db", "p.zip")
    assert "limit `episodes`" in complaint(cli("import", "n.db", "p.zip", "--max-episodes", 3), 2)
    assert "limit `bytes`" in complaint(cli("import", "n.db", "p.zip", "--max-bytes", 99), 2)
    assert not Path("n.db").exists()


def test_a_merge_adds_what_is_missing(cli: Cli) -> None:
    fill("n.db", (episode("d-0", "d"), episode("a-0", "a")))
    assert "1 episode stored, 1 skipped" in cli("merge", "m.db", "n.db")[1]
    assert present("m.db") == [*EVERY, "d-0"]
    assert "5 episodes stored" in cli("merge", "all.db", "m.db")[1]  # made where it is missing


def test_a_merge_of_another_episode_under_one_id_stores_nothing(cli: Cli) -> None:
    fill("n.db", (episode("d-0", "d"), episode("a-0", "a", step(0, "attic"))))
    assert "'a-0'" in complaint(cli("merge", "m.db", "n.db"), 1)
    assert present("m.db") == EVERY


def test_a_vacuum_drops_what_nothing_uses(cli: Cli) -> None:
    cli("cap", "m.db", 1, "--yes")
    code, out, _ = cli("vacuum", "m.db")
    assert (code, "2 states dropped" in out, "before" in out) == (0, True, True)
    assert told(cli("stats", "m.db", "--json"))["states"] == 2


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("export", "m.db", "no/folder/p.zip"), 1, "no/folder"),
        (("export", "m.db", "m.db"), 1, "is no pack"),
        (("export", "m.db", "p.zip", "--since", "soon"), 2, "since"),
        (("export", "m.db", "p.zip", "--task", "nowhere"), 2, "at least one present"),
        (("export", "none.db", "p.zip"), 1, "no memory at"),
        (("import", "no/folder/n.db", "p.zip"), 2, "p.zip"),
        (("merge", "no/folder/n.db", "m.db"), 1, "does not exist"),
        (("import", "m.db", "p.zip", "--source", ""), 2, "source"),
        (("import", "m.db", "p.zip", "--max-bytes", "0"), 2, "bytes"),
        (("merge", "m.db", "none.db"), 1, "no memory at"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], code: int, named: str
) -> None:
    before = (tmp_path / "m.db").read_bytes()
    assert named in complaint(cli(*words), code)
    assert (tmp_path / "m.db").read_bytes() == before
    assert not (tmp_path / "none.db").exists()
