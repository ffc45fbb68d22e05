"""A situation as text for a model: the episode so far, what is seen now, the actions by label.

Nothing here comes from the memory. What the environment printed is put in as it is, cut where it is
long.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterable, Mapping, Sequence

from jitrl.errors import InvalidValue
from jitrl.records import Situation

_FIRST, _LATER = 2000, 600  # characters of the first text, which tells the task, and of later ones


def describe(situation: Situation, window: int = 10) -> str:
    """Return the situation as text, with the last `window` steps."""
    observation, turns = situation.observation, situation.turns
    first = turns[0].before if turns else observation
    parts = [f"Task: {situation.task}", f"The beginning:\n{_cut(first.text, _FIRST)}"]
    shown = turns[-window:] if window else ()
    if shown:
        left_out = f", the last {len(shown)} of {len(turns)}" if len(shown) < len(turns) else ""
        lines = [
            f"> {turn.action}\n{_cut(turn.after.text, _LATER)}{_reward(turn.after.reward)}"
            for turn in shown
        ]
        parts.append(f"Steps so far{left_out}:\n" + "\n".join(lines))
    seen = [f"{name}: {text}" for name, text in observation.state.items() if name != "history"]
    parts.append(
        f"Now, after {len(turns)} steps, with a score of {observation.score:g}:\n" + "\n".join(seen)
    )
    return "\n\n".join(parts)


def labels(actions: Sequence[str]) -> dict[str, str]:
    """Return label -> action: A to Z, then a to z; beyond 52 actions AA, AB ... instead.

    No label begins another one. Raises InvalidValue for more than 676 actions, or none.

    >>> labels(["north", "wait"])
    {'A': 'north', 'B': 'wait'}
    """
    if not actions or len(actions) > len(string.ascii_uppercase) ** 2:
        raise InvalidValue(
            "actions", len(actions), "must be 1 to 676 in number for labels: use --scores sequence"
        )
    if len(actions) <= len(string.ascii_letters):
        names: Sequence[str] = string.ascii_uppercase + string.ascii_lowercase
    else:
        names = ["".join(pair) for pair in itertools.product(string.ascii_uppercase, repeat=2)]
    return dict(zip(names, actions, strict=False))


def executable(situation: Situation, candidates: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the remembered actions that can be executed here and are no candidates.

    Where a world takes more than it lists, its reader says which.
    """
    listed, reader = set(situation.observation.actions), situation.observation.reader
    proposed = set(candidates)
    return tuple(
        action
        for action in situation.remembered
        if action not in proposed
        and (action in listed or (reader is not None and reader.executable(action)))
    )


def listed(labelled: Mapping[str, str]) -> str:
    """Return the labelled actions, one on a line."""
    return "\n".join(f"{label}: {action}" for label, action in labelled.items())


def _reward(reward: float) -> str:
    return f"\n[the score changed by {reward:+g}]" if reward else ""


def _cut(text: str, longest: int) -> str:
    text = text.strip()
    return text if len(text) <= longest else text[:longest].rstrip() + " ..."
