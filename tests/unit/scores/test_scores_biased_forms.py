"""A bias acts on one token of each label, though other tokens name it as well."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest

from jitrl.models import Capabilities, make
from jitrl.records import Modulation, Observation, Situation, State, Values
from jitrl.scores import Sampled
from jitrl.scores.biased import Biased
from jitrl.testing import ABLE, Choosing, ScriptedServer

SITUATION = Situation("Find it.", 0, 0, Observation(State(room="Hall"), "A hall.", ("go", "wait")))
POLICY = {"A": 0.2, " A": 0.5, "B": 0.3}


async def draw(url: str, known: Capabilities) -> Sampled:
    modulation = Modulation(
        SITUATION.observation.state,
        {"go": 1.0},
        otherwise=0.0,
        beta=1.0,
        kl_budget=None,
        temperature=1.0,
        values=Values(math.nan, {}),
        neighbours=(),
        abstained=False,
    )
    model = make("vllm/scripted", base_url=url)
    model.capabilities = known
    try:
        return await Biased(model).sample(SITUATION, modulation, np.random.default_rng(0))
    finally:
        await model.close()


@pytest.mark.parametrize("shown", ["before", "after"])
def test_only_the_tokens_that_were_biased_count(shown: str) -> None:
    known = replace(ABLE, bias_shown=shown)  # type: ignore[arg-type]
    with ScriptedServer(Choosing(lambda messages: POLICY), capabilities=known) as server:
        sampled = asyncio.run(draw(server.url, known))
    tilted = 0.2 * math.e
    assert sampled.before == pytest.approx({"go": 0.4, "wait": 0.6}, abs=1e-9)
    assert sampled.after["go"] == pytest.approx(tilted / (tilted + 0.3), abs=1e-9)
