"""Raw transcripts of earlier episodes in the prompt: the newest, as many as there is room for."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from jitrl.agents.arms import Arm
from jitrl.agents.carrier import Carrier, Kit, Note
from jitrl.records import Situation
from jitrl.scores.text import transcript

ROOM = 24_000
"""Characters of transcripts that a prompt has room for, some 6,000 tokens."""
_LONGEST = 8_000  # characters of one of them


class Transcripts(Carrier):
    """Keeps transcripts; the oldest is dropped where they are too long together."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque()

    def advise(self, situation: Situation) -> Situation:
        """Return the situation with all transcripts, oldest first."""
        told = [f"Episode {n}.\n{text}" for n, text in enumerate(self._kept, 1)]
        return replace(situation, advice="\n\n".join(told))

    async def learn(self, end: Situation) -> Note:
        """Return the transcript of the episode; no model is asked."""
        return {"transcript": transcript(end, _LONGEST)}

    def keep(self, task: str, note: Note) -> None:
        """Take over a transcript."""
        if note is not None:
            self._kept.append(str(note["transcript"]))
        while sum(map(len, self._kept)) > ROOM:
            self._kept.popleft()


def make(kit: Kit) -> Carrier:
    """Return one that has kept nothing."""
    return Transcripts()


ARM = Arm(stores=False, moves=False, carrier=make, told=ROOM // 4)
