from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jitrl.worlds.jericho import JerichoWorld, make

GAMES = ("balances", "detective", "library", "ludicorp", "temple", "zork1")


@pytest.fixture(scope="session")
def games() -> Path:
    """The folder of story files; these tests cannot run, and so fail, without it."""
    named = os.environ.get("JITRL_GAMES")
    if not named:
        pytest.fail("JITRL_GAMES is not set: it must name the folder of the story files")
    folder = Path(named)
    missing = [name for name in GAMES if not list(folder.glob(f"{name}.z?"))]
    if missing:
        pytest.fail(f"JITRL_GAMES={named} lacks the story files of: {', '.join(missing)}")
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache file for all tests, so that no state is searched twice."""
    return tmp_path_factory.mktemp("cache") / "actions.db"


@pytest.fixture
def open_game(games: Path, shared_cache: Path) -> Iterator[Callable[..., JerichoWorld]]:
    """Open games as worlds, and close them when the test ends."""
    worlds: list[JerichoWorld] = []

    def open_one(which: str, cache: Path | str = shared_cache) -> JerichoWorld:
        worlds.append(make(which, games=games, cache=cache))
        return worlds[-1]

    yield open_one
    for world in worlds:
        world.close()
