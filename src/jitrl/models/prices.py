"""What a call costs, in dollars: the table of `genai-prices`, and over it the user's own.

The user's table is a TOML file. Prices are dollars per million tokens; without `cached`, cached
input costs what input costs.

    ["openai/gpt-4.1-mini"]
    input = 0.40
    cached = 0.10
    output = 1.60

A price that nobody knows is None, never zero. What runs on one's own machine has none, unless the
user's table names it (0 is a price). Nothing here asks the network.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from jitrl.checks import finite
from jitrl.errors import InvalidValue
from jitrl.models import Usage

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import TieredPrices

__all__ = ["Price", "Prices"]

_PROVIDERS = {
    "openai": "openai",
    "openrouter": "openrouter",
    "gemini": "google",
    "anthropic": "anthropic",
}
"""Back end -> provider of genai-prices."""
_KEYS = ("input", "cached", "output")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens of input, of input that was cached, and of output.

    source  where it is from
    above   (input tokens, price): a call with more input than that is paid so as a whole
    """

    input: float
    cached: float
    output: float
    source: str
    above: tuple[tuple[int, Price], ...] = ()

    def cost(self, usage: Usage) -> float:
        """Return dollars. Several calls are taken to be of one length."""
        price = self
        for least, dearer in self.above:
            if usage.input > least * max(usage.calls, 1):
                price = dearer
        fresh = max(usage.input - usage.cached, 0)
        dollars = fresh * price.input + usage.cached * price.cached + usage.output * price.output
        return dollars / 1e6


class Prices:
    """Prices by the names of models: "openai/gpt-4.1-mini".

    table   the user's prices, which come first
    when    the moment whose prices are wanted; None for now
    listed  look other models up in the offline list
    """

    def __init__(
        self,
        table: dict[str, Price] | None = None,
        when: datetime | None = None,
        *,
        listed: bool = True,
    ) -> None:
        self._own = dict(table or {})
        self._table = dict(self._own)
        self._when = when or datetime.now(UTC)
        self._listed = listed

    @classmethod
    def load(cls, path: Path | None = None, when: datetime | None = None) -> Self:
        """Return the prices, with those of a TOML file first.

        Raises InvalidValue where the file cannot be read or says something else than prices.
        """
        return cls(None if path is None else _read(path), when)

    def own(self) -> Prices:
        """Return the user's prices alone: another server's model may bear a listed name."""
        return Prices(self._own, self._when, listed=False)

    def price(self, model: str) -> Price | None:
        """Return the price of a model's tokens; None where it is unknown."""
        if model not in self._table:
            backend, _, name = model.partition("/")
            found = None
            if self._listed and backend in _PROVIDERS:
                found = _known(_PROVIDERS[backend], name, self._when)
            if found is None:
                return None
            self._table[model] = found
        return self._table[model]

    def cost(self, model: str, usage: Usage) -> float | None:
        """Return the dollars of what was used; None where the price is unknown."""
        price = self.price(model)
        return None if price is None else price.cost(usage)


def _read(path: Path) -> dict[str, Price]:
    try:
        got = tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError) as error:  # of TOML and of UTF-8 are ValueErrors
        raise InvalidValue("prices", str(path), f"must be a TOML file ({error})") from error
    return {model: _entry(model, values, str(path)) for model, values in got.items()}


def _entry(model: str, values: object, source: str) -> Price:
    name = f"prices: {model}"
    if "/" not in model or not isinstance(values, dict):
        raise InvalidValue(name, values, 'must be a table ["backend/model"], with these quotes')
    for key in values:
        if key not in _KEYS:
            raise InvalidValue(name, key, f"has an unknown key: the keys are {', '.join(_KEYS)}")
    for key in ("input", "output"):
        if key not in values:
            raise InvalidValue(name, values, f"needs {key}: dollars per million tokens")
    fresh, output = (_dollars(f"{name}: {key}", values[key]) for key in ("input", "output"))
    cached = _dollars(f"{name}: cached", values["cached"]) if "cached" in values else fresh
    return Price(fresh, cached, output, source)


def _dollars(name: str, value: object) -> float:
    dollars = finite(name, value, largest=1e9)
    if dollars < 0:
        raise InvalidValue(name, value, "must be at least 0")
    return dollars


@cache
def _snapshot() -> tuple[DataSnapshot, str] | None:
    """Return the table that comes with genai-prices, and its version; None if not installed.

    It is a table of our own: nobody's updater, which would ask the network, can change it.
    """
    try:
        from genai_prices import __version__
        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot
    except ImportError:
        return None
    return DataSnapshot(providers, from_auto_update=False), f"genai-prices {__version__}"


def _known(provider: str, name: str, when: datetime) -> Price | None:
    """Return the price that genai-prices has, if it has one for input and for output."""
    found = _snapshot()
    if found is None:
        return None
    snapshot, source = found
    try:
        _, model = snapshot.find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    held = model.get_prices(when)
    if held.input_mtok is None or held.output_mtok is None:
        return None
    cached = held.input_mtok if held.cache_read_mtok is None else held.cache_read_mtok
    rates = (held.input_mtok, cached, held.output_mtok)

    def beyond(start: int) -> tuple[float, float, float]:
        return _rate(rates[0], start), _rate(rates[1], start), _rate(rates[2], start)

    starts = sorted({start for rate in rates for start, _ in _tiers(rate)})
    above = tuple((start, Price(*beyond(start), source)) for start in starts)
    return Price(*beyond(-1), source, above)


def _rate(rate: Decimal | TieredPrices, start: int) -> float:
    """Return the rate for more input tokens than `start`."""
    tiers = [dollars for begin, dollars in _tiers(rate) if begin <= start]
    return tiers[-1] if tiers else float(getattr(rate, "base", rate))  # type: ignore[arg-type]


def _tiers(rate: Decimal | TieredPrices) -> list[tuple[int, float]]:
    """Return (input tokens, rate beyond them), in order; none where the rate is always the same."""
    return [(tier.start, float(tier.price)) for tier in getattr(rate, "tiers", ())]
