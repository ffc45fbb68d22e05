"""A language model as the judge of an episode: one score a step, or none; never one made up."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitrl.checks import count, interval
from jitrl.errors import BadReply, InvalidValue, ModelError, RequestRejected
from jitrl.models import Model, Purpose, Request
from jitrl.models.jsonreply import finished, parse
from jitrl.prompts import Prompt, load, quoted
from jitrl.records import Situation

__all__ = ["ModelJudge"]

log = logging.getLogger(__name__)

LONGEST = 6000
"""Characters of one observation that are shown: what a page says first, and most of it."""
_TOO_LONG = re.compile(r"context|too (long|large|many tokens)|exceeds the maximum", re.I)
_SCHEMA = {
    "type": "object",
    "properties": {
        "scores": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "step": {"type": "integer"},
                    "why": {"type": "string"},
                    "score": {"type": "number"},
                },
                "required": ["step", "why", "score"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["scores"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The steps [start, stop), asked about at once, with up to `overlap` more shown on each side.

    Each step is asked about in one chunk alone, so no step has two scores to choose from.
    """

    start: int
    stop: int
    overlap: int

    def shown(self, total: int) -> range:
        """Return the numbers of the steps that are shown."""
        return range(max(0, self.start - self.overlap), min(total, self.stop + self.overlap))

    def smaller(self, cut_off: bool) -> list[_Chunk]:
        """Return what to try where this is too long, or its reply was cut off: maybe nothing."""
        overlap = self.overlap // 2
        if self.stop - self.start > 1:
            middle = (self.start + self.stop) // 2
            return [_Chunk(self.start, middle, overlap), _Chunk(middle, self.stop, overlap)]
        return [] if cut_off or not self.overlap else [replace(self, overlap=overlap)]


