"""Exact token-level modulation in llama-cpp-python: a callable for its `logits_processor`.

    prompt = llama.tokenize(text)
    hook = PsiHook(known, prompt=len(prompt), temperature=T)
    llama.create_completion(prompt, logits_processor=LogitsProcessorList([hook]), temperature=T,
                            **UNTRUNCATED, max_tokens=..., seed=...)

The base policy is softmax(z / T), ended by the model's end of sequence. llama-cpp-python runs the
hook first of its samplers, on the logits z, so that T log psi is added; penalties, truncation and
temperature come after it, and those but the last must be off: `UNTRUNCATED`. `max_tokens` must not
cut a known action. Do not pass `logit_bias` with it: version 0.3.36 then drops both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from jitrl.checks import count, finite
from jitrl.decoding.psi import Known
from jitrl.errors import InvalidValue

__all__ = ["UNTRUNCATED", "PsiHook"]

UNTRUNCATED: Mapping[str, float] = MappingProxyType(
    {
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
    }
)
"""Arguments of `create_completion` that leave softmax(z / T) as it is."""


class PsiHook:
    """Adds T log psi to the logits of the tokens that known actions go through.

    known        scored under softmax(z / T), per token; each ended by the model's end of sequence
    prompt       number of tokens of the prompt, its begin of sequence included
    temperature  T > 0, the same as the completion's

    Called with (input_ids, logits), shapes (length,) and (vocabulary,); returns new logits, float32
    as they came, up to a constant. What it needs is checked here: an exception that is raised
    during a completion would be lost inside llama.cpp.
    """

    def __init__(self, known: Known, prompt: int, temperature: float = 1.0) -> None:
        self.known = known
        self.prompt = count("prompt", prompt)
        self.temperature = finite("temperature", temperature)
        if not self.temperature > 0:
            raise InvalidValue("temperature", temperature, "must be above 0")

    def __call__(
        self, input_ids: NDArray[np.intc], scores: NDArray[np.single]
    ) -> NDArray[np.single]:
        """Return the logits of the modulated policy at temperature T."""
        tokens, log_psi = self.known.corrections(input_ids[self.prompt :].tolist())
        if not np.any(log_psi):
            return scores
        wide = scores.astype(np.float64)
        wide[tokens] += self.temperature * log_psi
        wide -= np.max(wide)  # so that float32 holds what matters
        return np.maximum(wide, np.finfo(np.single).min).astype(np.single)
