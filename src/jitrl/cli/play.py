"""`jitrl run` and `jitrl demo`: what plays."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jitrl.bench import report
from jitrl.bench.configuration import Configuration, parse_overrides
from jitrl.bench.folder import MANIFEST, Run, read
from jitrl.bench.runner import open_world
from jitrl.bench.runner import run as play_run
from jitrl.bench.statistics import groups
from jitrl.bench.workers import Job, play_all
from jitrl.cli.progress import arms_display, run_display
from jitrl.cli.screen import console, facts, failure, table, tell
from jitrl.errors import InvalidValue, MissingExtra, WorldError
from jitrl.worlds import World

EPISODES = 30
# the first game, not a chosen one
DEMO_WORLD = "textworld:1"


def run(
    world: Annotated[str, typer.Argument(help="textworld:SEED or jericho:NAME.")],
    agent: Annotated[str, typer.Option(help="jitrl, or static: the same without memory.")] = (
        "jitrl"
    ),
    preset: Annotated[
        str, typer.Option(help="default, paper, released or released-web.")
    ] = "default",
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
        int | None, typer.Option(help="How many; a resumed run may get more.", show_default="30")
    ] = None,
    steps: Annotated[int, typer.Option(help="At most so many in an episode.")] = 50,
    seed: Annotated[int, typer.Option(help="Fixes everything that is random.")] = 0,
    proposals: Annotated[
        int, typer.Option(help="Valid actions that are drawn as candidates of a step.")
    ] = 3,
    memory: Annotated[
        Path | None,
        typer.Option(help="A memory to share with other runs.", show_default="in the run folder"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder.", show_default="runs/WORLD-AGENT-PRESET-SEED"),
    ] = None,
    games: Annotated[
        Path | None, typer.Option(help="Folder of story files.", show_default="$JITRL_GAMES")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run that is in the folder.")
    ] = False,
) -> None:
    """Play a world for a number of episodes, and learn from them."""
    configuration = Configuration(
        world=world,
        agent=agent,
        preset=preset,
        overrides=parse_overrides(settings or []),
        seed=seed,
        episodes=EPISODES if episodes is None else episodes,
        steps=steps,
        proposals=proposals,
        memory=None if memory is None else str(memory.absolute()),
        games=None if games is None else str(games),
    )
    path = configuration.folder() if out is None else out
    if resume and episodes is None and (path / MANIFEST).exists():
        configuration = configuration.extended(read(path).configuration.episodes)
    screen = console()
    with _interruptible(configuration, path), _opened(configuration) as opened:
        screen.print(f"{world}, {agent}, {preset}, seed {seed}: into {path}", soft_wrap=True)
        with run_display(screen, configuration) as listener:
            finished = play_run(configuration, path, opened, resume=resume, listener=listener)
        _finish(screen, finished)


def demo(
    world: Annotated[str, typer.Option(help="What is played.")] = DEMO_WORLD,
    episodes: Annotated[int, typer.Option(help="Episodes of each run.")] = EPISODES,
    seeds: Annotated[int, typer.Option(help="Runs with memory, and as many without.")] = 10,
    steps: Annotated[int, typer.Option(help="At most so many in an episode.")] = 50,
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
    where = None if games is None else str(games)
    jobs = [
        Job(
            Configuration(world, agent, seed=seed, episodes=episodes, steps=steps, games=where),
            out / f"{agent}-{seed}",
        )
        for seed in range(seeds)
        for agent in ("static", "jitrl")
    ]
    screen = console()
    screen.print(
        f"{world}: {seeds} runs with memory and {seeds} without, {episodes} episodes of at most "
        f"{steps} steps, two at a time, into {out}",
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


def show_report(screen: Console, runs: list[Run], out: Path) -> None:
    """Print the tables of a report and write its files; raises MissingExtra where it cannot."""
    among = groups(runs)
    files = report.write(runs, out)
    screen.print()
    for part in (report.scores(among), report.compared(among)):
        if part.rows:
            screen.print(table(part.columns, part.rows))
            screen.print()
    screen.print(report.note(among), style="dim")
    screen.print(f"wrote {', '.join(str(file) for file in files)}", soft_wrap=True)


def _finish(screen: Console, finished: Run) -> None:
    """Print the table of one run, and draw its curve if that is possible."""
    part = report.each_run([finished])
    screen.print(facts(zip(part.columns, part.rows[0], strict=True)))
    try:
        report.write([finished], finished.path)
        screen.print(f"wrote {finished.path / 'report.html'} and curve.png", soft_wrap=True)
    except MissingExtra as error:
        screen.print(f"no picture: {error}", soft_wrap=True)


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
def _interruptible(configuration: Configuration, path: Path) -> Iterator[None]:
    """Turn Ctrl-C into a line that says what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = len(read(path).episodes) if (path / MANIFEST).exists() else 0
        command = shlex.join([*configuration.command(path), "--resume"])
        tell(f"jitrl: interrupted: {kept} finished episodes are kept; continue with: {command}")
        raise typer.Exit(130) from None
