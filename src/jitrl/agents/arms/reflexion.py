"""Reflexion (Shinn et al., 2023, arXiv 2303.11366): what a model says went wrong, and what to do.

After each attempt that did not succeed the model reads the transcript and the score, and writes a
short reflection. The last three on a task are shown in the next attempts at it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace

from jitrl.agents.arms import Arm
from jitrl.agents.carrier import Carrier, Kit, Note, said
from jitrl.prompts import load
from jitrl.records import Situation
from jitrl.scores.text import transcript

_SHOWN = 3  # reflections on a task
_READ, _TOKENS = 16_000, 300  # characters of the transcript, tokens of a reflection


class Reflections(Carrier):
    """Keeps reflections, by task."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._kept: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_SHOWN))

    def advise(self, situation: Situation) -> Situation:
        """Return the situation with the last reflections on its task."""
        told = [f"- {text}" for text in self._kept[situation.task]]
        return replace(situation, advice="\n".join(told))

    async def learn(self, end: Situation) -> Note:
        """Return a reflection; nothing for an attempt that succeeded."""
        if self._kit.solved(end):
            return None
        before = "\n".join(f"- {text}" for text in self._kept[end.task])
        messages = load("reflect").render(
            transcript=transcript(end, _READ), before=before or "(none yet)"
        )
        return {"reflection": await said(self._kit, end, "reflect", messages, _TOKENS)}

    def keep(self, task: str, note: Note) -> None:
        """Take over a reflection."""
        if note is not None:
            self._kept[task].append(str(note["reflection"]))


ARM = Arm(
    stores=False,
    moves=False,
    carrier=Reflections,
    prompts=("reflect",),
    told=_SHOWN * _TOKENS // 2,
    asked=(1, 600, _TOKENS),
)
