"""Actions that a model writes itself, where the world reads more than it lists, as web pages do.

Two calls: the model writes a few candidates with a reason each; then the source that is wrapped
scores them, beside remembered actions that can be executed here, as one closed list.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jitrl.checks import count
from jitrl.errors import BadReply, InvalidValue
from jitrl.models import Message, Model, Purpose, Request
from jitrl.models.jsonreply import ask_json
from jitrl.prompts import load
from jitrl.records import ActionReader, Candidate, Scores, Situation
from jitrl.scores import Options, ScoreSource
from jitrl.scores.text import as_line, describe

__all__ = ["MOST_REMEMBERED", "Proposing", "make", "web_messages"]

log = logging.getLogger(__name__)

MOST_REMEMBERED = 8
"""Remembered actions in the list, nearest first: with a few of the model's own, their labels are
still among the twenty log-probabilities that servers report."""


@dataclass(frozen=True)
class Proposing:
    """Where the observation has a reader: the model proposes, and `source` scores. Else `source`.

    model        writes the candidates
    source       scores a closed list of actions
    proposals    >= 1: how many the model is asked to write
    window       steps of the episode shown
    temperature  at which the candidates are written
    max_tokens   of the reply

    What cannot be read is sent back once, with all that is wrong; then what could be read counts.
    Nothing readable raises BadReply.

    The list that `source` is given is written as the model writes, in random order, and does not
    tell what is remembered. So all log-probabilities are of one choice, with the guarantee of
    `source`. Candidates are those of the
    model's own that `source` scored; if it scored none of them, those that it chose instead.
    `Scores.outside` is relative to the list: what else could be done on the page is not counted.
    """

    model: Model
    source: ScoreSource
    proposals: int = 3
    window: int = 10
    temperature: float = 1.0
    max_tokens: int = 600

    def __post_init__(self) -> None:
        count("proposals", self.proposals, least=1)

    async def propose(self, situation: Situation, rng: np.random.Generator) -> Scores:
        """Return scores of what the model proposes, and of what is remembered beside it."""
        reader = situation.observation.reader
        if reader is None:
            return await self.source.propose(situation, rng)
        own = _as_written(reader, await self._proposed(situation, reader, rng))
        known = _as_written(reader, filter(reader.executable, situation.remembered), but=own)
        options = [*own, *list(known)[:MOST_REMEMBERED]]
        # as many draws whatever is remembered: a memory does not change the chance of later steps
        keys = rng.random(self.proposals + MOST_REMEMBERED)
        mixed = tuple(options[i] for i in np.argsort(keys[: len(options)]))
        # all of them count as remembered: that asks for a log-probability of each
        closed = replace(situation.observation, actions=mixed)
        asked = replace(situation, observation=closed, remembered=mixed)
        scores = _renamed(await self.source.propose(asked, rng), own | known)
        return _told_apart(scores, list(own.values()), list(known.values()))

    async def _proposed(
        self, situation: Situation, reader: ActionReader, rng: np.random.Generator
    ) -> list[str]:
        """Return what the model proposes, as it is remembered; raises BadReply for nothing."""
        request = Request(
            web_messages(situation, self.proposals, self.window),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=int(rng.integers(2**31)),
            schema=_SCHEMA,
            purpose=Purpose("act", situation.episode, situation.t),
        )
        found: dict[str, None] = {}

        def check(value: object) -> None:
            problems = _read(value, reader, self.proposals, found)
            if problems:
                raise ValueError("; ".join(problems))

        try:
            await ask_json(self.model, request, check)
        except BadReply as error:
            if not found:
                raise
            log.info("%d of %d proposals could be read: %s", len(found), self.proposals, error)
        return list(found)[: self.proposals]


def web_messages(situation: Situation, proposals: int, window: int) -> tuple[Message, ...]:
    """Return the prompt that asks for candidates; with what the page looks like, where it is known.

    The words that the actions are made of are in the description: exactly those that are executed.
    """
    *before, last = load("web").render(situation=describe(situation, window), count=str(proposals))
    image = situation.observation.image
    return (*before, last if image is None else replace(last, images=(image,)))


def _read(value: object, reader: ActionReader, proposals: int, found: dict[str, None]) -> list[str]:
    """Add to `found` the actions that the answer holds; return what is wrong with the others."""
    if not isinstance(value, dict) or not isinstance(value.get("candidates"), list):
        return ['it must be an object with a list "candidates"']
    candidates = value["candidates"][:proposals]
    problems = [] if candidates else ["it names no candidate"]
    for number, candidate in enumerate(candidates, 1):
        action = candidate.get("action") if isinstance(candidate, dict) else None
        if not isinstance(action, str):
            problems.append(f'candidate {number} must have an "action" that is a text')
            continue
        try:
            found[reader.read(action)] = None
        except InvalidValue as error:
            problems.append(f"candidate {number}: {as_line(str(error))}")
    return problems


def _as_written(
    reader: ActionReader, actions: Iterable[str], but: Collection[str] = ()
) -> dict[str, str]:
    """Return what an agent writes here -> the action; of two that are one act here, the first."""
    result: dict[str, str] = {}
    for action in actions:
        written = reader.written(action)
        if written not in but:
            result.setdefault(written, action)
    return result


def _renamed(scores: Scores, actions: Mapping[str, str]) -> Scores:
    """Return scores of what was written as scores of the actions."""
    remembered = scores.remembered or {}
    return replace(
        scores,
        candidates=tuple(Candidate(actions[c.action], c.logprob) for c in scores.candidates),
        remembered={actions[written]: logprob for written, logprob in remembered.items()},
        unscored=tuple(actions[written] for written in scores.unscored),
    )


def _told_apart(scores: Scores, own: Sequence[str], known: Sequence[str]) -> Scores:
    """Return the scores of one list with the model's own as candidates, the remembered beside.

    known  remembered actions that can be executed here, nearest first; not all of them were listed
    """
    logprobs = {c.action: c.logprob for c in scores.candidates} | dict(scores.remembered or {})
    candidates = tuple(Candidate(a, logprobs[a]) for a in own if a in logprobs)
    candidates = candidates or scores.candidates
    names = {candidate.action for candidate in candidates}
    all_scored = all(action in logprobs for action in own)
    unscored = {*scores.unscored, *known[MOST_REMEMBERED:]}
    return replace(
        scores,
        candidates=candidates,
        guarantee=scores.guarantee if all_scored or scores.guarantee != "exact" else "bounded",
        remembered={a: logprobs[a] for a in known if a in logprobs and a not in names},
        outside=_outside(scores, candidates),
        unscored=tuple(a for a in known if a in unscored and a not in logprobs),
    )


def _outside(scores: Scores, candidates: Sequence[Candidate]) -> float:
    """Return the probability of what is no candidate any more; nan where it was unknown."""
    listed = math.fsum(math.exp(c.logprob) for c in scores.candidates)
    kept = math.fsum(math.exp(c.logprob) for c in candidates)
    inside = (1.0 - scores.outside) * kept / listed if listed > 0 else math.nan
    return min(max(1.0 - inside, 0.0), 1.0) if math.isfinite(inside) else math.nan


def make(model: Model, source: ScoreSource, options: Options) -> Proposing:
    """Return the source with a model's proposals in front of it."""
    return Proposing(
        model, source, options.proposals, options.window, max_tokens=options.max_tokens
    )


_SCHEMA = {
    "type": "object",
    "properties": {
        "candidates": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"reason": {"type": "string"}, "action": {"type": "string"}},
                "required": ["reason", "action"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["candidates"],
    "additionalProperties": False,
}
