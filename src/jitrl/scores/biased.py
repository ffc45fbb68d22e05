"""The update on the server: a bias on the label tokens, so that it samples from the new policy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from jitrl import update
from jitrl.errors import BadReply, InvalidValue
from jitrl.models import Model, Purpose, Reply, Request, Token
from jitrl.records import Modulation, Situation
from jitrl.scores import Options, Sampled
from jitrl.scores.labels import LARGEST_BIAS, label_ids, label_messages
from jitrl.scores.replies import label_token, single
from jitrl.scores.text import labels


@dataclass(frozen=True)
class Biased:
    """Asks for one label, with bias = c + beta A(a) on the label of each valid action a.

    c is the same for all and large, so that the server samples from softmax((z + beta A) / T) over
    the labels: the updated policy, in one call of one token, at the temperature T and top_p 1. What
    the model gives to anything but a label is reported as `unlisted`, as far as the server shows
    it: before the bias, which then takes it away, or after.

    The base policy is not known before the call, so a KL budget is kept for every base policy there
    could be (`update.beta_for_any_base`); beta is then smaller than it would have to be.

    Guarantee: "exact" where the base log-probability of every label was reported, "bounded" where
    some were not: those labels are left out of `before` and `after`. Needs a model that reports
    log-probabilities and token ids, and whose `capabilities.bias_shown` is known (probe it).
    Raises RequestRejected, InvalidValue or BadReply where one of these fails.
    """

    model: Model
    top_logprobs: int = 20
    window: int = 10
    _ids: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    async def sample(
        self, situation: Situation, modulation: Modulation, rng: np.random.Generator
    ) -> Sampled:
        """Return the action that the server drew."""
        labelled = labels(situation.observation.actions)
        self._check(modulation)
        A = {
            label: modulation.advantages.get(action, modulation.otherwise)
            for label, action in labelled.items()
        }
        beta = update.beta_for_any_base(
            np.array(list(A.values())),
            modulation.beta,
            modulation.kl_budget,
            modulation.temperature,
        )
        bias = biases(A, beta)
        ids = await label_ids(self.model, labelled, self._ids)
        request = Request(
            label_messages(situation, labelled, self.window),
            max_tokens=1,
            temperature=modulation.temperature,
            seed=int(rng.integers(2**31)),
            top_logprobs=self.top_logprobs,
            logit_bias={ids[label]: bias[label] for label in labelled},
            purpose=Purpose("act", situation.episode, situation.t),
        )
        reply = await self.model.complete(request)
        return self._sampled(reply, labelled, A, bias, beta, modulation.temperature)

    def _check(self, modulation: Modulation) -> None:
        shown = self.model.capabilities.bias_shown
        if shown is None:
            raise InvalidValue(
                "bias_shown", shown, 'must be "before" or "after": run `jitrl models probe`'
            )
        if shown == "after" and modulation.temperature != 1.0:
            raise InvalidValue(
                "temperature",
                modulation.temperature,
                "must be 1 with a server that reports log-probabilities from after the bias",
            )

    def _sampled(
        self,
        reply: Reply,
        labelled: Mapping[str, str],
        A: Mapping[str, float],
        bias: Mapping[str, float],
        beta: float,
        temperature: float,
    ) -> Sampled:
        token, drawn = label_token(single(reply, self.model.name), labelled)
        reported = _with_bias({token.text: token.logprob} | dict(token.top), token, drawn, labelled)
        if drawn not in reported:
            raise BadReply(f"{self.model.name} gives its own choice the probability 0")
        after_bias = self.model.capabilities.bias_shown == "after"
        found = list(reported)
        z = np.array([reported[a] - (bias[a] if after_bias else 0.0) for a in found])
        advantages = np.array([A[label] for label in found])
        names = [labelled[label] for label in found]
        before = np.exp(update.log_policy(z, advantages, 0.0, temperature))
        after = np.exp(update.log_policy(z, advantages, beta, temperature))
        mass = math.fsum(math.exp(logprob) for logprob in reported.values())
        return Sampled(
            action=labelled[drawn],
            before=dict(zip(names, before.tolist(), strict=True)),
            after=dict(zip(names, after.tolist(), strict=True)),
            outside=(0.0, 0.0),
            beta=beta,
            guarantee="exact" if len(found) == len(labelled) else "bounded",
            unlisted=max(0.0, 1.0 - mass),
        )


def _with_bias(
    top: Mapping[str, float], token: Token, drawn: str, labels: Iterable[str]
) -> dict[str, float]:
    """Return label -> log-probability of the tokens that carry the bias.

    Those read like the one that was drawn. Others that name a label, after a space for instance,
    have no bias and are not drawn: their probability is no part of the policy.
    """
    before, _, after = token.text.partition(drawn)
    forms = {label: before + label + after for label in labels}
    return {
        label: top[form] for label, form in forms.items() if top.get(form, -math.inf) > -math.inf
    }


def biases(A: Mapping[str, float], beta: float) -> dict[str, float]:
    """Return label -> c + beta A(label), the largest being what servers take at most.

    Raises InvalidValue where beta spreads them so far that the lowest would not beat the tokens
    that are no labels.
    """
    highest = max(A.values())
    result = {label: LARGEST_BIAS - beta * (highest - value) for label, value in A.items()}
    if min(result.values()) < LARGEST_BIAS / 2:
        raise InvalidValue(
            "beta", beta, f"spreads the biases by more than {LARGEST_BIAS / 2:g}: choose a smaller"
        )
    return result


def make(model: Model, options: Options) -> Biased:
    """Return the sampler."""
    return Biased(model, options.top_logprobs, options.window)
