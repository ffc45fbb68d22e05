"""Exact token-level modulation on a vLLM server: a logits processor with arguments per request.

    python -m vllm.entrypoints.openai.api_server --model FOLDER \\
        --logits-processors jitrl.decoding.vllm:Modulate

A request carries its known actions in `vllm_xargs`:

    client.completions.create(model=..., prompt=..., temperature=T, max_tokens=...,
                              extra_body={"vllm_xargs": arguments(known)})

The base policy is softmax(z / T) of the request's own temperature T, ended by the model's end of
sequence. vLLM runs this processor on the logits z, before temperature, so that T log psi is added;
top_k, top_p and penalties would act afterwards, on the modulated policy, or change the policy that
`known` was scored under. A request that sets any of them is refused.

`known` needs the log-probabilities of its tokens under that policy, which vLLM reports: complete
prompt + action with `echo` or `prompt_logprobs` (they are raw, of T = 1; for another T ask for the
whole vocabulary, and take log softmax(logprobs / T)).

This is the interface of vLLM's first model runner (V1), which its CPU build uses; the second one
(VLLM_USE_V2_MODEL_RUNNER) refuses it. It is no plugin that vLLM finds by itself: that would act
twice where it is named as well, and would not be told what was generated on a GPU, where tokens are
scheduled ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jitrl.decoding.psi import Known
from jitrl.decoding.transformers import shift
from jitrl.errors import InvalidValue

if TYPE_CHECKING:
    from torch import Tensor

    class _Adapter:
        def __init__(self, *args: Any) -> None: ...
else:
    try:
        from vllm.v1.sample.logits_processor import AdapterLogitsProcessor as _Adapter
    except ImportError:  # without vLLM the arguments can be written and read all the same

        class _Adapter:
            """Stands in for vLLM's adapter where vLLM is not installed."""


__all__ = ["Modulate", "arguments", "known_from"]

_NAMES = ("jitrl_tokens", "jitrl_lengths", "jitrl_logprobs", "jitrl_tilts")

# What acts on the policy besides temperature, and the values at which it does not.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "top_k": (0, -1),
    "top_p": (1.0,),
    "min_p": (0.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "repetition_penalty": (1.0,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "logit_bias": (None, {}),
    "allowed_token_ids": (None, []),
    "bad_words": (None, []),
    "structured_outputs": (None,),
}


def arguments(known: Known) -> dict[str, list[int | float]]:
    """Return the known actions as flat lists, for `vllm_xargs`.

    Actions of probability 0 are left out: no tilt changes them.

    >>> arguments(Known([(5, 1), (6, 1)], [[-1.0, -0.5], [-np.inf, 0.0]], [2.0, 3.0]))
    {'jitrl_tokens': [5, 1], 'jitrl_lengths': [2], 'jitrl_logprobs': [-1.0, -0.5], \
'jitrl_tilts': [2.0]}
    """
    kept = np.flatnonzero(np.isfinite(known.log_p)).tolist()
    return {
        "jitrl_tokens": [token for i in kept for token in known.sequences[i]],
        "jitrl_lengths": [len(known.sequences[i]) for i in kept],
        "jitrl_logprobs": [value for i in kept for value in known.logprobs[i].tolist()],
        "jitrl_tilts": known.tilts[kept].tolist(),
    }


def known_from(extra: Mapping[str, Any] | None) -> Known | None:
    """Return what `arguments` wrote, None where a request carries nothing of ours.

    Raises InvalidValue where the lists do not belong together.
    """
    given = {name: extra[name] for name in _NAMES if name in extra} if extra else {}
    if not given:
        return None
    for name in _NAMES:
        if not isinstance(given.get(name), list):
            raise InvalidValue(name, given.get(name), "must be a list, like the other three")
    tokens, lengths, logprobs, tilts = (given[name] for name in _NAMES)
    for name, values, kind in (("jitrl_tokens", tokens, int), ("jitrl_lengths", lengths, int)):
        if not all(isinstance(value, kind) and value >= 0 for value in values):
            raise InvalidValue(name, values, "must hold integers of at least 0")
    for name, values in (("jitrl_logprobs", logprobs), ("jitrl_tilts", tilts)):
        if not all(isinstance(value, int | float) for value in values):
            raise InvalidValue(name, values, "must hold numbers")
    if not sum(lengths) == len(tokens) == len(logprobs):
        raise InvalidValue("jitrl_lengths", lengths, "must add up to the number of tokens")
    ends = np.cumsum(lengths).tolist()
    spans = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    return Known([tokens[span] for span in spans], [logprobs[span] for span in spans], tilts)


class Modulate(_Adapter):
    """vLLM's logits processor: inactive but for requests that carry `arguments(known)`."""

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Raise InvalidValue (a ValueError, HTTP 400) where a request could not be exact."""
        known = known_from(sampling_params.extra_args)
        if known is None:
            return
        if not sampling_params.temperature > 1e-5:  # below it vLLM does not sample
            raise InvalidValue("temperature", sampling_params.temperature, "must be above 1e-5")
        for name, neutral in _NEUTRAL.items():
            value = getattr(sampling_params, name, neutral[0])
            if value not in neutral:
                raise InvalidValue(name, value, f"must be {neutral[0]} beside jitrl's arguments")
        longest = max((len(sequence) for sequence in known.sequences), default=1)
        limit = sampling_params.max_tokens
        if limit is not None and limit < longest:
            raise InvalidValue("max_tokens", limit, f"must be at least {longest}, a known action")

    def is_argmax_invariant(self) -> bool:
        """Say no: it runs before temperature."""
        return False

    def new_req_logits_processor(self, params: Any) -> Callable[[list[int], Tensor], Tensor] | None:
        """Return what modulates the rows of one request, None for a request without arguments."""
        known = known_from(params.extra_args)
        if known is None:
            return None
        temperature = float(params.temperature)

        def modulate(output_ids: list[int], logits: Tensor) -> Tensor:
            if -1 in output_ids:
                raise InvalidValue(
                    "output_ids", output_ids, "must be known: use --no-async-scheduling"
                )
            tokens, log_psi = known.corrections(output_ids)
            if np.any(log_psi):
                shift(logits, tokens, (temperature * log_psi).tolist())
            return logits

        return modulate
