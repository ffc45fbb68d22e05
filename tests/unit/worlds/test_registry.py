from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from jitrl.errors import InvalidValue, JitrlError, UnknownName, WorldError
from jitrl.worlds import make, names

GUIDE = Path(__file__).parents[3] / "docs" / "worlds.md"


def test_the_worlds_of_this_package_are_found_by_kind() -> None:
    assert {"jericho", "textworld"} <= set(names())
    assert names() == sorted(names())


def test_an_unknown_kind_names_those_that_are_installed() -> None:
    with pytest.raises(UnknownName, match=r"textworld:\.\.\..*'tetris:1'"):
        make("tetris:1")


@pytest.mark.parametrize("name", ["textworld", "textworld:"])
def test_a_kind_alone_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(WorldError, match="write textworld:NAME"):
        make(name)


@pytest.mark.parametrize("name", ["", ":", ":7", "7", "textworld.7"])
def test_what_is_no_name_of_a_world_is_refused(name: str) -> None:
    with pytest.raises(JitrlError) as caught:
        make(name)
    assert "\n" not in str(caught.value)


def test_options_reach_the_world() -> None:
    with pytest.raises(InvalidValue, match="flavour"):
        make("textworld:7", flavour="sweet")


def test_the_guides_world_is_found_by_its_entry_point_and_passes_the_guides_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```(\w+)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (module, registration, test) = blocks
    assert [language for language, _ in blocks] == ["python", "toml", "python"]
    _, line = registration[1].strip().splitlines()
    info = tmp_path / "climb-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: climb\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[jitrl.worlds]\n{line.replace(chr(34), '')}\n")
    (tmp_path / "climb.py").write_text(module[1], encoding="utf-8")
    (tmp_path / "guide_test_of_climb.py").write_text(test[1], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "climb" in names()
    assert make("climb:3").max_score == 3.0
    importlib.import_module("guide_test_of_climb").test_climb_keeps_the_contract()
