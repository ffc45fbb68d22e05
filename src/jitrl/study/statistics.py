"""What a study shows: means and paired differences, with intervals that respect how it was made.

Pure. A study's cell (world, arm) is an array of shape (seeds, tasks, attempts); a game is one task,
whose attempts are its episodes. Seeds and tasks are crossed: a task is as hard for every seed, and
the tasks of one seed share a memory. So neither the attempts nor the tasks of a run are
independent. An interval's half width is

    h^2 = max(S + T, C),  each t^2 V: a variance V, times the square of Student's t for it

where V of S is that of the mean over seeds, of T over tasks, and of C as if all cells were
independent, which rules where the means happen to vary less than that. With one task it is
Student's interval over the seeds. Sources, and how often intervals hold the truth:
`docs/statistics.md`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitrl.bench.statistics import CONFIDENCE, Estimate, wilson
from jitrl.errors import MissingExtra
from jitrl.update import Floats

LAST = 10
"""Episodes of a game that its final score is the mean of, or all where there are fewer."""
_LEAST_P = 1e-15


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference.

    estimate   of the mean difference, with its 95 % interval
    p          of the hypothesis that there is none: at 1 - p the interval ends at zero; nan where
               there is no interval
    adjusted   the same after Holm's correction for all differences of one table
    identical  every pair is equal to the last bit
    """

    estimate: Estimate
    p: float = math.nan
    adjusted: float = math.nan
    identical: bool = False

    @property
    def verdict(self) -> str:
        """Say what it shows; no winner where the interval holds zero."""
        found = self.estimate
        if self.identical:
            return "identical"
        if not found.known:
            return "nothing shown" if found.n != 1 else "one run: nothing shown"
        if found.low <= 0 <= found.high:
            return "no difference shown"
        side = "helps" if found.low > 0 else "harms"
        return (
            side if self.adjusted < 1 - CONFIDENCE else f"{side}, but not after Holm's correction"
        )


def average(scores: Floats) -> Floats:
    """Return the mean of all attempts of each cell: (seeds, tasks, attempts) -> (seeds, tasks)."""
    return _mean(scores)


def final(scores: Floats) -> Floats:
    """Return the last attempt at each task; of a game the mean of its last ten episodes."""
    return _mean(scores[:, :, -LAST:]) if scores.shape[1] == 1 else scores[:, :, -1]


def mean(cells: Sequence[Floats], within: tuple[float, float] | None = None) -> Estimate:
    """Return the mean of cells, with its interval.

    cells   an array of shape (seeds, tasks) for each world; worlds weigh the same, and are what
            they are: nothing is said of others. nan for a cell that was not played
    within  (lowest, highest) value, where that is known
    """
    return _estimate([_Cells.of(one) for one in cells], within)[0]


def difference(
    ours: Sequence[Floats], theirs: Sequence[Floats], within: tuple[float, float] | None = None
) -> Difference:
    """Return the mean of ours minus theirs, over the cells that both have played.

    ours, theirs  an array of shape (seeds, tasks) for each world, paired by seed and task
    within        (lowest, highest) difference, where that is known
    """
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    known = np.concatenate([gap[~np.isnan(gap)] for gap in gaps])
    estimate, p = _estimate([_Cells.of(gap) for gap in gaps], within)
    return Difference(estimate, p, p, identical=len(known) > 0 and not known.any())


def holm(found: Sequence[Difference]) -> list[Difference]:
    """Return the differences of one table with their p values adjusted (Holm 1979)."""
    known = sorted((one.p, place) for place, one in enumerate(found) if not math.isnan(one.p))
    adjusted, most = [one.p for one in found], 0.0
    for rank, (p, place) in enumerate(known):
        most = max(most, min(1.0, (len(known) - rank) * p))
        adjusted[place] = most
    return [replace(one, adjusted=p) for one, p in zip(found, adjusted, strict=True)]


@dataclass(frozen=True, slots=True)
class Turned:
    """What became of the decisions that memory turned.

    right, wrong  with hindsight the action taken was worth more, or less, than the one that the
                  base policy would have taken
    equal         they were worth the same
    untold        nobody can tell: one of the two was never seen elsewhere
    """

    right: int
    wrong: int
    equal: int
    untold: int


def helped(runs: Sequence[Turned]) -> Estimate:
    """Return the share of decisions that memory turned right, of those that can be told.

    runs  one for each run: its decisions hang together, so that the interval is over the runs
    """
    return _share(runs, [one.right for one in runs])


def harmed(runs: Sequence[Turned]) -> Estimate:
    """Return the share of decisions that memory turned wrong, likewise."""
    return _share(runs, [one.wrong for one in runs])


def turned(taken: Floats, without: Floats) -> Turned:
    """Return what became of turned decisions.

    taken, without  hindsight value of the action taken, and of that of the base policy, shape (n,);
                    nan where unknown
    """
    gap = taken - without
    return Turned(
        right=int((gap > 0).sum()),
        wrong=int((gap < 0).sum()),
        equal=int((gap == 0).sum()),
        untold=int(np.isnan(gap).sum()),
    )


def price_per_point(cost: Difference, score: Difference) -> Estimate:
    """Return what a point more costs: difference in cost over difference in score.

    The interval is what both intervals allow together, which is wider than 95 %. It has no upper
    end (inf) where the score may not have risen at all; nan where it fell or nothing is known.
    """
    c, s = cost.estimate, score.estimate
    if not s.mean > 0 or math.isnan(c.mean):
        return Estimate(math.nan, math.nan, math.nan, s.n)
    if not (s.known and c.known):
        return Estimate(c.mean / s.mean, math.nan, math.nan, s.n)
    high = math.inf if s.low <= 0 else max(c.high / s.low, c.high / s.high)
    low = -math.inf if s.low <= 0 and c.low < 0 else min(c.low / s.high, c.low / max(s.low, s.high))
    return Estimate(c.mean / s.mean, low, high, s.n)


