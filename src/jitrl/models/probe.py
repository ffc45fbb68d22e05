"""What can a model do? `probe` asks it, with a few cheap calls, and believes no name."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Literal

from jitrl.errors import BadReply, RequestRejected
from jitrl.models import Capabilities, Message, Model, Purpose, Reply, Request

__all__ = ["probe"]

_PURPOSE = Purpose("probe")
_SAY = Message("user", 'Reply with the one word "yes" and nothing else.\n')
_PLAIN = Request((_SAY,), max_tokens=16, purpose=_PURPOSE)
_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": ["yes"]}},
    "required": ["word"],
    "additionalProperties": False,
}
_COUNTS = (20, 5, 1)
_LETTERS = "QZJXVK"
_ANY = (35, 38)  # where no ids are told: of most vocabularies, tokens that are one character
_RARE, _CERTAIN = math.log(0.5), math.log(0.9)


async def probe(model: Model) -> Capabilities:
    """Return what `model` can do, found out by about a dozen calls of at most 16 tokens each.

    A question that the model refuses, or answers in a way that cannot be used, is answered no;
    where its answer can be read either way, None. Assumes that the model can say the word "yes".

    Raises ModelUnavailable, and RequestRejected where it does not answer the plainest request.
    """
    plain = await model.complete(_PLAIN)
    count, listed = await _alternatives(model)
    tokenizes, ids = await _ids(model)
    bias = await _bias(model, plain, ids)
    return Capabilities(
        logprobs=count is not None,
        top_logprobs=count,
        logit_bias=bias,
        bias_shown=await _shown(model, listed, ids[0]) if bias and listed else None,
        schema=await _schema(model),
        several=await _several(model),
        sequence=await _sequence(model),
        tokenize=tokenizes,
    )


async def _ask(model: Model, request: Request) -> Reply | None:
    try:
        return await model.complete(request)
    except (RequestRejected, BadReply):
        return None


async def _alternatives(model: Model) -> tuple[int | None, Reply | None]:
    """Return the most alternatives that were listed at a token, and the reply that lists them."""
    for count in _COUNTS:
        reply = await _ask(model, replace(_PLAIN, top_logprobs=count))
        tokens = reply.completions[0].tokens if reply is not None else None
        if tokens:
            return min(count, max(len(token.top) for token in tokens)), reply
    return None, None


async def _ids(model: Model) -> tuple[bool, tuple[int, int]]:
    """Return whether it tells ids, and two ids of tokens that nobody expects."""
    try:
        told = [await model.tokenize(letter) for letter in _LETTERS]
    except (RequestRejected, BadReply):
        return False, _ANY
    single = [ids[0] for ids in told if ids is not None and len(ids) == 1]
    found = (single[0], single[1]) if len(single) > 1 else _ANY
    return all(ids is not None for ids in told), found


async def _bias(model: Model, plain: Reply, ids: tuple[int, int]) -> bool | None:
    """Return whether a bias of +100 decides what is said, the same each time."""
    texts = []
    for id in ids:
        first, second = [
            await _ask(model, replace(_PLAIN, logit_bias={id: 100.0})) for _ in range(2)
        ]
        if first is None or second is None or first.text != second.text:
            return False
        texts.append(first.text)
    if plain.text in texts:
        return False
    return True if texts[0] != texts[1] else None


async def _shown(model: Model, listed: Reply, id: int) -> Literal["before", "after"] | None:
    """Return where log-probabilities are from: after a bias of +100 its token is certain."""
    request = replace(_PLAIN, top_logprobs=1, logit_bias={id: 100.0})
    reply = await _ask(model, request)
    biased = reply.completions[0].tokens if reply is not None else None
    unbiased = listed.completions[0].tokens
    if not biased or not unbiased:
        return None
    logprob, top = biased[0].logprob, unbiased[0].top
    if top.get(biased[0].text, min(top.values())) > _RARE:
        return None  # it would have been said anyway
    if logprob > _CERTAIN:
        return "after"
    return "before" if logprob < _RARE else None


async def _schema(model: Model) -> bool | None:
    """Return whether a schema makes JSON of an answer that would be none."""
    reply = await _ask(model, replace(_PLAIN, max_tokens=64, schema=_SCHEMA))
    if reply is None:
        return False
    try:
        return bool(json.loads(reply.text) == {"word": "yes"})
    except ValueError:
        cut = reply.completions[0].finish == "length" and reply.text.lstrip().startswith("{")
        return None if cut else False


async def _several(model: Model) -> bool:
    reply = await _ask(model, replace(_PLAIN, n=2))
    return reply is not None and len(reply.completions) == 2 and reply.usage.calls == 1


async def _sequence(model: Model) -> bool:
    try:
        scores = await model.score((_SAY,), ("yes", "no"), _PURPOSE)
    except (RequestRejected, BadReply):
        return False
    return all(math.isfinite(logprob) for logprob in scores.logprobs)
