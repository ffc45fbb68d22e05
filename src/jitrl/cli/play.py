"""`jitrl run` and `jitrl demo`: what plays."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from jitrl.bench.configuration import Configuration, parse_overrides, usual
from jitrl.bench.folder import MANIFEST, Run, read
from jitrl.bench.jobs import Job, play_all
from jitrl.bench.language import Access, called, expected
from jitrl.bench.parts import play_parts
from jitrl.bench.plan import EPISODES, plan, tasks_of
from jitrl.bench.rejudge import judge_run
from jitrl.bench.runner import open_world
from jitrl.bench.runner import run as play_run
from jitrl.cli import options
from jitrl.cli.options import Reached
from jitrl.cli.progress import arms_display, run_display
from jitrl.cli.results import finish, show_report, tell_unbegun, tell_unjudged, tell_unscored
from jitrl.cli.screen import clean, console, failure, many, said, tell
from jitrl.errors import InvalidValue, MissingExtra, WorldError
from jitrl.memory.address import remote
from jitrl.worlds import World

# the first game, not a chosen one
DEMO_WORLD = "textworld:1"


def run(
    world: options.World,
    agent: options.Agent = "jitrl",
    preset: options.Preset = None,
    settings: options.Settings = None,
    episodes: options.Episodes = None,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    proposals: options.Proposals = 3,
    memory: options.Memory = None,
    start_from: options.StartFrom = None,
    frozen: options.Frozen = False,
    out: options.Out = None,
    games: options.Games = None,
    resume: options.Resume = False,
    attempts: options.Attempts = None,
    order: options.Order = "tasks",
    reset_command: options.ResetCommand = None,
    workers: options.Workers = 1,
    option: options.WorldOption = None,
    chromium: options.Chromium = None,
    visible: options.Visible = False,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    scores: options.Scores = None,
    samples: options.Samples = 10,
    window: options.Window = 10,
    top_logprobs: options.TopLogprobs = 20,
    max_tokens: options.MaxTokens = 600,
    summarise: options.Summarise = False,
    judge_model: options.JudgeModel = None,
    judge_url: options.JudgeUrl = None,
    grader: options.Grader = None,
    grader_url: options.GraderUrl = None,
    credit: options.Credit = None,
    tell_outcome: options.TellOutcome = False,
    budget: options.Budget = None,
    budget_tokens: options.BudgetTokens = None,
    prices: options.PriceFile = None,
    record: options.Record = None,
    replay: options.Replay = None,
    timeout: options.Timeout = None,
    retries: options.Retries = None,
) -> None:
    """Play a world for a number of episodes, or the tasks of one, and learn from them."""
    configuration = usual(
        world,
        agent=agent,
        preset=preset or None,
        overrides=parse_overrides(settings or []),
        seed=seed,
        episodes=episodes,
        steps=steps,
        proposals=proposals,
        memory=memory if memory is None or remote(memory) else str(Path(memory).absolute()),
        start=None if start_from is None else str(start_from),
        frozen=frozen,
        games=None if games is None else str(games),
        model=model,
        base_url=base_url,
        scores=scores or None,
        samples=samples,
        window=window,
        top_logprobs=top_logprobs,
        max_tokens=max_tokens,
        judge_model=judge_model,
        judge_url=judge_url or None,
        grader=grader,
        grader_url=grader_url or None,
        credit=credit or None,
        tell_outcome=tell_outcome,
        summarise=summarise,
        attempts=attempts,
        order=order,
        options=_options(option, chromium, visible),
        reset_command=reset_command,
        workers=workers,
    )
    reached = Reached(budget, budget_tokens, prices, record, replay, timeout, retries)
    access = reached.access()
    path = configuration.folder() if out is None else out
    if resume and (path / MANIFEST).exists():
        configuration = _as_long(configuration, read(path).configuration, episodes, attempts)
    again = [*configuration.command(path), *reached.words(), "--resume"]
    with _interruptible(path, again):
        finished = _play(configuration, path, access, resume)
    left = tell_unbegun(finished)
    if configuration.judges:
        left = tell_unscored(finished) or left
    if left:
        raise typer.Exit(1)


def _play(configuration: Configuration, path: Path, access: Access, resume: bool) -> Run:
    """Play a run, showing how it goes and what came of it; return it."""
    screen, what, many = console(), configuration, configuration.workers > 1
    with _opened(configuration) as opened:
        wanted = plan(configuration, tasks_of(opened))
        told = f"{what.world}, {what.agent}, {what.preset}, seed {what.seed}: into {path}"
        screen.print(clean(told), soft_wrap=True)
        tell_unjudged(configuration, wanted.tasks)
        if called(configuration):
            told = _expected(configuration.extended(wanted.total), access)
            screen.print(clean(f"expected: {told}"), soft_wrap=True)
        if many:
            opened.close()  # each process opens its own
        with said(), run_display(screen, configuration.steps, wanted) as listener:
            finished = (play_parts if many else play_run)(
                configuration, path, opened, resume=resume, listener=listener, access=access
            )
        finish(screen, finished)
    return finished


def _expected(configuration: Configuration, access: Access) -> str:
    """Say what a run will use at most; its world is opened for that alone, and counts nothing."""
    with _opened(configuration) as world:
        first = world.reset(1)
    if first.truncated:
        return f"nobody knows, for the first attempt {first.reason or 'does not begin'}"
    return str(expected(configuration, configuration.world, first, access))


def _options(given: list[str] | None, chromium: Path | None, visible: bool) -> dict[str, object]:
    """Return what the world is opened with."""
    options = parse_overrides(given or [], "--option")
    named = {"chromium": chromium and str(chromium), "visible": visible}
    return options | {name: value for name, value in named.items() if value}


def _as_long(
    configuration: Configuration, held: Configuration, episodes: int | None, attempts: int | None
) -> Configuration:
    """Return the configuration with the length that the run had, where nobody says another."""
    if attempts is None:
        configuration = replace(configuration, attempts=held.attempts)
        if episodes is None:
            configuration = configuration.extended(held.episodes)
    return configuration


def judge(
    run: options.RunFolder,
    judge_url: options.JudgeUrlNow = None,
    budget: options.BudgetInAll = None,
    budget_tokens: options.BudgetTokens = None,
    prices: options.PriceFile = None,
    timeout: options.Timeout = None,
    retries: options.Retries = None,
) -> None:
    """Score the steps that a run's judge has left unscored."""
    access = Reached(budget, budget_tokens, prices, timeout=timeout, retries=retries).access()
    with said():
        done = judge_run(run, access, judge_url)
    console().print(
        f"{done.scored} steps of {done.episodes} episodes scored, {done.unscored} still without "
        "a score"
    )
    if done.failure is not None:
        raise done.failure
    if done.unscored:
        raise typer.Exit(1)


