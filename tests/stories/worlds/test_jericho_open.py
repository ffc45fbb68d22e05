from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jitrl.worlds
from jitrl.errors import InvalidValue, WorldError
from jitrl.worlds.jericho import make
from jitrl.worlds.jericho_grammar import templates


def test_a_game_is_found_by_name(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JITRL_GAMES", str(games))
    monkeypatch.setenv("JITRL_CACHE", str(tmp_path / "there"))
    world = jitrl.worlds.make("jericho:detective")
    assert world.reset(1).actions
    world.close()
    assert (tmp_path / "there" / "jericho-actions.db").exists()


@pytest.mark.parametrize(
    "which", ["", ".", "..", "../detective", "a/b", "a\\b", "/etc/passwd", "a..b", "a\0", None, 3]
)
def test_a_name_that_is_not_plain_is_refused(games: Path, which: object) -> None:
    with pytest.raises(InvalidValue, match="game must be a plain name, such as detective"):
        make(which, games=games, cache="")  # type: ignore[arg-type]


def test_an_unknown_option_is_refused(games: Path) -> None:
    with pytest.raises(InvalidValue, match="colour is no option of a jericho world"):
        make("detective", games=games, cache="", colour="red")


def test_a_missing_folder_or_game_is_named(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorldError, match=r"no game 'zork9'.*found there: balances, detective"):
        make("zork9", games=games)
    with pytest.raises(WorldError, match="found there: none"):
        make("zork1", games=tmp_path)
    with pytest.raises(WorldError, match="nowhere' does not exist: see JITRL_GAMES"):
        make("zork1", games=tmp_path / "nowhere")
    monkeypatch.delenv("JITRL_GAMES")
    with pytest.raises(WorldError, match="pass games= or set JITRL_GAMES"):
        make("zork1")


def test_two_files_of_one_name_are_refused(games: Path, tmp_path: Path) -> None:
    shutil.copy(games / "detective.z5", tmp_path / "detective.z5")
    shutil.copy(games / "detective.z5", tmp_path / "detective.z8")
    with pytest.raises(WorldError, match=r"keep one: detective\.z5, detective\.z8"):
        make("detective", games=tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x05", b"not a story file " * 100, bytes(1000)])
def test_a_file_that_is_no_story_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.z5").write_bytes(content)
    with pytest.raises(WorldError, match=r"odd\.z5' is not a story file of the Z-machine"):
        make("odd", games=tmp_path)


def test_a_story_that_jericho_does_not_know_is_refused(games: Path, tmp_path: Path) -> None:
    story = bytearray((games / "detective.z5").read_bytes())
    story[-1] ^= 1
    (tmp_path / "detective.z5").write_bytes(story)
    with pytest.raises(WorldError, match="jericho does not know the story file"):
        make("detective", games=tmp_path)


def test_without_jericho_the_extra_is_named(games: Path) -> None:
    # None in sys.modules is how Python itself marks a module that must not be imported.
    script = (
        "import sys; sys.modules['jericho'] = None\n"
        "from jitrl.worlds.jericho import make\n"
        "from jitrl.errors import MissingExtra\n"
        "try:\n    make('detective', games=sys.argv[1], cache='')\n"
        "except MissingExtra as error:\n    print(error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(games)], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "jericho is not installed: pip install 'jitrl[games]'\n"


def rank(action: str) -> tuple[int, int, int, str]:
    return (action.count(" "), 0, len(action), action)


@pytest.mark.parametrize(
    ("which", "width"), [("detective", 9), ("library", 9), ("temple", 9), ("zork1", 6)]
)
def test_templates_of_one_action_are_merged(games: Path, which: str, width: int) -> None:
    story = (games / f"{which}.z5").read_bytes()
    texts = ["take OBJ", "pick up OBJ", "open OBJ", "put OBJ in OBJ", "insert OBJ in OBJ", "wait"]
    kept = {template.text: template.many for template in templates(story, texts, width, rank)}
    same = {"take OBJ"} if which != "zork1" else {"take OBJ", "pick up OBJ"}
    assert kept.keys() - {"pick up OBJ", "insert OBJ in OBJ"} == {
        "take OBJ", "open OBJ", "put OBJ in OBJ", "wait"
    }  # fmt: skip
    assert same <= kept.keys()
    assert "insert OBJ in OBJ" not in kept
    assert kept["take OBJ"] and not kept["wait"]


def test_an_unreadable_grammar_costs_time_only(
    games: Path, caplog: pytest.LogCaptureFixture
) -> None:
    story = (games / "detective.z5").read_bytes()[:2000]
    texts = ["pick up OBJ", "take OBJ"]
    with caplog.at_level(logging.WARNING):
        kept = templates(story, texts, 9, rank)
    assert [template.text for template in kept] == texts
    assert all(template.many for template in kept)
    assert "cannot be read" in caplog.text
