"""What a step is worth to the learner: the environment's reward, a judge's score, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from jitrl.checks import finite, interval
from jitrl.errors import InvalidValue
from jitrl.update import Floats

__all__ = ["Credit", "Signal"]

Signal = Literal["reward", "judged", "mixed"]
_HEAVIEST = 1e6


@dataclass(frozen=True, slots=True)
class Credit:
    """Which signal of a step its return is made of: the choice of who reads the memory.

    of            "reward", "judged", or "mixed": reward + judge_weight * judged
    judge_weight  in [0, 1e6]
    reward_range  (lowest, highest): rewards are clipped to it; None for no limit
    judged_range  the same for a judge's scores

    Raises InvalidValue.
    """

    of: Signal = "reward"
    judge_weight: float = 1.0
    reward_range: tuple[float, float] | None = None
    judged_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.of not in get_args(Signal):
            raise InvalidValue("credit", self.of, 'must be "reward", "judged" or "mixed"')
        if not 0 <= finite("judge_weight", self.judge_weight) <= _HEAVIEST:
            raise InvalidValue("judge_weight", self.judge_weight, "must lie in [0, 1e6]")
        for name in ("reward_range", "judged_range"):
            if getattr(self, name) is not None:
                interval(name, getattr(self, name))

    def signals(self, rewards: Floats, judged: Floats) -> Floats:
        """Return the signal of each step, shape (T,); nan where it takes a score and there is none.

        rewards  shape (T,): what the environment paid
        judged   shape (T,): the judge's scores, nan for none

        >>> rewards, judged = np.array([0.5, 2.0]), np.array([-1.0, np.nan])
        >>> [Credit(of).signals(rewards, judged).tolist() for of in ("reward", "judged", "mixed")]
        [[0.5, 2.0], [-1.0, nan], [-0.5, nan]]
        """
        rewards = _clipped(rewards, self.reward_range)
        if self.of == "reward":
            return rewards
        judged = _clipped(judged, self.judged_range)
        return judged if self.of == "judged" else rewards + self.judge_weight * judged


def _clipped(values: Floats, bounds: tuple[float, float] | None) -> Floats:
    return values if bounds is None else np.clip(values, *bounds)
