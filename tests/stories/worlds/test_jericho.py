from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from jitrl.errors import InvalidValue, WorldError
from jitrl.records import Observation
from jitrl.worlds.jericho import JerichoWorld, _clean, make
from jitrl.worlds.jericho_actions import META

Open = Callable[..., JerichoWorld]
GAMES = ("balances", "detective", "library", "ludicorp", "temple", "zork1")
_TO_THE_TROLL = """
n/n/u/get egg/d/s/e/open window/w/w/get lamp/get sword/move rug/open trapdoor/d/light lamp/n
kill troll with sword/kill troll with sword/kill troll with sword
"""
TO_THE_TROLL = tuple(_TO_THE_TROLL.strip().replace("\n", "/").split("/"))


def walkthrough(games: Path, which: str) -> list[str]:
    import jericho

    (path,) = games.glob(f"{which}.z?")
    env = jericho.FrotzEnv(str(path))
    actions: list[str] = env.get_walkthrough()
    return actions


def wander(world: JerichoWorld, seed: int, steps: int) -> list[Observation]:
    """Play at random, the draws fixed by the seed too."""
    draw = random.Random(seed)
    seen = [world.reset(seed)]
    while len(seen) <= steps and not seen[-1].terminated:
        seen.append(world.step(draw.choice(seen[-1].actions)))
    return seen


@pytest.mark.parametrize("which", GAMES)
def test_a_game_keeps_the_contract_and_repeats_itself(open_game: Open, which: str) -> None:
    world = open_game(which)
    seen = wander(world, 5, 4)
    assert world.name == f"jericho:{which}"
    assert world.max_score is not None and world.max_score > 0
    assert world.reward_range is None
    assert set(world.version) == {"jericho", "story", "search"}
    assert len(world.version["story"]) == 64
    assert 0.0 < world.seconds["actions"] < world.seconds["total"]
    for before, now in pairwise(seen):
        assert now.reward == now.score - before.score
    for now in seen:
        assert set(now.state) == {"room", "inventory", "history"}
        assert now.state["room"] and now.text and not now.truncated
        assert bool(now.actions) != now.terminated
        assert list(now.actions) == sorted(set(now.actions))
        assert not META & {action.split()[0] for action in now.actions if action != "q"}
    assert wander(world, 5, 4) == seen
    assert wander(open_game(which), 5, 4) == seen


@pytest.mark.parametrize(("which", "seed", "best"), [("detective", 1, 360), ("library", 1, 30)])
def test_the_walkthrough_reaches_the_highest_score(
    games: Path, open_game: Open, which: str, seed: int, best: int
) -> None:
    world = open_game(which)
    now = world.reset(seed)
    first, earned = now.score, 0.0
    for action in walkthrough(games, which):
        now = world.step(action)
        earned += now.reward
        if now.terminated:
            break
    assert now.score == best == world.max_score
    assert first + earned == best
    assert now.terminated and now.actions == ()
    with pytest.raises(WorldError, match=r"is over: call reset\(seed\)"):
        world.step("look")
    assert world.reset(seed).score == first


def test_valid_actions_cover_the_walkthrough_of_detective(games: Path, open_game: Open) -> None:
    # An action is covered if one with the same change of place, inventory and score is offered.
    world, twin = open_game("detective"), open_game("detective")
    actions = walkthrough(games, "detective")
    covered = changing = 0
    now = world.reset(1)
    for n, action in enumerate(actions[:25]):
        before, now = now, world.step(action)
        fields = ("room", "inventory")
        if all(before.state[name] == now.state[name] for name in fields) and not now.reward:
            continue
        changing += 1
        for offered in before.actions:
            twin.reset(1)
            for earlier in actions[:n]:
                twin.step(earlier)
            then = twin.step(offered)
            same = all(then.state[name] == now.state[name] for name in fields)
            if same and then.reward == now.reward:
                covered += 1
                break
    assert changing >= 20
    assert covered >= 0.95 * changing


def test_the_seed_reaches_the_interpreter(open_game: Open) -> None:
    world = open_game("zork1")

    def fight(seed: int) -> str:
        world.reset(seed)
        return "\n".join(world.step(action).text for action in TO_THE_TROLL)

    fights = [fight(seed) for seed in (1, 2, 3)]
    assert len(set(fights)) > 1
    assert fight(1) == fights[0]


@pytest.mark.parametrize(("which", "seed"), [("zork1", 12), ("detective", 3)])
def test_looking_around_leaves_the_game_as_it_was(
    games: Path, open_game: Open, which: str, seed: int
) -> None:
    import jericho

    (path,) = games.glob(f"{which}.z?")
    bare = jericho.FrotzEnv(str(path), seed)
    text, info = bare.reset()
    world = open_game(which)
    now = world.reset(seed)
    assert (now.text, now.score) == (_clean(text), info["score"])
    for action in TO_THE_TROLL if which == "zork1" else walkthrough(games, which)[:20]:
        text, reward, over, info = bare.step(action)
        now = world.step(action)
        assert (now.text, now.score) == (_clean(text), info["score"])
        assert (now.reward, now.terminated) == (reward, over)


def test_a_cache_changes_nothing_but_the_time(open_game: Open, tmp_path: Path) -> None:
    file = tmp_path / "actions.db"
    uncached = wander(open_game("detective", ""), 8, 12)
    first = open_game("detective", file)
    assert wander(first, 8, 12) == uncached
    second = open_game("detective", file)
    assert wander(second, 8, 12) == uncached
    assert second.seconds["actions"] < first.seconds["actions"] / 3


