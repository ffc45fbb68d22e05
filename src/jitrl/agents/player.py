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

from jitrl.agents.carrier import Carrier, Note
from jitrl.checks import count
from jitrl.errors import BadReply, InvalidValue, ModelError, NotRecorded
from jitrl.learner import Learner, LiveEpisode
from jitrl.records import Decision, Observation, Scores, Situation, Turn
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
    unlearned        what was to be carried on from it in words could not be had
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
    unlearned: bool = False

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

    def carried(self, note: Note) -> None:
        """What is carried on from the episode is known; the episode is not stored yet."""


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
    carrier: Carrier | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
    listener: StepListener | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Played:
    """Play episode `number` (>= 0) for at most `steps` (>= 1) steps, and store it.

    task       name of the task that is attempted; only in a suite: by default its first
    summarise  makes the state from what a model writes, instead of the world's own
    judge      scores the steps after the episode, before it is stored; where it fails the episode
               is stored as unscored
    carrier    what is carried in words from episode to episode: asked before each step, and told
               of the episode at its end, unless the budget ended it
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
    spent, world_before = Spent(clock), dict(world.seconds)
    listener = listener or StepListener()
    attempt, first = _begin(world, integer(learner.seed, number, "world"), task, steps)
    listener.began(first)
    with spent.on("learner"):
        episode = learner.episode(attempt or world.name, number=number, id=id)
    rng = generator(learner.seed, number, "proposals")
    live = _Live(world, source, carrier or Carrier(), episode, rng, spent, attempt, number, first)
    try:
        await live.act(steps, summarise, may_go_on, listener)
        if judge is not None and live.turns:
            await live.assess(judge, may_go_on)
            listener.judged(live.scores, judge.provenance)
        if carrier is not None and live.turns and not live.stopped:
            await live.learn(may_go_on, listener)
    except BaseException:
        episode.abandon()
        raise
    if live.stopped and attempt:
        episode.abandon()
    with spent.on("learner"):
        episode.close()
    return live.played(first.score, world_before)


def _begin(world: World, seed: int, task: str | None, steps: int) -> tuple[str, Observation]:
    """Reset the world; return the name of the task that is attempted, if any, and what it shows."""
    if isinstance(world, Suite):
        name = world.tasks[0].name if task is None else task
        return name, world.reset(seed, name, limit=steps)
    if task is not None:
        raise InvalidValue("task", task, f"has no meaning for {world.name}: it has no tasks")
    return "", world.reset(seed)


class _Live:
    """An episode under way: what plays it, where it is, and what it has come to so far."""

    def __init__(
        self,
        world: World,
        source: ScoreSource | Sampler,
        carrier: Carrier,
        episode: LiveEpisode,
        rng: np.random.Generator,
        spent: Spent,
        attempt: str,
        number: int,
        first: Observation,
    ) -> None:
        self._world, self._source, self._episode = world, source, episode
        self._carrier = carrier
        self._rng, self._spent = rng, spent
        self._attempt, self._number = attempt, number
        self._observation = first
        self.turns: list[Turn] = []
        self.scores: tuple[float | None, ...] = ()
        self.stopped = self.unlearned = False
        self._kl, self._changed, self._abstained, self._wrong = 0.0, 0, 0, ""

    @property
    def _situation(self) -> Situation:
        label = self._attempt or self._world.name
        turns = tuple(self.turns)
        return Situation(label, self._number, len(turns), self._observation, turns)

    async def act(
        self,
        steps: int,
        summarise: Summarise | None,
        may_go_on: Callable[[], bool],
        listener: StepListener,
    ) -> None:
        """Take steps until the episode is over, or is stopped, or a reply cannot be used."""
        now = self._observation
        while len(self.turns) < steps and now.actions and not now.terminated and not now.truncated:
            if not may_go_on():
                self.stopped = True
                return
            await asyncio.sleep(0)  # here a run that never waits can be interrupted
            try:
                decision = await self._decide(summarise)
            except BadReply as error:
                if not self._attempt:
                    raise
                self._wrong = f"bad reply: {error}"
                return
            now = self._take(decision)
            listener.stepped(len(self.turns) - 1, decision, now)

    async def _decide(self, summarise: Summarise | None) -> Decision:
        """Return the decision: drawn by the learner from scores, or by a sampler."""
        situation, spent, episode = self._situation, self._spent, self._episode
        if summarise is not None:
            with spent.on("model"):
                situation = await summarise(situation)
        state, actions = situation.observation.state, situation.observation.actions
        if isinstance(self._source, Sampler):
            with spent.on("learner"):
                situation = self._carrier.advise(situation)
                known = replace(situation, remembered=episode.remembered(state))
                modulation = episode.modulation(state, {*actions, *executable(known)})
            with spent.on("model"):
                drawn = await self._source.sample(situation, modulation, self._rng)
            with spent.on("learner"):
                return episode.sampled(modulation, drawn)
        with spent.on("learner"):
            situation = self._carrier.advise(situation)
            situation = replace(situation, remembered=episode.remembered(state))
        with spent.on("model"):
            scores = await self._source.propose(situation, self._rng)
        with spent.on("learner"):
            return episode.choose(state, self._tempered(scores))

    def _tempered(self, scores: Scores) -> Scores:
        """Return scores that mean at the preset's temperature what they would at the carrier's."""
        wanted = self._carrier.temperature
        if wanted is None:
            return scores
        factor = self._episode.learner.preset.temperature / wanted
        remembered = scores.remembered
        return replace(
            scores,
            candidates=tuple(replace(c, logprob=c.logprob * factor) for c in scores.candidates),
            remembered=remembered and {a: z * factor for a, z in remembered.items()},
        )

    def _take(self, decision: Decision) -> Observation:
        """Take the step that was decided; return what the world shows then."""
        before, after = self._observation, self._world.step(decision.action)
        with self._spent.on("learner"):
            self._episode.record(after.reward, after.terminated, after.state)
        self.turns.append(Turn(before, decision.action, after))
        self._observation = after
        self._kl += decision.kl
        self._changed += decision.changed
        self._abstained += decision.abstained
        return after

    async def assess(self, judge: Judge, may_go_on: Callable[[], bool]) -> None:
        """Have the steps scored; none is where there is no budget for it, or the judge fails."""
        with self._spent.on("model"):
            if may_go_on():
                self.scores = await _judged(judge, self._situation)
            else:
                self.scores = (None,) * len(self.turns)
        self._episode.judged(self.scores, judge.provenance)

    async def learn(self, may_go_on: Callable[[], bool], listener: StepListener) -> None:
        """Have the carrier learn from the episode; from nothing where there is no budget for it."""
        note: Note = None
        with self._spent.on("model"):
            self.unlearned = not may_go_on()
            if not self.unlearned:
                try:
                    note = await self._carrier.learn(self._situation)
                except NotRecorded:
                    raise  # a replay is as it was, or an error
                except ModelError as error:
                    self.unlearned = True
                    log.warning("nothing is learned from episode %d: %s", self._number, error)
        listener.carried(note)
        self._carrier.keep(self._situation.task, note)

    def played(self, start_score: float, world_before: Mapping[str, float]) -> Played:
        """Return what the episode came to."""
        world = {k: now - world_before.get(k, 0.0) for k, now in self._world.seconds.items()}
        return Played(
            number=self._number,
            id=self._episode.id,
            score=self._observation.score,
            start_score=start_score,
            steps=len(self.turns),
            terminated=self._observation.terminated,
            kl=self._kl,
            changed=self._changed,
            abstained=self._abstained,
            seconds={
                "total": self._spent.total,
                "world": world["total"],
                "actions": world["actions"],
                "learner": self._spent.seconds["learner"],
                "model": self._spent.seconds["model"],
            },
            stopped=self.stopped,
            unscored=sum(score is None for score in self.scores),
            task=self._attempt,
            reason=self._wrong or self._observation.reason,
            unlearned=self.unlearned,
            unbegun=bool(self._attempt) and not self.turns and self._observation.truncated,
        )


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