def demo(
    world: Annotated[str, typer.Option(help="What is played.")] = DEMO_WORLD,
    episodes: Annotated[int, typer.Option(help="Episodes of each run.")] = EPISODES,
    seeds: Annotated[int, typer.Option(help="Runs with memory, and as many without.")] = 10,
    steps: options.Steps = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the report.")] = Path(
        "runs", "demo"
    ),
    games: options.Games = None,
) -> None:
    """Play a world with and without memory side by side; started again, it continues."""
    if seeds < 1:
        raise InvalidValue("seeds", seeds, "must be a whole number of at least 1")
    plain = usual(
        world, episodes=episodes, steps=steps, games=None if games is None else str(games)
    )
    jobs = [
        Job(replace(plain, agent=agent, seed=seed), out / f"{agent}-{seed}")
        for seed in range(seeds)
        for agent in ("static", "jitrl")
    ]
    screen = console()
    screen.print(
        f"{world}: {seeds} runs with memory and {seeds} without, {episodes} episodes of at most "
        f"{plain.steps} steps, two at a time, into {out}",
        soft_wrap=True,
    )
    started = time.monotonic()
    try:
        with _opened(jobs[0].configuration):  # what must be generated is, once, before the workers
            pass
        with arms_display(screen, [job.configuration for job in jobs]) as on_episode:
            runs = play_all(
                jobs, on_episode=lambda job, played: on_episode(job.configuration, played)
            )
    except KeyboardInterrupt:
        tell(
            f"jitrl: interrupted: finished episodes are kept in {str(out)!r}; start again to go on"
        )
        raise typer.Exit(130) from None
    screen.print(f"played in {time.monotonic() - started:.0f} s")
    show_report(screen, runs, out)


@contextmanager
def _opened(configuration: Configuration) -> Iterator[World]:
    """Hold the world open; one that cannot be opened is wrong input."""
    try:
        world = open_world(configuration)
    except (WorldError, MissingExtra) as error:
        failure(error)
        raise typer.Exit(2) from error
    try:
        yield world
    finally:
        world.close()


@contextmanager
def _interruptible(path: Path, again: list[str]) -> Iterator[None]:
    """Say what is kept and how to go on, by `again`, after Ctrl-C or a world's failure."""
    try:
        yield
    except KeyboardInterrupt:
        tell(f"jitrl: interrupted: {_kept(path, again)}")
        raise typer.Exit(130) from None
    except WorldError as error:
        code = failure(error)
        if (path / MANIFEST).exists():
            tell(f"jitrl: {_kept(path, again)}")
        raise typer.Exit(code or 1) from error


def _kept(path: Path, again: list[str]) -> str:
    kept = len(read(path).episodes) if (path / MANIFEST).exists() else 0
    return f"{many(kept, 'finished episode')} kept; continue with: {shlex.join(again)}"
