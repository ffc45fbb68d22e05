"""Model calls and tokens per step, for each source of scores; the released code's beside them.

    JITRL_GAMES=FOLDER python benchmarks/calls_per_step.py [WORLD] [--steps 50] [--episodes 2]

A scripted server answers at random from the actions that it is shown, so that nothing but the
shape of the calls is measured. Tokens are characters / 4, since no tokenizer is at hand.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jitrl.bench.configuration import Configuration
from jitrl.bench.runner import open_world, run
from jitrl.models.budget import tokens_of
from jitrl.testing import Choosing, ScriptedServer, obliging

SOURCES = ("labels", "labels-direct", "labels-server", "stated", "sampled", "sequence")


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
    with ScriptedServer(Choosing(obliging)) as server, tempfile.TemporaryDirectory() as held:
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
