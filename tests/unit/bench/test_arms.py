"""The arms of a comparison: each carries what it says, through kills too; placebos do nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from folders import Interrupting, log_of
from language_kit import MODEL, Opener, corridor, says

from jitrl.agents import arms
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, find, read
from jitrl.bench.language import Access
from jitrl.bench.runner import open_world, run
from jitrl.errors import BadRun, InvalidValue, ModelUnavailable, UnknownName
from jitrl.learner import Learner
from jitrl.memory import open as open_memory
from jitrl.models import Request

TOLD = ("memory", "reflexion", "awm", "evotest", "jitrl-in-prompt")
ASKING = {"reflexion": "reflect", "awm": "induce", "evotest": "evolve"}
CHOICES = {"episodes": 5, "steps": 6}


def carrying(request: Request) -> str:
    """Play as the player does, and say of each episode which one it was."""
    told = {
        "reflect": "Thought {n}.",
        "induce": "1. Routine {n}: go east.",
        "evolve": json.dumps({"prompt": "Guide {n}.", "temperature": 0.5, "phrases": ["coin"]}),
    }
    if (text := told.get(request.purpose.role)) is not None:
        return text.replace("{n}", str(request.purpose.episode))
    return says(request)


def played(path: Path, agent: str, say: Callable[[Request], str] = carrying, **choices) -> Opener:
    opener = Opener(say)
    corridor(path, Access(opener=opener), agent=agent, **(CHOICES | choices))
    return opener


def advice(opener: Opener, episode: int) -> str:
    """What the model is told of earlier episodes at the first step of one."""
    (first,) = [
        request.messages[-1].content
        for request in opener.requests
        if (request.purpose.role, request.purpose.episode, request.purpose.t) == ("act", episode, 0)
    ]
    if "From earlier episodes:\n" not in first:
        return ""
    return first.split("From earlier episodes:\n")[1].split("\n\nThe beginning:")[0]


def carried(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / "carried.jsonl").read_bytes().splitlines()]


def steps(path: Path) -> list[dict]:
    """The steps of a run but for the name of the run."""
    found = [json.loads(line) for line in (path / "steps.jsonl").read_bytes().splitlines()]
    return [{name: held for name, held in step.items() if name != "id"} for step in found]


def test_the_arms_are_those_of_the_method_and_an_unknown_one_is_named() -> None:
    assert {*TOLD, "static", "jitrl", "null", "shuffled"} <= set(arms.names())
    with pytest.raises(UnknownName, match="evotest"):
        arms.make("evo")


@pytest.mark.parametrize("agent", TOLD)
def test_what_is_told_needs_a_model_to_tell(agent: str) -> None:
    with pytest.raises(InvalidValue, match="needs a model to tell"):
        Configuration("corridor:3", agent=agent)
    with pytest.raises(InvalidValue, match="must be 1 for"):
        Configuration("locks:4", agent=agent, model=MODEL, scores="stated", workers=2)


# What the prompts hold


def test_transcripts_are_told_oldest_first_and_the_oldest_goes_where_they_are_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = played(tmp_path / "run", "memory")
    assert advice(opener, 0) == ""
    assert re.findall(r"^Episode \d+\.", advice(opener, 3), re.M) == [
        f"Episode {n}." for n in (1, 2, 3)
    ]
    kept = [line["note"]["transcript"] for line in carried(tmp_path / "run")]
    assert all(text in advice(opener, 3) for text in kept[:3])
    assert "It ended after" in kept[0]
    monkeypatch.setattr("jitrl.agents.arms.memory.ROOM", len(kept[1]) + len(kept[2]) + 5)
    opener = played(tmp_path / "short", "memory")
    assert kept[0] not in advice(opener, 3)
    assert kept[1] in advice(opener, 3) and kept[2] in advice(opener, 3)
    assert {request.purpose.role for request in opener.requests} == {"act"}


def test_the_last_three_reflections_are_told_and_a_solved_episode_has_none(tmp_path: Path) -> None:
    opener = played(tmp_path / "run", "reflexion")
    assert [advice(opener, n) for n in (0, 1)] == ["", "- Thought 0."]
    assert advice(opener, 4) == "- Thought 1.\n- Thought 2.\n- Thought 3."
    asked = [r for r in opener.requests if r.purpose.role == "reflect"]
    assert [r.purpose.episode for r in asked] == [0, 1, 2, 3, 4]
    assert "> " in asked[0].messages[-1].content and asked[0].temperature == 0.0
    assert "- Thought 0." in asked[1].messages[-1].content
    world = open_world(Configuration("corridor:3"))
    world.max_score = 0.0  # so that every episode is the best possible
    what = Configuration(
        "corridor:3", agent="reflexion", model=MODEL, scores="stated", episodes=2, steps=4
    )
    solved = Opener(carrying)
    run(what, tmp_path / "solved", world, access=Access(opener=solved))
    assert not [r for r in solved.requests if r.purpose.role == "reflect"]
    assert [line["note"] for line in carried(tmp_path / "solved")] == [None, None]


def test_a_workflow_replaces_the_old_one_after_episodes_that_earned_something(
    tmp_path: Path,
) -> None:
    opener = played(tmp_path / "run", "awm")
    notes = carried(tmp_path / "run")
    ends = log_of(tmp_path / "run")[1]
    earned = [end["score"] > end["start_score"] for end in ends]
    assert [note["note"] is not None for note in notes] == earned and True in earned
    last = max(n for n in range(4) if earned[n])
    assert advice(opener, 4) == f"Routines that worked:\n1. Routine {last}: go east."
    asked = [r for r in opener.requests if r.purpose.role == "induce"]
    assert len(asked) == sum(earned)
    if len(asked) > 1:
        assert f"1. Routine {asked[0].purpose.episode}" in asked[1].messages[-1].content


def test_a_configuration_is_evolved_and_in_force_for_a_whole_episode(tmp_path: Path) -> None:
    opener = played(tmp_path / "run", "evotest")
    assert all(line["note"] is not None for line in carried(tmp_path / "run"))
    assert "Guide 0." in advice(opener, 1)
    for episode in range(1, 5):
        told = {
            line
            for request in opener.requests
            if (request.purpose.role, request.purpose.episode) == ("act", episode)
            for line in request.messages[-1].content.splitlines()
            if line.startswith("Guide")
        }
        assert len(told) <= 1
    found = find_all(tmp_path / "run")
    plain, cold = found[0, 0].decision.before, found[1, 0].decision.before
    assert max(cold.values()) >= max(plain.values())  # 0.5 sharpens what 1 leaves as it is


def stored(path: Path) -> int:
    """How many episodes the memory of a run holds."""
    with closing(open_memory(path / "memory.db")) as held:
        return len(held)


def find_all(path: Path) -> dict:
    places = {(n, t) for n in range(9) for t in range(9)}
    return find(read(path), places)


def test_facts_are_told_and_shift_nothing(tmp_path: Path) -> None:
    opener = played(tmp_path / "run", "jitrl-in-prompt", episodes=8)
    texts = [r.messages[-1].content for r in opener.requests if r.purpose.episode == 7]
    assert any("What came of the actions that were taken there" in text for text in texts)
    for step in find_all(tmp_path / "run").values():
        decision = step.decision
        assert decision.before == decision.after and decision.kl == 0.0
        assert not decision.changed
    assert stored(tmp_path / "run") == 8


# Kills, replays, failures


@pytest.mark.parametrize("agent", [*TOLD, "shuffled", "null"])
@pytest.mark.parametrize("after", [1, 6, 13])
def test_a_run_broken_off_anywhere_carries_on_to_the_byte(
    tmp_path: Path, agent: str, after: int
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    first = played(whole, agent)
    what = Configuration("corridor:3", agent=agent, model=MODEL, scores="stated", **CHOICES)
    with pytest.raises(KeyboardInterrupt):
        access = Access(opener=Opener(carrying))
        run(what, broken, open_world(what), access=access, listener=Interrupting(after))
    second = played(broken, agent, resume=True)
    assert log_of(broken) == log_of(whole)
    if agent in TOLD:
        assert carried(broken) == carried(whole)
        assert advice(second, 4) == advice(first, 4)


@pytest.mark.parametrize("agent", TOLD)
def test_a_replay_gives_the_same_bytes(tmp_path: Path, agent: str) -> None:
    tape = tmp_path / "tape"
    opener = Opener(carrying)
    corridor(tmp_path / "run", Access(opener=opener, record=tape), agent=agent, **CHOICES)
    corridor(tmp_path / "again", Access(replay=tape), agent=agent, **CHOICES)
    assert log_of(tmp_path / "again") == log_of(tmp_path / "run")
    for name in ("carried.jsonl", "steps.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize("agent", sorted(ASKING))
def test_a_model_that_fails_after_an_episode_costs_what_it_would_have_taught(
    tmp_path: Path, agent: str
) -> None:
    def failing(request: Request) -> str:
        if request.purpose.role == ASKING[agent] and request.purpose.episode in (0, 1, 2):
            if request.purpose.episode:
                return ""
            raise ModelUnavailable("it is away: call again")
        return carrying(request)

    played(tmp_path / "run", agent, failing)
    ends = log_of(tmp_path / "run")[1]
    assert len(ends) == 5
    lost = [bool(end.get("unlearned")) for end in ends]
    assert True in lost and lost[3:] == [False, False]
    for end, line in zip(ends, carried(tmp_path / "run"), strict=True):
        assert not end.get("unlearned") or line["note"] is None


# Placebos


@pytest.mark.parametrize("preset", ["default", "paper", "released"])
@pytest.mark.parametrize("world", ["corridor:5", "locks:4"])
def test_null_is_static_bit_for_bit_and_stores(tmp_path: Path, preset: str, world: str) -> None:
    for agent in ("static", "null"):
        what = Configuration(world, agent=agent, preset=preset, episodes=4, steps=8)
        if world.startswith("locks"):
            what = Configuration(world, agent=agent, preset=preset, attempts=2, steps=8)
        run(what, tmp_path / agent, open_world(what))
    assert steps(tmp_path / "null") == steps(tmp_path / "static")
    assert stored(tmp_path / "null") > 0


def test_null_is_static_with_a_model_too(tmp_path: Path) -> None:
    for agent in ("static", "null"):
        played(tmp_path / agent, agent)
    assert steps(tmp_path / "null") == steps(tmp_path / "static")


def test_shuffled_permutes_returns_and_nothing_else(
    tmp_path: Path, play: Callable[..., Run]
) -> None:
    found = play(tmp_path / "run", agent="shuffled", episodes=6, steps=12)
    true = returns_in(found.memory)
    seen: dict[int, dict[tuple[str, int], float]] = {}
    for (number, _), step in find_all(tmp_path / "run").items():
        for near in step.decision.neighbours:
            told = seen.setdefault(number, {})
            place = (near.episode, near.t)
            assert told.setdefault(place, near.return_) == near.return_  # fixed in an episode
    assert len(seen) > 1
    known = Counter(true.values())
    assert all(not Counter(told.values()) - known for told in seen.values())
    assert any(told[place] != true[place] for told in seen.values() for place in told)


def returns_in(memory: str) -> dict[tuple[str, int], float]:
    """(episode, step) -> its return, of all that a memory holds."""
    with closing(open_memory(memory)) as held, Learner(memory, frozen=True) as learner:
        return {
            (episode.id, t): value
            for episode in held.episodes()
            for t, value in enumerate(
                learner.returns(
                    np.array([step.reward for step in episode.steps]),
                    np.full(len(episode.steps), np.nan),
                ).tolist()
            )
        }


# What a run begins with


def contents(path: Path) -> dict[str, bytes]:
    """The files of a run, but for what SQLite keeps beside a memory that is looked at."""
    files = [file for file in path.iterdir() if file.is_file()]
    return {f.name: f.read_bytes() for f in files if not f.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_begins_with_what_another_left_which_stays_as_it_was(
    tmp_path: Path, frozen: bool
) -> None:
    for agent in ("jitrl", "memory"):
        first, second = tmp_path / f"{agent}-1", tmp_path / f"{agent}-2"
        played(first, agent)
        before = contents(first)
        opener = played(second, agent, start=str(first), frozen=frozen, episodes=2)
        assert contents(first) == before
        if agent == "memory":
            known = [line["note"]["transcript"] for line in carried(first)]
            assert known[-1] in advice(opener, 0)
            later = carried(second)[0]["note"]
            assert (later is None) == frozen
        else:
            assert stored(second) == 5 + (0 if frozen else 2)


def test_what_a_run_may_not_begin_with_is_refused(tmp_path: Path) -> None:
    played(tmp_path / "static", "static")
    played(tmp_path / "jitrl", "jitrl")
    with pytest.raises(InvalidValue, match="of a run with a memory, not of static"):
        played(tmp_path / "a", "jitrl", start=str(tmp_path / "static"))
    with pytest.raises(InvalidValue, match="of a run of awm, not of jitrl"):
        played(tmp_path / "b", "awm", start=str(tmp_path / "jitrl"))
    with pytest.raises(BadRun, match="no run folder"):
        played(tmp_path / "c", "jitrl", start=str(tmp_path / "nowhere"))
    with pytest.raises(InvalidValue, match="needs a start"):
        Configuration("corridor:3", frozen=True)
    with pytest.raises(InvalidValue, match="carries nothing"):
        Configuration("corridor:3", agent="static", start="x")


def test_a_run_that_began_with_another_is_not_continued_with_a_third(tmp_path: Path) -> None:
    for seed in (0, 1):
        played(tmp_path / str(seed), "jitrl", seed=seed)
    played(tmp_path / "run", "jitrl", start=str(tmp_path / "0"))
    with pytest.raises(BadRun, match="another start"):
        played(tmp_path / "run", "jitrl", start=str(tmp_path / "1"), resume=True, episodes=6)
    played(tmp_path / "run", "jitrl", start=str(tmp_path / "0"), resume=True, episodes=6)
