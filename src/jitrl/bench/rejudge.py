"""Scoring again what a run's judge has left unscored, from the run folder and its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from jitrl.bench import codec
from jitrl.bench.codec import LoggedStep
from jitrl.bench.folder import CALLS, Run, RunFolder, find, read
from jitrl.bench.language import Access, judge_of, opened_judge
from jitrl.credit.judge import ModelJudge
from jitrl.errors import BadRun, ModelError
from jitrl.memory import Memory
from jitrl.memory import open as open_memory
from jitrl.memory.address import remote
from jitrl.models.ledger import Ledger
from jitrl.records import Episode, Observation, Situation, Turn


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What became of it.

    episodes  that had steps without a score
    scored    steps that got one
    unscored  steps that are still without
    failure   why the judge was given up; None where it was not
    """

    episodes: int
    scored: int
    unscored: int
    failure: ModelError | None = None


def judge_run(path: Path, access: Access, url: str | None = None) -> Rejudged:
    """Score the unscored steps of a finished or interrupted run, and keep what is scored.

    url  where the judge is served now; None: where it was

    A score that is there stays. After the judge fails on one episode the others are left for
    another time. Raises BadRun where the run has no judge or another process is at it, BudgetSpent
    before an episode that the budget does not allow.
    """
    run = read(path)
    if run.parts:
        return _judge_parts(run, access, url)
    configuration = run.configuration
    if not configuration.judges:
        raise BadRun(f"{str(path)!r} was run without a judge: run it with --judge-model")
    if url is not None:
        elsewhere = replace(configuration, judge_url=url)
        run = replace(run, manifest=replace(run.manifest, configuration=elsewhere))
    with (
        RunFolder(path, run.manifest, resume=True) as folder,
        closing(_memory(run)) as memory,
        closing(Ledger(path / CALLS)) as ledger,
    ):
        return asyncio.run(_judge_all(run, folder, memory, access, ledger))


def _judge_parts(run: Run, access: Access, url: str | None) -> Rejudged:
    """Score the parts of a run, each with its share of the budget, until the judge fails."""
    done = Rejudged(0, 0, 0)
    for number, part in enumerate(run.parts):
        one = judge_run(part.path, access.of_part(number, run.configuration.workers), url)
        done = Rejudged(
            done.episodes + one.episodes,
            done.scored + one.scored,
            done.unscored + one.unscored,
            one.failure,
        )
        if one.failure is not None:
            break
    return done


def unscored(run: Run) -> int:
    """Return how many finished episodes of a run with a judge have no score at all."""
    with closing(_memory(run, readonly=True)) as memory:
        return sum(
            bool(episode.steps) and all(step.judged is None for step in episode.steps)
            for episode in _ours(run, memory)
        )


def _memory(run: Run, *, readonly: bool = False) -> Memory:
    address = run.memory
    if run.episodes and not (remote(address) or Path(address).exists()):
        raise BadRun(f"the memory of the run is missing, {address!r}: restore it")
    return open_memory(address, readonly=readonly)


def _ours(run: Run, memory: Memory) -> Iterator[Episode]:
    """Iterate over the run's finished episodes, as they are stored."""
    found = (memory.get(episode.id) for episode in run.episodes)
    return (episode for episode in found if episode is not None)


async def _judge_all(
    run: Run, folder: RunFolder, memory: Memory, access: Access, ledger: Ledger
) -> Rejudged:
    numbers = {episode.id: episode.number for episode in run.episodes}
    waiting = [
        episode
        for episode in _ours(run, memory)
        if any(step.judged is None for step in episode.steps)
    ]
    missing = sum(step.judged is None for episode in waiting for step in episode.steps)
    scored = 0
    async with opened_judge(run.configuration, access, ledger) as model:
        judge = judge_of(run.configuration, model)
        for episode in waiting:
            access.budget.check(ledger)
            try:
                number = numbers[episode.id]
                scored += await _judge_one(run, folder, memory, judge, episode, number)
            except ModelError as error:
                return Rejudged(len(waiting), scored, missing - scored, error)
    return Rejudged(len(waiting), scored, missing - scored)


async def _judge_one(
    run: Run, folder: RunFolder, memory: Memory, judge: ModelJudge, episode: Episode, number: int
) -> int:
    """Judge one episode, store what was missing, and return how many steps that were."""
    places = {(number, t) for t in range(len(episode.steps))}
    logged = find(run, places)
    scores = await judge.assess(
        _situation(episode.task, number, [logged[place] for place in sorted(places)])
    )
    pairs = list(zip(episode.steps, scores, strict=True))
    held = [score if step.judged is None else step.judged for step, score in pairs]
    # the line before the scores: what is stored is not judged again, and would lack its line
    folder.add_judged(codec.judged_line(number, episode.id, held, judge.provenance))
    memory.judge(episode.id, scores, judge.provenance)
    return sum(step.judged is None and score is not None for step, score in pairs)


def _situation(task: str, number: int, steps: list[LoggedStep]) -> Situation:
    """Return the end of an episode, as the log tells it."""
    shown = [
        Observation(steps[0].decision.state, steps[0].opening, (), 0.0, steps[0].start_score),
        *(
            Observation(
                after.decision.state if after is not None else step.decision.state,
                step.text,
                (),
                step.reward,
                step.score,
                step.terminated,
            )
            for step, after in zip(steps, [*steps[1:], None], strict=True)
        ),
    ]
    turns = tuple(
        Turn(before, step.decision.action, after)
        for before, step, after in zip(shown[:-1], steps, shown[1:], strict=True)
    )
    return Situation(task, number, len(turns), shown[-1], turns)
