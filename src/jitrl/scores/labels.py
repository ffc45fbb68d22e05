"""Base logits from the token that names an action: exact ratios, or bounded.

The valid actions stand in the prompt behind labels of one token. At the place where the model
writes its label, found in the reply and not assumed, the reported log-probabilities of the labels
are those of the actions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from jitrl.checks import count
from jitrl.errors import BadReply, InvalidValue, RequestRejected
from jitrl.models import Message, Model, Purpose, Request, Token
from jitrl.models.jsonreply import ask_json
from jitrl.prompts import load
from jitrl.records import Candidate, Scores, Situation
from jitrl.scores import Options
from jitrl.scores.replies import (
    agent_schema,
    choice_token,
    label_logprobs,
    label_token,
    read_named,
    single,
)
from jitrl.scores.text import describe, labels, listed

LARGEST_BIAS = 100.0
ANSWER_TOKENS = 8  # some models begin with a space or a quote


@dataclass(frozen=True)
class Labels:
    """Scores every valid action by its label, with one model call.

    model         reports log-probabilities
    proposals     >= 1: how many actions the model names, with reasons, before it chooses. Those are
                  the candidates; other remembered actions join if their labels were reported.
    direct        ask for the label alone instead, a call of one token: every valid action whose
                  label was reported is a candidate. An answer that is no label is sent back once
    bias          with `direct`: add the same large bias to all labels, so that all are among the
                  reported; their ratios stay. The model must tell token ids; where it reports from
                  before the bias, nothing is gained and nothing lost
    top_logprobs  how many log-probabilities the model reports at a token (OpenAI: 20 at most)
    window        steps of the episode shown
    temperature   at which the reply is sampled; reported log-probabilities are those at 1
    max_tokens    of a reply with reasons

    Guarantee: "exact" where every candidate's label was reported; "bounded" where some were not
    and are left out, each less probable than any that was. `Scores.outside` is the probability of
    everything but the candidates (nan under a bias). Raises BadReply where no label is found.
    """

    model: Model
    proposals: int = 3
    direct: bool = False
    bias: bool = False
    top_logprobs: int = 20
    window: int = 10
    temperature: float = 1.0
    max_tokens: int = 600
    _ids: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count("proposals", self.proposals, least=1)
        count("top_logprobs", self.top_logprobs, least=1)
        if self.bias and not self.direct:
            raise InvalidValue("bias", self.bias, "needs direct=True: it would spoil the reasons")

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return candidates with log-probabilities at temperature 1."""
        labelled = labels(situation.observation.actions)
        seed = int(rng.integers(2**31))
        if self.direct:
            token = await self._ask_directly(situation, labelled, seed)
            wanted: Iterable[str] = labelled
        else:
            token, wanted = await self._ask_with_reasons(situation, labelled, seed)
        found = label_logprobs(token.top, labelled)
        return _scores(situation, labelled, wanted, found, biased=self.bias)

    async def _ask_directly(
        self, situation: Situation, labelled: Mapping[str, str], seed: int
    ) -> Token:
        biases: dict[int, float] = {}
        if self.bias:
            ids = await label_ids(self.model, labelled, self._ids)
            biases = dict.fromkeys(ids.values(), LARGEST_BIAS)
        request = Request(
            label_messages(situation, labelled, self.window),
            max_tokens=1 if self.bias else ANSWER_TOKENS,
            temperature=self.temperature,
            seed=seed,
            top_logprobs=self.top_logprobs,
            logit_bias=biases,
            purpose=Purpose("act", situation.episode, situation.t),
        )
        completion = single(await self.model.complete(request), self.model.name)
        try:
            return label_token(completion, labelled)[0]
        except BadReply:
            if self.bias:
                raise  # a biased answer has no other way
        request = request.asking(
            f"That is no label. Reply with one of {', '.join(labelled)}, and with nothing else.",
            after=completion.text.strip() or "(an empty answer)",
        )
        completion = single(await self.model.complete(request), self.model.name)
        return label_token(completion, labelled)[0]

    async def _ask_with_reasons(
        self, situation: Situation, labelled: Mapping[str, str], seed: int
    ) -> tuple[Token, list[str]]:
        proposals = min(self.proposals, len(labelled))
        request = Request(
            agent_messages(situation, labelled, proposals, self.window),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=seed,
            top_logprobs=self.top_logprobs,
            schema=agent_schema(labelled),
            purpose=Purpose("act", situation.episode, situation.t),
        )
        named, reply = await ask_json(
            self.model, request, lambda value: read_named(value, labelled, proposals)
        )
        token = choice_token(reply.completions[0], named.choice)
        return token, list(dict.fromkeys([*named.confidence, named.choice]))


