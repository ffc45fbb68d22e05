"""A judged episode from the first step to the learner that reads it; a judge that fails, later."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from jitrl import Candidate, Learner, Scores, State
from jitrl.agents.player import play
from jitrl.credit.judge import ModelJudge
from jitrl.errors import ModelUnavailable
from jitrl.memory import SqliteMemory
from jitrl.models import Capabilities, Completion, Reply, Usage
from jitrl.records import Observation, Situation, Turn


class Corridor:
    """Three steps to the east, and the last one pays."""

    name = "corridor"
    max_score = 1.0
    reward_range = (0.0, 1.0)

    def __init__(self):
        self.seconds = {"total": 0.0, "actions": 0.0}

    def reset(self, seed):
        self.place = 0
        return self.look()

    def step(self, action):
        self.place += 1
        return self.look(reward=float(self.place == 3))

    def look(self, reward=0.0):
        over = self.place == 3
        return Observation(
            state=State(room=str(self.place)),
            text=f"You are at {self.place}.",
            actions=() if over else ("east",),
            reward=reward,
            score=float(over),
            terminated=over,
        )

    def close(self):
        pass


class East:
    async def propose(self, situation, rng):
        return Scores((Candidate("east"),), "given")


class Judges:
    """Scores step t with t + 1, or does not answer."""

    name = "test/judges"
    capabilities = Capabilities()

    def __init__(self, up=True):
        self.up = up

    async def complete(self, request):
        if not self.up:
            raise ModelUnavailable("the server is down: start it")
        listed = re.findall(r"these steps: ([\d, ]+)", request.messages[-1].content)[-1]
        entries = [{"step": int(t), "why": "", "score": int(t) + 1} for t in listed.split(", ")]
        return Reply((Completion(json.dumps({"scores": entries})),), Usage(calls=1), self.name)


def played(learner, judge):
    return asyncio.run(
        play(Corridor(), learner, East(), steps=9, number=0, id="e", judge=ModelJudge(judge))
    )


@pytest.fixture
def memory():
    return SqliteMemory()


def returns(memory, **settings):
    learner = Learner(memory, min_evidence=1, gamma=0.0, **settings)
    found = [
        learner.episode().choose(State(room=str(t)), [Candidate("east")]).neighbours
        for t in range(3)
    ]
    return [[one.return_ for one in neighbours] for neighbours in found]


def test_scores_are_stored_beside_rewards_the_winning_step_among_them(memory):
    assert played(Learner(memory), Judges()).unscored == 0
    (held,) = memory.episodes()
    assert [(s.reward, s.judged) for s in held.steps] == [(0.0, 1.0), (0.0, 2.0), (1.0, 3.0)]
    assert returns(memory) == [[0.0], [0.0], [1.0]]
    assert returns(memory, credit="judged") == [[1.0], [2.0], [3.0]]
    assert returns(memory, credit="mixed", judge_weight=0.5) == [[0.5], [1.0], [2.5]]


def test_an_episode_whose_judge_failed_is_stored_unscored_and_judged_later(memory, caplog):
    assert played(Learner(memory), Judges(up=False)).unscored == 3
    assert "the server is down: start it" in caplog.text
    (held,) = memory.episodes()
    assert [(s.reward, s.judged) for s in held.steps] == [(0.0, None), (0.0, None), (1.0, None)]
    assert returns(memory, credit="judged") == [[], [], []]

    world = Corridor()
    shown = [world.reset(0), *(world.step(step.action) for step in held.steps)]
    turns = [Turn(shown[t], step.action, shown[t + 1]) for t, step in enumerate(held.steps)]
    judge = ModelJudge(Judges())
    scores = asyncio.run(judge.assess(Situation("corridor", 0, 3, shown[-1], tuple(turns))))
    assert memory.judge("e", scores, judge.provenance)
    assert returns(memory, credit="judged") == [[1.0], [2.0], [3.0]]
    (held,) = memory.episodes()
    assert held.provenance.items() >= judge.provenance.items()
    assert [s.reward for s in held.steps] == [0.0, 0.0, 1.0]
