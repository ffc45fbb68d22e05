"""Exact token-level modulation for transformers: a logits processor for `generate`.

    processor = PsiProcessor(known, prompt_ids.shape[1], temperature=0.8, top_p=0.95)
    model.generate(prompt_ids, logits_processor=[processor], do_sample=True,
                   temperature=1.0, top_p=1.0, top_k=0)

Temperature and truncation are part of the policy that is modulated, so the processor applies them
itself, before the correction; `generate` must not do it again after it. A model's
generation_config may set more (repetition penalties, forbidden tokens): that, too, would change
the policy. It also rounds logits to float32. `jitrl.scores.freeform.FreeForm` draws with a loop of
its own, which does none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jitrl.checks import count, finite
from jitrl.decoding.psi import Known
from jitrl.errors import InvalidValue
from jitrl.models.logits import base_logprobs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PsiProcessor", "shift"]


class PsiProcessor:
    """Turns the logits of a base policy pi into log-probabilities of pi' = pi exp(tilt) / Z.

    known        under the policy that the other arguments define
    prompt       length of the prompt in `input_ids`, padding included
    temperature  T > 0: pi is that of softmax(z / T), truncated to
    top_k        the k most probable tokens (0: all), then to
    top_p        the fewest of these that have that mass, in (0, 1]
    limit, end   the `limit`-th token of an answer is always `end`: then a cut answer, too, is a
                 sequence with its probability under pi. None for no limit. The log-probabilities
                 of `known` must follow the same rule: 0.0 at that place (`forced`).

    Called with (input_ids, logits) as transformers does, shapes (rows, length) and (rows,
    vocabulary); every row goes on from a prefix of its own. Returns log-probabilities in float64.
    """

    def __init__(
        self,
        known: Known,
        prompt: int,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        limit: int | None = None,
        end: int | None = None,
    ) -> None:
        self.known = known
        self.prompt = count("prompt", prompt)
        self.temperature = finite("temperature", temperature)
        if not self.temperature > 0:
            raise InvalidValue("temperature", temperature, "must be above 0")
        self.top_k = count("top_k", top_k)
        self.top_p = finite("top_p", top_p)
        if not 0 < self.top_p <= 1:
            raise InvalidValue("top_p", top_p, "must lie in (0, 1]")
        if (limit is None) != (end is None):
            raise InvalidValue("limit, end", (limit, end), "must be given together")
        longest = max((len(sequence) for sequence in known.sequences), default=1)
        if limit is not None and count("limit", limit) < longest:
            raise InvalidValue("limit", limit, f"must not cut a known action of {longest} tokens")
        self.limit, self.end = limit, end

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return log pi' of the next token of each row, shape (rows, vocabulary), float64."""
        return self.after(input_ids[:, self.prompt :].tolist(), scores)

    def after(self, written: list[list[int]], logits: Tensor) -> Tensor:
        """Return log pi' of the next token of each row, given what was written after the prompt."""
        import torch

        logp = base_logprobs(logits, self.temperature, self.top_k, self.top_p)
        for row, prefix in enumerate(written):
            if self.limit is not None and len(prefix) >= self.limit - 1:
                logp[row] = -torch.inf
                logp[row, self.end] = 0.0
            else:
                tokens, log_psi = self.known.corrections(prefix)
                if np.any(log_psi):
                    shift(logp[row], tokens, log_psi.tolist())
        return logp


def shift(row: Tensor, tokens: list[int], by: list[float]) -> None:
    """Add `by` to the logits of `tokens` in place, then make them log-probabilities.

    Done in float64, so that nothing overflows where the row is in float32.
    """
    import torch

    wide = row.to(torch.float64, copy=True)
    wide[tokens] += torch.tensor(by, dtype=torch.float64, device=row.device)
    row.copy_(torch.log_softmax(wide, dim=-1))
