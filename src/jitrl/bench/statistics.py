"""What finished runs say: means with intervals over seeds, paired differences, curves. Pure.

The seed is the unit of repetition: episodes of one run depend on each other, since they share a
memory. Every interval is at 95 %, and Student's t over the seeds' own averages. Where a single run
attempts many tasks, `jitrl.bench.suites` takes intervals over the tasks, which are made here too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.errors import BadRun, MissingExtra
from jitrl.memory.address import remote
from jitrl.update import Floats

CONFIDENCE = 0.95
LAST = 10
_NORMAL = 1.959963984540054  # the normal distribution's quantile at (1 + CONFIDENCE) / 2
_RESAMPLES = 4000
_SUITE = ("attempts", "order", "workers")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `n` seeds or tasks, with its 95 % interval; nan at both ends where n = 1."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Say whether there is an interval."""
        return not math.isnan(self.low)


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in numbers.

    episodes         finished
    mean, last, best score: over all episodes, over the last ten, and the best one
    kl_per_step      nats
    changed          share of decisions that memory turned, in [0, 1]
    own_seconds      per step, without the world's own work; nan where no time is known
    searching        share of the run's time spent searching valid actions; nan likewise
    """

    episodes: int
    mean: float
    last: float
    best: float
    kl_per_step: float
    changed: float
    own_seconds: float
    searching: float


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, by seed.

    episodes  that every one of them has finished: later ones are left out
    """

    runs: tuple[Run, ...]
    episodes: int

    @property
    def configuration(self) -> Configuration:
        """What the runs have in common, with the first one's seed."""
        return self.runs[0].configuration

    @property
    def suite(self) -> bool:
        """Say whether they attempt the tasks of a suite: see `jitrl.bench.suites`."""
        return bool(self.runs[0].manifest.tasks)

    @property
    def verdict(self) -> bool:
        """Say whether somebody says what succeeded; of a suite only, where nobody may."""
        return all(task.verdict for task in self.runs[0].manifest.tasks)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(run.configuration.seed for run in self.runs)

    def scores(self) -> Floats:
        """Return the score of every episode, shape (seeds, episodes)."""
        return np.array([[e.score for e in run.episodes[: self.episodes]] for run in self.runs])

    def mean(self) -> Estimate:
        """Return the mean score over all episodes."""
        return interval(self.scores().mean(axis=1).tolist())

    def last(self) -> Estimate:
        """Return the mean score over the last ten episodes, or all where there are fewer."""
        return interval(self.scores()[:, -LAST:].mean(axis=1).tolist())

    def best(self) -> float:
        """Return the best score of any episode."""
        return float(self.scores().max())


@dataclass(frozen=True)
class Difference:
    """How much more a group scores than the static one on the seeds that both have played."""

    group: Group
    static: Group
    mean: Estimate
    last: Estimate


def summary(episodes: Sequence[Played]) -> Summary:
    """Return one run in numbers, from at least one finished episode."""
    scores = [played.score for played in episodes]
    steps = max(sum(played.steps for played in episodes), 1)
    needed = {"total", "world", "actions"}  # absent from an episode that was completed after a kill
    timed = [played for played in episodes if needed <= played.seconds.keys()]
    total = sum(played.seconds["total"] for played in timed)
    world = sum(played.seconds["world"] for played in timed)
    searching = sum(played.seconds["actions"] for played in timed)
    timed_steps = sum(played.steps for played in timed)
    return Summary(
        episodes=len(episodes),
        mean=float(np.mean(scores)),
        last=float(np.mean(scores[-LAST:])),
        best=max(scores),
        kl_per_step=sum(played.kl for played in episodes) / steps,
        changed=sum(played.changed for played in episodes) / steps,
        own_seconds=(total - world) / timed_steps if timed_steps else math.nan,
        searching=searching / total if total else math.nan,
    )


def interval(values: Sequence[float]) -> Estimate:
    """Return the mean of at least one value, and its 95 % interval by Student's t.

    Raises MissingExtra where scipy is not installed, unless there is but one value.
    """
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Estimate(mean, math.nan, math.nan, n)
    half = _quantile(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def wilson(successes: int, n: int) -> Estimate:
    """Return a share of n independent trials with Wilson's interval; nan where there is none."""
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    share, squared = successes / n, _NORMAL**2
    if n == 1:
        return Estimate(share, math.nan, math.nan, n)
    middle = (share + squared / (2 * n)) / (1 + squared / n)
    half = _NORMAL * math.sqrt(share * (1 - share) / n + squared / (4 * n * n)) / (1 + squared / n)
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0), n)


