"""Base logits of whole actions: log p(action | prompt), over all its tokens. Exact."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from jitrl.errors import BadReply, InvalidValue
from jitrl.models import Message, Model, Purpose
from jitrl.prompts import load
from jitrl.records import Candidate, Scores, Situation
from jitrl.scores import Options
from jitrl.scores.text import as_line, describe


@dataclass(frozen=True)
class Sequences:
    """Scores every valid action as the model's answer, its end included; nothing is generated.

    The candidates are all valid actions, so that remembered ones are among them where they can be
    executed. `Scores.outside` is the probability of any other answer. Local models score all of
    them in one batch; servers take a call for each.
    """

    model: Model
    window: int = 10

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return all valid actions with their log-probabilities at temperature 1."""
        actions = situation.observation.actions
        if not actions:
            raise InvalidValue("actions", actions, "must hold at least one valid action")
        purpose = Purpose("act", situation.episode, situation.t)
        messages = action_messages(situation, self.window)
        scored = (await self.model.score(messages, actions, purpose)).logprobs
        finite = [logprob for logprob in scored if math.isfinite(logprob)]
        if not finite:
            raise BadReply(f"{self.model.name} holds every valid action for impossible")
        return Scores(
            tuple(
                Candidate(action, logprob)
                for action, logprob in zip(actions, scored, strict=True)
                if math.isfinite(logprob)
            ),
            "exact" if len(finite) == len(scored) else "bounded",
            remembered={},
            outside=max(0.0, 1.0 - math.fsum(math.exp(logprob) for logprob in finite)),
        )


def action_messages(situation: Situation, window: int = 10) -> tuple[Message, ...]:
    """Return the prompt that asks for an action in its own words.

    It ends in a line break, so that no token of an action runs into those of the prompt where both
    are plain text.
    """
    actions = "\n".join(map(as_line, situation.observation.actions))
    *before, last = load("action").render(situation=describe(situation, window), actions=actions)
    return (*before, replace(last, content=f"{last.content}\n"))


def make(model: Model, options: Options) -> Sequences:
    """Return the source."""
    return Sequences(model, options.window)
