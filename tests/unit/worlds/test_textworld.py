from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jitrl.errors import InvalidValue, WorldError
from jitrl.testing import check_world
from jitrl.worlds.textworld import DIFFICULTIES, TextWorld, make

# One game of each difficulty, generated once and shared.
GAMES = {"easy": "easy-1", "default": "7", "hard": "hard-3"}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("games")
    for which in GAMES.values():
        make(which, cache=folder).close()
    return folder


@pytest.fixture
def world(cache: Path) -> Iterator[TextWorld]:
    opened = make(GAMES["default"], cache=cache)
    yield opened
    opened.close()


def metadata(which: str, cache: Path) -> dict[str, Any]:
    """What TextWorld knows of a game, its solution included."""
    level, _, seed = f"default-{which}".rpartition("-")
    tag = {"easy": "3ingredients-1rooms", "hard": "3ingredients-6rooms-preparing"}.get(
        level.rpartition("-")[2], "5ingredients-6rooms"
    )
    (path,) = cache.glob(f"textworld-*-{tag}-seed{seed}.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    return found


@pytest.mark.parametrize("level", DIFFICULTIES)
def test_it_keeps_the_contract_of_worlds(level: str, cache: Path) -> None:
    check_world(lambda: make(GAMES[level], cache=cache), steps=60)


@pytest.mark.parametrize("level", DIFFICULTIES)
def test_a_game_is_won_with_all_points_by_its_own_solution(level: str, cache: Path) -> None:
    world = make(GAMES[level], cache=cache)
    shown, solution = world.reset(1), metadata(GAMES[level], cache)["walkthrough"]
    total = 0.0
    for command in solution:
        assert not shown.terminated
        shown = world.step(command)
        total += shown.reward
    assert len(solution) <= 25
    assert shown.terminated and not shown.truncated and shown.actions == ()
    assert total == shown.score == world.max_score == DIFFICULTIES[level].max_score
    with pytest.raises(WorldError, match="is over"):
        world.step("look")
    assert world.reset(1).score == 0.0
    world.close()


def test_what_scores_is_among_the_actions(cache: Path) -> None:
    world = make(GAMES["default"], cache=cache)
    shown = world.reset(1)
    for command in metadata(GAMES["default"], cache)["walkthrough"]:
        before, shown = shown, world.step(command)
        assert not shown.reward or command in before.actions
    world.close()


def test_eating_an_ingredient_loses(cache: Path) -> None:
    world = make(GAMES["easy"], cache=cache)
    shown = world.reset(1)
    eaten = None
    for command in metadata(GAMES["easy"], cache)["walkthrough"]:
        shown = world.step(command)
        if eaten := next((a for a in shown.actions if a.startswith("eat ")), None):
            break
    assert eaten is not None and shown.score == 1.0
    shown = world.step(eaten)
    assert shown.terminated and shown.reward == 0.0 and shown.score == 1.0
    assert "lost" in shown.text
    world.close()


def test_the_state_is_room_inventory_and_history(world: TextWorld) -> None:
    shown = world.reset(1)
    assert set(shown.state) == {"room", "inventory", "history"}
    assert shown.state["room"].startswith("-= Kitchen =-\n")
    assert shown.state["inventory"] == "You are carrying nothing."
    assert "hungry" in shown.text and shown.state["room"] in shown.text and "$" not in shown.text
    shown = world.step("take green apple from counter")
    assert shown.reward == 1.0 and shown.text.startswith("You take the green apple")
    assert "green apple" in shown.state["inventory"]
    assert "green apple" not in shown.state["room"]
    assert shown.state["history"] == (
        "score: +1 take green apple from counter\npath: take green apple from counter"
    )


@pytest.mark.parametrize("action", ["wait", "look", "examine counter", "flurble", "", "\n"])
def test_what_changes_nothing_leaves_the_state_as_it_is(world: TextWorld, action: str) -> None:
    before = world.reset(1)
    after = world.step(action)
    assert (after.state, after.actions, after.score) == (before.state, before.actions, 0.0)
    assert after.text and ">" not in after.text


def test_actions_are_sorted_and_do_not_merely_look(world: TextWorld) -> None:
    shown = world.reset(1)
    assert shown.actions == tuple(sorted(shown.actions))
    assert not {a.split()[0] for a in shown.actions} & {"look", "inventory", "examine"}
    assert "Recipe" in world.step("examine cookbook").text


@pytest.mark.parametrize(
    "command",
    ["quit", "restart", "UNDO", "save", "script", "oops quit", "go north then undo", "tw-print x"],
)
def test_commands_to_the_interpreter_are_not_sent(
    world: TextWorld, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world.reset(1)
    before = world.step("take green apple from counter")
    after = world.step(command)
    assert "to the interpreter" in after.text
    assert (after.state, after.actions, after.score) == (before.state, before.actions, 1.0)
    assert after.reward == 0.0
    assert world.step("take red apple from counter").score == 2.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("action", ["x" * 500, "\\#$<>;.,", "caf\u00e9 \u201cau lait\u201d", "\0"])
def test_strange_text_is_answered(world: TextWorld, action: str) -> None:
    world.reset(1)
    assert world.step(action).reward == 0.0


@pytest.mark.parametrize("seed", [0, -1, True, 1.0, "1", None])
def test_a_seed_of_an_episode_is_at_least_one(world: TextWorld, seed: Any) -> None:
    with pytest.raises(InvalidValue, match="seed must be an integer of at least 1"):
        world.reset(seed)


def test_a_step_is_a_string(world: TextWorld) -> None:
    world.reset(1)
    with pytest.raises(InvalidValue, match="action must be a string"):
        world.step(7)  # type: ignore[arg-type]


def test_the_seed_of_an_episode_changes_nothing(world: TextWorld) -> None:
    assert world.reset(1) == world.reset(2**31)


def test_a_closed_world_says_so(cache: Path) -> None:
    world = make(GAMES["easy"], cache=cache)
    world.reset(1)
    world.close()
    world.close()
    with pytest.raises(WorldError, match="closed"):
        world.reset(1)
    with pytest.raises(WorldError, match="closed"):
        world.step("look")


def test_it_tells_what_it_is(world: TextWorld, cache: Path) -> None:
    assert world.name == "textworld:7"
    assert (world.max_score, world.reward_range) == (7.0, (0.0, 7.0))
    assert set(world.version) == {"textworld", "jericho", "game"}
    assert len(world.version["game"]) == 64
    with_zeros, easy = make("007", cache=cache), make("easy-1", cache=cache)
    assert (with_zeros.name, easy.name) == ("textworld:7", "textworld:easy-1")
    assert with_zeros.version == world.version != easy.version
    with_zeros.close()
    easy.close()


@pytest.mark.parametrize(
    "which",
    [
        *("", "x", "-1", "1.5", " 7", "7\n", "\u0667", "4294967296", "99999999999"),
        *("mild-7", "easy-", "easy7", "EASY-7", "easy--7", 7, None),
    ],
)
def test_what_is_no_seed_is_refused_in_one_line(which: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        make(which, cache=tmp_path)
    assert repr(which) in str(caught.value) and "such as 7, easy-7, hard-7" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="rooms is no option of a textworld world"):
        make("7", cache=tmp_path, rooms=3)


def test_a_cache_that_is_no_folder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("somebody's")
    with pytest.raises(WorldError, match=r"no game can be kept.*JITRL_CACHE"):
        make("7", cache=file)
    assert file.read_text() == "somebody's"


def test_a_compiler_that_is_missing_is_an_error_of_the_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFORM_HOME", str(tmp_path))
    with pytest.raises(WorldError, match="cannot compile") as caught:
        make("easy-1", cache=tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("suffix", [".z8", ".json", ".sha256"])
def test_a_damaged_game_is_generated_anew(suffix: str, cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(cache, copy)
    (file,) = copy.glob(f"textworld-*-1rooms-seed1{suffix}")
    whole = file.read_bytes()
    half = bytearray(whole[: len(whole) // 2])
    half[10] ^= 1
    file.write_bytes(half)
    world = make(GAMES["easy"], cache=copy)
    assert file.read_bytes() == whole
    assert world.reset(1).actions
    world.close()


def test_a_game_in_the_cache_is_not_touched(cache: Path) -> None:
    def stamps() -> dict[str, int]:
        return {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}

    before = stamps()
    make(GAMES["hard"], cache=cache).close()
    assert stamps() == before and len(before) == 3 * len(GAMES)


PLAY = """
import json, sys
from jitrl.worlds import make
world = make(sys.argv[1])
shown = [world.reset(1)]
for t in range(40):
    if not shown[-1].terminated:
        shown.append(world.step(shown[-1].actions[t * 7 % len(shown[-1].actions)]))
print(json.dumps([world.version["game"], [repr(observation) for observation in shown]]))
world.close()
"""


def test_processes_that_generate_at_once_agree_to_the_byte(cache: Path, tmp_path: Path) -> None:
    (here, mine) = (tmp_path / "here", tmp_path / "mine")
    here.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PLAY, "textworld:7"],
            env={**os.environ, "JITRL_CACHE": str(mine), "PYTHONHASHSEED": hashes},
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for hashes in ("1", "2")
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [errors for _, errors in said] == ["", ""]
    (game, first), second = (json.loads(text) for text, _ in said)
    assert [game, first] == second
    made = {file.name: file.read_bytes() for file in mine.iterdir()}
    assert len(made) == 3 and all((cache / name).read_bytes() == made[name] for name in made)
    assert list(here.iterdir()) == []
    world = make("7", cache=cache)
    assert repr(world.reset(1)) == first[0] and world.version["game"] == game
    world.close()


def test_without_textworld_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['textworld'] = None\n"
        "from jitrl.worlds import make\n"
        "from jitrl.errors import MissingExtra\n"
        "try: make('textworld:7')\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "textworld is not installed: pip install 'jitrl[games]'\n"


@pytest.mark.parametrize(
    ("variable", "folder"), [("JITRL_CACHE", "."), ("XDG_CACHE_HOME", "jitrl")]
)
def test_the_environment_names_the_cache(
    variable: str, folder: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JITRL_CACHE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    shutil.copytree(cache, tmp_path / folder, dirs_exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    make(GAMES["hard"]).close()
    assert sorted(tmp_path.rglob("*")) == before
