"""Whether memory turned decisions right or wrong, told from what all runs of a study have seen.

The value of an action in a state, with hindsight, is the mean discounted return (Eq. 3, with the
run's own gamma) of all times that it was taken there, in any run of the same world, but for the
decision that is judged. Two states are the same where all their fields are but for the history:
what was done before seldom comes twice. It is an estimate, made by policies that differ, and where
one of the two actions was never seen there nobody can tell.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import numpy as np

from jitrl import update
from jitrl.bench.files import whole_lines
from jitrl.bench.folder import STEPS, Run
from jitrl.errors import BadRun
from jitrl.study.statistics import Turned, turned

_Place = tuple[tuple[tuple[str, str], ...], str]  # a state without its history, and an action


@dataclass(frozen=True, slots=True)
class _Step:
    """A step: where it was, what was done, what came of it; what memory had it do instead of."""

    place: _Place
    without: _Place | None
    return_: float


class Hindsight:
    """The returns of what was done in a world, by state and action.

    runs  all of one world
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._sums: dict[_Place, float] = defaultdict(float)
        self._counts: dict[_Place, int] = defaultdict(int)
        self._turned: dict[str, list[_Step]] = {}
        for run in runs:
            changed = self._turned[str(run.path)] = []
            for step in _steps(run):
                self._sums[step.place] += step.return_
                self._counts[step.place] += 1
                if step.without is not None:
                    changed.append(step)

    def turned(self, run: Run) -> Turned:
        """Return what became of the decisions that memory turned in one of the runs."""
        taken, without = [], []
        for step in self._turned[str(run.path)]:
            count = self._counts[step.place] - 1  # not by itself
            others = self._sums[step.place] - step.return_
            taken.append(others / count if count else np.nan)
            other = cast(_Place, step.without)
            known = self._counts.get(other, 0)
            without.append(self._sums[other] / known if known else np.nan)
        return turned(np.array(taken, dtype=float), np.array(without, dtype=float))


def _steps(run: Run) -> Iterator[_Step]:
    """Iterate over the steps of finished episodes, each with its return."""
    gamma = float(cast("dict[str, Any]", run.manifest.preset)["gamma"])
    finished = {played.number for played in run.episodes}
    for part in run.folders:
        path = part.path / STEPS
        try:
            lines = (json.loads(line) for _, line in whole_lines(path))
            for number, found in groupby(lines, key=lambda step: step["episode"]):
                steps = list(found)
                if number not in finished:
                    continue
                rewards = [float(step["reward"]) for step in steps]
                returns = update.returns(rewards, gamma=gamma).tolist()
                for step, return_ in zip(steps, returns, strict=True):
                    state = tuple((k, v) for k, v in step["state"].items() if k != "history")
                    # "" where nobody knows what would have been chosen: that is no action
                    without = (state, step.get("without", "")) if step["changed"] else None
                    yield _Step((state, step["action"]), without, return_)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRun(f"{str(path)!r} is damaged ({error}): restore it") from error