def _mean(scores: Floats) -> Floats:
    """Return the mean over the last axis of what is not nan; nan where nothing is."""
    known = ~np.isnan(scores)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, scores, 0.0).sum(axis=-1) / known.sum(axis=-1))


def _share(runs: Sequence[Turned], counts: Sequence[int]) -> Estimate:
    """Return the counts of all runs over their decisions that can be told."""
    told = np.array([[one.right + one.wrong + one.equal] for one in runs], dtype=float)
    shares = np.array(counts, dtype=float).reshape(-1, 1) / np.where(told > 0, told, np.nan)
    return _estimate([_Cells.of(shares, told)], (0.0, 1.0))[0]


@dataclass(frozen=True, slots=True)
class _Cells:
    """One world's cells, of the seeds and tasks that were played.

    values, weights  shape (seeds, tasks); weights sum to 1, and are 0 where a cell is missing
    """

    values: Floats
    weights: Floats

    @classmethod
    def of(cls, values: Floats, weights: Floats | None = None) -> _Cells:
        """Return cells, nan where missing, that weigh the same unless weights are given."""
        known = ~np.isnan(values)
        weights = np.where(known, 1.0 if weights is None else weights, 0.0)
        place = np.ix_(known.any(axis=1), known.any(axis=0))
        return cls(np.nan_to_num(values)[place], weights[place] / max(weights.sum(), 1e-300))

    @property
    def mean(self) -> float:
        return float((self.weights * self.values).sum())

    @property
    def n(self) -> int:
        """Seeds or tasks, whichever are fewer; where there is one of them, the others."""
        sizes: tuple[int, ...] = self.values.shape
        return max(sizes) if 1 in sizes else min(sizes)

    def variances(self) -> Floats:
        """Return the variances that `_half` takes, with their degrees of freedom: shape (3, 2)."""
        pull = self.weights * (self.values - self.mean)
        return np.array(
            [
                _jackknife(pull.sum(axis=1), self.weights.sum(axis=1)),
                _jackknife(pull.sum(axis=0), self.weights.sum(axis=0)),
                _jackknife(pull.ravel(), self.weights.ravel()),
            ]
        )


def _jackknife(pull: Floats, weights: Floats) -> tuple[float, float]:
    """Return the variance of a weighted mean of clusters, leaving out each in turn.

    Its degrees of freedom are one less than the clusters that would tell as much if they weighed
    the same (Kish 1965): where they do, all this is the square of the usual standard error.
    """
    pull, weights = pull[weights > 0], weights[weights > 0]
    n = len(pull)
    if n == 1:
        return 0.0, 1.0
    variance = float(((pull / (1 - weights)) ** 2).sum()) * (n - 1) / n
    return variance, max(1 / float((weights**2).sum()) - 1, 1.0)


def _estimate(
    worlds: Sequence[_Cells], within: tuple[float, float] | None
) -> tuple[Estimate, float]:
    """Return the mean over worlds with its interval, and the p value of its being 0."""
    worlds = [one for one in worlds if one.values.size]
    if not worlds:
        return Estimate(math.nan, math.nan, math.nan, 0), math.nan
    middle = float(np.mean([one.mean for one in worlds]))
    n = min(one.n for one in worlds)
    if n == 1:
        return Estimate(middle, math.nan, math.nan, 1), math.nan
    variances = _together([one.variances() for one in worlds])
    half = _half(variances, 1 - CONFIDENCE)
    if half < 1e-12 * max(1.0, abs(middle)):  # all clusters agree: the sign test
        return Estimate(middle, *_agreed(middle, n, within), n), 2.0 ** (1 - n) if middle else 1.0
    low, high = middle - half, middle + half
    if within is not None:
        low, high = max(low, within[0]), min(high, within[1])
    return Estimate(middle, low, high, n), _p(variances, middle)


def _together(worlds: Sequence[Floats]) -> Floats:
    """Return the variances of the mean over worlds, with Satterthwaite's degrees of freedom."""
    variance, freedom = np.moveaxis(np.array(worlds), 2, 0)
    total = variance.sum(axis=0)
    share = variance / np.where(total > 0, total, 1.0)
    noise = np.where(total > 0, (share**2 / freedom).sum(axis=0), 1.0)
    return np.stack([total / len(worlds) ** 2, 1 / noise], axis=1)


def _half(variances: Floats, error: float) -> float:
    """Return half the width of the interval that misses the truth with the probability `error`.

    variances  over seeds, over tasks, as if all cells were independent
    """
    t = _scipy("special").stdtrit(variances[:, 1], error / 2)
    seeds, tasks, cells = t**2 * variances[:, 0]
    return math.sqrt(max(seeds + tasks, cells))


def _p(variances: Floats, middle: float) -> float:
    """Return the error at which the interval around `middle` ends at 0, at least 1e-15."""

    def beyond(error: float) -> float:
        return _half(variances, error) - abs(middle)

    if beyond(_LEAST_P) <= 0:
        return _LEAST_P
    return float(_scipy("optimize").brentq(beyond, _LEAST_P, 1.0))


def _agreed(middle: float, n: int, within: tuple[float, float] | None) -> tuple[float, float]:
    """Return the interval where all of n clusters agree: a share of others must agree as well, says
    Wilson, and the rest may be anything. Without limits nothing is known.
    """
    if within is None:
        return math.nan, math.nan
    share = wilson(n, n).low
    low, high = (share * middle + (1 - share) * end for end in within)
    return low, high


def _scipy(part: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError as error:
        raise MissingExtra("intervals need scipy: pip install 'jitrl[report]'") from error
