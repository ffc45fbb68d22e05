"""Budgets stop a run at what was allowed; estimates say beforehand what it uses at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import BudgetSpent, InvalidValue
from jitrl.models import Purpose, Usage
from jitrl.models.budget import Budget, Load, estimate, tokens_of
from jitrl.models.ledger import Ledger
from jitrl.models.prices import Price, Prices

PRICES = Prices(
    {
        "openai/x": Price(0.4, 0.1, 1.6, "prices.toml"),
        "openai/long": Price(1.0, 1.0, 1.0, "other", ((99, Price(2.0, 2.0, 2.0, "other")),)),
    }
)


def spent(dollars: float | None, usage: Usage = Usage(calls=1)) -> Ledger:  # noqa: B008
    ledger = Ledger()
    ledger.add(Purpose(), "openai/x", usage, dollars)
    return ledger


def test_a_run_within_its_budget_goes_on():
    Budget().check(spent(1e9, Usage(1, 10**9)))
    Budget(dollars=1.0, tokens=100).check(spent(0.99, Usage(1, 90, 0, 9)))


def test_spent_dollars_are_told_with_what_to_do():
    with pytest.raises(BudgetSpent) as caught:
        Budget(dollars=1.0).check(spent(1.0))
    assert str(caught.value) == (
        "budget spent: $1.00 of $1.00: go on with --resume and a larger --budget"
    )


def test_calls_of_unknown_cost_are_told_of_when_the_rest_is_spent():
    ledger = spent(0.5)
    ledger.add(Purpose(), "openai/x", Usage(calls=2), None)
    Budget(dollars=0.6).check(ledger)
    with pytest.raises(BudgetSpent, match=r"\$0\.5000 of \$0\.2500, and 2 calls of unknown cost"):
        Budget(dollars=0.25).check(ledger)


def test_spent_tokens_are_input_and_output_together():
    with pytest.raises(BudgetSpent, match=r"1,010 of 1,000 tokens: .* --budget-tokens$"):
        Budget(tokens=1000).check(spent(None, Usage(1, 1000, 900, 10)))


@pytest.mark.parametrize("dollars", [0, -1, float("nan"), float("inf"), "1", True])
def test_dollars_must_be_a_positive_number(dollars):
    with pytest.raises(InvalidValue, match=r"^--budget must be"):
        Budget(dollars=dollars)


@pytest.mark.parametrize("tokens", [0, -1, 1.5, True])
def test_tokens_must_be_a_positive_integer(tokens):
    with pytest.raises(InvalidValue, match=r"^--budget-tokens must be"):
        Budget(tokens=tokens)


def test_dollars_cannot_be_limited_where_a_price_is_unknown():
    Budget(dollars=1.0).check_possible(PRICES, ["openai/x", "openai/long"])
    Budget(tokens=5).check_possible(PRICES, ["vllm/y"])
    with pytest.raises(InvalidValue, match=r"price of vllm/y, .* --prices FILE, .*-tokens"):
        Budget(dollars=1.0).check_possible(PRICES, ["openai/x", "vllm/y"])


def test_an_estimate_is_one_line():
    loads = [Load("openai/x", 1500, 600, 60), Load("openai/x", 60, 4000, 500)]
    assert str(estimate(loads, PRICES)) == (
        "about 1,560 calls, 1.1 M input and 0.1 M output tokens, $0.6480 (prices: prices.toml)"
    )


def test_an_estimate_without_a_price_says_which_is_missing():
    got = estimate([Load("openai/x", 5, 10, 10), Load("vllm/y", 2, 10, 20)], PRICES)
    assert (got.dollars, got.unpriced) == (None, ("vllm/y",))
    assert str(got) == (
        "about 7 calls, 70 input and 90 output tokens, price of vllm/y unknown (--prices FILE)"
    )


def test_calls_that_are_not_made_need_no_price():
    assert estimate([Load("vllm/y", 0, 10, 10)], PRICES).dollars == 0.0
    assert estimate([], PRICES).dollars == 0.0


@given(st.integers(0, 1000), st.integers(0, 200), st.integers(0, 200))
def test_an_estimate_is_what_the_same_calls_cost_one_by_one(calls, input, output):
    for model in ("openai/x", "openai/long"):
        got = estimate([Load(model, calls, input, output)], PRICES)
        one = PRICES.cost(model, Usage(1, input, 0, output))
        assert got.usage == Usage(calls, calls * input, 0, calls * output)
        assert got.dollars == pytest.approx(calls * one)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2)])
def test_a_token_is_taken_to_be_four_characters(text, tokens):
    assert tokens_of(text) == tokens
