"""`jitrl report`, `explain` and `memory`: what looks at what is there, without changing it."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from jitrl.bench.codec import LoggedStep
from jitrl.bench.folder import Run, find, judged, read
from jitrl.cli.play import show_report
from jitrl.cli.screen import clean, console, facts, one_line, table
from jitrl.errors import InvalidValue
from jitrl.memory import SqliteMemory
from jitrl.records import Episode, State
from jitrl.update import returns

MemoryPath = Annotated[Path, typer.Argument(help="The memory's file.")]


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, of any number of arms.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write.", show_default="the run folder, or report/"),
    ] = None,
) -> None:
    """Compare runs: a table with intervals over seeds, a curve, and a page to open."""
    folders = list({path.resolve(): path for path in runs}.values())
    if out is None:
        out = folders[0] if len(folders) == 1 else Path("report")
    show_report(console(), [read(path) for path in folders], out)


def explain(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    episode: Annotated[int, typer.Option(help="Number of the episode, from 0.")],
    step: Annotated[int, typer.Option(help="Number of the step, from 0.")],
    limit: Annotated[int, typer.Option(help="Neighbours shown at most.")] = 20,
) -> None:
    """Say why a step was taken: policy before and after, values, and the memories behind it."""
    _positive("limit", limit)
    found = read(run)
    logged = find(found, {(episode, step)}).get((episode, step))
    if logged is None:
        raise _not_played(found, episode, step)
    screen = console()
    what = found.configuration
    asked = f", {what.model} by {what.scores}" if what.model else ""
    screen.print(clean(f"episode {episode}, step {step} of {what.world}{asked}"))
    screen.print(facts(logged.decision.state.items()))
    screen.print()
    screen.print(clean(str(logged.decision)), soft_wrap=True)
    end = "; the episode ended" if logged.terminated else ""
    screen.print(f"it earned {logged.reward:+g}: score {logged.score:g}{end}")
    if what.judge_model and what.agent != "static":
        scores = judged(found).get(episode, [])
        score = scores[step] if step < len(scores) else None
        said = "did not score it" if score is None else f"gave it {score:+g}"
        screen.print(clean(f"the judge {what.judge_model} {said}; returns are of: {what.credit}"))
    _neighbours(found, logged, limit)


def stats(path: MemoryPath) -> None:
    """Count what a memory holds."""
    memory = SqliteMemory(path, readonly=True)
    try:
        episodes = steps = ended = 0
        states: set[State] = set()
        tasks, presets = Counter[str](), Counter[str]()
        times: list[str] = []
        for episode in memory.episodes():
            episodes += 1
            steps += len(episode.steps)
            ended += episode.terminated
            tasks[episode.task] += 1
            presets.update({step.preset for step in episode.steps})
            states.update(step.state for step in episode.steps)
            times += [time] if (time := episode.provenance.get("created")) else []
    finally:
        memory.close()
    console().print(
        facts(
            [
                ("memory", str(path)),
                ("episodes", f"{episodes} ({ended} ended by the world)"),
                ("steps", str(steps)),
                ("distinct states", str(len(states))),
                ("tasks", _counted(tasks)),
                ("presets", _counted(presets)),
                ("stored", f"{min(times)} to {max(times)}" if times else "unknown"),
            ]
        )
    )


def show(
    path: MemoryPath,
    episode: Annotated[
        int | None, typer.Option(help="Show the steps of this one, from 0, as stored.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Episodes or steps shown at most.")] = 50,
    gamma: Annotated[float, typer.Option(help="Discount of the returns, in [0, 1].")] = 0.5,
) -> None:
    """List the newest episodes of a memory, or the steps of one of them."""
    _positive("limit", limit)
    if not 0 <= gamma <= 1:
        raise InvalidValue("gamma", gamma, "must lie in [0, 1]")
    memory = SqliteMemory(path, readonly=True)
    try:
        count = len(memory)
        if episode is None:
            _episodes(memory, count, limit)
        elif 0 <= episode < count:
            _steps(next(islice(memory.episodes(), episode, None)), limit, gamma)
        else:
            raise InvalidValue("episode", episode, f"must be one of the {count} stored, from 0")
    finally:
        memory.close()


def _episodes(memory: SqliteMemory, count: int, limit: int) -> None:
    first = max(count - limit, 0)
    rows = [
        (
            str(place),
            one_line(episode.task, 30),
            str(len(episode.steps)),
            f"{sum(step.reward for step in episode.steps):g}",
            "yes" if episode.terminated else "no",
            one_line(episode.provenance.get("created", ""), 30),
            one_line(episode.id, 36),
        )
        for place, episode in enumerate(islice(memory.episodes(), first, None), first)
    ]
    screen = console()
    screen.print(table(("episode", "task", "steps", "reward", "ended", "stored", "id"), rows))
    if first:
        screen.print(f"... and {first} older: --limit {count} shows them all")


def _steps(episode: Episode, limit: int, gamma: float) -> None:
    gains = returns([step.reward for step in episode.steps], gamma)
    rows = [
        (
            str(t),
            one_line(step.action, 32),
            f"{step.reward:g}",
            f"{gains[t]:.3f}",
            f"{step.before[step.action]:.1%}",
            f"{step.after[step.action]:.1%}",
            "yes" if step.changed else "",
            one_line(_room(step.state), 40),
        )
        for t, step in enumerate(episode.steps[:limit])
    ]
    columns = ("step", "action", "reward", "return", "before", "after", "changed", "state")
    screen = console()
    screen.print(clean(f"episode {episode.id} of {episode.task}, gamma {gamma:g}"))
    screen.print(table(columns, rows))
    if len(episode.steps) > limit:
        screen.print(f"... and {len(episode.steps) - limit} more: --limit shows them")


def _neighbours(run: Run, logged: LoggedStep, limit: int) -> None:
    """Print where the evidence comes from, with its states where this run's log has them."""
    neighbours = logged.decision.neighbours
    if not neighbours:
        return
    shown = [(step, _place(run, step.episode, step.t)) for step in neighbours[:limit]]
    held = find(run, {place for _, place in shown if place is not None})
    rows = [
        (
            one_line(step.episode, 36) if place is None else str(place[0]),
            str(step.t),
            f"{step.similarity:.3f}",
            f"{step.return_:.3g}",
            one_line(step.action, 32),
            one_line(step.task, 24),
            one_line(_room(held[place].decision.state), 40) if place in held else "",
        )
        for step, place in shown
    ]
    screen = console()
    screen.print()
    columns = ("episode", "step", "similarity", "return", "action", "task", "state")
    screen.print(table(columns, rows))
    if len(neighbours) > limit:
        screen.print(f"... and {len(neighbours) - limit} more: --limit shows them")


def _place(run: Run, id: str, t: int) -> tuple[int, int] | None:
    """Return (episode, step) of a remembered step of this run; None for another's."""
    name, _, number = id.rpartition("-")
    return (int(number), t) if name == run.manifest.run and number.isdecimal() else None


def _room(state: State) -> str:
    """Return the field of a state that tells best where it is."""
    return state.get("room") or next(iter(state.values()), "")


def _not_played(run: Run, episode: int, step: int) -> InvalidValue:
    count = len(run.episodes)
    if not 0 <= episode < count:
        return InvalidValue("episode", episode, f"must be one of the {count} finished ones, from 0")
    return InvalidValue("step", step, f"must be one of its {run.episodes[episode].steps}, from 0")


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise InvalidValue(name, value, "must be at least 1")
    return value


def _counted(names: Counter[str]) -> str:
    shown = [f"{name} ({count})" for name, count in names.most_common(8)]
    return ", ".join(shown) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"
