"""A base policy without a model: uniform over the valid actions, some of them proposed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jitrl.checks import count
from jitrl.errors import InvalidValue
from jitrl.records import Candidate, Observation, Scores


class UniformPrior:
    """Proposes a few valid actions, drawn without replacement, as a model would.

    Every valid action, proposed or remembered, has log-probability -log(number of valid actions).
    """

    def __init__(self, proposals: int = 3) -> None:
        self.proposals = count("proposals", proposals, least=1)

    def propose(self, observation: Observation, rng: np.random.Generator) -> Scores:
        """Return the proposals for `observation`; raises InvalidValue where no action is valid."""
        actions = observation.actions
        if not actions:
            raise InvalidValue("actions", actions, "must hold at least one valid action")
        chosen = rng.choice(len(actions), size=min(self.proposals, len(actions)), replace=False)
        logprob = -math.log(len(actions))
        return Scores(tuple(Candidate(actions[i], logprob) for i in chosen), "prior")

    def score(self, observation: Observation, actions: Sequence[str]) -> Mapping[str, float | None]:
        """Return the common log-probability for what is valid here, None for what is not."""
        valid = set(observation.actions)
        logprob = -math.log(len(valid)) if valid else 0.0
        return {action: logprob if action in valid else None for action in actions}
