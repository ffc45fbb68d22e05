"""A placebo: steps are stored, and never read. At equal seeds it must equal static bit for bit."""

from jitrl.agents.arms import Arm
from jitrl.learner import Learner
from jitrl.memory import View
from jitrl.records import Experience, State


class Blind(Learner):
    """A learner that retrieves nothing."""

    def neighbours(self, state: State, t: int, view: View) -> list[Experience]:
        """Return nothing."""
        return []


ARM = Arm(moves=False, learner=Blind)
