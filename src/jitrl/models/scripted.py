"""A model that says what a script tells it to, in process: for tests, yours as well.

>>> import asyncio
>>> from jitrl.models import Message, Request
>>> model = ScriptedModel(["go north", "take lamp"])
>>> request = Request((Message("user", "What now?"),), max_tokens=20)
>>> asyncio.run(model.complete(request)).text
'go north'
>>> asyncio.run(model.complete(request)).usage
Usage(calls=1, input=2, cached=0, output=2)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from jitrl.errors import BadReply, RequestRejected
from jitrl.models import (
    Capabilities,
    Completion,
    Message,
    Purpose,
    Reply,
    Request,
    SequenceScores,
    Token,
    Usage,
)

__all__ = ["Script", "ScriptedModel"]

Script = Sequence[str | Completion] | Callable[[Request], str | Completion | Reply]


class ScriptedModel:
    """A model that answers from `script`: replies in order, or a function of the request.

    A function is asked once for each of the `n` completions, unless it returns a whole Reply, and
    may raise any error of a model. What the script says is returned as it is: `max_tokens` and
    `stop` do not shorten it. Tokens with log-probabilities come from a script of Completions; of
    their alternatives as many are shown as were asked for.

    logprobs      continuation -> its log-probability, for `score`; without it, `score` is rejected
    tokenizer     text -> ids of its tokens, for `tokenize`; without it, nothing is told
    capabilities  what the model says of itself, where that is more than the script shows

    `requests` are the requests to complete so far. Usage counts words, between white space.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted/model",
        logprobs: Callable[[str], float] | None = None,
        tokenizer: Callable[[str], Sequence[int]] | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.name = name
        self.capabilities = capabilities or Capabilities(
            logit_bias=False,
            schema=False,
            several=True,
            sequence=logprobs is not None,
            tokenize=tokenizer is not None,
        )
        self.requests: list[Request] = []
        self._say = script if callable(script) else _in_order(script)
        self._logprobs = logprobs
        self._tokenizer = tokenizer

    async def complete(self, request: Request) -> Reply:
        """Return what the script says; raises BadReply where it has ended, or lacks tokens."""
        self.requests.append(request)
        if request.logit_bias and not self.capabilities.logit_bias:
            raise RequestRejected(f"{self.name} takes no logit_bias: leave it out")
        said: list[Completion] = []
        while len(said) < request.n:
            answer = self._say(request)
            if isinstance(answer, Reply):
                return replace(answer, completions=self._shown(answer.completions, request))
            said.append(Completion(answer) if isinstance(answer, str) else answer)
        words = sum(_words(completion.text) for completion in said)
        usage = Usage(calls=1, input=_asked(request.messages), output=words)
        return Reply(self._shown(tuple(said), request), usage, self.name)

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        """Return what `logprobs` says of each; raises BadReply where that is above 0 or nan."""
        if self._logprobs is None:
            raise RequestRejected(f"{self.name} scores nothing: give it logprobs=FUNCTION")
        scores = tuple(self._logprobs(text) for text in continuations)
        for text, logprob in zip(continuations, scores, strict=True):
            if not logprob <= 0:
                raise BadReply(f"{self.name}: {logprob} is no log-probability, of {text!r}")
        words = _asked(messages) + sum(map(_words, continuations))
        return SequenceScores(scores, Usage(calls=1, input=words), self.name)

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return what the tokenizer says, None without one."""
        return None if self._tokenizer is None else tuple(self._tokenizer(text))

    async def close(self) -> None:
        """Do nothing: it holds nothing."""

    def _shown(
        self, completions: tuple[Completion, ...], request: Request
    ) -> tuple[Completion, ...]:
        """Return the completions with the log-probabilities that were asked for."""
        if len(completions) != request.n:
            raise BadReply(
                f"{self.name}: the script gives {len(completions)} completions, asked were "
                f"{request.n}"
            )
        top = request.top_logprobs
        if top is None:
            return tuple(replace(completion, tokens=None) for completion in completions)
        shown = []
        for said in completions:
            if said.tokens is None:
                raise BadReply(
                    f"{self.name}: the script gives no tokens for {said.text!r}, although "
                    "log-probabilities are asked for: give Completion(text, tokens=...)"
                )
            shown.append(replace(said, tokens=tuple(_cut(token, top) for token in said.tokens)))
        return tuple(shown)


def _in_order(script: Sequence[str | Completion]) -> Callable[[Request], str | Completion]:
    rest: Iterator[str | Completion] = iter(tuple(script))

    def say(_: Request) -> str | Completion:
        for reply in rest:
            return reply
        raise BadReply(
            f"the script has ended after {len(script)} replies: give it more, or a function"
        )

    return say


def _cut(token: Token, most: int) -> Token:
    top = heapq.nlargest(most, token.top.items(), key=lambda item: item[1])
    return replace(token, top=dict(top))


def _asked(messages: Sequence[Message]) -> int:
    return sum(_words(message.content) for message in messages)


def _words(text: str) -> int:
    return len(text.split())