def bootstrapped(
    sums: Floats, counts: Floats, within: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Return the mean of all values, which come in independent clusters, and its interval.

    sums, counts  of the values of each cluster, shape (clusters,), each count > 0
    within        (lowest, highest) value

    The interval is the percentile bootstrap's over clusters, always with the same draws. Where all
    clusters agree it would have no width: there Wilson's says what share of others must agree, and
    the rest may be anything.
    """
    n = len(sums)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(sums.sum() / counts.sum())
    if n == 1:
        return Estimate(mean, math.nan, math.nan, n)
    if np.ptp(sums / counts) == 0:
        share = wilson(n, n).low
        low, high = (share * mean + (1 - share) * end for end in within)
        return Estimate(mean, low, high, n)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return Estimate(mean, low, high, n)


def groups(runs: Sequence[Run]) -> list[Group]:
    """Group runs that differ in their seed alone; worlds, then static before the others.

    Raises BadRun for a run without a finished episode, or two with the same seed in one group.
    """
    for run in runs:
        if run.unbegun and not run.episodes:
            raise BadRun(
                f"none of the attempts in {str(run.path)!r} has begun ({run.unbegun[0].reason}): "
                "try them again with jitrl run --resume"
            )
        if not run.episodes:
            raise BadRun(f"{str(run.path)!r} has no finished episode yet: play it first")
    result = []
    for _, alike in groupby(sorted(runs, key=_key), key=_key):
        members = sorted(alike, key=lambda run: run.configuration.seed)
        for a, b in pairwise(members):
            if a.configuration.seed == b.configuration.seed:
                raise BadRun(
                    f"{str(a.path)!r} and {str(b.path)!r} play the same with the same seed "
                    f"{a.configuration.seed}: name one of them"
                )
        result.append(Group(tuple(members), min(len(run.episodes) for run in members)))
    return result


def differences(among: Sequence[Group]) -> list[Difference]:
    """Compare each group with the static one of the same world, limits and preset.

    A static group of another preset stands in where it is the only one. Groups that share no seed
    with it are left out, and so are those of suites.
    """
    result = []
    for group in among:
        static = None if group.configuration.agent == "static" else static_of(group, among)
        if static is None or group.suite:
            continue
        episodes = min(group.episodes, static.episodes)
        ours, theirs = (_by_seed(member, episodes) for member in (group, static))
        seeds = sorted(ours.keys() & theirs.keys())
        if not seeds:
            continue
        gaps = np.array([ours[seed] - theirs[seed] for seed in seeds])
        mean = interval(gaps.mean(axis=1).tolist())
        last = interval(gaps[:, -LAST:].mean(axis=1).tolist())
        result.append(Difference(group, static, mean, last))
    return result


def labels(among: Sequence[Group]) -> list[str]:
    """Name each group by its agent, and by what sets it apart from the others."""
    differs = {
        name: len({getattr(group.configuration, name) for group in among}) > 1
        for name in ("world", "steps", "proposals", *_SUITE)
    }
    options = len({json.dumps(group.configuration.what) for group in among}) > 1
    told = [_models(group.configuration) for group in among]
    bare_presets = {g.configuration.preset for g in among if not g.configuration.stores}
    result = []
    for group, models in zip(among, told, strict=True):
        what = group.configuration
        parts = [f"{what.agent} {what.preset}"] if what.stores else [what.agent]
        if not what.stores and len(bare_presets) > 1:
            parts[0] += f" {what.preset}"
        parts += [f"{name}={_short(value)}" for name, value in what.overrides.items()]
        parts += [
            f"{getattr(what, name)} {name}"
            for name in ("steps", "proposals", "attempts", "workers")
            if differs[name]
        ]
        parts += [f"by {what.order}"] if differs["order"] else []
        parts += [f"{name}={_short(value)}" for name, value in what.what.items() if options]
        parts += [
            value if name in ("model", "scores") else f"{name}={value}"
            for name, value in models.items()
            if len({other.get(name, "") for other in told}) > 1 or name in ("model", "scores")
        ]
        if what.memory is not None:
            parts.append(f"memory {what.memory if remote(what.memory) else Path(what.memory).name}")
        if differs["world"]:
            parts.insert(0, what.world)
        result.append(", ".join(parts))
    return result


def _models(what: Configuration) -> dict[str, str]:
    """Return what a model run is told from others by; nothing for a run without models."""
    if what.model is None and what.judge_model is None:
        return {}
    judged = what.judges
    told = what.acting | (what.judging if judged else {})
    names = {name: value for name, value in told.items() if value not in (None, False)}
    return {name.replace("_", "-"): str(value) for name, value in names.items()}


def smoothed(scores: Floats, window: int) -> Floats:
    """Return the mean of each score and the `window` - 1 before it, along the last axis.

    The first ones are means of what there is.
    """
    sums = np.cumsum(scores, axis=-1)
    before = np.zeros_like(sums)
    before[..., window:] = sums[..., :-window]
    return np.asarray((sums - before) / np.minimum(np.arange(scores.shape[-1]) + 1, window))


def band(curves: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % interval at each episode, from curves of two seeds or more."""
    n = len(curves)
    half = _quantile(n - 1) * curves.std(axis=0, ddof=1) / math.sqrt(n)
    return curves.mean(axis=0) - half, curves.mean(axis=0) + half


def _quantile(freedom: int) -> float:
    """Return Student's t at the upper end of the interval."""
    try:
        from scipy.special import stdtrit
    except ImportError as error:
        raise MissingExtra("intervals need scipy: pip install 'jitrl[report]'") from error
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _key(run: Run) -> tuple[str, bool, str, str, str, int, int, str, str, str]:
    """Return what the runs of a group have in common."""
    what = run.configuration
    overrides = json.dumps(dict(what.overrides), sort_keys=True) if what.overrides else ""
    judging = what.judging if what.judges else {}
    models = json.dumps(what.acting | judging)
    place = (what.steps, what.proposals, what.memory or "", models)
    suite = json.dumps([getattr(what, name) for name in _SUITE] + [what.what], sort_keys=True)
    agent = (what.agent != "static", what.agent)
    return (what.world, *agent, what.preset, overrides, *place, suite)


def static_of(group: Group, among: Sequence[Group]) -> Group | None:
    """Return the static group to compare with: of the same world, limits, models and preset."""
    ours = group.configuration
    fit = [
        other
        for other in among
        if other.configuration.agent == "static"
        and (other.configuration.world, other.configuration.steps, other.configuration.proposals)
        == (ours.world, ours.steps, ours.proposals)
        and other.configuration.acting == ours.acting
        and other.configuration.what == ours.what
    ]
    same = [other for other in fit if other.configuration.preset == ours.preset]
    return same[0] if same else fit[0] if len(fit) == 1 else None


def _by_seed(group: Group, episodes: int) -> dict[int, Floats]:
    return dict(zip(group.seeds, group.scores()[:, :episodes], strict=True))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
