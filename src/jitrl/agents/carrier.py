"""What an agent carries in words from one episode to the next, beside the memory of steps.

The baselines that learn through the prompt are carriers (`jitrl.agents.arms`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jitrl.errors import BadReply
from jitrl.learner import Learner
from jitrl.models import Message, Model, Purpose, Request
from jitrl.models.jsonreply import finished
from jitrl.presets import Preset
from jitrl.records import Situation
from jitrl.seeds import generator

Note = Mapping[str, object] | None
"""What is kept of one episode, in terms of JSON; None for nothing."""


class Carrier:
    """Carries nothing; others override what they need.

    All that a carrier knows comes from the notes that it has kept, in the order of play: so a run
    is continued by keeping them again.

    temperature  in force for the step that `advise` was asked about last; None: the preset's
    """

    temperature: float | None = None

    def advise(self, situation: Situation) -> Situation:
        """Return the situation with what the model is told of earlier episodes: its `advice`."""
        return situation

    async def learn(self, end: Situation) -> Note:
        """Return the note on an episode that is over; nothing is kept yet.

        end  the situation after its last step

        Raises ModelError where a model that is asked gives no usable reply.
        """
        return None

    def keep(self, task: str, note: Note) -> None:
        """Take over the note on an episode at a task: from `learn`, or from the run folder."""


class Frozen(Carrier):
    """A carrier that tells what it knows and learns no more."""

    def __init__(self, known: Carrier) -> None:
        self._known = known

    def advise(self, situation: Situation) -> Situation:
        """Return what the known one does."""
        advised = self._known.advise(situation)
        self.temperature = self._known.temperature
        return advised


@dataclass(frozen=True)
class Kit:
    """What carriers are made of.

    model    the acting model
    learner  of the run; its memory may be read
    preset   of the run, as the user chose it
    seed     of the run
    best     the highest score that an episode can have; None where nobody knows
    family   task -> what it shares routines with: its sites, or the world
    """

    model: Model
    learner: Learner
    preset: Preset
    seed: int
    best: float | None
    family: Callable[[str], str]

    def solved(self, end: Situation) -> bool:
        """Say whether nothing better than this episode is possible."""
        return self.best is not None and end.observation.score >= self.best


def asking(
    kit: Kit, end: Situation, role: str, messages: tuple[Message, ...], max_tokens: int
) -> Request:
    """Return the request, at temperature 0, that asks about an episode that is over."""
    seed = int(generator(kit.seed, end.episode, role).integers(2**31))
    purpose = Purpose(role, end.episode)
    return Request(messages, max_tokens=max_tokens, temperature=0.0, seed=seed, purpose=purpose)


async def said(
    kit: Kit, end: Situation, role: str, messages: tuple[Message, ...], max_tokens: int
) -> str:
    """Return what the model writes about an episode that is over, at temperature 0.

    Raises BadReply for a refusal, an empty text, and one that max_tokens cut off.
    """
    request = asking(kit, end, role, messages, max_tokens)
    text = finished(await kit.model.complete(request), kit.model.name).strip()
    if not text:
        raise BadReply(f"{kit.model.name} wrote nothing: use another model")
    return text