class ModelJudge:
    """Has a model read the whole episode afterwards and score its steps; see `agents.player.Judge`.

    model         who judges
    scale         (lowest, highest) score; what lies outside is no score
    tell_outcome  tell the judge how it ended: the final score, and whether the world ended
    max_tokens    of a reply; some 40 a step, and what the model thinks before it answers
    max_chars     of the episode shown at once: a longer one is judged in chunks
    overlap       steps shown before and after those that a chunk asks about, so that each step is
                  judged with what led to it, and with what came of it
    prompt        the template, by default `prompts/judge.md`; it may use $task, $low, $high,
                  $total, $first, $last, $outcome, $episode and $steps
    attempts      how often a step is asked about, before it counts as unscored

    The judge reads actions and observations, numbered once from 0, and no rewards. A step has a
    score if the reply names it once with a finite number within the scale; the others are asked for
    again, and only they. Where the model rejects a chunk as too long, or its reply is cut off, the
    chunk is halved. Raises InvalidValue.
    """

    def __init__(
        self,
        model: Model,
        *,
        scale: tuple[float, float] = (-10.0, 10.0),
        tell_outcome: bool = False,
        max_tokens: int = 8192,
        max_chars: int = 100_000,
        overlap: int = 5,
        prompt: Prompt | None = None,
        attempts: int = 2,
    ) -> None:
        self.model = model
        self.scale = interval("scale", scale)
        if not isinstance(tell_outcome, bool):
            raise InvalidValue("tell_outcome", tell_outcome, "must be True or False")
        self.tell_outcome = tell_outcome
        self.max_tokens = count("max_tokens", max_tokens, least=1)
        self.max_chars = count("max_chars", max_chars, least=1)
        self.overlap = count("overlap", overlap)
        self.prompt = load("judge") if prompt is None else prompt
        self.attempts = count("attempts", attempts, least=1)

    @property
    def provenance(self) -> dict[str, str]:
        """Who judged, and how: stored with an episode that was judged."""
        low, high = self.scale
        return {
            "credit judge": self.model.name,
            "credit prompt": self.prompt.hash,
            "credit told outcome": "yes" if self.tell_outcome else "no",
            "credit scale": f"{low:g}..{high:g}",
        }

    async def assess(self, end: Situation) -> tuple[float | None, ...]:
        """Return a score within the scale for each of `end.turns`, None where there is none.

        Raises ModelError where the model fails and no step at all could be scored; where some
        could, those of the chunks that failed are None, and a warning is logged.
        """
        total = len(end.turns)
        scores: dict[int, float] = {}
        failure: ModelError | None = None
        chunks = self._chunks(end)
        while chunks:
            chunk = chunks.pop(0)
            try:
                await self._judge(end, chunk, scores)
            except _TooLong as error:
                smaller = chunk.smaller(error.cut_off)
                if not smaller:
                    failure = failure or error.cause
                    if error.cut_off and not scores:
                        break  # a reply does not hold even one score: no other will
                chunks = smaller + chunks
            except ModelError as error:
                failure = failure or error
        if total and not scores:
            raise failure or BadReply(
                f"{self.model.name} scored none of {total} steps: use another judge, or prompt"
            )
        if len(scores) < total:
            log.warning(
                "episode %d: %s scored %d of %d steps%s",
                end.episode,
                self.model.name,
                len(scores),
                total,
                f": {failure}" if failure else "",
            )
        return tuple(scores.get(t) for t in range(total))

    async def _judge(self, end: Situation, chunk: _Chunk, scores: dict[int, float]) -> None:
        """Ask for the steps of a chunk, and again for what is missing; add to `scores`."""
        low, high = self.scale
        missing = [t for t in range(chunk.start, chunk.stop) if t not in scores]
        request = asked = self._request(end, chunk, missing)
        for _ in range(self.attempts):
            if not missing:
                return
            text = await self._complete(asked)
            scores |= self._read(text, missing)
            missing = [t for t in missing if t not in scores]
            asked = request.asking(
                f"These steps have no usable score yet: {_listed(missing)}. Answer again in the "
                "same form, with JSON alone, for these steps only: each once, with a number from "
                f"{low:g} to {high:g}.",
                after=text or "(an empty answer)",  # servers refuse a message without content
            )

    async def _complete(self, request: Request) -> str:
        try:
            reply = await self.model.complete(request)
        except RequestRejected as error:
            if _TOO_LONG.search(str(error)):
                raise _TooLong(error, cut_off=False) from error
            raise
        try:
            return finished(reply, self.model.name)
        except BadReply as error:
            if reply.completions[0].finish == "length":
                raise _TooLong(error, cut_off=True) from error
            raise

    def _read(self, text: str, wanted: Sequence[int]) -> dict[int, float]:
        """Return the scores of the wanted steps that can be used."""
        try:
            reply = parse(text, "the answer")
        except BadReply as error:
            log.info("%s has to be asked again: %s", self.model.name, error)
            return {}
        entries = reply.get("scores") if isinstance(reply, dict) else None
        given: dict[int, list[float | None]] = {t: [] for t in wanted}
        for entry in entries if isinstance(entries, list) else ():
            t = entry.get("step") if isinstance(entry, dict) else None
            if type(t) is int and t in given:
                given[t].append(self._score(entry.get("score")))
        return {
            t: found[0] for t, found in given.items() if len(found) == 1 and found[0] is not None
        }

    def _score(self, value: object) -> float | None:
        """Return a number on the scale; None for anything else, True and "3" among it."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if self.scale[0] <= value <= self.scale[1] else None

    def _request(self, end: Situation, chunk: _Chunk, asked: Sequence[int]) -> Request:
        shown = chunk.shown(len(end.turns))
        low, high = self.scale
        messages = self.prompt.render(
            task=quoted(_task(end)),
            low=f"{low:g}",
            high=f"{high:g}",
            total=str(len(end.turns)),
            first=str(shown.start),
            last=str(shown.stop - 1),
            outcome=self._outcome(end),
            episode="\n".join([_before(end, shown.start), *(_step(end, t) for t in shown)]),
            steps=_listed(asked),
        )
        return Request(
            messages,
            max_tokens=self.max_tokens,
            temperature=0.0,
            schema=_SCHEMA,
            purpose=Purpose("judge", end.episode),
        )

    def _outcome(self, end: Situation) -> str:
        if not self.tell_outcome:
            return ""
        last, begun = end.observation, end.turns[0].before.score
        how = "the world ended" if last.terminated else "the episode was cut off, it could go on"
        return (
            f"After its last step {how}; the score, {begun:g} at the beginning, was {last.score:g}."
        )

    def _chunks(self, end: Situation) -> list[_Chunk]:
        """Return the chunks of an episode: one if it fits; a step too long stands alone."""
        lengths = [len(_step(end, t)) + 1 for t in range(len(end.turns))]
        total, chunks, start = len(lengths), [], 0

        def fits(chunk: _Chunk, limit: float) -> bool:
            shown = chunk.shown(total)
            size = len(_before(end, shown.start)) + sum(lengths[shown.start : shown.stop])
            return size <= limit

        while start < total:
            chunk = _Chunk(start, start + 1, self.overlap)
            while chunk.overlap and not fits(chunk, self.max_chars / 2):  # the rest is for steps
                chunk = _Chunk(start, start + 1, chunk.overlap // 2)
            while chunk.stop < total and fits(
                longer := _Chunk(start, chunk.stop + 1, chunk.overlap), self.max_chars
            ):
                chunk = longer
            chunks.append(chunk)
            start = chunk.stop
        return chunks


class _TooLong(Exception):
    """A chunk is more than the model takes; `cut_off`: its scores are more than a reply holds."""

    def __init__(self, cause: ModelError, *, cut_off: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.cut_off = cut_off


def _task(end: Situation) -> str:
    """Return the task in words: where the world is a suite of tasks, that of the attempt."""
    begun = end.turns[0].before if end.turns else end.observation
    return begun.state.get("task") or end.task


def _before(end: Situation, t: int) -> str:
    return quoted({"before step": t, "observation": _cut(end.turns[t].before.text)})


def _step(end: Situation, t: int) -> str:
    turn = end.turns[t]
    wrong = {"problem": _cut(turn.after.reason)} if turn.after.reason else {}
    return quoted(
        {"step": t, "action": turn.action} | wrong | {"observation": _cut(turn.after.text)}
    )


def _cut(text: str) -> str:
    left_out = len(text) - LONGEST
    return text if left_out <= 0 else f"{text[:LONGEST]} ... ({left_out} more characters)"


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps))
