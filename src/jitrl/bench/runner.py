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
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np

from jitrl import worlds
from jitrl._version import __version__
from jitrl.agents.carrier import Carrier, Frozen, Kit, Note
from jitrl.agents.player import Played, StepListener, play
from jitrl.bench import beginnings, codec, language, passes
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import CALLS, PLACES, Manifest, Run, RunFolder, memory_of
from jitrl.bench.folder import read as read_run
from jitrl.bench.grading import graded
from jitrl.bench.language import Access, Cast, Models
from jitrl.bench.plan import plan, tasks_of
from jitrl.errors import BadRun
from jitrl.learner import Learner
from jitrl.memory import open as open_memory
from jitrl.models.ledger import Ledger
from jitrl.presets import describe
from jitrl.records import Decision, Episode, Observation
from jitrl.worlds import World

_UNKNOWN = "ended early: the run was killed before it kept why"
OpenWorld = Callable[[Configuration], World]
"""Opens the world of a run, as `open_world` does."""
Gate = Callable[[int], None]
"""Called with the number of a pass before its first attempt; returns when it may begin."""


class Listener:
    """Hears of a run's progress; this one does nothing with it."""

    def begun(self, finished: list[Played], episodes: int) -> None:
        """The run starts with these episodes finished, out of so many."""

    def stepped(self, number: int, t: int, score: float) -> None:
        """Step t of episode `number` was taken."""

    def played(self, played: Played) -> None:
        """An episode was finished, stored and logged; or an attempt never began, and is logged."""


def open_world(configuration: Configuration) -> World:
    """Return the world that a configuration names."""
    games = {} if configuration.games is None else {"games": configuration.games}
    return worlds.make(configuration.world, **games, **configuration.options)


def run(
    configuration: Configuration,
    path: Path,
    world: World,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    clock: Callable[[], float] = time.time,
    access: Access | None = None,
    name: str | None = None,
    gate: Gate | None = None,
    patience: float = 0.0,
) -> Run:
    """Play what is left of a run in the folder `path`, and return it whole.

    resume    continue the run that is there, beginning with the attempts that never began; without
              it, a folder that holds a run is refused
    clock     seconds since the epoch, for the times that are kept
    access    how models are reached, and what may be spent
    name      of the run, where it is part of another; None: one is made
    gate      asked before each pass over the tasks of a suite; None: the sites are reset there, by
              the command that the configuration names
    patience  seconds to wait for another process that writes the folder

    Several processes play a run by `jitrl.bench.parts.play_parts`.

    Raises BadRun, RunError, BudgetSpent, or what the world, the memory and the models raise.
    Finished episodes are kept whatever happens.
    """
    listener, access = listener or Listener(), access or Access()
    start = beginnings.before(configuration, path)
    if configuration.memory is not None:  # before anything is written, see whether it is one
        open_memory(configuration.memory).close()
    wanted = describe_run(configuration, path, world, clock, name)
    if gate is None:

        def gate(number: int) -> None:
            if configuration.reset_command is not None:
                passes.reset(path, configuration.reset_command, number)

    async def opened_and_played() -> None:
        async with language.opened(configuration, access) as models:
            with RunFolder(path, wanted, resume=resume, patience=patience) as folder:
                if start is not None:
                    beginnings.take_over(start, path, configuration)
                with _learner(folder, world, clock) as learner:
                    _recover(folder, learner)
                    listener.begun(folder.finished, len(wanted.plan.wanted()))
                    await _episodes(folder, learner, world, wanted, access, models, listener, gate)

    asyncio.run(opened_and_played())
    return read_run(path)


def describe_run(
    configuration: Configuration,
    path: Path,
    world: World,
    clock: Callable[[], float],
    name: str | None = None,
) -> Manifest:
    """Return the manifest of a run that begins now.

    name  of the run; by default it is named after what it plays, wherever that is found, so that an
          isolated run can be repeated to the byte. One that shares a memory, or whose processes
          do, gets a name of its own: its episodes must be told from those of others

    Raises InvalidValue for a configuration that makes no sense in this world.
    """
    tasks = tasks_of(world)
    wanted = plan(configuration, tasks)
    preset = cast("dict[str, object]", codec.plain(describe(configuration.resolved())))
    version = dict(world.version)
    played = configuration.extended(1).as_json() | dict.fromkeys(PLACES) | {"preset": preset}
    played |= {"options": configuration.what}
    begins = None if configuration.start is None else read_run(Path(configuration.start))
    if begins is not None:  # which may have been continued since another began with it
        played |= {"start": [begins.manifest.run, len(begins.episodes)]}
    if wanted.by_pass:  # a longer run begins like a shorter one
        played |= {"attempts": 1}
    digest = hashlib.sha256(codec.dumps([played, version]).encode()).hexdigest()
    if name is None:
        alone = configuration.memory is None and configuration.workers == 1
        name = (digest if alone else uuid.uuid4().hex)[:16]
    return Manifest(
        run=name,
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
        tasks=tasks,
        begins="" if begins is None else begins.manifest.run,
    )


