"""A base policy without a model: uniform over the valid actions, some of them proposed."""

from __future__ import annotations

import math

import numpy as np

from jitrl.checks import count
from jitrl.errors import InvalidValue
from jitrl.records import Candidate, Scores, Situation
from jitrl.scores import Options
from jitrl.scores.text import executable


class UniformPrior:
    """Proposes a few valid actions, drawn without replacement, as a model would.

    Every valid action, proposed or remembered, has log-probability -log(number of listed actions),
    one that the world takes without listing it included.
    """

    def __init__(self, proposals: int = 3) -> None:
        self.proposals = count("proposals", proposals, least=1)

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return the proposals; raises InvalidValue where no action is valid."""
        actions = situation.observation.actions
        if not actions:
            raise InvalidValue("actions", actions, "must hold at least one valid action")
        chosen = rng.choice(len(actions), size=min(self.proposals, len(actions)), replace=False)
        logprob = -math.log(len(actions))
        proposed = tuple(Candidate(actions[i], logprob) for i in chosen)
        others = executable(situation, (candidate.action for candidate in proposed))
        return Scores(proposed, "prior", remembered=dict.fromkeys(others, logprob))


def make(model: object, options: Options) -> UniformPrior:
    """Return the prior; a model has no use here."""
    if model is not None:
        raise InvalidValue("scores", "prior", "uses no model: choose another, or leave --model out")
    return UniformPrior(options.proposals)
