"""One episode of a world, played with a learner and a source of scores."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from jitrl.checks import count
from jitrl.errors import BadReply, InvalidValue, ModelError, NotRecorded
from jitrl.learner import Learner, LiveEpisode
from jitrl.records import Decision, Observation, Situation, Turn
from jitrl.scores import Sampler, ScoreSource
from jitrl.scores.text import executable
from jitrl.seeds import generator, integer
from jitrl.worlds import Suite, World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Played:
    """One finished episode, or an attempt that never began.

    number, id       which one; the id is that of the stored episode
    score            the world's score at the end; start_score the one it began with
    steps            taken
    terminated       the world ended; otherwise the limit of steps cut it off
    kl               nats spent over all decisions
    changed          decisions that memory turned
    abstained        decisions in which the memory stood aside
    seconds          wall-clock: "total", "world" (its steps and resets) with its part "actions"
                     (searching valid actions), "learner" (choosing, recording, storing), "model"
    stopped          the budget ended it
    unscored         steps that the judge did not score, or was not asked about for want of budget
    task             name of the task that was attempted, in a suite
    reason           what went wrong at its end, where something did
    unbegun          an attempt at a task that was over before its first step, through no fault of
                     the agent's: no result, but to be made again
    """

    number: int
    id: str
    score: float
    start_score: float
    steps: int
    terminated: bool
    kl: float
    changed: int
    abstained: int
    seconds: dict[str, float]
    stopped: bool = False
    unscored: int = 0
    task: str = ""
    reason: str = ""
    unbegun: bool = False

    @property
    def success(self) -> bool:
        """Say whether an attempt at a task of a suite succeeded."""
        return self.score >= 1


class StepListener:
    """Hears of an episode while it is played; this one does nothing with it."""

    def began(self, observation: Observation) -> None:
        """The world was reset."""

    def stepped(self, t: int, decision: Decision, after: Observation) -> None:
        """Step t was taken."""

    def judged(self, scores: tuple[float | None, ...], provenance: Mapping[str, str]) -> None:
        """The judge scored the steps, None where it did not; the episode is not stored yet."""


class Judge(Protocol):
    """Scores the steps of an episode once it is over.

    provenance  name -> text: what is kept with an episode that it scored
    """

    @property
    def provenance(self) -> Mapping[str, str]:
        """Who judges, and how."""

    async def assess(self, end: Situation) -> tuple[float | None, ...]:
        """Return a score for each of `end.turns`, None where there is none to be had.

        Raises ModelError where nothing can be scored.
        """


Summarise = Callable[[Situation], Awaitable[Situation]]
"""Returns the situation with a state, and a history, that a model wrote."""


async def play(
    world: World,
    learner: Learner,
    source: ScoreSource | Sampler,
    *,
    steps: int,
    number: int,
    id: str | None = None,
    task: str | None = None,
    summarise: Summarise | None = None,
    judge: Judge | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
    listener: StepListener | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Played:
    """Play episode `number` (>= 0) for at most `steps` (>= 1) steps, and store it.

    task       name of the task that is attempted; only in a suite: by default its first
    summarise  makes the state from what a model writes, instead of the world's own
    judge      scores the steps after the episode, before it is stored; where it fails the episode
               is stored as unscored
    may_go_on  asked before each step; where it says no the episode ends there, and is stored, but
               for an attempt at a task, which has no verdict yet; asked before the judge, where it
               leaves the episode unscored

    The world is seeded by (learner's seed, number, "world"), what the source draws comes from a
    generator of (learner's seed, number, "proposals"). An exception stores nothing; but where a
    model gives no usable reply in an attempt at a task, the attempt ends there, which is its
    failure, and is stored with that reason. An attempt that the suite cuts off at its reset never
    began: nothing is stored of it.
    """
    count("steps", steps, least=1)
    count("number", number)
    listener = listener or StepListener()
    spent = Spent(clock)
    world_before = dict(world.seconds)
    kl, changed, abstained, stopped, wrong = 0.0, 0, 0, False, ""
    rng = generator(learner.seed, number, "proposals")
    attempt, observation = _begin(world, integer(learner.seed, number, "world"), task, steps)
    label, unbegun = attempt or world.name, bool(attempt) and observation.truncated
    start_score = observation.score
    listener.began(observation)
    with spent.on("learner"):
        episode = learner.episode(label, number=number, id=id)
    turns: list[Turn] = []
    scores: tuple[float | None, ...] | None = None
    try:
        while len(turns) < steps and observation.actions and not _over(observation):
            if stopped := not may_go_on():
                break
            situation = Situation(label, number, len(turns), observation, tuple(turns))
            await asyncio.sleep(0)  # here a run that never waits can be interrupted
            try:
                if summarise is not None:
                    with spent.on("model"):
                        situation = await summarise(situation)
                decision = await _decide(situation, episode, source, rng, spent)
            except BadReply as error:
                if not attempt:
                    raise
                wrong = f"bad reply: {error}"
                break
            after = world.step(decision.action)
            with spent.on("learner"):
                episode.record(after.reward, after.terminated, after.state)
            turns.append(Turn(observation, decision.action, after))
            observation = after
            kl += decision.kl
            changed += decision.changed
            abstained += decision.abstained
            listener.stepped(len(turns) - 1, decision, observation)
        if judge is not None and turns:
            with spent.on("model"):
                end = Situation(label, number, len(turns), observation, tuple(turns))
                scores = await _judged(judge, end) if may_go_on() else (None,) * len(turns)
            episode.judged(scores, judge.provenance)
            listener.judged(scores, judge.provenance)
    except BaseException:
        episode.abandon()
        raise
    if stopped and attempt:
        episode.abandon()
    with spent.on("learner"):
        episode.close()
    world_seconds = {key: world.seconds[key] - world_before.get(key, 0.0) for key in world.seconds}
    return Played(
        number=number,
        id=episode.id,
        score=observation.score,
        start_score=start_score,
        steps=len(turns),
        terminated=observation.terminated,
        kl=kl,
        changed=changed,
        abstained=abstained,
        seconds={
            "total": spent.total,
            "world": world_seconds["total"],
            "actions": world_seconds["actions"],
            "learner": spent.seconds["learner"],
            "model": spent.seconds["model"],
        },
        stopped=stopped,
        unscored=sum(score is None for score in scores or ()),
        task=attempt,
        reason=wrong or observation.reason,
        unbegun=unbegun,
    )


def _begin(world: World, seed: int, task: str | None, steps: int) -> tuple[str, Observation]:
    """Reset the world; return the name of the task that is attempted, if any, and what it shows."""
    if isinstance(world, Suite):
        name = world.tasks[0].name if task is None else task
        return name, world.reset(seed, name, limit=steps)
    if task is not None:
        raise InvalidValue("task", task, f"has no meaning for {world.name}: it has no tasks")
    return "", world.reset(seed)


def _over(observation: Observation) -> bool:
    return observation.terminated or observation.truncated


async def _decide(
    situation: Situation,
    episode: LiveEpisode,
    source: ScoreSource | Sampler,
    rng: np.random.Generator,
    spent: Spent,
) -> Decision:
    """Return the decision: drawn by the learner from scores, or by a sampler from a modulation."""
    state, actions = situation.observation.state, situation.observation.actions
    if isinstance(source, Sampler):
        with spent.on("learner"):
            known = replace(situation, remembered=episode.remembered(state))
            modulation = episode.modulation(state, {*actions, *executable(known)})
        with spent.on("model"):
            drawn = await source.sample(situation, modulation, rng)
        with spent.on("learner"):
            return episode.sampled(modulation, drawn)
    with spent.on("learner"):
        situation = replace(situation, remembered=episode.remembered(state))
    with spent.on("model"):
        scores = await source.propose(situation, rng)
    with spent.on("learner"):
        return episode.choose(state, scores)


async def _judged(judge: Judge, end: Situation) -> tuple[float | None, ...]:
    """Return the judge's score of each step; none at all where it fails."""
    try:
        return await judge.assess(end)
    except NotRecorded:
        raise  # a replay is as it was, or an error
    except ModelError as error:
        log.warning("episode %d is stored as unscored: the judge failed: %s", end.episode, error)
        return (None,) * len(end.turns)


class Spent:
    """Seconds spent, by what they were spent on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self.seconds = {"learner": 0.0, "model": 0.0}

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._started

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the seconds of a block."""
        begun = self._clock()
        try:
            yield
        finally:
            self.seconds[what] += self._clock() - begun
