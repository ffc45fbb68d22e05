"""The learner over many episodes: side by side, again, and whether it learns."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_kit import BOTH, HALL, NORTH, PRESETS, play, stored

from jitrl import Candidate, Learner, State
from jitrl.errors import JitrlError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


# --- side by side ---------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_an_episode_sees_the_memory_as_it_was_when_it_began(preset):
    learner = Learner(preset=preset, seed=1)
    state = State(room="hall", url="a", history="b", task="c")
    for _ in range(3):
        play(learner, [1.0, 0.0], state=state)
    alone = Learner(preset=preset, seed=1)
    for _ in range(3):
        play(alone, [1.0, 0.0], state=state)
    early, undisturbed = learner.episode(number=9), alone.episode(number=9)
    for i in range(6):
        play(learner, [5.0, -5.0], state=state)
        play(learner, [5.0], state=State(room=f"new {i}", strange="field"))
        decision, expected = early.choose(state, BOTH), undisturbed.choose(state, BOTH)
        assert repr(decision.after) == repr(expected.after)
        assert decision.action == expected.action
        assert len(decision.neighbours) == len(expected.neighbours)
        early.record(0.0)
        undisturbed.record(0.0)
    assert len(learner.episode().choose(state, BOTH).neighbours) > len(expected.neighbours)


def test_episodes_of_several_threads_do_not_disturb_each_other(path):
    threads, rounds, length = 6, 4, 3
    together = threading.Barrier(threads)
    failures = []
    with Learner(path, k=None) as learner:

        def work(name):
            try:
                for turn in range(rounds):
                    episode = learner.episode(f"{name}", id=f"{name}-{turn}")
                    together.wait(60)  # all are open: nobody sees what ends in this round
                    with episode:
                        for t in range(length):
                            decision = episode.choose(HALL, BOTH)
                            assert len(decision.neighbours) == threads * length * turn
                            together.wait(60)
                            episode.record(float(t), state=State(room=f"{name}"))
                    together.wait(60)
            except BaseException as error:  # noqa: BLE001  (reported below)
                failures.append(error)
                together.abort()

        workers = [threading.Thread(target=work, args=(name,)) for name in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failures == []
        found = stored(learner)
        ids = [f"{name}-{turn}" for name in range(threads) for turn in range(rounds)]
        assert sorted(episode.id for episode in found) == sorted(ids)
        for episode in found:
            assert [step.reward for step in episode.steps] == [0.0, 1.0, 2.0]
            assert episode.final_state == State(room=episode.task)
        numbers = sorted(int(episode.provenance["number"]) for episode in found)
        assert numbers == list(range(threads * rounds))


def test_a_decision_is_the_same_whatever_other_threads_store_meanwhile():
    fixed = {"provenance": {"run": "r"}, "clock": lambda: 0.0}
    learner, alone = (Learner(seed=2, **fixed) for _ in range(2))
    for one in (learner, alone):
        for i in range(10):
            play(one, [float(i % 3)] * 3, number=i, id=f"{i}")
    expected = []
    with alone.episode(number=50) as episode:
        for _ in range(60):
            expected.append(episode.choose(HALL, BOTH))
            episode.record(0.0)
    begun, stop = threading.Event(), threading.Event()

    def store():
        for i in range(100, 10_000):
            play(learner, [9.0], state=State(room=f"hall {i}"), number=i)
            play(learner, [9.0], number=i)
            begun.set()
            if stop.is_set():
                return

    episode = learner.episode(number=50)
    worker = threading.Thread(target=store)
    worker.start()
    begun.wait()
    try:
        for wanted in expected:
            assert episode.choose(HALL, BOTH) == wanted
            episode.record(0.0)
    finally:
        stop.set()
        worker.join()
    assert len(learner.memory) > 10


def test_episodes_of_several_tasks_do_not_disturb_each_other():
    tasks, length = 5, 3
    learner = Learner(k=None)

    async def work(name, together, turn):
        with learner.episode(f"{name}") as episode:
            await together.wait()
            for t in range(length):
                decision = episode.choose(HALL, BOTH)
                assert len(decision.neighbours) == tasks * length * turn
                await together.wait()
                episode.record(float(t))

    async def everything():
        for turn in range(3):
            together = asyncio.Barrier(tasks)
            await asyncio.gather(*(work(name, together, turn) for name in range(tasks)))

    asyncio.run(everything())
    assert len(stored(learner)) == 3 * tasks
    assert all([s.reward for s in found.steps] == [0.0, 1.0, 2.0] for found in stored(learner))


# --- again ----------------------------------------------------------------------------


def walk(open_learner, episodes, *, reopen):
    """Every decision of some episodes in a small maze; the learner is closed in between, or not."""
    rooms = ["hall", "cellar", "attic", "garden"]
    decisions = []
    learner = open_learner()
    for number in range(episodes):
        if reopen and number:
            learner.close()
            learner = open_learner()
        with learner.episode("maze") as episode:
            for t in range(6):
                room = State(room=rooms[(number * 7 + t) % 4], inventory="lamp")
                decision = episode.choose(room, [*BOTH, Candidate(f"go {t % 3}", -2.0)])
                decisions.append((decision.action, decision.before, decision.after, decision.kl))
                episode.record(float(len(decision.action) % 3) - 1.0)
    learner.close()
    return decisions


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_and_inputs_give_the_same_decisions_resumed_or_not(tmp_path, preset):
    unbroken = walk(lambda: Learner(tmp_path / "a.db", preset, seed=5), 12, reopen=False)
    resumed = walk(lambda: Learner(tmp_path / "b.db", preset, seed=5), 12, reopen=True)
    in_ram = walk(lambda: Learner(None, preset, seed=5), 12, reopen=False)
    assert unbroken == resumed == in_ram
    assert any(kl > 0 for *_, kl in unbroken)


def test_another_seed_gives_other_decisions():
    walks = {str(walk(lambda seed=seed: Learner(seed=seed), 4, reopen=False)) for seed in range(5)}
    assert len(walks) == 5


def test_draws_of_different_seeds_and_episodes_are_independent():
    even = [Candidate("a"), Candidate("b")]
    chosen = np.array(
        [
            [
                Learner(seed=seed).episode(number=n).choose(HALL, even).action == "a"
                for n in range(40)
            ]
            for seed in range(40)
        ],
        dtype=float,
    )
    assert abs(chosen.mean() - 0.5) < 0.05
    assert np.abs(chosen.mean(axis=0) - 0.5).max() < 0.35
    assert np.abs(chosen.mean(axis=1) - 0.5).max() < 0.35
    for other in (chosen[1:, :], chosen[:, 1:]):  # next seed, next episode
        here = chosen[: other.shape[0], : other.shape[1]]
        assert abs(np.corrcoef(here.ravel(), other.ravel())[0, 1]) < 0.1


def test_episodes_are_numbered_on_from_those_in_the_memory(path):
    with Learner(path) as learner:
        assert [play(learner, [1.0]).number for _ in range(3)] == [0, 1, 2]
        assert play(learner, [1.0], number=10).number == 10
        assert play(learner, [1.0], number=4).number == 4
        assert play(learner, [1.0]).number == 11
    with Learner(path) as learner:
        assert learner.episode().number == 6


REFUSED = {
    "no candidates": lambda episode, state: episode.choose(state, []),
    "no state": lambda episode, state: episode.choose(None, BOTH),
    "a scorer that breaks": lambda episode, state: episode.choose(state, BOTH, lambda a: 1 / 0),
    "a scorer of nothing": lambda episode, state: episode.choose(state, BOTH, lambda a: None),
    "a scorer of nan": lambda episode, state: episode.choose(
        state, BOTH, lambda a: dict.fromkeys(a, math.nan)
    ),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED.keys())
def test_a_choice_that_failed_draws_nothing(preset, attempt):
    state = State(room="hall", url="u", history="h", task="t")
    decisions = []
    for failing in (True, False):
        learner = Learner(preset=preset, seed=3)
        for i in range(8):
            others = [Candidate("east"), Candidate("west"), NORTH]
            play(learner, [float(i % 3), 1.0], state=state, candidates=others)
        episode = learner.episode()
        for _ in range(5):
            if failing:
                with pytest.raises((JitrlError, ZeroDivisionError)):
                    attempt(episode, state)
            decision = episode.choose(state, BOTH)
            decisions.append((decision.action, decision.before, decision.after))
            episode.record(0.0)
    assert decisions[:5] == decisions[5:]


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hall", "cellar", ""]),
            st.floats(-10, 10),
            st.dictionaries(st.sampled_from("abcd"), st.floats(-5, 5), min_size=1),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(PRESETS),
    st.integers(0, 3),
)
def test_whatever_is_played_is_stored_as_it_was_decided(moves, preset, seed):
    learner = Learner(preset=preset, seed=seed)
    for _ in range(2):
        decisions = []
        with learner.episode() as episode:
            for room, reward, logprobs in moves:
                candidates = [Candidate(a, z) for a, z in logprobs.items()]
                decisions.append(episode.choose(State(room=room), candidates))
                episode.record(reward)
        found = stored(learner)[-1]
        for step, decision, move in zip(found.steps, decisions, moves, strict=True):
            assert decision.action in decision.after
            assert step.reward == move[1]
            assert (step.state, step.action) == (decision.state, decision.action)
            assert (step.before, step.after) == (decision.before, decision.after)
            assert step.behaviour_logprob == decision.behaviour_logprob <= 0.0
            assert sum(step.after.values()) == pytest.approx(1.0)


# --- it learns ------------------------------------------------------------------------


def bandit(arms):
    """A world of one state: the reward of arm i grows with i; returns it with the best action."""

    def episode(live):
        for _ in range(3):
            candidates = [Candidate(f"pull arm {i}") for i in range(arms)]
            decision = live.choose(State(room="a room with arms"), candidates)
            yield decision.action == f"pull arm {arms - 1}"
            live.record(int(decision.action[-1]) / (arms - 1))

    return episode


def chain(live):
    """Five cells in a row; the reward waits at the right end."""
    cell = 0
    for _ in range(20):
        candidates = [Candidate("left"), Candidate("right")]
        decision = live.choose(State(room=f"cell {cell}"), candidates)
        yield decision.action == "right"
        cell = max(0, cell - 1) if decision.action == "left" else cell + 1
        live.record(float(cell == 4), terminated=cell == 4)
        if cell == 4:
            return


def rate(world, seeds, **keywords):
    """The share of best actions in the last twenty of sixty episodes."""
    best = []
    for seed in range(seeds):
        learner = Learner(seed=seed, **keywords)
        for number in range(60):
            with learner.episode() as live:
                right = list(world(live))
            best += right if number >= 40 else []
    return sum(best) / len(best)


@pytest.mark.parametrize(
    ("world", "chance"), [(bandit(2), 0.5), (bandit(5), 0.2), (chain, 0.5)], ids=["2", "5", "chain"]
)
@pytest.mark.parametrize(
    "keywords", [{}, {"preset": "paper", "beta": 5.0}], ids=["default", "paper"]
)
def test_the_best_action_is_found(world, chance, keywords):
    static = rate(world, 5, frozen=True)
    learned = rate(world, 5, **keywords)
    assert static == pytest.approx(chance, abs=0.1)
    assert learned > static + 0.2


# --- what is imported -----------------------------------------------------------------


def test_importing_jitrl_imports_nothing_heavy():
    heavy = ["typer", "rich", "matplotlib", "textworld", "jericho", "scipy", "torch", "jitrl.cli"]
    program = (
        f"import jitrl, sys, json; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
