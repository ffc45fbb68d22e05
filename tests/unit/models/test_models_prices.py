"""Prices: the user's table first, then genai-prices, and unknown is never zero."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from genai_prices import calc_price
from genai_prices import types as genai
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import InvalidValue
from jitrl.models import Usage
from jitrl.models import prices as module
from jitrl.models.prices import Price, Prices

TABLE = """
["openai/gpt-4.1-mini"]
input = 4
cached = 1.5
output = 16.0

["vllm/mine"]
input = 0
output = 0
"""
WHEN = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOSTED = {
    "openai": "openai",
    "openrouter": "openrouter",
    "google": "gemini",
    "anthropic": "anthropic",
}
NAMES = [
    (provider.id, model.id)
    for provider in providers
    if provider.id in HOSTED
    for model in provider.models
    if provider.find_model(model.id)  # a few match nothing, not even themselves
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(TABLE)
    return path


def test_the_users_table_comes_first(table):
    price = Prices.load(table).price("openai/gpt-4.1-mini")
    assert price == Price(4.0, 1.5, 16.0, str(table))


def test_zero_is_a_price_and_unknown_is_none(table):
    prices = Prices.load(table)
    used = Usage(1, 1000, 0, 10)
    assert prices.cost("vllm/mine", used) == 0.0
    assert prices.cost("vllm/other", used) is None
    assert prices.price("vllm/other") is None


@pytest.mark.parametrize("backend", ["transformers", "vllm", "llamacpp", "ollama", "scripted"])
def test_a_local_model_has_no_price_although_a_hosted_one_of_its_name_has(backend):
    assert Prices().price("openai/gpt-4.1-mini") is not None
    assert Prices().price(f"{backend}/gpt-4.1-mini") is None


@pytest.mark.parametrize("name", ["openai/no-such-model", "openai/", "openai", "", "else/gpt-4.1"])
def test_a_name_that_nobody_knows_has_no_price(name):
    assert Prices().price(name) is None


def test_input_that_was_cached_is_not_paid_twice():
    price = Price(input=2.0, cached=0.5, output=8.0, source="test")
    assert price.cost(Usage(1, 1_000_000, 400_000, 100_000)) == pytest.approx(1.2 + 0.2 + 0.8)


def test_without_a_price_of_its_own_cached_input_costs_what_input_costs(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('["openai/x"]\ninput = 3\noutput = 5\n')
    assert Prices.load(path).price("openai/x") == Price(3.0, 3.0, 5.0, str(path))


def test_a_call_longer_than_a_step_of_the_price_is_paid_at_that_step():
    price = Price(1.0, 1.0, 1.0, "test", above=((10, Price(2.0, 2.0, 2.0, "test")),))
    assert price.cost(Usage(1, 10)) == 10e-6
    assert price.cost(Usage(1, 11)) == 22e-6
    assert price.cost(Usage(2, 20)) == 20e-6  # two calls of 10


@given(
    st.sampled_from(NAMES),
    st.integers(0, 500_000),
    st.floats(0, 1),
    st.integers(0, 50_000),
)
def test_what_is_known_costs_what_genai_prices_says(name, input, share, output):
    provider, model = name
    usage = Usage(1, input, int(input * share), output)
    dollars = Prices(when=WHEN).cost(f"{HOSTED[provider]}/{model}", usage)
    theirs = calc_price(
        genai.Usage(input_tokens=input, cache_read_tokens=usage.cached, output_tokens=output),
        model,
        provider_id=provider,
        genai_request_timestamp=WHEN,
    )
    prices = theirs.model_price
    if prices.input_mtok is None or prices.output_mtok is None:
        assert dollars is None
    else:
        assert dollars == pytest.approx(float(theirs.total_price), rel=1e-9, abs=1e-15)


def test_without_genai_prices_the_users_table_still_works(monkeypatch, table):
    module._snapshot.cache_clear()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "genai_prices", None)
        prices = Prices.load(table)
        assert prices.price("openai/gpt-4.1-mini").input == 4.0
        assert prices.price("openai/gpt-4.1") is None
    module._snapshot.cache_clear()


def test_no_price_asks_the_network_or_starts_a_thread():
    watched = """
import sys, threading
asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)
from jitrl.models.prices import Prices
assert Prices.load().price("openai/gpt-4.1-mini") and Prices.load().price("openai/nope") is None
assert [t.name for t in threading.enumerate()] == ["MainThread"]
assert not {"socket.connect", "socket.getaddrinfo", "socket.bind"} & set(asked), asked
"""
    subprocess.run([sys.executable, "-c", watched], check=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[openai/x]\ninput = 1\noutput = 1\n", "must be a TOML file"),
        ("[gpt-4]\ninput = 1\noutput = 1\n", "prices: gpt-4 must be a table"),
        ('"openai/x" = 3\n', "prices: openai/x must be a table"),
        (
            '["openai/x"]\nimput = 1\noutput = 1\n',
            "unknown key: the keys are input, cached, output",
        ),
        ('["openai/x"]\ninput = 1\n', "prices: openai/x needs output"),
        ('["openai/x"]\ninput = -1\noutput = 1\n', "prices: openai/x: input must be at least 0"),
        ('["openai/x"]\ninput = "1"\noutput = 1\n', "prices: openai/x: input must be a finite"),
        ('["openai/x"]\ninput = nan\noutput = 1\n', "prices: openai/x: input must be a finite"),
        ('["openai/x"]\ninput = 1\noutput = true\n', "prices: openai/x: output must be a finite"),
        ('["openai/x"]\ninput = 1\ncached=[]\noutput = 1\n', "cached must be a finite"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "prices.toml"
    path.write_text(content)
    with pytest.raises(InvalidValue) as caught:
        Prices.load(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_table_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "prices.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidValue, match=r"prices must be a TOML file"):
        Prices.load(path)
