"""What tests of models on pages share: situations on a made-up page, answers, and a small world."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jitrl.models import Message
from jitrl.records import Observation, Situation, State, Turn
from jitrl.testing.pages import Page

FORM = Page(
    {
        "3": ("textbox", "Name"),
        "5": ("button", "OK"),
        "7": ("button", "Cancel"),
        "11": ("link", 'The "best" offer'),
    }
)
TASK = 'Write "Ada" into the form and send it.'
OK, CANCEL, OFFER = FORM.clicks[1:]
FILL = 'fill(textbox("Name"), "Ada")'
ELSEWHERE = 'click(button("Buy"))'  # an action on no element of the form
STATE = State(url="/form", history="", task=TASK)
SEEN = Observation(STATE, f"URL: http://a.test/form\n{FORM.text}", FORM.clicks[:2], reader=FORM)


def on_form(
    remembered: Sequence[str] = (), turns: Sequence[Turn] = (), **changes: object
) -> Situation:
    """A situation on the form after some turns."""
    here = replace(turns[-1].after if turns else SEEN, **changes)  # type: ignore[arg-type]
    return Situation("a suite", 2, len(turns), here, tuple(turns), tuple(remembered))


def written(*actions: str, **more: object) -> str:
    """An answer to the prompt for pages."""
    entries = [{"reason": f"{action} may help", "action": action} for action in actions]
    return json.dumps({"candidates": entries, **more})


def asks_to_write(messages: Sequence[Message]) -> bool:
    """Say whether this is the prompt for pages, or what is wrong with an answer to it."""
    return any("most promising actions to take now" in message.content for message in messages)


def options(messages: Sequence[Message]) -> dict[str, str]:
    """Label -> action of the list in a prompt."""
    shown = messages[-1].content.rpartition("each behind its label:\n")[2].split("\n\n")[0]
    return dict(line.split(": ", 1) for line in shown.splitlines())


class Form:
    """A world on one page: the score is 1 once the name is written and sent; "Cancel" ends it.

    Its actions without a model are the clicks: it is not solved by these.
    """

    name = "form:1"
    max_score = 1.0
    reward_range = (0.0, 1.0)
    version: Mapping[str, str] = {"form": "1"}
    seconds: Mapping[str, float] = {"total": 0.0, "actions": 0.0}

    def reset(self, seed: int) -> Observation:
        """Show the empty form."""
        self.filled, self.history = False, ""
        return replace(SEEN, actions=FORM.clicks)

    def step(self, action: str) -> Observation:
        """Take an action in the remembered form."""
        if not FORM.executable(action):
            return self._show(reason=f"there is no such element: {action}")
        if action == FILL and not self.filled:
            self.filled, self.history = True, FILL
        solved = self.filled and action == OK
        return self._show(solved, ended=solved or action == CANCEL)

    def close(self) -> None:
        """Hold nothing."""

    def _show(self, solved: bool = False, *, ended: bool = False, reason: str = "") -> Observation:
        state = State(url="/form", history=self.history, task=TASK)
        text = SEEN.text + ("\nName holds 'Ada'" if self.filled else "")
        actions = () if ended else FORM.clicks
        reward = float(solved)
        return Observation(state, text, actions, reward, reward, ended, reason=reason, reader=FORM)
