"""What the tests of score sources share: situations, modulations, a model behind a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from jitrl.models import Capabilities, Completion, Model, Token, make
from jitrl.records import Modulation, Observation, Situation, State, Turn, Values
from jitrl.testing import Choosing, ScriptedServer

T = TypeVar("T")
ACTIONS = ("go north", "go south", "take lamp", "wait")
HALL = Observation(State(room="Hall", inventory="a lamp"), "A quiet hall.", ACTIONS)
ABLE_MODEL = Capabilities(
    logprobs=True,
    logit_bias=True,
    bias_shown="before",
    schema=False,
    several=True,
    sequence=True,
    tokenize=True,
)


def situation(actions=ACTIONS, remembered=(), turns=0) -> Situation:
    """A situation after so many steps of waiting."""
    here = replace(HALL, actions=tuple(actions), score=float(turns))
    past = tuple(Turn(HALL, "wait", replace(HALL, reward=1.0)) for _ in range(turns))
    return Situation("a small test", 2, turns, here, past, tuple(remembered))


def modulation(advantages: Mapping[str, float], beta=1.0, **changes: Any) -> Modulation:
    """What a memory that knows these actions adds."""
    given = Modulation(
        state=HALL.state,
        advantages=dict(advantages),
        otherwise=0.0,
        beta=beta,
        kl_budget=None,
        temperature=1.0,
        values=Values(0.0, {}),
        neighbours=(),
        abstained=False,
    )
    return replace(given, **changes)


def closed_form(before: Mapping[str, float], A: Mapping[str, float], beta: float, T: float = 1.0):
    """pi exp(beta A) / Z with pi = before^(1/T) / Z', written without any code of ours."""
    tilted = {a: p ** (1 / T) * np.exp(beta * A.get(a, 0.0) / T) for a, p in before.items()}
    total = sum(tilted.values())
    return {a: float(weight / total) for a, weight in tilted.items()}


def propose(source, where=None, seed=0):
    """The scores of a source."""
    return asyncio.run(source.propose(where or situation(), np.random.default_rng(seed)))


def served(
    policy: Mapping[str, float] | Any,
    use: Callable[[Model, ScriptedServer], Awaitable[T]],
    *,
    tokens: Any = None,
    known: Mapping[str, Any] | None = None,
    **server: Any,
) -> T:
    """What `use(model, server)` returns, with a model that a server of this policy serves.

    policy  answer -> probability, or a brain; known: capabilities that a probe would have found
    """
    brain = policy
    if isinstance(policy, Mapping):
        extra = {} if tokens is None else {"tokens": tokens}
        brain = Choosing(lambda messages: policy, **extra)

    async def run() -> T:
        with ScriptedServer(brain, **server) as running:
            model = make("openai/scripted", base_url=running.url, retries=0)
            model.capabilities = replace(model.capabilities, **(known or {}))
            try:
                return await use(model, running)
            finally:
                await model.close()

    return asyncio.run(run())


def answer(choice: str, *named: str | tuple[str, float], **more: Any) -> str:
    """An answer to the agent prompt; candidates by label, with a confidence where it matters."""
    listed = [pair if isinstance(pair, tuple) else (pair, 50) for pair in named or (choice,)]
    candidates = [{"label": a, "reason": f"{a} helps", "confidence": sure} for a, sure in listed]
    return json.dumps({"candidates": candidates, "choice": choice, **more})


def completion(tokens, tops: Mapping[int, Mapping[str, float]] | None = None) -> Completion:
    """A completion of these tokens; `tops` gives place -> alternatives."""
    made = tuple(
        Token(text, -0.1, {text: -0.1, **(tops or {}).get(place, {})})
        for place, text in enumerate(tokens)
    )
    return Completion("".join(tokens), tokens=made)
