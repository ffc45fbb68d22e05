"""Free-form generation that samples exactly from pi' over whole actions, on a local model.

The base policy pi of a situation is over token sequences: the model's next-token distributions
after the prompt, at temperature T, truncated by top_k and top_p, until a token that ends an
answer; the token at the length limit is always the end. What the memory knows of some actions
tilts pi as a whole (method: psi-weighted prefixes), with nothing approximated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from jitrl import update
from jitrl.checks import count, finite
from jitrl.decoding.psi import Known
from jitrl.decoding.transformers import PsiProcessor
from jitrl.errors import BadReply, InvalidValue
from jitrl.models import Message, Model, Purpose, Usage
from jitrl.models.ledger import Metered
from jitrl.models.logits import draw
from jitrl.models.transformers import Prefix, TransformersModel
from jitrl.records import Modulation, Situation
from jitrl.scores import Options, Sampled
from jitrl.scores.sequences import action_messages

__all__ = ["FreeForm", "make"]


def _uncounted(usage: Usage, purpose: Purpose) -> None:
    """Count nothing."""


@dataclass(frozen=True, slots=True)
class FreeForm:
    """A `jitrl.scores.Sampler`: the model writes its action itself, from the updated policy.

    model       a local model
    prompt      the messages that ask for an action in a situation; the answer is the action alone
    max_tokens  >= 2: of an action, its end included. A known action that is longer raises the
                limit for that draw, and is never cut.
    top_k       keep only the k most probable tokens, 0 for all: part of the base policy
    top_p       then only the fewest of these that have that mass, in (0, 1]: part of it too
    counted     is told what every draw consumed

    The base policy is the model's, given that the first token is no end: an empty answer is no
    action. An action is what was written before the end, without white space around it; it need
    not be one that the world lists. The known actions are the token sequences that the tokenizer
    makes of them. Another sequence that reads the same has advantage 0; should one be drawn,
    `before` and `after` of that action are the sums over both.
    """

    model: TransformersModel
    prompt: Callable[[Situation], tuple[Message, ...]]
    max_tokens: int = 32
    top_k: int = 0
    top_p: float = 1.0
    counted: Callable[[Usage, Purpose], None] = _uncounted

    def __post_init__(self) -> None:
        count("max_tokens", self.max_tokens, least=2)
        count("top_k", self.top_k)
        if not 0 < finite("top_p", self.top_p) <= 1:
            raise InvalidValue("top_p", self.top_p, "must lie in (0, 1]")

    async def sample(
        self, situation: Situation, modulation: Modulation, rng: np.random.Generator
    ) -> Sampled:
        """Return what was drawn, and the probabilities it was drawn with.

        One number is taken from `rng`, whatever the modulation: the same number draws the same
        action from the same policy. Raises RequestRejected where the prompt and an action do not
        fit into the context, or where the tokens of a known action run into those of the prompt.
        """
        messages = self.prompt(situation)
        seed = int(rng.integers(2**63))
        sampled, usage = await self.model.run(lambda: self._sample(messages, modulation, seed))
        self.counted(usage, Purpose("act", situation.episode, situation.t))
        return sampled

    def _sample(
        self, messages: tuple[Message, ...], modulation: Modulation, seed: int
    ) -> tuple[Sampled, Usage]:
        text = self.model.prompt_text(messages)
        sequences = [self.model.answer_ids(text, action) for action in modulation.advantages]
        limit = max([self.max_tokens, *map(len, sequences)])
        prefix = _begun(self.model, self.model.prefill(self.model.prompt_ids(text), limit))
        turn = _Turn(self, prefix, modulation.temperature, limit)
        logprobs = turn.score(sequences)
        beta, known = _within_budget(sequences, logprobs, modulation)
        ids = turn.draw(known if beta > 0 else Known([], [], []), seed)
        scored = len(prefix.ids) + sum(map(len, sequences))
        return self._report(turn, known, ids, beta, modulation), Usage(1, scored, 0, len(ids))

    def _report(
        self, turn: _Turn, known: Known, ids: list[int], beta: float, modulation: Modulation
    ) -> Sampled:
        log_before, log_after = known.policies()
        actions = list(modulation.advantages)
        before = dict(zip(actions, np.exp(log_before).tolist(), strict=False))
        after = dict(zip(actions, np.exp(log_after).tolist(), strict=False))
        outside, outside_after = math.exp(log_before[-1]), math.exp(log_after[-1])
        if tuple(ids) in known.sequences:
            action = actions[known.sequences.index(tuple(ids))]
        else:
            action = self.model.text(ids).strip()
            if not action:
                raise BadReply(f"{self.model.name} wrote nothing but white space: try another seed")
            logp = float(np.sum(turn.score([ids])[0]))
            p, p_after = math.exp(logp), math.exp(logp - known.log_Z)
            before[action] = before.get(action, 0.0) + p
            after[action] = after.get(action, 0.0) + p_after
            outside, outside_after = max(0.0, outside - p), max(0.0, outside_after - p_after)
        return Sampled(action, before, after, (outside, outside_after), beta, "exact")


@dataclass(frozen=True, slots=True)
class _Turn:
    """The base policy of one situation: a prompt that was read, T, and the length limit."""

    settings: FreeForm
    prefix: Prefix
    temperature: float
    limit: int

    def score(self, sequences: list[list[int]]) -> list[update.Floats]:
        """Return the log-probabilities of the tokens of each sequence under the base policy."""
        wanted = self.settings
        result = wanted.model.score_tokens(
            self.prefix, sequences, self.temperature, wanted.top_k, wanted.top_p
        )
        for values in result:
            values[self.limit - 1 :] = 0.0  # the end is certain there
        return result

    def draw(self, known: Known, seed: int) -> list[int]:
        """Return the tokens of one answer, its end included."""
        import torch

        wanted = self.settings
        generator = torch.Generator().manual_seed(seed)
        policy = PsiProcessor(
            known,
            len(self.prefix.ids),
            temperature=self.temperature,
            top_k=wanted.top_k,
            top_p=wanted.top_p,
            limit=self.limit,
            end=wanted.model.end,
        )
        return wanted.model.generate(
            self.prefix,
            lambda written, logits: draw(policy.after(written, logits), generator),
            self.limit,
        )[0]


def _begun(model: TransformersModel, prefix: Prefix) -> Prefix:
    """Return the prefix with logits after which no answer ends at once."""
    logits = prefix.logits.clone()
    logits[:, sorted(model.ends)] = -math.inf
    return replace(prefix, logits=logits)


def _within_budget(
    sequences: list[list[int]], logprobs: list[update.Floats], modulation: Modulation
) -> tuple[float, Known]:
    """Return the step within the KL budget, and the known actions tilted by it."""
    T = modulation.temperature
    A = np.array([a - modulation.otherwise for a in modulation.advantages.values()])
    base = Known(sequences, logprobs, np.zeros(len(A)))
    z = T * np.append(base.log_p, base.log_rest)
    beta = 0.0
    if not modulation.abstained:
        budget = modulation.kl_budget
        beta = update.beta_within(z, np.append(A, 0.0), modulation.beta, budget, T)
    return beta, Known(sequences, logprobs, beta * A / T)


def make(model: Model, options: Options) -> FreeForm:
    """Return the sampler; raises InvalidValue for a model that is not local, or is recorded."""
    counted = _uncounted
    if isinstance(model, Metered):
        counted, model = model.entered, model.model
    if not isinstance(model, TransformersModel):
        raise InvalidValue(
            "scores", "decoding", "needs a local model, unrecorded: --model transformers/FOLDER"
        )
    window = options.window
    return FreeForm(model, lambda situation: action_messages(situation, window), counted=counted)
