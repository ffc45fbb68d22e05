"""A language model that plays the corridor, for tests of runs: what it says is known exactly.

It answers each of the package's prompts. Base policy: all valid actions alike. As a judge it gives
5 for a coin and -1 for anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.bench.language import Access
from jitrl.bench.runner import open_world, run
from jitrl.errors import ModelUnavailable
from jitrl.models import Completion, Message, Reply, Request
from jitrl.models.ledger import Ledger
from jitrl.models.scripted import ScriptedModel
from jitrl.testing import Choosing, ScriptedServer

MODEL = "openai/scripted"


def player(messages: Sequence[Message]) -> Mapping[str, float]:
    """Return answer -> probability, to whichever prompt it is."""
    text = messages[-1].content
    if "Score these steps:" in text:
        return {judged(text): 1.0}
    if "Write the log of this episode" in text:
        return {f"After {text.count('> ')} actions nothing is carried.": 1.0}
    if "Reply with JSON alone" in text:
        return {
            named(labels, choice): 1 / len(labels)
            for labels in [listed(text)[:3]]
            for choice in labels
        }
    if "possible now" not in text:
        return {"yes": 0.75, '{"word": "yes"}': 0.25}  # as a server does that is probed
    answers = listed(text) or text.split("possible now:\n")[1].split("\n\n")[0].split("\n")
    return {answer: 1 / len(answers) for answer in answers}


def listed(text: str) -> list[str]:
    """Return the labels in a prompt."""
    return re.findall(r"^([A-Za-z]{1,2}): ", text.split("each behind its label:")[-1], re.M)


def named(labels: Sequence[str], choice: str) -> str:
    """Return an answer to the agent prompt."""
    entries = [{"label": label, "reason": "why not", "confidence": 50} for label in labels]
    return json.dumps({"candidates": entries, "choice": choice})


def judged(text: str) -> str:
    """Return a judge's answer."""
    lines = text.split("<episode>\n")[1].split("\n</episode>")[0].splitlines()
    steps = {step["step"]: step["action"] for step in map(json.loads, lines) if "step" in step}
    asked = [int(t) for t in text.split("Score these steps: ")[1].split(",")]
    scores = [{"step": t, "why": "so", "score": worth(steps[t])} for t in asked]
    return json.dumps({"scores": scores})


def worth(action: str) -> float:
    """Return the judge's score of an action."""
    return 5.0 if action == "take the coin" else -1.0


def serving(**choices: object) -> ScriptedServer:
    """Return a server of the player."""
    return ScriptedServer(Choosing(player), **choices)  # type: ignore[arg-type]


def asked(server: ScriptedServer) -> int:
    """Return how many calls a server got: asking for tokens is none."""
    return sum(request.path != "/tokenize" for request in server.requests)


Say = Callable[[Request], str | Completion | Reply]


class Opener:
    """Opens scripted models under any name, and counts them."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.opened: list[ScriptedModel] = []

    def __call__(self, name: str, **options: object) -> ScriptedModel:
        self.opened.append(ScriptedModel(self.say, name=name))
        return self.opened[-1]

    @property
    def requests(self) -> list[Request]:
        """All requests so far, of all the models."""
        return [request for model in self.opened for request in model.requests]


def says(request: Request) -> str:
    """Say what the player says, the likeliest of equals by the request's seed."""
    answers = sorted(player(request.messages))
    return answers[(request.seed or 0) % len(answers)]


def silent_judge(request: Request) -> str:
    """Say what the player says, and nothing as the judge."""
    if request.purpose.role == "judge":
        raise ModelUnavailable("the judge is away: call again")
    return says(request)


def corridor(path: Path, access: Access, *, resume: bool = False, **choices: object) -> Run:
    """Play a corridor of three rooms with a model, or what is left of it."""
    values = {
        "world": "corridor:3",
        "episodes": 2,
        "steps": 6,
        "model": MODEL,
        "scores": "stated",
        **choices,
    }
    configuration = Configuration(**values)  # type: ignore[arg-type]
    world = open_world(configuration)
    return run(configuration, path, world, resume=resume, access=access)


def ledger_of(path: Path) -> Ledger:
    """Return what a run has counted."""
    return Ledger.read(path / "calls.jsonl")
