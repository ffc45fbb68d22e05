"""A brain that answers whatever jitrl asks, knowing nothing: to try things out, and to count calls.

    python -m jitrl.testing

serves it on this machine and prints the address for `--base-url`; the model is `vllm/scripted`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from jitrl.models import Message

__all__ = ["obliging"]

_LABELLED = re.compile(r"^([A-Za-z]{1,2}): (.+)$", re.MULTILINE)


def obliging(messages: Sequence[Message]) -> Mapping[str, float]:
    """Answer any of the prompts of `jitrl.prompts` in the form that is asked for.

    All the actions, or the first three named, are equally likely; every step is scored 0.
    """
    asked = messages[-1].content
    if "Score these steps: " in asked:
        steps = asked.rsplit("Score these steps: ", 1)[1].split(",")
        entries = [{"step": int(t), "why": "as the rest", "score": 0.0} for t in steps]
        return {json.dumps({"scores": entries}): 1.0}
    if "Write the log of this episode" in asked:
        return {"Nothing raised the score. The path led on. Nothing is carried. " * 4: 1.0}
    shown = asked.partition("These actions are possible now")[2]
    labels = [label for label, _ in _LABELLED.findall(shown)] or ["A", "B"]
    if "Reply with JSON" in asked:
        reason = "It was not tried in this place before and may lead to something new."
        named = [{"label": a, "reason": reason, "confidence": 50} for a in labels[:3]]
        texts = [json.dumps({"candidates": named, "choice": a}) for a in labels[:3]]
    elif "word for word" in asked:
        texts = shown.split("\n\n")[0].strip(":\n").splitlines()
    else:
        texts = labels
    return dict.fromkeys(texts, 1 / len(texts))
