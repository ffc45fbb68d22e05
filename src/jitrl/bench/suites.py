"""What runs over the tasks of a suite say: success by attempt, task, site and template. Pure.

An attempt succeeds where its score, the benchmark's own verdict, is 1. Attempts at one task depend
on each other, so the task is the unit of repetition within one run, and the seed among several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jitrl.bench.folder import Run
from jitrl.bench.statistics import Estimate, Group, bootstrapped, interval, static_of, wilson
from jitrl.errors import BadRun
from jitrl.update import Floats
from jitrl.worlds import Task

_T = TypeVar("_T")
DEFINITIONS = (
    "An attempt succeeds where the benchmark's own verdict is 1.",
    "Avg: share of all finished attempts that succeeded.",
    "Final: share of tasks whose last attempt succeeded.",
    "pass@any: share of tasks with a success in any attempt.",
    "Final and pass@any are of the tasks with all their attempts finished.",
)
NO_VERDICT = (
    "A dash: nobody says whether an attempt succeeded, for there is no benchmark; a judge model's "
    "scores of its steps are no verdict."
)
JUDGE = "Judge per step: mean of the scores that the judge model gave; `jitrl explain` tells each."
UNBEGUN = (
    "An attempt that never began says nothing of the agent: it counts in no share, and "
    "`jitrl run --resume` makes it again."
)


@dataclass(frozen=True, slots=True)
class Results:
    """How some tasks went.

    tasks        that were attempted
    attempts     finished, over all seeds
    average      Avg: share of attempts that succeeded
    final, any   share of tasks, of those whose attempts are all finished, that succeeded in the
                 last attempt, or in any; nan where no task has finished all
    """

    tasks: int
    attempts: int
    average: Estimate
    final: Estimate
    any: Estimate


@dataclass(frozen=True)
class Difference:
    """How much more a group succeeds than the static one, on the attempts that both finished."""

    group: Group
    static: Group
    average: Estimate
    final: Estimate


def outcomes(run: Run) -> Floats:
    """Return what came of each attempt, shape (tasks, attempts): 1, 0, or nan if not finished.

    One that never began is not finished.
    """
    plan = run.manifest.plan
    places = [plan.place(played.number) for played in run.episodes]
    every = -(-plan.total // len(plan.tasks)) if plan.by_pass else plan.attempts
    width = max([every, *(attempt + 1 for _, attempt in places)])
    found = np.full((len(plan.tasks), width), np.nan)
    for place, played in zip(places, run.episodes, strict=True):
        found[place] = played.success
    return found


def of_group(group: Group) -> list[Floats]:
    """Return the outcomes of each seed, all of one shape; raises BadRun for unlike tasks."""
    first = [task.name for task in group.runs[0].manifest.tasks]
    for run in group.runs:
        if [task.name for task in run.manifest.tasks] != first:
            raise BadRun(f"{str(run.path)!r} has other tasks than the other seeds: leave it out")
    found = [outcomes(run) for run in group.runs]
    width = max(one.shape[1] for one in found)
    return [_widened(one, width) for one in found]


def results(found: Sequence[Floats]) -> Results:
    """Return how the tasks went, from the outcomes of one seed or more, all of one shape."""
    return Results(
        tasks=int(max((~np.isnan(one)).any(axis=1).sum() for one in found)),
        attempts=int(sum((~np.isnan(one)).sum() for one in found)),
        average=_estimate(found),
        final=_estimate([_last(one) for one in found]),
        any=_estimate([_best(one) for one in found]),
    )


def by_label(group: Group, label: Callable[[Task], str]) -> list[tuple[str, Results]]:
    """Return the results of the tasks under each label that were attempted, in order of labels."""
    found = of_group(group)
    tasks = group.runs[0].manifest.tasks
    numbered = sorted(range(len(tasks)), key=lambda i: (label(tasks[i]), i))
    parts = [
        (name, [one[list(alike)] for one in found])
        for name, alike in _grouped(numbered, lambda i: label(tasks[i]))
    ]
    return [
        (name, results(part)) for name, part in parts if any((~np.isnan(one)).any() for one in part)
    ]


def site(task: Task) -> str:
    """Return where a task plays: a task of several sites counts under these, once."""
    return " + ".join(task.sites)


def template(task: Task) -> str:
    """Return the template of a task."""
    return task.template


def task(task: Task) -> str:
    """Return the name of a task."""
    return task.name


def reasons(runs: Iterable[Run]) -> list[tuple[str, int]]:
    """Return what went wrong at the end of attempts, as far as the first colon, and how often."""
    told = Counter(
        played.reason.partition(":")[0].strip()
        for run in runs
        for played in run.episodes
        if played.reason
    )
    return told.most_common()


def unbegun(runs: Iterable[Run]) -> list[tuple[str, int, str]]:
    """Return the tasks at which attempts never began, how many did not, and why the first."""
    every = [played for run in runs for played in run.unbegun]
    counts = Counter(played.task for played in every)
    why = {played.task: played.reason for played in reversed(every)}
    return [(task, count, why[task]) for task, count in counts.items()]


def attempts(group: Group) -> list[int]:
    """Return the attempts, from 0, that each seed has finished at some task: those of a curve."""
    return [int(attempt) for attempt in np.flatnonzero(_drawn(of_group(group)))]


def by_attempt(group: Group) -> Floats:
    """Return the share of successes in each of its `attempts`, shape (seeds, attempts)."""
    return np.array([np.nanmean(one, axis=0) for one in _begun(group)])


def bounds(group: Group, window: int) -> tuple[Floats, Floats] | None:
    """Return the ends of the interval of each of its `attempts`; None for one task and one seed.

    window  as many attempts, the last of which it is, are taken together
    """
    found = _begun(group)
    if len(found) == 1 and len(found[0]) == 1:
        return None
    ends = [
        _estimate([one[:, max(i + 1 - window, 0) : i + 1] for one in found])
        for i in range(found[0].shape[1])
    ]
    return np.array([end.low for end in ends]), np.array([end.high for end in ends])


def _begun(group: Group) -> list[Floats]:
    """Return the outcomes of each seed in its `attempts`."""
    found = of_group(group)
    drawn = _drawn(found)
    return [one[:, drawn] for one in found]


def _drawn(found: Sequence[Floats]) -> NDArray[np.bool_]:
    """Say which attempts each seed has finished at some task."""
    begun: NDArray[np.bool_] = np.all([(~np.isnan(one)).any(axis=0) for one in found], axis=0)
    return begun


def differences(among: Sequence[Group]) -> list[Difference]:
    """Compare each group with the static one of the same suite, limits and preset.

    Seed by seed and task by task, on the attempts that both have finished.
    """
    result = []
    for group in among:
        static = None if group.configuration.agent == "static" else static_of(group, among)
        if static is None or not group.suite or not group.verdict:
            continue
        pairs = _paired(group, static)
        if not pairs:
            continue
        gaps = [ours - theirs for ours, theirs in pairs]
        average = _estimate(gaps, within=(-1.0, 1.0))
        final = _estimate([_last(gap) for gap in gaps], within=(-1.0, 1.0))
        result.append(Difference(group, static, average, final))
    return result


def _paired(group: Group, static: Group) -> list[tuple[Floats, Floats]]:
    """Return both outcomes of each seed that both have, nan where one of them is not finished."""
    theirs = {run.configuration.seed: outcomes(run) for run in static.runs}
    pairs = []
    for run in group.runs:
        if (other := theirs.get(run.configuration.seed)) is None:
            continue
        ours = outcomes(run)
        width = max(ours.shape[1], other.shape[1])
        ours, other = _widened(ours, width), _widened(other, width)
        both = ~np.isnan(ours) & ~np.isnan(other)
        if both.any():
            pairs.append((np.where(both, ours, np.nan), np.where(both, other, np.nan)))
    return pairs


def _estimate(found: Sequence[Floats], within: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Return the mean of values, shape (tasks, any) for each seed, those that are nan left out.

    Its interval is the wider one of that over the tasks and that over the seeds, if there are
    several: neither seeds nor tasks that happen to agree may make it narrow.
    """
    among = np.concatenate(found, axis=1)
    over_tasks = bootstrapped(*_clusters(among), within)
    if among.shape[1] == 1 and within == (0.0, 1.0):
        over_tasks = wilson(int(np.nansum(among)), int((~np.isnan(among)).sum()))
    if len(found) == 1:
        return over_tasks
    if any(np.isnan(one).all() for one in found):
        return Estimate(np.nan, np.nan, np.nan, 0)
    means = np.array([np.nanmean(one) for one in found])
    over_seeds = interval(means.tolist())
    if np.ptp(means) == 0:
        over_seeds = bootstrapped(means, np.ones(len(means)), within)
    low = np.nanmin([over_seeds.low, over_tasks.low])
    high = np.nanmax([over_seeds.high, over_tasks.high])
    low, high = np.clip([low, high], *within).tolist()
    return Estimate(over_seeds.mean, low, high, len(found))


