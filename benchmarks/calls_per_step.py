"""Model calls and tokens per step, for each source of scores; the released code's beside them.

    JITRL_GAMES=FOLDER python benchmarks/calls_per_step.py [WORLD] [--steps 50] [--episodes 2]

A scripted server answers at random from the actions that it is shown, so that nothing but the
shape of the calls is measured. Tokens are characters / 4, since no tokenizer is at hand.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jitrl.bench.configuration import Configuration
from jitrl.bench.runner import open_world, run
from jitrl.models import Message
from jitrl.models.budget import tokens_of
from jitrl.testing import Choosing, ScriptedServer

SOURCES = ("labels", "labels-direct", "labels-server", "stated", "sampled", "sequence")
_LABELLED = re.compile(r"^([A-Za-z]{1,2}): (.+)$", re.MULTILINE)


def answers(messages: Sequence[Message]) -> Mapping[str, float]:
    """Return a few answers of the form that is asked for, equally likely."""
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


def measure(configuration: Configuration, seen: list[Any], folder: Path) -> str:
    """Play, and return the row of a table from the requests that the server got."""
    seen.clear()
    world = open_world(configuration)
    try:
        played = run(configuration, folder, world)
    finally:
        world.close()
    steps = sum(episode.steps for episode in played.episodes)
    bodies = [received.body for received in seen if "completions" in received.path]
    read = sum(tokens_of(_text(body)) for body in bodies)
    return f"| {len(bodies) / steps:5.2f} | {read / steps:7,.0f} |"


def _text(body: Mapping[str, Any]) -> str:
    if "messages" in body:
        return "\n".join(message["content"] for message in body["messages"])
    prompt = body["prompt"]
    return prompt if isinstance(prompt, str) else "\n".join(prompt)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", nargs="?", default="textworld:1")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--episodes", type=int, default=2)
    given = parser.parse_args()
    print(f"{given.world}, {given.episodes} episodes of {given.steps} steps, window of 10 steps")
    print("| scores | calls a step | input tokens a step |\n|---|---|---|")
    with ScriptedServer(Choosing(answers)) as server, tempfile.TemporaryDirectory() as held:
        base: dict[str, Any] = {"model": "vllm/scripted", "base_url": server.url}
        wanted: list[tuple[str, dict[str, Any]]] = [(name, {"scores": name}) for name in SOURCES]
        wanted.append(("labels, summarised", {"scores": "labels", "summarise": True}))
        judge = {"judge_model": "vllm/scripted", "judge_url": server.url, "credit": "judged"}
        wanted.append(("labels, judged", {"scores": "labels", **judge}))
        for i, (name, choices) in enumerate(wanted):
            configuration = Configuration(
                given.world, steps=given.steps, episodes=given.episodes, **base, **choices
            )
            print(f"| {name} {measure(configuration, server.requests, Path(held, str(i)))}")
    print("| released code (spec: 2 calls and 2 embeddings a step, 0.31 M tokens in 50 steps) |")


if __name__ == "__main__":
    main()
