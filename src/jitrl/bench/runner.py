"""One run: an agent plays a world episode after episode, into a run folder.

The order makes a run resumable at any point: the lines of the steps while they are played, then the
episode into the memory, then the episode's line. An episode that reached the memory but not its
line is completed from its steps; played again it would remember itself. What did not reach the
memory is cut away and played again, from the same random draws.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np

from jitrl import worlds
from jitrl._version import __version__
from jitrl.agents.player import Played, StepListener, play
from jitrl.bench import codec, language
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import CALLS, MEMORY, PLACES, Manifest, Run, RunFolder
from jitrl.bench.folder import read as read_run
from jitrl.bench.language import Access, Cast, Models
from jitrl.errors import BadRun
from jitrl.learner import Learner
from jitrl.memory import open as open_memory
from jitrl.models.ledger import Ledger
from jitrl.presets import describe
from jitrl.records import Decision, Episode, Observation
from jitrl.worlds import World


class Listener:
    """Hears of a run's progress; this one does nothing with it."""

    def begun(self, finished: list[Played], episodes: int) -> None:
        """The run starts with these episodes finished, out of so many."""

    def stepped(self, number: int, t: int, score: float) -> None:
        """Step t of episode `number` was taken."""

    def played(self, played: Played) -> None:
        """An episode was finished, stored and logged."""


def open_world(configuration: Configuration) -> World:
    """Return the world that a configuration names."""
    options = {} if configuration.games is None else {"games": configuration.games}
    return worlds.make(configuration.world, **options)


def run(
    configuration: Configuration,
    path: Path,
    world: World,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    clock: Callable[[], float] = time.time,
    access: Access | None = None,
) -> Run:
    """Play what is left of a run in the folder `path`, and return it whole.

    resume  continue the run that is there; without it, a folder that holds a run is refused
    clock   seconds since the epoch, for the times that are kept
    access  how models are reached, and what may be spent

    Raises BadRun, RunError, BudgetSpent, or what the world, the memory and the models raise.
    Finished episodes are kept whatever happens.
    """
    listener, access = listener or Listener(), access or Access()
    if configuration.memory is not None:  # before anything is written, see whether it is one
        open_memory(configuration.memory).close()
    wanted = describe_run(configuration, path, world, clock)

    async def opened_and_played() -> None:
        async with language.opened(configuration, access) as models:
            with (
                RunFolder(path, wanted, resume=resume) as folder,
                _learner(folder, world, clock) as learner,
            ):
                _recover(folder, learner)
                listener.begun(folder.finished, configuration.episodes)
                await _episodes(folder, learner, world, configuration, access, models, listener)

    asyncio.run(opened_and_played())
    return read_run(path)


def describe_run(
    configuration: Configuration, path: Path, world: World, clock: Callable[[], float]
) -> Manifest:
    """Return the manifest of a run that begins now.

    The run is named after what it plays, wherever that is found, so that an isolated run can be
    repeated to the byte. One that shares a memory gets a name of its own: its episodes must be told
    from those of others.
    """
    preset = cast("dict[str, object]", codec.plain(describe(configuration.resolved())))
    version = dict(world.version)
    played = configuration.extended(1).as_json() | dict.fromkeys(PLACES) | {"preset": preset}
    digest = hashlib.sha256(codec.dumps([played, version]).encode()).hexdigest()
    return Manifest(
        run=(digest if configuration.memory is None else uuid.uuid4().hex)[:16],
        configuration=configuration,
        preset=preset,
        world=version,
        max_score=world.max_score,
        versions={
            "jitrl": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "platform": platform.platform(),
        },
        started=datetime.fromtimestamp(clock(), UTC).isoformat(timespec="seconds"),
        command=configuration.command(path),
        prompts=language.prompts(configuration),
    )


def _learner(folder: RunFolder, world: World, clock: Callable[[], float]) -> Learner:
    configuration = folder.manifest.configuration
    static = configuration.agent == "static"
    memory = None if static else configuration.memory or folder.path / MEMORY
    version = {f"world {key}": value for key, value in world.version.items()}
    described = {"world": world.name, "run": folder.manifest.run, "scores": configuration.scores}
    if configuration.model is not None:
        described["model"] = configuration.model
    chosen = configuration.resolved()
    return Learner(
        memory,
        # static is the base policy, which a greedy rule would not leave alone
        replace(chosen, rule="exact") if static else chosen,
        seed=configuration.seed,
        frozen=static,
        reward_range=world.reward_range,
        return_range=_return_range(world, configuration),
        credit=configuration.credit,
        provenance=described | version,
        clock=clock,
    )


