"""Base logits that the model states as confidences: approximate, for models that report none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jitrl.checks import count
from jitrl.models import Model, Purpose, Request
from jitrl.models.jsonreply import ask_json
from jitrl.records import Candidate, Scores, Situation
from jitrl.scores import Options
from jitrl.scores.labels import agent_messages
from jitrl.scores.replies import agent_schema, read_named
from jitrl.scores.text import executable, labels


@dataclass(frozen=True)
class Stated:
    """Asks for candidates with a confidence each, 0 to 100: log p = log(confidence / 100).

    The form that the paper uses for closed models. A confidence below 1 counts as 1, since an
    action that the model names is not impossible. Remembered actions that it does not name are
    `unscored`. One model call a step; `Labels` explains the arguments.
    """

    model: Model
    proposals: int = 3
    window: int = 10
    temperature: float = 1.0
    max_tokens: int = 600

    def __post_init__(self) -> None:
        count("proposals", self.proposals, least=1)

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return the named candidates with their stated log-probabilities."""
        labelled = labels(situation.observation.actions)
        proposals = min(self.proposals, len(labelled))
        request = Request(
            agent_messages(situation, labelled, proposals, self.window),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=int(rng.integers(2**31)),
            schema=agent_schema(labelled),
            purpose=Purpose("act", situation.episode, situation.t),
        )
        named, _ = await ask_json(
            self.model, request, lambda value: read_named(value, labelled, proposals)
        )
        candidates = tuple(
            Candidate(labelled[label], math.log(max(sure, 1.0) / 100))
            for label, sure in named.confidence.items()
        )
        unscored = executable(situation, (candidate.action for candidate in candidates))
        return Scores(candidates, "stated", remembered={}, unscored=unscored)


def make(model: Model, options: Options) -> Stated:
    """Return the source."""
    return Stated(model, options.proposals, options.window, max_tokens=options.max_tokens)
