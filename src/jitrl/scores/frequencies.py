"""Base logits from how often a model gives each answer: approximate, n is shown."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from jitrl.checks import count
from jitrl.errors import BadReply
from jitrl.models import Model, Purpose, Request
from jitrl.records import Candidate, Scores, Situation
from jitrl.scores import Options
from jitrl.scores.labels import ANSWER_TOKENS, label_messages
from jitrl.scores.replies import MARKS
from jitrl.scores.text import executable, labels


@dataclass(frozen=True)
class Frequencies:
    """Asks for a label `n` times: log p = log(how often / how many answers named a label).

    An action that no sample named is no candidate; if it is remembered, it is `unscored`. Answers
    that are no label count to `Scores.outside`; BadReply is raised where all of them are.
    """

    model: Model
    n: int = 10
    window: int = 10
    temperature: float = 1.0

    def __post_init__(self) -> None:
        count("n", self.n, least=1)

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return the sampled actions, the most frequent first."""
        labelled = labels(situation.observation.actions)
        request = Request(
            label_messages(situation, labelled, self.window),
            max_tokens=ANSWER_TOKENS,
            temperature=self.temperature,
            n=self.n,
            seed=int(rng.integers(2**31)),
            purpose=Purpose("act", situation.episode, situation.t),
        )
        reply = await self.model.complete(request)
        said = Counter(completion.text.strip(MARKS) for completion in reply.completions)
        named = {label: often for label, often in said.most_common() if label in labelled}
        total = sum(named.values())
        if not total:
            raise BadReply(
                f"none of {len(reply.completions)} answers of {self.model.name} is a label "
                f"(the first: {reply.text.strip()[:60]!r}): use --scores stated"
            )
        return Scores(
            tuple(Candidate(labelled[label], math.log(n / total)) for label, n in named.items()),
            "sampled",
            remembered={},
            outside=1.0 - total / len(reply.completions),
            samples=len(reply.completions),
            unscored=executable(situation, (labelled[label] for label in named)),
        )


def make(model: Model, options: Options) -> Frequencies:
    """Return the source."""
    return Frequencies(model, options.samples, options.window)
