"""From logits to a token, on torch tensors: temperature, truncation, and the draw.

Importing this needs no torch; calling it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["base_logprobs", "draw"]


def base_logprobs(
    logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """Return the log-probabilities of the next token under the base policy, in float64.

    logits       shape (..., vocabulary)
    temperature  T > 0, applied first
    top_k        keep the k most probable tokens and what ties with the last; 0 keeps all
    top_p        in (0, 1]: then keep the fewest of the most probable tokens that have this mass

    What is cut off is -inf; the rest is normalised again. Equal logits give equal bits.
    """
    import torch

    scaled = logits.to(torch.float64) / temperature
    logp = torch.log_softmax(scaled, dim=-1)
    if 0 < top_k < logp.shape[-1]:
        least = logp.topk(top_k, dim=-1).values[..., -1:]
        logp = torch.log_softmax(logp.masked_fill(logp < least, -torch.inf), dim=-1)
    if top_p < 1.0:
        ordered, order = logp.sort(dim=-1, descending=True, stable=True)
        mass = ordered.exp()
        cut = mass.cumsum(dim=-1) - mass >= top_p  # what comes before it suffices
        cut = torch.zeros_like(cut).scatter(-1, order, cut)
        logp = torch.log_softmax(logp.masked_fill(cut, -torch.inf), dim=-1)
    return logp


def draw(logp: Tensor, generator: torch.Generator) -> list[int]:
    """Return one token for each row of log-probabilities, shape (rows, vocabulary).

    One uniform number of the generator per row is looked up in the cumulative distribution, so
    that the same generator couples the draws from two policies.
    """
    import torch

    u = torch.rand(len(logp), 1, generator=generator, dtype=torch.float64)
    cumulative = logp.detach().to("cpu", torch.float64).exp().cumsum(dim=-1)
    total = cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, u * total, right=True)
    last = (cumulative < total).sum(dim=-1, keepdim=True)  # u * total may round up to the total
    return torch.minimum(chosen, last).squeeze(-1).tolist()