def _learner(folder: RunFolder, world: World, clock: Callable[[], float]) -> Learner:
    configuration = folder.manifest.configuration
    arm = configuration.arm
    memory = memory_of(configuration, folder.path) if arm.stores else None
    version = {f"world {key}": value for key, value in world.version.items()}
    described = {"world": world.name, "run": folder.manifest.run, "scores": configuration.scores}
    if configuration.model is not None:
        described["model"] = configuration.model
    return arm.learner(
        memory,
        arm.preset(configuration.resolved()),
        seed=configuration.seed,
        frozen=configuration.frozen or not arm.stores,
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
    wanted: Manifest,
    access: Access,
    models: Models,
    listener: Listener,
    gate: Gate,
) -> None:
    """Play the episodes that are left; raises BudgetSpent once the budget ended one."""
    configuration = wanted.configuration
    begun = -1
    counted = language.called(configuration) or configuration.grader is not None
    ledger = Ledger(folder.path / CALLS if counted else None)
    with closing(ledger), graded(world, configuration, access, ledger):
        async with language.cast(configuration, access, ledger, models) as players:
            carrier = _carrier(folder, learner, players)
            for number in wanted.plan.left({played.number for played in folder.finished}):
                access.budget.check(ledger)
                if configuration.order == "passes" and wanted.plan.place(number)[1] != begun:
                    begun = wanted.plan.place(number)[1]
                    gate(begun)
                played = await _play(folder, learner, world, players, carrier, number, listener)
                if not played.stopped or (played.steps and not played.task):
                    folder.add_episode(played)
                    listener.played(played)
                if played.stopped:
                    access.budget.check(ledger)


async def _play(
    folder: RunFolder,
    learner: Learner,
    world: World,
    players: Cast,
    carrier: Carrier | None,
    number: int,
    listener: Listener,
) -> Played:
    id = folder.manifest.episode_id(number)
    task = folder.manifest.plan.task(number)
    return await play(
        world,
        learner,
        players.source,
        steps=folder.manifest.configuration.steps,
        number=number,
        id=id,
        task=None if task is None else task.name,
        summarise=players.summarise,
        judge=players.judge,
        carrier=carrier,
        may_go_on=players.may_go_on,
        listener=_Log(folder, number, id, world.name if task is None else task.name, listener),
    )


def _carrier(folder: RunFolder, learner: Learner, players: Cast) -> Carrier | None:
    """Return what the run's agent carries in words, as it stands after the finished episodes."""
    configuration = folder.manifest.configuration
    if configuration.arm.carrier is None or players.acting is None:
        return None
    families = {task.name: " ".join(task.sites) for task in folder.manifest.tasks}
    carrier = configuration.arm.carrier(
        Kit(
            players.acting,
            learner,
            configuration.resolved(),
            configuration.seed,
            1.0 if families else folder.manifest.max_score,
            lambda task: families.get(task, ""),
        )
    )
    for task, note in beginnings.notes_of(read_run(folder.path)):
        carrier.keep(task, note)
    return Frozen(carrier) if configuration.frozen else carrier


class _Log(StepListener):
    """Writes the line of each step of an episode."""

    def __init__(
        self, folder: RunFolder, number: int, id: str, task: str, listener: Listener
    ) -> None:
        self._folder, self._number, self._id, self._listener = folder, number, id, listener
        self._task = task  # as the situation has it, by which a carrier knows it
        self._first: Observation

    def began(self, observation: Observation) -> None:
        self._first = observation

    def stepped(self, t: int, decision: Decision, after: Observation) -> None:
        line = codec.step_line(self._number, self._id, t, self._first, decision, after)
        self._folder.add_step(line)
        self._listener.stepped(self._number, t, after.score)

    def carried(self, note: Note) -> None:
        self._folder.add_carried(codec.carried_line(self._number, self._id, self._task, note))

    def judged(self, scores: tuple[float | None, ...], provenance: Mapping[str, str]) -> None:
        self._folder.add_judged(codec.judged_line(self._number, self._id, scores, provenance))


def _recover(folder: RunFolder, learner: Learner) -> None:
    """Complete the episode that the memory holds but whose line is missing, or cut it away."""
    configuration = folder.manifest.configuration
    if configuration.frozen or not configuration.stores:
        folder.drop_unfinished()
        return
    memory = learner.memory
    for played in folder.finished:
        if played.steps and memory.get(played.id) is None:
            raise BadRun(f"the memory lacks episode {played.number} of this run: restore it")
    ids = [folder.manifest.episode_id(number) for number in folder.open]
    held = [stored for id in ids if (stored := memory.get(id)) is not None]
    if not held:
        folder.drop_unfinished()
        return
    under_way = [(step.id, step.decision.action) for step in folder.unfinished]
    if [(stored.id, step.action) for stored in held for step in stored.steps] != under_way:
        id = held[0].id
        raise BadRun(f"the memory holds episode {id}, but its steps are lost: begin a new run")
    folder.add_episode(_rebuilt(folder, held[0]))


def _rebuilt(folder: RunFolder, stored: Episode) -> Played:
    """Return the unfinished episode as it would have been logged, but for its seconds."""
    steps, kl = folder.unfinished, 0.0
    number = steps[0].episode
    configuration, task = folder.manifest.configuration, folder.manifest.plan.task(number)
    for step in steps:
        kl += step.decision.kl
    early = len(steps) < configuration.steps and not steps[-1].terminated
    return Played(
        number=number,
        id=steps[-1].id,
        score=steps[-1].score,
        start_score=steps[-1].start_score,
        steps=len(steps),
        terminated=steps[-1].terminated,
        kl=kl,
        changed=sum(step.decision.changed for step in steps),
        abstained=sum(step.decision.abstained for step in steps),
        seconds={},
        # of what has models, only a budget ends an episode so; an attempt is not stored then
        stopped=early and task is None and bool(language.called(configuration)),
        unscored=sum(step.judged is None for step in stored.steps) if configuration.judges else 0,
        task="" if task is None else task.name,
        reason=steps[-1].reason or (_UNKNOWN if early and task is not None else ""),
    )
