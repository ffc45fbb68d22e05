"""Language models behind one small contract, found by name: `make("openai/gpt-4.1-mini")`.

A back end of another package is found through the entry-point group `jitrl.models`: a function
`make(name: str, **options) -> Model`, called with the part after the first slash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, Protocol, cast

from jitrl.errors import InvalidValue, UnknownName
from jitrl.registry import registered

__all__ = [
    "Capabilities",
    "Completion",
    "Message",
    "Model",
    "Purpose",
    "Reply",
    "Request",
    "SequenceScores",
    "Token",
    "Usage",
    "make",
    "names",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that a model is asked to continue.

    images  PNG files, shown after the content of a user's turn; a model that cannot see them raises
            RequestRejected
    """

    role: Literal["system", "user", "assistant"]
    content: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a call is for: by this it is counted, recorded and found again.

    role        "act", "judge", "summarise", "grade", "probe", "reflect", "induce", "evolve"
    episode, t  number of the episode and of the step in it, from 0; None where there is none
    """

    role: str = "act"
    episode: int | None = None
    t: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked for.

    messages      at least one
    max_tokens    >= 1: at most so many in a reply
    temperature   >= 0; 1 is the model's own distribution
    top_p         in (0, 1]; 1 cuts nothing off
    n             >= 1: completions wanted
    seed          where the model takes one
    stop          texts before which a completion ends
    schema        JSON schema that the text must satisfy, where the server can enforce one
    top_logprobs  how many alternatives to report at each token; None for no log-probabilities
    logit_bias    token id -> what is added to its logit, within +-100
    purpose       what the call is for; the model does not see it
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    n: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, object] | None = None
    top_logprobs: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    purpose: Purpose = Purpose()

    def asking(self, content: str, after: str | None = None) -> Request:
        """Return the request with one more message of the user's, after the model's last reply."""
        said = () if after is None else (Message("assistant", after),)
        return replace(self, messages=(*self.messages, *said, Message("user", content)))


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a completion.

    text     as the model wrote it, spaces included
    logprob  its log-probability
    top      text -> log-probability of the most probable tokens at this place
    """

    text: str
    logprob: float
    top: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a model.

    finish  why it ended: "stop", "length" (max_tokens), "refusal", or the server's own word
    tokens  with their log-probabilities, None unless they were asked for
    """

    text: str
    finish: str = "stop"
    tokens: tuple[Token, ...] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls consumed: calls, and tokens. `cached` of the `input` tokens were read cheaply."""

    calls: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.input + other.input,
            self.cached + other.cached,
            self.output + other.output,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What `complete` returns: `n` completions, what they consumed, who answered."""

    completions: tuple[Completion, ...]
    usage: Usage
    model: str

    @property
    def text(self) -> str:
        """The text of the first completion."""
        return self.completions[0].text


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """What `score` returns: log p(continuation, then its end | messages), in nats, in order."""

    logprobs: tuple[float, ...]
    usage: Usage
    model: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do; None where nobody knows. `jitrl models probe` finds out.

    logprobs      it reports log-probabilities
    top_logprobs  the most alternatives at a token that it reports
    logit_bias    it adds `logit_bias` to the logits
    bias_shown    reported log-probabilities are from "before" or from "after" the bias
    schema        it enforces a JSON schema
    several       it returns `n` completions in one call
    sequence      it scores given continuations
    tokenize      it tells the ids of a text's tokens
    """

    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: bool | None = None
    bias_shown: Literal["before", "after"] | None = None
    schema: bool | None = None
    several: bool | None = None
    sequence: bool | None = None
    tokenize: bool | None = None


class Model(Protocol):
    """A frozen language model. Run `jitrl.testing.check_model` on yours.

    name          as `make` takes it: "openai/gpt-4.1-mini"
    capabilities  what is known of it

    Safe for many calls at once, of one event loop. A cancelled call leaves nothing behind.
    Raises ModelUnavailable where it does not answer, RequestRejected where it says no, BadReply
    where what it says cannot be used; nothing is ever made up.
    """

    name: str
    capabilities: Capabilities

    async def complete(self, request: Request) -> Reply:
        """Return `request.n` completions.

        Where `top_logprobs` is asked for, every completion has its tokens, or BadReply is raised.
        A refusal is a completion whose `finish` is "refusal".
        """

    async def score(
        self, messages: Sequence[Message], continuations: Sequence[str], purpose: Purpose
    ) -> SequenceScores:
        """Return log p of each continuation, ended as the model ends an answer, at temperature 1.

        Raises RequestRejected where it cannot.
        """

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return the ids of the tokens of `text` inside an answer; None where it does not tell."""

    async def close(self) -> None:
        """Free what the model holds; calling it twice is harmless."""


def names() -> list[str]:
    """Return the back ends that are installed: the word before the slash."""
    return list(registered("jitrl.models"))


def make(name: str, **options: object) -> Model:
    """Open the model `backend/name`, for instance "openai/gpt-4.1-mini".

    Raises UnknownName for a back end that is not installed, MissingExtra for one whose package is
    not, InvalidValue for a wrong name or option.
    """
    backend, slash, which = name.partition("/")
    points = registered("jitrl.models")
    if backend not in points:
        raise UnknownName("model", name, [f"{known}/..." for known in points])
    if not slash or not which:
        raise InvalidValue("model", name, f"must name a model of {backend}: {backend}/NAME")
    return cast(Model, points[backend].load()(which, **options))
