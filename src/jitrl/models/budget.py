"""What a run may cost, and what it will cost at most."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from jitrl.checks import count, finite
from jitrl.errors import BudgetSpent, InvalidValue
from jitrl.models import Usage
from jitrl.models.ledger import Ledger, Total
from jitrl.models.prices import Prices

__all__ = ["Budget", "Estimate", "Load", "estimate", "tokens_of"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may use: dollars (> 0) and tokens, input and output (>= 1); None for no limit.

    Calls whose cost is unknown do not count against the dollars: `check_possible` refuses a model
    without a price beforehand.
    """

    dollars: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.dollars is not None and finite("--budget", self.dollars) <= 0:
            raise InvalidValue("--budget", self.dollars, "must be more than 0 dollars")
        if self.tokens is not None:
            count("--budget-tokens", self.tokens, least=1)

    def check_possible(self, prices: Prices, models: Iterable[str]) -> None:
        """Raise InvalidValue if dollars are limited and the price of a model is unknown."""
        for model in models if self.dollars is not None else ():
            if prices.price(model) is None:
                raise InvalidValue(
                    "--budget",
                    self.dollars,
                    f"needs the price of {model}, which is unknown: give it with --prices FILE, or "
                    "limit tokens with --budget-tokens",
                )

    def check(self, ledger: Ledger) -> None:
        """Raise BudgetSpent if as much as is allowed is spent, or more."""
        if told := self.told(ledger.total):
            option = "--budget-tokens" if told.endswith("tokens") else "--budget"
            raise BudgetSpent(f"{told}: go on with --resume and a larger {option}")

    def told(self, total: Total) -> str:
        """Say that a total is as much as is allowed, or more; "" where it is less."""
        if self.dollars is not None and total.known_dollars >= self.dollars:
            unknown = f", and {total.unpriced:,} calls of unknown cost" if total.unpriced else ""
            return f"budget spent: {_money(total.known_dollars)} of {_money(self.dollars)}{unknown}"
        if self.tokens is not None and total.tokens >= self.tokens:
            return f"budget spent: {total.tokens:,} of {self.tokens:,} tokens"
        return ""


@dataclass(frozen=True, slots=True)
class Load:
    """Calls of one kind that a run will make at most.

    calls          how many: for acting, episodes x steps x calls per step
    input, output  tokens of a typical one: see `tokens_of`; for the output, its max_tokens
    """

    model: str
    calls: int
    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run uses at most.

    usage     of all calls
    dollars   None where a price is unknown
    sources   where the prices are from
    unpriced  models without a price
    """

    usage: Usage
    dollars: float | None
    sources: tuple[str, ...]
    unpriced: tuple[str, ...]

    def __add__(self, other: Estimate) -> Estimate:
        known = self.dollars is not None and other.dollars is not None
        return Estimate(
            self.usage + other.usage,
            (self.dollars or 0.0) + (other.dollars or 0.0) if known else None,
            tuple(dict.fromkeys(self.sources + other.sources)),
            tuple(dict.fromkeys(self.unpriced + other.unpriced)),
        )

    def __str__(self) -> str:
        if self.dollars is None:
            cost = f"price of {', '.join(self.unpriced)} unknown (--prices FILE)"
        else:
            source = f" (prices: {', '.join(self.sources)})" if self.sources else ""
            cost = _money(self.dollars) + source
        used = self.usage
        return (
            f"about {used.calls:,} calls, {_many(used.input)} input and "
            f"{_many(used.output)} output tokens, {cost}"
        )


def estimate(loads: Iterable[Load], prices: Prices) -> Estimate:
    """Return what calls use and cost, with nothing cached. Nobody is asked."""
    used, dollars = Usage(), 0.0
    sources: dict[str, None] = {}
    unpriced: dict[str, None] = {}
    for load in loads:
        usage = Usage(load.calls, load.calls * load.input, 0, load.calls * load.output)
        used += usage
        price = prices.price(load.model)
        if price is not None:
            dollars += price.cost(usage)
            sources[price.source] = None
        elif load.calls:
            unpriced[load.model] = None
    return Estimate(used, None if unpriced else dollars, tuple(sources), tuple(unpriced))


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has: a quarter of its characters, rounded up."""
    return math.ceil(len(text) / 4)


def _money(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def _many(tokens: int) -> str:
    return f"{tokens / 1e6:,.1f} M" if tokens >= 100_000 else f"{tokens:,}"