def agent_messages(
    situation: Situation, labelled: Mapping[str, str], proposals: int, window: int
) -> tuple[Message, ...]:
    """Return the prompt that asks for candidates with reasons, and a choice."""
    return load("agent").render(
        situation=describe(situation, window),
        actions=listed(labelled),
        count=str(proposals),
        example=next(iter(labelled)),
    )


def label_messages(
    situation: Situation, labelled: Mapping[str, str], window: int
) -> tuple[Message, ...]:
    """Return the prompt that asks for a label alone."""
    return load("label").render(situation=describe(situation, window), actions=listed(labelled))


async def label_ids(model: Model, labels: Iterable[str], known: dict[str, int]) -> dict[str, int]:
    """Return label -> id of its token. The model is asked for what is not `known`, and that kept.

    Raises RequestRejected where the model tells no ids, BadReply for a label of several tokens.
    """
    wanted = list(labels)
    for label in wanted:
        if label in known:
            continue
        found = await model.tokenize(label)
        if found is None:
            raise RequestRejected(
                f"{model.name} does not tell the ids of tokens, which a bias needs: "
                "use --scores labels without a bias"
            )
        if len(found) != 1:
            raise BadReply(
                f"label {label!r} is {len(found)} tokens of {model.name}: use --scores sequence, "
                "stated or sampled"
            )
        known[label] = found[0]
    return {label: known[label] for label in wanted}


def _scores(
    situation: Situation,
    labelled: Mapping[str, str],
    wanted: Iterable[str],
    found: Mapping[str, float],
    *,
    biased: bool,
) -> Scores:
    """Return the reported labels as Scores: candidates those wanted, the others if remembered."""
    wanted = list(wanted)
    reported = [label for label in wanted if label in found]
    if not reported:
        raise BadReply(
            f"none of the labels {', '.join(wanted)} is among the reported log-probabilities: ask "
            "for more of them (top_logprobs), or use --scores stated or sampled"
        )
    candidates = tuple(Candidate(labelled[label], found[label]) for label in reported)
    names = {candidate.action for candidate in candidates}
    by_action = {labelled[label]: logprob for label, logprob in found.items()}
    mass = math.fsum(math.exp(found[label]) for label in reported)
    return Scores(
        candidates,
        "exact" if len(reported) == len(wanted) else "bounded",
        remembered={
            action: by_action[action]
            for action in situation.remembered
            if action in by_action and action not in names
        },
        outside=math.nan if biased else max(0.0, 1.0 - mass),
    )


def make(model: Model, options: Options) -> Labels:
    """Return the source that asks for candidates with reasons, then for a label."""
    return Labels(
        model,
        proposals=options.proposals,
        top_logprobs=options.top_logprobs,
        window=options.window,
        max_tokens=options.max_tokens,
    )


def direct(model: Model, options: Options) -> Labels:
    """Return the source that asks for a label alone."""
    return replace(make(model, options), direct=True)


def biased(model: Model, options: Options) -> Labels:
    """Return the source that asks for a label alone, with one bias on all labels."""
    return replace(make(model, options), direct=True, bias=True)
