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
_ELEMENT = re.compile(r"^\s*\[(\w+)\] (\w+)", re.MULTILINE)
_QUOTED = re.compile(r"[\"“](.+?)[\"”]|(?<!\w)['‘](.+?)['’](?!\w)")
_FIELDS = ("textbox", "searchbox", "combobox", "spinbutton")
_OF_EPISODES = {
    "Write what went wrong": "Nothing is known of what went wrong: try what was not tried before.",
    "Write the list anew": "1. Look around:\nlook\n{action}",
    "Write the new configuration": json.dumps(
        {"prompt": "Try what was not tried before.", "temperature": 1.0, "phrases": ["you"]}
    ),
}
_IDLE = ("RootWebArea", "StaticText", "generic", "heading", "image", "main", "paragraph")


def obliging(messages: Sequence[Message]) -> Mapping[str, float]:
    """Answer any of the prompts of `jitrl.prompts` in the form that is asked for.

    All the actions, or the first three named, are equally likely; every step is scored 0. On a page
    it clicks what there is, and writes into its fields what the task has in quotes.
    """
    asked = _asked(messages)
    if "Score these steps: " in asked:
        steps = asked.rsplit("Score these steps: ", 1)[1].split(",")
        entries = [{"step": int(t), "why": "as the rest", "score": 0.0} for t in steps]
        return {json.dumps({"scores": entries}): 1.0}
    for words, answer in _OF_EPISODES.items():
        if words in asked:
            return {answer: 1.0}
    if "Write the log of this episode" in asked:
        return {"Nothing raised the score. The path led on. Nothing is carried. " * 4: 1.0}
    if "most promising actions to take now" in asked:
        return _alike(_proposals(asked))
    shown = asked.partition("These actions are possible now")[2]
    labels = [label for label, _ in _LABELLED.findall(shown)] or ["A", "B"]
    if "Reply with JSON" in asked:
        reason = "It was not tried in this place before and may lead to something new."
        named = [{"label": a, "reason": reason, "confidence": 50} for a in labels[:3]]
        return _alike([json.dumps({"candidates": named, "choice": a}) for a in labels[:3]])
    if "word for word" in asked:
        return _alike(shown.split("\n\n")[0].strip(":\n").splitlines())
    return _alike(labels)


def _asked(messages: Sequence[Message]) -> str:
    """Return the prompt; where an answer was sent back, the one that it answered."""
    said = [message.content for message in messages if message.role == "user"]
    sent_back = said[-1].startswith(("Your answer cannot be used", "That is no label"))
    return said[-2] if sent_back and len(said) > 1 else said[-1]


def _alike(texts: Sequence[str]) -> Mapping[str, float]:
    return dict.fromkeys(texts, 1 / len(set(texts)))


def _proposals(asked: str) -> list[str]:
    """Return answers to the prompt for pages: actions that follow one another on it, from any."""
    before, _, page = asked.partition("\n<page>\n")
    task = before.partition("How actions are written:")[0]
    words = [double or single for double, single in _QUOTED.findall(task)] or ["hello"]
    actions: list[str] = []
    for id, role in _ELEMENT.findall(page):
        if role in _FIELDS:
            word = words[len(actions) % len(words)]
            actions.append(f"fill({json.dumps(id)}, {json.dumps(word)})")
        elif role not in _IDLE:
            actions.append(f"click({json.dumps(id)})")
    actions = actions or [f"send_msg_to_user({json.dumps(words[0])})"]
    reason = "It was not tried on this page before and may lead to something new."
    entries = [{"reason": reason, "action": action} for action in actions]
    turned = [(entries[i:] + entries[:i])[:3] for i in range(len(entries))]
    return [json.dumps({"candidates": three}) for three in turned]
