"""Agents that carry something on in words: a model whose answers depend on all that it is shown."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from folders import log_of
from language_kit import MODEL, player

from jitrl.bench.beginnings import notes_of
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, read
from jitrl.bench.language import Access
from jitrl.bench.runner import Listener, open_world, run
from jitrl.models import Message, Request
from jitrl.testing import Choosing, ScriptedServer

IN_WORDS = ("memory", "reflexion", "awm", "evotest", "jitrl-in-prompt")
LEARNING = ("reflexion", "awm", "evotest")  # these ask a model after an episode
ROLES = {"reflexion": "reflect", "awm": "induce", "evotest": "evolve"}
SUITE = {"world": "locks:4", "attempts": 3, "episodes": None, "options": {"closed": True}}


def talker(messages: Sequence[Message]) -> Mapping[str, float]:
    """Return answer -> probability; what is said of an episode depends on all that is shown."""
    text = messages[-1].content
    mark = zlib.crc32(text.encode()) % 1000
    if "Write what went wrong" in text:
        return {f"Reflection {mark}: take the coin.": 1.0}
    if "Write the list anew" in text:
        return {f"1. Earn {mark}\ntake the coin": 1.0}
    if "Write the new configuration" in text:
        return {evolved(f"Prompt {mark}.", 0.5 + mark / 1000, ["corridor"]): 1.0}
    return player(messages)


def evolved(prompt: str, temperature: float, phrases: Sequence[str] = ()) -> str:
    """Return an answer of the evolver."""
    return json.dumps({"prompt": prompt, "temperature": temperature, "phrases": list(phrases)})


def talks(request: Request) -> str:
    """Say what the talker says; which of equals depends on the seed and on all that is shown."""
    answers = sorted(talker(request.messages))
    mark = zlib.crc32(request.messages[-1].content.encode())
    return answers[((request.seed or 0) + mark) % len(answers)]


def talking() -> ScriptedServer:
    """Return a server of the talker."""
    return ScriptedServer(Choosing(talker))


def play(
    path: Path,
    access: Access | None = None,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    **choices: object,
) -> Run:
    """Play a corridor of three rooms, with a model unless `access` is None, or what is left."""
    values: dict[str, object] = {"world": "corridor:3", "episodes": 3, "steps": 4}
    if access is not None:
        values |= {"model": MODEL, "scores": "stated"}
    wanted = Configuration(**(values | choices))  # type: ignore[arg-type]
    world = open_world(wanted)
    return run(wanted, path, world, resume=resume, listener=listener, access=access)


def told(requests: Sequence[Request]) -> dict[tuple[str, int | None, int | None], str]:
    """Return (role, episode, step) -> the prompt; of one that was asked again, the last."""
    return {
        (one.purpose.role, one.purpose.episode, one.purpose.t): one.messages[-1].content
        for one in requests
    }


def advice(requests: Sequence[Request], episode: int, t: int = 0) -> str:
    """Return what the model was told of earlier episodes at a step; "" for nothing."""
    prompt = told(requests)["act", episode, t]
    _, found, after = prompt.partition("From earlier episodes:\n")
    return after.split("\n\nThe beginning:")[0] if found else ""


def kept(path: Path) -> tuple[object, object]:
    """Return what a run has come to: its log, and the notes that hold."""
    return log_of(path), notes_of(read(path))