def _return_range(world: World, configuration: Configuration) -> tuple[float, float] | None:
    """Return what a return can be, where the world says so: at most all that there is to score.

    Where no reward is negative, the rewards to come, discounted or not, add up to that at most.
    """
    plain = configuration.credit == "reward" and configuration.resolved().zero_future == "counts"
    if world.max_score is None or world.reward_range is None or not plain:
        return None
    return (0.0, world.max_score) if world.reward_range[0] >= 0 and world.max_score > 0 else None


async def _episodes(
    folder: RunFolder,
    learner: Learner,
    world: World,
    configuration: Configuration,
    access: Access,
    models: Models,
    listener: Listener,
) -> None:
    """Play the episodes that are left; raises BudgetSpent once the budget ended one."""
    ledger = Ledger(folder.path / CALLS if language.called(configuration) else None)
    with closing(ledger):
        async with language.cast(configuration, access, ledger, models) as players:
            for number in range(len(folder.finished), configuration.episodes):
                access.budget.check(ledger)
                played = await _play(folder, learner, world, players, number, listener)
                if played.steps or not played.stopped:
                    folder.add_episode(played)
                    listener.played(played)
                if played.stopped:
                    access.budget.check(ledger)


async def _play(
    folder: RunFolder,
    learner: Learner,
    world: World,
    players: Cast,
    number: int,
    listener: Listener,
) -> Played:
    id = folder.manifest.episode_id(number)
    return await play(
        world,
        learner,
        players.source,
        steps=folder.manifest.configuration.steps,
        number=number,
        id=id,
        summarise=players.summarise,
        judge=players.judge,
        may_go_on=players.may_go_on,
        listener=_Log(folder, number, id, listener),
    )


class _Log(StepListener):
    """Writes the line of each step of an episode."""

    def __init__(self, folder: RunFolder, number: int, id: str, listener: Listener) -> None:
        self._folder, self._number, self._id, self._listener = folder, number, id, listener
        self._first: Observation

    def began(self, observation: Observation) -> None:
        self._first = observation

    def stepped(self, t: int, decision: Decision, after: Observation) -> None:
        line = codec.step_line(self._number, self._id, t, self._first, decision, after)
        self._folder.add_step(line)
        self._listener.stepped(self._number, t, after.score)

    def judged(self, scores: tuple[float | None, ...], provenance: Mapping[str, str]) -> None:
        self._folder.add_judged(codec.judged_line(self._number, self._id, scores, provenance))


def _recover(folder: RunFolder, learner: Learner) -> None:
    """Complete the episode that the memory holds but whose line is missing, or cut it away."""
    if folder.manifest.configuration.agent == "static":
        folder.drop_unfinished()
        return
    id = folder.manifest.episode_id(len(folder.finished))
    memory = learner.memory
    for played in folder.finished:
        if played.steps and memory.get(played.id) is None:
            raise BadRun(f"the memory lacks episode {played.number} of this run: restore it")
    stored = memory.get(id)
    if stored is None:
        folder.drop_unfinished()
    elif [s.action for s in stored.steps] != [s.decision.action for s in folder.unfinished]:
        raise BadRun(f"the memory holds episode {id}, but its steps are lost: begin a new run")
    else:
        folder.add_episode(_rebuilt(folder, stored))


def _rebuilt(folder: RunFolder, stored: Episode) -> Played:
    """Return the unfinished episode as it would have been logged, but for its seconds."""
    configuration = folder.manifest.configuration
    steps, kl = folder.unfinished, 0.0
    for step in steps:
        kl += step.decision.kl
    return Played(
        number=len(folder.finished),
        id=steps[-1].id,
        score=steps[-1].score,
        start_score=steps[-1].start_score,
        steps=len(steps),
        terminated=steps[-1].terminated,
        kl=kl,
        changed=sum(step.decision.changed for step in steps),
        abstained=sum(step.decision.abstained for step in steps),
        seconds={},
        # of what has models, only a budget ends an episode so
        stopped=bool(language.called(configuration))
        and len(steps) < configuration.steps
        and not steps[-1].terminated,
        unscored=sum(step.judged is None for step in stored.steps)
        if configuration.judge_model is not None
        else 0,
    )
