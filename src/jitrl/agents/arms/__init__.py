"""The arms of a comparison: agents that differ in what they carry from one episode to the next.

    static           nothing
    jitrl            steps, which shift logits
    jitrl-in-prompt  the same steps, which are told to the model instead
    shuffled         a placebo: steps whose returns are permuted
    null             a placebo: steps that are stored and never read
    memory           transcripts, which are told to the model
    reflexion        what a model says went wrong, and is to be done instead
    awm              routines that a model draws from what was done
    evotest          instructions and settings that a model evolves

World, model, list of actions, window of steps and calls a step are the same for all of them. One of
another package is found through the entry-point group `jitrl.arms`: an `Arm`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from jitrl.agents.carrier import Carrier, Kit
from jitrl.errors import UnknownName
from jitrl.learner import Learner
from jitrl.presets import Preset
from jitrl.registry import registered

__all__ = ["Arm", "make", "names"]


@dataclass(frozen=True)
class Arm:
    """What sets an agent apart.

    stores       its steps are stored in a memory; otherwise that is empty and stays so
    moves        what is stored may move its policy: the preset tells it from others
    learner      its class: what is read of the memory
    carrier      makes what it carries in words, told to its model; None: nothing
    tempers      what it carries sets the temperature too
    exact        it needs a preset whose rule is exact
    prompts      names of the templates that it asks with
    told, asked  tokens that a step's prompt is longer by, and (calls, input, output tokens) after
                 an episode beside its transcript: rough, for an estimate
    """

    stores: bool = True
    moves: bool = True
    learner: type[Learner] = Learner
    carrier: Callable[[Kit], Carrier] | None = None
    tempers: bool = False
    exact: bool = False
    prompts: tuple[str, ...] = ()
    told: int = 0
    asked: tuple[int, int, int] = (0, 0, 0)

    def preset(self, chosen: Preset) -> Preset:
        """Return the preset it plays by; where nothing may move it, that of the base policy.

        A greedy rule would not leave that alone.
        """
        return chosen if self.moves else replace(chosen, rule="exact", beta=0.0)


def names() -> list[str]:
    """Return the arms that are installed."""
    return list(registered("jitrl.arms"))


def make(name: str) -> Arm:
    """Return the arm of that name; raises UnknownName for one that is not installed."""
    points = registered("jitrl.arms")
    if name not in points:
        raise UnknownName("agent", name, list(points))
    return cast(Arm, points[name].load())
