"""The placebos: what is stored and never read, and what is read with returns of other steps."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from arms_kit import SUITE, play, talks
from folders import Interrupting, log_of
from language_kit import Opener

from jitrl.agents.arms.shuffled import Shuffled
from jitrl.bench.folder import find
from jitrl.bench.language import Access
from jitrl.learner import Learner
from jitrl.memory import SqliteMemory
from jitrl.records import Candidate, Episode, Experience, State
from jitrl.similarity import Field

WORLDS: dict[str, dict[str, object]] = {"corridor": {"episodes": 6, "steps": 10}, "locks": SUITE}
EVERYTHING = {"threshold": 0.0, "k": None, "fields": [Field("room")]}


def without_names(path: Path) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Return the log of a run without the ids, which name the agent."""
    steps = [json.loads(line) for line in (path / "steps.jsonl").read_bytes().splitlines()]
    _, episodes = log_of(path)
    for line in (*steps, *episodes):
        del line["id"]
    return steps, episodes


def stored(path: Path) -> list[Episode]:
    with closing(SqliteMemory(path / "memory.db", readonly=True)) as memory:
        return list(memory.episodes())


# --- null -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["without", "with"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("preset", ["default", "paper", "released"])
def test_null_is_static_bit_for_bit(tmp_path: Path, preset: str, world: str, model: str) -> None:
    choices = {"preset": preset, "seed": 2, **WORLDS[world]}
    for agent in ("static", "null", "jitrl"):
        access = Access(opener=Opener(talks)) if model == "with" else None
        play(tmp_path / agent, access, agent=agent, **choices)
    assert without_names(tmp_path / "null") == without_names(tmp_path / "static")
    assert without_names(tmp_path / "null") != without_names(tmp_path / "jitrl")


def test_null_has_a_memory_of_all_that_it_did(tmp_path: Path) -> None:
    run = play(tmp_path / "run", agent="null", **WORLDS["corridor"])
    assert [episode.id for episode in stored(tmp_path / "run")] == [e.id for e in run.episodes]
    assert [len(e.steps) for e in stored(tmp_path / "run")] == [e.steps for e in run.episodes]


# --- shuffled ---------------------------------------------------------------------------------


def remembering(path: Path, episodes: int = 4) -> None:
    """Store episodes in which no two steps have the same return."""
    with Learner(str(path), seed=0) as learner:
        for number in range(episodes):
            with learner.episode("cave", number=number) as episode:
                for t in range(5):
                    episode.choose(State(room=f"a cave {t}"), [Candidate(f"go {t}", 0.0)])
                    episode.record(number + t / 7)


def all_of(learner: Learner, t: int = 0) -> list[Experience]:
    """Return every remembered step, as it would be retrieved in a state that is like all."""
    return learner.neighbours(State(room="a cave"), t, learner._index.refresh())


def returns(found: list[Experience]) -> dict[tuple[str, int], float]:
    return {(step.episode, step.t): step.return_ for step in found}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    remembering(tmp_path / "memory.db")
    return tmp_path / "memory.db"


def opened(kind: type[Learner], path: Path, seed: int = 0) -> Learner:
    return kind(str(path), seed=seed, frozen=True, **EVERYTHING)


def test_shuffled_finds_what_is_there_with_the_returns_of_other_steps(path: Path) -> None:
    with opened(Learner, path) as plain, opened(Shuffled, path) as shuffled:
        shuffled.episode("cave", number=4)
        true, permuted = all_of(plain), all_of(shuffled)
    assert len(true) == 20
    for one, other in zip(true, permuted, strict=True):
        assert (one.state, one.action, one.similarity) == (
            other.state,
            other.action,
            other.similarity,
        )
    assert Counter(returns(true).values()) == Counter(returns(permuted).values())
    assert returns(true) != returns(permuted)


def test_a_permutation_holds_for_an_episode_and_another_one_for_the_next(path: Path) -> None:
    with opened(Shuffled, path) as shuffled:
        found = []
        for number in (4, 5):
            shuffled.episode("cave", number=number)
            found.append(returns(all_of(shuffled)))
            assert all(returns(all_of(shuffled, t)) == found[-1] for t in range(3))
        assert found[0] != found[1]
        shuffled.episode("cave", number=4)
        assert returns(all_of(shuffled)) == found[0]
    with opened(Shuffled, path) as again, opened(Shuffled, path, seed=1) as other:
        for learner in (again, other):
            learner.episode("cave", number=4)
        assert returns(all_of(again)) == found[0] != returns(all_of(other))


def test_what_shuffled_stores_is_what_happened(tmp_path: Path) -> None:
    run = play(tmp_path / "run", agent="shuffled", **WORLDS["corridor"])
    places = {(n, t) for n in range(6) for t in range(10)}
    logged = find(run, places)
    for number, episode in enumerate(stored(tmp_path / "run")):
        for t, step in enumerate(episode.steps):
            assert (step.action, step.reward) == (
                logged[number, t].decision.action,
                logged[number, t].reward,
            )
    assert any(step.decision.kl > 0 for step in logged.values())


@pytest.mark.parametrize("after", [7, 23, 31])
def test_a_shuffled_run_broken_off_is_continued_with_the_same_permutations(
    tmp_path: Path, after: int
) -> None:
    choices = {"agent": "shuffled", "preset": "paper", **WORLDS["corridor"]}
    play(tmp_path / "whole", **choices)
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path / "run", listener=Interrupting(after), **choices)
    play(tmp_path / "run", resume=True, **choices)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
