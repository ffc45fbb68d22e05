"""What a study shows: means and paired differences, with intervals that respect how it was made.

Pure. A study's cell (world, arm) is an array of shape (seeds, tasks, attempts); a game is one task,
whose attempts are its episodes. Seeds and tasks are crossed: a task is as hard for every seed, and
the tasks of one seed share a memory. So neither the attempts nor the tasks of a run are
independent, and intervals are made by drawing seeds and tasks anew, each on its own (the pigeonhole
bootstrap: Owen 2007, Annals of Applied Statistics 1(2)); quantiles are widened so that few clusters
give as wide an interval as Student's t would (Hesterberg 2015, The American Statistician 69(4),
section 4.2). Where there are fewer than ten clusters it is Student's t over the bootstrap's
standard error. Draws are fixed: the same data give the same interval. How often they hold the
truth: `docs/statistics.md`.
"""

from __future__ import annotations

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
FEW = 10
"""Clusters from which on the bootstrap is used; with fewer, Student's t."""
_RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference.

    estimate   of the mean difference, with its 95 % interval
    p          of the hypothesis that there is none: Student's t over the bootstrap's standard
               error; nan where there is no interval
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
    return _estimate(cells, within)[0]


def difference(
    ours: Sequence[Floats], theirs: Sequence[Floats], within: tuple[float, float] | None = None
) -> Difference:
    """Return the mean of ours minus theirs, over the cells that both have played.

    ours, theirs  an array of shape (seeds, tasks) for each world, paired by seed and task
    within        (lowest, highest) difference, where that is known
    """
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    known = np.concatenate([gap[~np.isnan(gap)] for gap in gaps])
    estimate, error, freedom = _estimate(gaps, within)
    p = math.nan
    if error > 0:
        p = 2 * _t_below(-abs(estimate.mean) / error, freedom)
    elif freedom:  # all clusters agree: the sign test
        p = 2.0**-freedom if estimate.mean else 1.0
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

    @property
    def help(self) -> Estimate:
        """Share of those that can be told that memory turned right, with Wilson's interval."""
        return wilson(self.right, self.right + self.wrong + self.equal)

    @property
    def harm(self) -> Estimate:
        """Share of those that can be told that memory turned wrong, with Wilson's interval."""
        return wilson(self.wrong, self.right + self.wrong + self.equal)


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


def _estimate(
    cells: Sequence[Floats], within: tuple[float, float] | None
) -> tuple[Estimate, float, int]:
    """Return the mean over worlds of the means over cells: with its interval, its standard error,
    and how many degrees of freedom that has.
    """
    played = [_played(one) for one in cells]
    played = [one for one in played if one.size]
    if not played:
        return Estimate(math.nan, math.nan, math.nan, 0), math.nan, 0
    middle = float(np.mean([np.nanmean(one) for one in played]))
    n = min(max(one.shape) if min(one.shape) == 1 else min(one.shape) for one in played)
    if n == 1:
        return Estimate(middle, math.nan, math.nan, 1), math.nan, 0
    draws = np.mean([_drawn(one, place) for place, one in enumerate(played)], axis=0)
    inflated = math.sqrt(n / (n - 1))
    error = float(np.std(draws)) * inflated
    if error < 1e-12 * max(1.0, abs(middle)):
        return Estimate(middle, *_agreed(middle, n, within), n), 0.0, n - 1
    wide = _t_above(n - 1)
    if n < FEW:
        low, high = middle - wide * error, middle + wide * error
    else:
        tail = _normal_below(-wide * inflated)
        low, high = np.quantile(draws, [tail, 1 - tail]).tolist()
    if within is not None:
        low, high = max(low, within[0]), min(high, within[1])
    return Estimate(middle, float(low), float(high), n), error, n - 1


def _played(cells: Floats) -> Floats:
    """Return the rows and columns of which anything was played."""
    known = ~np.isnan(cells)
    return np.asarray(cells[known.any(axis=1)][:, known.any(axis=0)])


def _drawn(cells: Floats, place: int) -> Floats:
    """Return means of one world's cells, with seeds and tasks drawn anew, each on its own."""
    rng = np.random.default_rng([0, place])
    weights = [
        rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
        if n > 1
        else np.ones((_RESAMPLES, 1))
        for n in cells.shape
    ]
    known = (~np.isnan(cells)).astype(float)
    sums = np.einsum("bs,st,bt->b", weights[0], np.nan_to_num(cells), weights[1], optimize=True)
    counts = np.einsum("bs,st,bt->b", weights[0], known, weights[1], optimize=True)
    usual = float(np.nanmean(cells))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), usual))


def _agreed(middle: float, n: int, within: tuple[float, float] | None) -> tuple[float, float]:
    """Return the interval where all of n clusters agree: a share of others must agree as well, says
    Wilson, and the rest may be anything. Without limits nothing is known.
    """
    if within is None:
        return math.nan, math.nan
    share = wilson(n, n).low
    low, high = (share * middle + (1 - share) * end for end in within)
    return low, high


def _t_above(freedom: int) -> float:
    """Return Student's t at the upper end of the interval."""
    return float(_special().stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _t_below(t: float, freedom: int) -> float:
    """Return the probability that Student's t is below `t`."""
    return float(_special().stdtr(freedom, t))


def _normal_below(z: float) -> float:
    return float(_special().ndtr(z))


def _special() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise MissingExtra("intervals need scipy: pip install 'jitrl[report]'") from error
    return special
