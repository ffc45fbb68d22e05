"""One episode of a world, played with a learner and a source of scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from jitrl.checks import count
from jitrl.learner import Learner
from jitrl.records import Decision, Observation
from jitrl.scores import ScoreSource
from jitrl.seeds import generator, integer
from jitrl.worlds import World


@dataclass(frozen=True, slots=True)
class Played:
    """One finished episode.

    number, id       which one; the id is that of the stored episode
    score            the world's score at the end; start_score the one it began with
    steps            taken
    terminated       the world ended; otherwise the limit of steps cut it off
    kl               nats spent over all decisions
    changed          decisions that memory turned
    abstained        decisions in which the memory stood aside
    seconds          wall-clock: "total", "world" (its steps and resets) with its part "actions"
                     (searching valid actions), "learner" (choosing, recording, storing)
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


StepListener = Callable[[int, Decision, Observation], None]


def play(
    world: World,
    learner: Learner,
    source: ScoreSource,
    *,
    steps: int,
    number: int,
    id: str | None = None,
    on_reset: Callable[[Observation], None] | None = None,
    on_step: StepListener | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Played:
    """Play episode `number` (>= 0) for at most `steps` (>= 1) steps, and store it.

    The world is seeded by (learner's seed, number, "world"), the proposals are drawn from a
    generator of (learner's seed, number, "proposals"). `on_reset(observation)` is called with the
    first observation, `on_step(t, decision, observation)` after each step, before the episode is
    stored. An exception stores nothing.
    """
    count("steps", steps, least=1)
    count("number", number)
    started, world_before = clock(), dict(world.seconds)
    learner_seconds = kl = 0.0
    changed = abstained = t = 0
    proposals = generator(learner.seed, number, "proposals")
    observation = world.reset(integer(learner.seed, number, "world"))
    start_score = observation.score
    if on_reset is not None:
        on_reset(observation)
    begun = clock()
    episode = learner.episode(world.name, number=number, id=id)
    learner_seconds += clock() - begun
    with episode:
        while t < steps and observation.actions and not observation.terminated:
            scores = source.propose(observation, proposals)
            begun = clock()
            decision = episode.choose(observation.state, scores, partial(source.score, observation))
            learner_seconds += clock() - begun
            observation = world.step(decision.action)
            episode.record(observation.reward, observation.terminated, observation.state)
            kl += decision.kl
            changed += decision.changed
            abstained += decision.abstained
            if on_step is not None:
                on_step(t, decision, observation)
            t += 1
            if observation.truncated:
                break
        begun = clock()
    learner_seconds += clock() - begun
    world_seconds = {key: world.seconds[key] - world_before.get(key, 0.0) for key in world.seconds}
    return Played(
        number=number,
        id=episode.id,
        score=observation.score,
        start_score=start_score,
        steps=t,
        terminated=observation.terminated,
        kl=kl,
        changed=changed,
        abstained=abstained,
        seconds={
            "total": clock() - started,
            "world": world_seconds["total"],
            "actions": world_seconds["actions"],
            "learner": learner_seconds,
        },
    )
