"""The paper's summariser: the history of the episode as a model tells it, instead of the world's.

One more model call a step. The world's own history costs none and is the default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jitrl.errors import BadReply
from jitrl.models import Model, Purpose, Request
from jitrl.models.jsonreply import finished
from jitrl.prompts import load
from jitrl.records import Situation, State
from jitrl.scores.text import describe
from jitrl.seeds import generator


@dataclass(frozen=True)
class Summariser:
    """Replaces the field `history` of the state by a summary, at temperature 0.

    window  steps of the episode that the model reads
    seed    of the requests, with episode and step
    """

    model: Model
    window: int = 50
    max_tokens: int = 300
    seed: int = 0

    async def __call__(self, situation: Situation) -> Situation:
        """Return the situation with the summary as its history.

        The first step has no history, and no call is made. Raises BadReply for a refusal, and for a
        summary that is empty or cut off by max_tokens.
        """
        if not situation.turns:
            return situation
        draws: np.random.Generator = generator(
            self.seed, situation.episode, f"summary {situation.t}"
        )
        request = Request(
            load("summary").render(situation=describe(situation, self.window)),
            max_tokens=self.max_tokens,
            temperature=0.0,
            seed=int(draws.integers(2**31)),
            purpose=Purpose("summarise", situation.episode, situation.t),
        )
        said = finished(await self.model.complete(request), self.model.name).strip()
        if not said:
            raise BadReply(
                f"{self.model.name} gave an empty summary: use another model, or leave the "
                "summariser out"
            )
        fields = dict(situation.observation.state) | {"history": said}
        return replace(situation, observation=replace(situation.observation, state=State(**fields)))
