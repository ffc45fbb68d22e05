"""What a step is worth to the learner: the environment's reward, a judge's score, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from jitrl.checks import finite, interval
from jitrl.errors import InvalidValue
from jitrl.records import Step

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

    def signal(self, step: Step) -> float | None:
        """Return the signal of a step; None where it takes a score and the step has none.

        >>> from jitrl.records import State
        >>> step = Step(State(), "wait", 0.5, 0.0, {}, {}, False, "default", 0, judged=-1.0)
        >>> [Credit(of).signal(step) for of in ("reward", "judged", "mixed")]
        [0.5, -1.0, -0.5]
        """
        reward = _clipped(step.reward, self.reward_range)
        if self.of == "reward":
            return reward
        if step.judged is None:
            return None
        judged = _clipped(step.judged, self.judged_range)
        return judged if self.of == "judged" else reward + self.judge_weight * judged


def _clipped(value: float, bounds: tuple[float, float] | None) -> float:
    return value if bounds is None else min(max(value, bounds[0]), bounds[1])
