"""A placebo: JitRL with the returns permuted among all stored steps. It must not beat static.

What is retrieved, and how often an action was taken, is as it is; only what came of it is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jitrl.agents.arms import Arm
from jitrl.learner import Learner, LiveEpisode
from jitrl.memory import View
from jitrl.records import Experience, State
from jitrl.seeds import generator


class Shuffled(Learner):
    """A learner that takes the return of one remembered step for that of another.

    The permutation stands for an episode, and is drawn from (seed, number of the episode). For one
    episode at a time.
    """

    _number = 0
    _returned: dict[tuple[str, int], float] | None = None

    def episode(self, task: str = "", **given: Any) -> LiveEpisode:
        """Begin an episode, with a permutation of its own; as the learner takes it."""
        begun = super().episode(task, **given)
        self._number, self._returned = begun.number, None
        return begun

    def neighbours(self, state: State, t: int, view: View) -> list[Experience]:
        """Return the neighbours, each with the return of some stored step."""
        found = super().neighbours(state, t, view)
        if self._returned is None:
            self._returned = self._permuted()
        returned = self._returned
        return [replace(step, return_=returned[step.episode, step.t]) for step in found]

    def _permuted(self) -> dict[tuple[str, int], float]:
        """Return (episode, step) -> the return of another, for every step that has one."""
        returns: dict[tuple[str, int], float] = {}
        for episode in self.memory.episodes():
            rewards = np.array([step.reward for step in episode.steps])
            judged = np.array(
                [np.nan if step.judged is None else step.judged for step in episode.steps]
            )
            for t, value in enumerate(self.returns(rewards, judged).tolist()):
                if not np.isnan(value):
                    returns[episode.id, t] = value
        drawn = generator(self.seed, self._number, "shuffled").permutation(list(returns.values()))
        return dict(zip(returns, drawn.tolist(), strict=True))


ARM = Arm(learner=Shuffled)
