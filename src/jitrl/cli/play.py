"""`jitrl run` and `jitrl demo`: what plays."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from jitrl.bench.configuration import Configuration, Order, parse_overrides
from jitrl.bench.folder import MANIFEST, read
from jitrl.bench.language import Access, called, expected
from jitrl.bench.parts import play_parts
from jitrl.bench.plan import EPISODES, plan, tasks_of
from jitrl.bench.rejudge import judge_run
from jitrl.bench.runner import open_world
from jitrl.bench.runner import run as play_run
from jitrl.bench.workers import Job, play_all
from jitrl.checks import count, finite
from jitrl.cli.progress import arms_display, run_display
from jitrl.cli.results import finish, show_report, tell_unbegun, tell_unscored
from jitrl.cli.screen import clean, console, failure, said, tell
from jitrl.credit import Signal
from jitrl.errors import InvalidValue, MissingExtra, WorldError
from jitrl.memory.address import remote
from jitrl.models.budget import Budget
from jitrl.models.prices import Prices
from jitrl.presets import PRESETS
from jitrl.worlds import World, defaults

_MODELS = "Language models"
_SUITES = "Worlds of several tasks"


def _model(help: str, *flags: str, show_default: bool | str = True) -> Any:
    """Return an option of the panel of language models; with `flags`, one without a `--no-`."""
    return typer.Option(*flags, help=help, rich_help_panel=_MODELS, show_default=show_default)


def _suite(help: str, *flags: str, show_default: bool | str = True) -> Any:
    """Return an option of the panel of suites."""
    return typer.Option(*flags, help=help, rich_help_panel=_SUITES, show_default=show_default)


# the first game, not a chosen one
DEMO_WORLD = "textworld:1"


BudgetTokens = Annotated[int | None, _model("Tokens that it may use in all.")]
Timeout = Annotated[float | None, _model("Seconds that a call may take.", show_default="60")]
Retries = Annotated[
    int | None, _model("Attempts after a failed one, with waits.", show_default="4")
]


def run(
    world: Annotated[
        str, typer.Argument(help="textworld:SEED, jericho:NAME, miniwob:TASK or webarena:0-811.")
    ],
    agent: Annotated[str, typer.Option(help="jitrl, or static: the same without memory.")] = (
        "jitrl"
    ),
    preset: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(sorted(PRESETS))}.", show_default="the world's own"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Override a hyper-parameter, such as --set beta=5; repeatable. VALUE is JSON; a "
            "list (start, end, over how many) makes beta or threshold move.",
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            help="How many; a resumed run may get more.",
            show_default="30; of several tasks, each --attempts times",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="At most so many in an episode.", show_default="the world's own, or 50"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes everything that is random.")] = 0,
    proposals: Annotated[
        int, typer.Option(help="Candidates of a step: drawn, or named by the model.")
    ] = 3,
    memory: Annotated[
        str | None,
        typer.Option(
            help="A memory to share with other runs: a file, or postgresql://HOST/DATABASE.",
            show_default="in the run folder",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run folder.", show_default="runs/WORLD-AGENT-PRESET[-MODEL-SCORES]-SEED"
        ),
    ] = None,
    games: Annotated[
        Path | None, typer.Option(help="Folder of story files.", show_default="$JITRL_GAMES")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run that is in the folder.")
    ] = False,
    attempts: Annotated[
        int | None, _suite("Attempts at each task; with passes it may grow.", show_default="1")
    ] = None,
    order: Annotated[
        str, _suite("tasks: all attempts at a task in a row; passes: every task once, then again.")
    ] = "tasks",
    reset_command: Annotated[
        str | None,
        _suite(
            "Command that resets the sites before each pass; it must succeed. No shell runs it."
        ),
    ] = None,
    workers: Annotated[
        int,
        _suite(
            "Processes that share the tasks out and the memory. Each has its own models, an even "
            "share of a budget, and its own recording, FILE.part-K."
        ),
    ] = 1,
    option: Annotated[
        list[str] | None,
        _suite("What the world is opened with, NAME=VALUE; repeatable. VALUE is JSON.", "--option"),
    ] = None,
    chromium: Annotated[
        Path | None, _suite("The browser of a web world.", show_default="as it is found")
    ] = None,
    visible: Annotated[bool, _suite("Show the browser.", "--visible")] = False,
    model: Annotated[
        str | None,
        _model("The acting model: BACKEND/NAME, such as openai/gpt-4.1-mini or vllm/NAME."),
    ] = None,
    base_url: Annotated[str | None, _model("Where it is served, if not where usual.")] = None,
    scores: Annotated[
        str | None,
        _model(
            "Base logits: labels, labels-direct, labels-biased, labels-server, sequence, stated, "
            "sampled or decoding.",
            show_default="labels",
        ),
    ] = None,
    samples: Annotated[int, _model("Answers of which --scores sampled takes frequencies.")] = 10,
    window: Annotated[int, _model("Steps of the episode that the model is shown.")] = 10,
    top_logprobs: Annotated[int, _model("Log-probabilities reported at a token.")] = 20,
    max_tokens: Annotated[int, _model("Of an answer with reasons, at most.")] = 600,
    summarise: Annotated[
        bool,
        _model("The model writes the history in the state: one more call a step.", "--summarise"),
    ] = False,
    judge_model: Annotated[str | None, _model("Scores the steps after each episode.")] = None,
    judge_url: Annotated[
        str | None,
        _model("Where the judge is served.", show_default="--base-url, for the same back end"),
    ] = None,
    grader: Annotated[
        str | None,
        _model("Asked where a benchmark's evaluator asks a language model (WebArena)."),
    ] = None,
    grader_url: Annotated[
        str | None,
        _model("Where the grader is served.", show_default="--base-url, for the same back end"),
    ] = None,
    credit: Annotated[
        str | None,
        _model(
            "What is learned from: reward, judged or mixed (their sum).",
            show_default="judged with a judge, else reward",
        ),
    ] = None,
    tell_outcome: Annotated[
        bool, _model("Tell the judge how the episode ended.", "--tell-outcome")
    ] = False,
    budget: Annotated[
        float | None, _model("Dollars that the run may cost in all; it stops between steps.")
    ] = None,
    budget_tokens: BudgetTokens = None,
    prices: Annotated[
        Path | None, _model("TOML file of prices, which come before the known ones.")
    ] = None,
    record: Annotated[Path | None, _model("File that the calls are recorded to.")] = None,
    replay: Annotated[
        Path | None, _model("File that the calls are replayed from, without a network.")
    ] = None,
    timeout: Timeout = None,
    retries: Retries = None,
) -> None:
    """Play a world for a number of episodes, or the tasks of one, and learn from them."""
    usual = defaults(world)
    configuration = Configuration(
        world=world,
        agent=agent,
        preset=preset or usual.preset,
        overrides=parse_overrides(settings or []),
        seed=seed,
        episodes=episodes,
        steps=usual.steps if steps is None else steps,
        proposals=proposals,
        memory=memory if memory is None or remote(memory) else str(Path(memory).absolute()),
        games=None if games is None else str(games),
        model=model,
        base_url=base_url,
        scores=scores or ("prior" if model is None else "labels"),
        samples=samples,
        window=window,
        top_logprobs=top_logprobs,
        max_tokens=max_tokens,
        judge_model=judge_model,
        judge_url=judge_url or _beside(model, base_url, judge_model),
        grader=grader,
        grader_url=grader_url or _beside(model, base_url, grader),
        credit=cast("Signal", credit or ("reward" if judge_model is None else "judged")),
        tell_outcome=tell_outcome,
        summarise=summarise,
        attempts=1 if attempts is None else attempts,
        order=cast("Order", order),
        options=_options(option, chromium, visible),
        reset_command=reset_command,
        workers=workers,
    )
    access = Access(
        budget=Budget(budget, budget_tokens),
        prices=Prices.load(prices),
        record=record,
        replay=replay,
        timeout=_seconds(timeout),
        retries=_retries(retries),
    )
    path = configuration.folder() if out is None else out
    if resume and (path / MANIFEST).exists():
        configuration = _as_long(configuration, read(path).configuration, episodes, attempts)
    screen = console()
    reached = {
        "budget": budget,
        "budget-tokens": budget_tokens,
        "prices": prices,
        "record": record,
        "replay": replay,
        "timeout": timeout,
        "retries": retries,
    }
    again = [*configuration.command(path), *_words(reached), "--resume"]
    with _interruptible(path, again), _opened(configuration) as opened:
        wanted = plan(configuration, tasks_of(opened))
        what = f"{world}, {agent}, {configuration.preset}, seed {seed}: into {path}"
        screen.print(clean(what), soft_wrap=True)
        if called(configuration):
            first = opened.reset(1)
            whole = configuration.extended(wanted.total)
            screen.print(
                clean(f"expected: {expected(whole, world, first, access)}"), soft_wrap=True
            )
        play_it = play_run if workers == 1 else play_parts
        if workers > 1:
            opened.close()  # each process opens its own
        with said(), run_display(screen, configuration.steps, wanted) as listener:
            finished = play_it(
                configuration, path, opened, resume=resume, listener=listener, access=access
            )
        finish(screen, finished)
    left = tell_unbegun(finished)
    if configuration.judge_model is not None and agent != "static":
        left = tell_unscored(finished) or left
    if left:
        raise typer.Exit(1)


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
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    judge_url: Annotated[
        str | None, _model("Where the judge is served now.", show_default="where it was")
    ] = None,
    budget: Annotated[float | None, _model("Dollars that the run may cost in all.")] = None,
    budget_tokens: BudgetTokens = None,
    prices: Annotated[Path | None, _model("TOML file of prices.")] = None,
    timeout: Timeout = None,
    retries: Retries = None,
) -> None:
    """Score the steps that a run's judge has left unscored."""
    access = Access(
        budget=Budget(budget, budget_tokens),
        prices=Prices.load(prices),
        timeout=_seconds(timeout),
        retries=_retries(retries),
    )
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
    steps: Annotated[
        int | None,
        typer.Option(help="At most so many in an episode.", show_default="the world's own, or 50"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the report.")] = Path(
        "runs", "demo"
    ),
    games: Annotated[
        Path | None, typer.Option(help="Folder of story files.", show_default="$JITRL_GAMES")
    ] = None,
) -> None:
    """Play a world with and without memory side by side; started again, it continues."""
    if seeds < 1:
        raise InvalidValue("seeds", seeds, "must be a whole number of at least 1")
    usual = defaults(world)
    plain = Configuration(
        world,
        preset=usual.preset,
        episodes=episodes,
        steps=usual.steps if steps is None else steps,
        games=None if games is None else str(games),
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


def _beside(model: str | None, base_url: str | None, judge: str | None) -> str | None:
    """Return where a judge is served if nobody says: with the acting model, on its back end."""
    if model is None or judge is None:
        return None
    return base_url if model.partition("/")[0] == judge.partition("/")[0] else None


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and finite("--timeout", timeout) <= 0:
        raise InvalidValue("--timeout", timeout, "must be more than 0 seconds")
    return timeout


def _retries(retries: int | None) -> int | None:
    return None if retries is None else count("--retries", retries)


def _words(options: Mapping[str, object]) -> list[str]:
    """Return the options that were given as words of a command."""
    given = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    return [word for words in given for word in words]


@contextmanager
def _interruptible(path: Path, again: list[str]) -> Iterator[None]:
    """Turn Ctrl-C into a line that says what is kept and how to go on: by the command `again`."""
    try:
        yield
    except KeyboardInterrupt:
        kept = len(read(path).episodes) if (path / MANIFEST).exists() else 0
        tell(
            f"jitrl: interrupted: {kept} finished episodes are kept; continue with: "
            f"{shlex.join(again)}"
        )
        raise typer.Exit(130) from None
