"""Agent Workflow Memory (Wang et al., 2024, arXiv 2409.07429): routines drawn from what was done.

After each episode that earned something the model reads the workflow so far and the new transcript,
and writes the workflow anew: numbered routines with placeholders. There is one for each family of
tasks: those that play on the same sites, or all of a world. Another process of the same run has its
own, so that a run has one process.
"""

from __future__ import annotations

from dataclasses import replace

from jitrl.agents.arms import Arm
from jitrl.agents.carrier import Carrier, Kit, Note, said
from jitrl.prompts import load
from jitrl.records import Situation
from jitrl.scores.text import transcript

_READ, _TOKENS = 16_000, 900  # characters of the transcript, tokens of a workflow


class Workflows(Carrier):
    """Keeps a workflow, by family of tasks."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._kept: dict[str, str] = {}

    def advise(self, situation: Situation) -> Situation:
        """Return the situation with the workflow of its family."""
        told = self._kept.get(self._kit.family(situation.task), "")
        return replace(situation, advice=told and f"Routines that worked:\n{told}")

    async def learn(self, end: Situation) -> Note:
        """Return the new workflow; nothing for an episode that earned nothing."""
        if end.observation.score <= end.turns[0].before.score:
            return None
        family = self._kit.family(end.task)
        before = self._kept.get(family, "(none yet)")
        messages = load("workflow").render(transcript=transcript(end, _READ), before=before)
        told = await said(self._kit, end, "induce", messages, _TOKENS)
        return {"family": family, "workflow": told}  # of a task that another run may not have

    def keep(self, task: str, note: Note) -> None:
        """Replace the workflow."""
        if note is not None:
            self._kept[str(note["family"])] = str(note["workflow"])


ARM = Arm(
    stores=False,
    moves=False,
    carrier=Workflows,
    prompts=("workflow",),
    told=_TOKENS,
    asked=(1, _TOKENS + 200, _TOKENS),
)
