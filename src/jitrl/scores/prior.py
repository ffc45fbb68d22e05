"""A base policy without a model: valid actions alike, or as the world says; some are proposed."""

from __future__ import annotations

import math

import numpy as np

from jitrl.checks import count
from jitrl.errors import InvalidValue
from jitrl.records import Candidate, Scores, Situation
from jitrl.scores import Options
from jitrl.scores.text import executable


class Prior:
    """Proposes a few valid actions, drawn without replacement, as a model would.

    All are equally likely, or as the world says (`Observation.weights`). A remembered action that
    the world takes without listing it has the probability of an average one.
    """

    def __init__(self, proposals: int = 3) -> None:
        self.proposals = count("proposals", proposals, least=1)

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return the proposals; raises InvalidValue where no action is valid."""
        actions, weights = situation.observation.actions, situation.observation.weights
        if not actions:
            raise InvalidValue("actions", actions, "must hold at least one valid action")
        average = -math.log(len(actions))
        logprobs, p = dict.fromkeys(actions, average), None
        if weights:
            p = np.array(weights) / math.fsum(weights)
            logprobs = dict(zip(actions, np.log(p).tolist(), strict=True))
        size = min(self.proposals, len(actions))
        chosen = rng.choice(len(actions), size=size, replace=False, p=p)
        proposed = tuple(Candidate(actions[i], logprobs[actions[i]]) for i in chosen)
        others = executable(situation, (candidate.action for candidate in proposed))
        remembered = {action: logprobs.get(action, average) for action in others}
        return Scores(proposed, "prior", remembered=remembered)


def make(model: object, options: Options) -> Prior:
    """Return the prior; a model has no use here."""
    if model is not None:
        raise InvalidValue("scores", "prior", "uses no model: choose another, or leave --model out")
    return Prior(options.proposals)