def test_what_was_searched_before_does_not_matter(open_game: Open) -> None:
    fresh, used = open_game("detective", ""), open_game("detective", "")
    wander(used, 9, 15)
    assert wander(used, 4, 6) == wander(fresh, 4, 6)


def test_worlds_do_not_disturb_each_other(open_game: Open) -> None:
    names = ("detective", "zork1", "detective")
    alone = [wander(open_game(name), seed, 5) for seed, name in enumerate(names, 1)]
    worlds = [open_game(name) for name in names]
    draws = [random.Random(seed) for seed in (1, 2, 3)]
    together = [[world.reset(seed)] for seed, world in enumerate(worlds, 1)]
    for _ in range(5):
        for world, draw, seen in zip(worlds, draws, together, strict=True):
            seen.append(world.step(draw.choice(seen[-1].actions)))
    assert together == alone


def _played_elsewhere(games: Path) -> list[Observation]:
    world = make("detective", games=games, cache="")
    seen = wander(world, 2, 6)
    world.close()
    return seen


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_see_the_same(games: Path, open_game: Open, method: str) -> None:
    here = wander(open_game("detective", ""), 2, 6)
    with multiprocessing.get_context(method).Pool(2) as pool:
        there = pool.map(_played_elsewhere, [games, games])
    assert there == [here, here]


@pytest.mark.parametrize("seed", [0, -1, 2**31, True, 1.0, "1", None])
def test_a_seed_that_cannot_be_is_refused(open_game: Open, seed: object) -> None:
    with pytest.raises(InvalidValue, match=r"seed must be an integer in \[1, 2147483647\]"):
        open_game("detective").reset(seed)  # type: ignore[arg-type]


def test_stepping_out_of_turn_is_refused(open_game: Open) -> None:
    world = open_game("detective")
    with pytest.raises(WorldError, match=r"call reset\(seed\) first"):
        world.step("look")
    world.reset(1)
    for action in (None, 3, b"look"):
        with pytest.raises(InvalidValue, match="action must be a string"):
            world.step(action)  # type: ignore[arg-type]
    world.close()
    world.close()
    for use in (lambda: world.step("look"), lambda: world.reset(1)):
        with pytest.raises(WorldError, match="is closed"):
            use()


@pytest.mark.parametrize(
    "action", ["quit", "Q", " save ", "look. restart", "north then save", "script on", "undo"]
)
def test_commands_to_the_interpreter_change_nothing(
    open_game: Open, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = open_game("zork1")
    before = world.reset(1)
    after = world.step(action)
    assert "nothing happened" in after.text
    assert (after.state, after.actions, after.score) == (before.state, before.actions, before.score)
    assert after.reward == 0.0 and not after.terminated
    assert list(tmp_path.iterdir()) == []
    assert "North of House" in world.step("north").text


@pytest.mark.parametrize(
    "action",
    [
        "",
        "\n",
        "look\nnorth",
        "\\w",
        "\\X",
        "\\help",
        "#record",
        "a" * 5000,
        "take " * 1000,
        "caf\u00e9 \u4e16",
        "\0",
    ],
)
def test_any_text_is_safe(
    open_game: Open, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = open_game("zork1")
    world.reset(1)
    now = world.step(action)
    assert not now.terminated and now.actions
    assert list(tmp_path.iterdir()) == []
    world.step("north")


@pytest.mark.parametrize("which", ["detective", "zork1"])
def test_a_long_line_does_not_reach_beyond_the_game_s_line_buffer(
    open_game: Open, which: str
) -> None:
    # The interpreter does not check: what is too long overwrites the parser's memory, and the
    # process may crash many commands later.
    world = open_game(which)
    world.reset(1)
    engine = world._engine
    assert engine is not None
    start = engine.save()
    engine.send("zzzz " * 60)
    ram = engine.save().ram
    line = ram.index(b"zzzz zzzz zzzz zzzz")
    size = ram[line - (1 if which == "zork1" else 2)]
    assert engine.longest < size
    behind = slice(line + engine.longest, line + size)
    assert ram[behind] == start.ram[behind]


@pytest.mark.parametrize("which", ["detective", "zork1"])
def test_the_standard_state_has_the_actions_of_the_state(open_game: Open, which: str) -> None:
    world = open_game(which)
    engine, search = world._engine, world._search
    assert engine is not None and search is not None
    draw, now = random.Random(3), world.reset(3)
    for _ in range(8):
        now = world.step(draw.choice(now.actions))
        if now.terminated:
            break
        assert search.valid_actions(engine.save()) == now.actions


def test_a_menu_can_be_left(open_game: Open) -> None:
    world = open_game("library")
    world.reset(1)
    now = world.step("help")
    for _ in range(5):
        if now.actions != ("q",):
            break
        now = world.step("q")
    assert now.actions != ("q",)
    assert "Lobby" in now.state["room"]


def test_the_search_leaves_the_machine_as_it_found_it(open_game: Open) -> None:
    world = open_game("zork1", "")
    world.reset(1)
    engine, search = world._engine, world._search
    assert engine is not None and search is not None
    before = engine.save()
    first = search.valid_actions(search.standard(before))
    assert engine.save() == before
    assert search.valid_actions(search.standard(before)) == first
