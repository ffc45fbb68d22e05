"""The probe finds out what a server can do, whatever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jitrl.errors import ModelUnavailable, RequestRejected
from jitrl.models import Capabilities, Message, Request, make
from jitrl.models.probe import probe
from jitrl.testing import ABLE, Choosing, Fault, Fixed, ScriptedServer

LACKS: list[dict[str, Any]] = [
    {},
    {"bias_shown": "after"},
    {"top_logprobs": 5},
    {"top_logprobs": 1},
    {"logprobs": False, "top_logprobs": None, "bias_shown": None, "sequence": False},
    {"logit_bias": False, "bias_shown": None},
    {"schema": False},
    {"several": False},
    {"sequence": False},
    {"tokenize": False},
    {"tokenize": False, "bias_shown": "after"},
    {"tokenize": False, "logit_bias": False, "bias_shown": None},
]
NOTHING = Capabilities(
    logprobs=False, logit_bias=False, schema=False, several=False, sequence=False, tokenize=False
)


def obliging(messages: Sequence[Message]) -> dict[str, float]:
    """A model that says yes, and can be brought to say it in JSON."""
    return {"yes": 0.75, '{"word": "yes"}': 0.25}


def probing(server: ScriptedServer, **options: Any) -> Capabilities:
    async def run() -> Capabilities:
        model = make("openai/scripted", base_url=server.url, **options)
        try:
            return await probe(model)
        finally:
            await model.close()

    return asyncio.run(run())


@pytest.mark.parametrize("lacks", LACKS, ids=str)
def test_what_the_server_can_do_is_found_out(lacks: dict[str, Any]) -> None:
    capabilities = replace(ABLE, **lacks)
    with ScriptedServer(Choosing(obliging), capabilities=capabilities, seed=1) as server:
        assert probing(server) == capabilities


def test_a_server_that_can_do_nothing_is_no_failure() -> None:
    with ScriptedServer(Fixed(["yes"]), capabilities=NOTHING) as server:
        assert probing(server) == NOTHING


def test_a_bias_that_changes_nothing_but_the_chance_is_told_from_one_that_decides() -> None:
    brain = Choosing(lambda messages: {"yes": 0.25, "no": 0.25, "perhaps": 0.25, "well": 0.25})
    deaf = replace(ABLE, logit_bias=False)
    with ScriptedServer(brain, capabilities=deaf, seed=3) as server:
        assert probing(server).logit_bias is False


def test_what_cannot_be_told_is_unknown() -> None:
    class Silent:
        """Each token that is brought up reads as nothing, as a token of control does."""

        name, capabilities = "silent", Capabilities()

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def complete(self, request: Request) -> Any:
            reply = await self.inner.complete(request)
            if not request.logit_bias:
                return reply
            blank = tuple(replace(each, text="") for each in reply.completions)
            return replace(reply, completions=blank)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    async def run(url: str) -> Capabilities:
        model = make("openai/scripted", base_url=url)
        try:
            return await probe(Silent(model))
        finally:
            await model.close()

    with ScriptedServer(Choosing(obliging), seed=1) as server:
        found = asyncio.run(run(server.url))
    assert (found.logit_bias, found.bias_shown) == (None, None)


def test_a_schema_that_was_cut_is_unknown() -> None:
    brain = Choosing(lambda messages: {'{"word": "' + "y" * 3 + ' "' * 99: 1.0})
    with ScriptedServer(brain) as server:
        assert probing(server).schema is None


def test_it_is_cheap_and_says_what_it_is_for() -> None:
    with ScriptedServer(Choosing(obliging), seed=1) as server:
        probing(server)
        calls = [r for r in server.requests if r.path == "/v1/chat/completions"]
    assert len(calls) <= 12
    assert max(call.body["max_completion_tokens"] for call in calls) <= 64


def test_a_wrong_key_and_an_unknown_model_are_errors() -> None:
    with (
        ScriptedServer(Fixed(["yes"]), key="secret") as server,
        pytest.raises(RequestRejected, match="check the key"),
    ):
        probing(server)
    with (
        ScriptedServer(Fixed(["yes"]), models=("other",)) as server,
        pytest.raises(RequestRejected, match="check the model"),
    ):
        probing(server)


def test_a_server_that_goes_away_is_an_error_not_an_answer() -> None:
    with ScriptedServer(Fixed(["yes"])) as server:

        async def run() -> None:
            model = make("openai/scripted", base_url=server.url, retries=0)
            try:
                await model.complete(Request((Message("user", "hi"),), 4))
                server.faults.extend([Fault("status", 500)] * 20)
                await probe(model)
            finally:
                await model.close()

        with pytest.raises(ModelUnavailable):
            asyncio.run(run())