def _last(found: Floats) -> Floats:
    """Return the last attempt, shape (tasks, 1); nan for tasks with attempts to come."""
    return np.where(_whole(found), found[:, -1:], np.nan)


def _best(found: Floats) -> Floats:
    """Return the best attempt, shape (tasks, 1); nan for tasks with attempts to come."""
    return np.where(_whole(found), found.max(axis=1, keepdims=True), np.nan)


def _whole(found: Floats) -> NDArray[np.bool_]:
    """Say which tasks have all their attempts finished, shape (tasks, 1)."""
    return np.logical_not(np.isnan(found).any(axis=1, keepdims=True))


def _clusters(found: Floats) -> tuple[Floats, Floats]:
    """Return the sum of each attempted task, and of how many attempts."""
    counts = (~np.isnan(found)).sum(axis=1)
    held = counts > 0
    return np.nansum(found[held], axis=1), counts[held].astype(np.float64)


def _widened(found: Floats, width: int) -> Floats:
    more = np.full((len(found), width - found.shape[1]), np.nan)
    return np.concatenate([found, more], axis=1)


def _grouped(items: Iterable[_T], key: Callable[[_T], str]) -> list[tuple[str, list[_T]]]:
    return [(label, list(alike)) for label, alike in groupby(items, key=key)]
