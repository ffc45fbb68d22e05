"""What a scripted server says: a brain gives the log-probability of each next token.

    Choosing   draws whole answers from a known distribution, token by token
    Fixed      says given texts, one after another, with certainty

Tokens are texts, and an answer's tokens joined are the answer.
"""

from __future__ import annotations

import math
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from jitrl.errors import InvalidValue
from jitrl.models import Message

__all__ = ["END", "Brain", "Choosing", "Fixed", "Policy", "characters", "words"]

END = "<|end|>"
"""The token that ends an answer; it is not part of the text."""

Next = Callable[[Sequence[str]], Mapping[str, float]]
"""Tokens of the answer so far -> log-probability of each next token, END among them."""

Policy = Callable[[Sequence[Message]], Mapping[str, float]]
"""Messages -> probability of each whole answer; they sum to 1."""

_WORD = re.compile(r" ?\w+|.", re.DOTALL)


def words(text: str) -> list[str]:
    """Split into words, each with the space before it, and single characters.

    >>> words("go north, A")
    ['go', ' north', ',', ' A']
    """
    return _WORD.findall(text)


def characters(text: str) -> list[str]:
    """Split into single characters: a label of two of them is two tokens."""
    return list(text)


class Brain(Protocol):
    """A language model of a few lines. Several threads may ask at once."""

    def tokens(self, text: str) -> list[str]:
        """Split a text into tokens, which joined are the text."""

    def begin(self, messages: Sequence[Message]) -> Next:
        """Begin one answer to `messages`.

        Where a plain text is to be continued or scored, its last line is the answer, ended by a
        line break, and what stands before is the one message.
        """


class Choosing:
    """Draws whole answers from `policy(messages)`.

    The probabilities of an answer's tokens, END included, multiply to the answer's own. An answer
    without a probability, and what follows on it, ends at once.

    >>> begun = Choosing(lambda messages: {"go north": 0.75, "go": 0.25}).begin([])
    >>> {token: round(math.exp(logprob), 9) for token, logprob in begun(["go"]).items()}
    {' north': 0.75, '<|end|>': 0.25}
    """

    def __init__(self, policy: Policy, *, tokens: Callable[[str], Iterable[str]] = words) -> None:
        self._policy = policy
        self._tokens = tokens

    def tokens(self, text: str) -> list[str]:
        """Split a text into tokens."""
        return list(self._tokens(text))

    def begin(self, messages: Sequence[Message]) -> Next:
        """Ask the policy. Raises InvalidValue where it is no distribution."""
        policy = self._policy(messages)
        if not math.isclose(sum(policy.values()), 1.0, abs_tol=1e-9) or min(policy.values()) < 0:
            raise InvalidValue("policy", dict(policy), "must map answers to probabilities")
        paths = [((*self._tokens(answer), END), p) for answer, p in policy.items() if p > 0]

        def following(so_far: Sequence[str]) -> Mapping[str, float]:
            here, place = tuple(so_far), len(so_far)
            mass: dict[str, float] = defaultdict(float)
            for path, p in paths:
                if len(path) > place and path[:place] == here:
                    mass[path[place]] += p
            total = sum(mass.values())
            return {token: math.log(p / total) for token, p in mass.items()} or {END: 0.0}

        return following


class Fixed(Choosing):
    """Says each of `replies` once, in order, and the last one for ever; or what a function says.

    Completions are counted, not requests: with n = 2 a request takes two replies.
    """

    def __init__(
        self,
        replies: Sequence[str] | Callable[[Sequence[Message]], str],
        *,
        tokens: Callable[[str], Iterable[str]] = words,
    ) -> None:
        if not callable(replies) and (isinstance(replies, str) or not replies):
            raise InvalidValue("replies", replies, "must be texts, at least one, or a function")
        super().__init__(self._certain, tokens=tokens)
        self._replies = replies
        self._said = 0
        self._lock = threading.Lock()

    def _certain(self, messages: Sequence[Message]) -> Mapping[str, float]:
        if callable(self._replies):
            return {self._replies(messages): 1.0}
        with self._lock:
            place = min(self._said, len(self._replies) - 1)
            self._said += 1
        return {self._replies[place]: 1.0}
