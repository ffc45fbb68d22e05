"""Reading a model's reply: what it names, and where in it the label stands that decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from jitrl.errors import BadReply
from jitrl.models import Completion, Reply, Token
from jitrl.models.jsonreply import parse

MARKS = " \t\r\n\"'`.,:;()[]{}*"
"""What may stand around a label."""
_CHOICE = re.compile(r'"choice"\s*:\s*"')
_NO_LABEL = "?"
_GOES_ON = re.compile(r"[ ']*\w")
_SPLIT = "use --scores sequence, stated or sampled with this model"


@dataclass(frozen=True, slots=True)
class Named:
    """What the agent prompt is answered with: label -> confidence (0 to 100), and one choice."""

    confidence: Mapping[str, float]
    choice: str


def agent_schema(labels: Iterable[str]) -> dict[str, object]:
    """Return the JSON schema of an answer to the agent prompt."""
    label = {"type": "string", "enum": list(labels)}
    candidate = {
        "type": "object",
        "properties": {
            "label": label,
            "reason": {"type": "string"},
            "confidence": {"type": "number"},
        },
        "required": ["label", "reason", "confidence"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "candidates": {"type": "array", "items": candidate},
            "choice": label,
        },
        "required": ["candidates", "choice"],
        "additionalProperties": False,
    }


def read_named(value: object, labels: Iterable[str], proposals: int) -> Named:
    """Return what the JSON answer names; raises ValueError for anything that cannot be.

    More candidates than `proposals` are cut off; fewer are taken as they are, but not none.
    """
    if not isinstance(value, dict) or not isinstance(value.get("candidates"), list):
        raise ValueError('must be an object with a list "candidates" and a "choice"')
    known = set(labels)
    confidence: dict[str, float] = {}
    for candidate in value["candidates"][:proposals]:
        label = candidate.get("label") if isinstance(candidate, dict) else None
        if not isinstance(label, str) or label not in known:
            raise ValueError(f"candidate {candidate!r} must have one of the labels shown")
        if label in confidence:
            raise ValueError(f"label {label!r} is named twice")
        sure = candidate.get("confidence")
        if isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 100:
            raise ValueError(f"confidence {sure!r} of {label!r} must be a number from 0 to 100")
        confidence[label] = float(sure)
    choice = value.get("choice")
    if not isinstance(choice, str) or choice not in known:
        raise ValueError(f"choice {choice!r} must be one of the labels shown")
    if not confidence:
        raise ValueError("it names no candidate")
    return Named(confidence, choice)


def choice_token(completion: Completion, choice: str) -> Token:
    """Return the token that carries the label of `"choice"` in a JSON answer.

    Raises BadReply where it is not there, or where the label goes on in the next token.
    """
    tokens = completion.tokens or ()
    place = _place("".join(token.text for token in tokens), choice)
    for token in tokens:
        if place < len(token.text):
            return _whole(token, choice)
        place -= len(token.text)
    raise BadReply(f"the reply's tokens end before the choice {choice!r}: {_SPLIT}")


def label_token(completion: Completion, labels: Iterable[str]) -> tuple[Token, str]:
    """Return the token that carries the label in a plain answer, and the label.

    What stands before it may only be space and marks, and the words may not go on after it: "I" of
    "I think so" is no label. Raises BadReply otherwise.
    """
    known = set(labels)
    tokens = completion.tokens or ()
    text = "".join(token.text for token in tokens).lstrip(MARKS)
    for token in tokens:
        said = token.text.strip(MARKS)
        if said in known and not _GOES_ON.match(text, len(said)):
            return token, said
        if said:
            break
    raise BadReply(
        f"the model answered {completion.text.strip()[:60]!r} instead of a label of one token: "
        f"{_SPLIT}"
    )


def label_logprobs(top: Mapping[str, float], labels: Iterable[str]) -> dict[str, float]:
    """Return label -> log-probability of those that are among the reported tokens.

    Tokens that differ only in the marks around the label say the same: they are added up.
    """
    known = set(labels)
    found: dict[str, float] = {}
    for text, logprob in top.items():
        label = text.strip(MARKS)
        if label in known:
            held = found.get(label, -np.inf)
            found[label] = float(np.logaddexp(held, logprob))
    return {label: logprob for label, logprob in found.items() if np.isfinite(logprob)}


def single(reply: Reply, name: str) -> Completion:
    """Return the one completion; raises BadReply for a refusal."""
    completion = reply.completions[0]
    if completion.finish == "refusal":
        raise BadReply(f"{name} refuses to answer: use another model, or another prompt")
    return completion


def _place(text: str, choice: str) -> int:
    """Return where the label stands: where another text in its place would be the choice."""
    for found in _CHOICE.finditer(text):
        before, after = text[: found.end()], text[found.end() :]
        if not after.startswith(f'{choice}"'):
            continue
        changed = parse(before + _NO_LABEL + after[len(choice) :], "the reply, read by its tokens,")
        if isinstance(changed, dict) and changed.get("choice") == _NO_LABEL:
            return found.end()
    raise BadReply(f"no choice of {choice!r} is found among the reply's tokens: {_SPLIT}")


def _whole(token: Token, choice: str) -> Token:
    if token.text.strip(MARKS) != choice:
        raise BadReply(f"label {choice!r} is more than one token ({token.text!r} ...): {_SPLIT}")
    return token
