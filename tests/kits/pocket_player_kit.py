"""An agent that knows the solutions: it plays tasks of the web through the world alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from jitrl.records import Observation
from jitrl.worlds import Suite

_TRIES = 5  # of an action that found no time: BrowserGym gives each half a second


def act(world: Suite, shown: Observation, action: str) -> Observation:
    """Take an action; on a busy machine more than once, until it is executed."""
    after = shown
    for _ in range(_TRIES):
        after = world.step(action)
        assert "not executed" not in after.reason, after.reason
        if "TimeoutError" not in after.reason or after.state != shown.state:
            break
    return after


def attempt(
    world: Suite, task: str, steps: Iterable[tuple[str, ...]], values: Mapping[str, str]
) -> Observation:
    """Play a task from its beginning by the steps of a solution; return how it ended."""
    shown = world.reset(1, task)
    said = 'send_msg_to_user("Done.")'
    for kind, *words in steps:
        first, *rest = (word.format(**values) for word in words)
        action = written(kind, first, rest, shown.text)
        if action.startswith("send_msg_to_user("):
            said = action
        else:
            shown = act(world, shown, action)
            assert not shown.terminated, shown.reason
    return act(world, shown, said)


def written(kind: str, first: str, rest: list[str], text: str) -> str:
    """Return a step as a call, on a page as it is shown to a model."""
    match kind:
        case "link" | "button":
            return f"click({kind}({json.dumps(first)}))"
        case "follow":
            return f"click(link(beside({json.dumps(first)})))"
        case "fill":
            return f'fill("{field(text, first)}", {json.dumps(rest[0])})'
        case "select":
            return f'select_option("{field(text, first)}", {json.dumps(rest[0])})'
        case "uncheck":
            return f'uncheck("{field(text, first)}")'
        case "tell":
            return f"send_msg_to_user(beside({json.dumps(first)}))"
        case "list":
            return f"send_msg_to_user({json.dumps(', '.join(links_after(text, first)))})"
        case "first":
            return f"send_msg_to_user({json.dumps(links_after(text, first)[0])})"
    assert kind == "say", kind
    return f"send_msg_to_user({json.dumps(first)})"


def field(text: str, label: str) -> str:
    """Return the id of a field."""
    roles = "textbox|searchbox|combobox|spinbutton|checkbox"
    (found,) = re.findall(rf'\[(\w+)\] (?:{roles}) "{re.escape(label)}"', text)
    return str(found)


def links_after(text: str, label: str) -> list[str]:
    """Return the names of all links that come after a text."""
    return re.findall(r'\] link "(.*)"', text[text.rindex(f'"{label}"') :])
