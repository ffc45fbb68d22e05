"""The paper's ablation: what JitRL retrieves is told to the model, and shifts no logits.

The same neighbours and the same estimates, as text. Which actions are candidates is the model's own
choice: here nothing joins them. A greedy rule has no such estimates that stand by themselves: it is
refused.
"""

from __future__ import annotations

from dataclasses import replace

from jitrl.agents.arms import Arm
from jitrl.agents.carrier import Carrier, Kit
from jitrl.decide import Draws, modulate
from jitrl.live import with_task
from jitrl.presets import at
from jitrl.records import Modulation, Situation
from jitrl.scores.text import as_line, executable
from jitrl.seeds import generator


class Facts(Carrier):
    """Tells what is remembered of states like the one at hand."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def advise(self, situation: Situation) -> Situation:
        """Return the situation with what came of the actions that were taken in similar states."""
        preset, learner = self._kit.preset, self._kit.learner
        state = with_task(situation.observation.state, situation.task, preset)
        state = learner.redacted(state)
        neighbours = learner.retrieve(state, situation.t)
        known = tuple(dict.fromkeys(step.action for step in neighbours))
        allowed = {
            *situation.observation.actions,
            *executable(replace(situation, remembered=known)),
        }
        beta = at(preset.beta, situation.episode)
        draws = generator(self._kit.seed, situation.episode, f"facts {situation.t}")
        found = modulate(state, neighbours, preset, beta, Draws(draws, draws), allowed)
        return replace(situation, advice=told(found))


def told(found: Modulation) -> str:
    """Return what a modulation says, in words: best action first; nothing where it abstains."""
    values = found.values
    if found.abstained or not found.advantages:
        return ""
    best = sorted(found.advantages, key=lambda action: -found.advantages[action])
    lines = [
        f"- {as_line(action)}: tried {values[action].n} times, return {values[action].Q:.2f} on "
        f"average, advantage {found.advantages[action]:+.2f}"
        for action in best
    ]
    return (
        f"In {len(found.neighbours)} similar steps the return was {values.V:.2f} on average. What "
        "came of the actions that were taken there:\n" + "\n".join(lines)
    )


ARM = Arm(moves=False, carrier=Facts, exact=True, told=300)
