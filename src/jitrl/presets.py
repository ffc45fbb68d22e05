"""The named settings, and how one of their values is overridden.

default       sound: log space, softmax, evidence-weighted advantages, abstention
web           the same on web pages: fields, threshold and discount
paper         the formulas of the paper, Jericho's constants
paper-web     the same formulas, WebArena's constants
released      the rules of the authors' Jericho code
released-web  the rules of the authors' WebArena code
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from jitrl.checks import LARGEST, count, text
from jitrl.errors import InvalidValue, UnknownName
from jitrl.estimators import Estimator, Shrunken
from jitrl.released import Released
from jitrl.similarity import Field
from jitrl.update import Paper


class Ramp(NamedTuple):
    """A value that moves in a straight line from `start` to `end` over the first `over` counts."""

    start: float
    end: float
    over: int

    def at(self, count: int) -> float:
        """Return the value at count 0, 1, 2 ...; `end` from count `over` on."""
        return self.start + (self.end - self.start) * min(count / self.over, 1.0)


def at(value: float | Ramp, count: int) -> float:
    """Return the value at count 0, 1, 2 ..., whether it moves or not."""
    return value.at(count) if isinstance(value, Ramp) else value


@dataclass(frozen=True)
class Preset:
    """Every hyper-parameter of a learner; each can be overridden by its name.

    name         of the preset it comes from
    estimator    how advantages are estimated; its own settings are overridden by name as well
    rule         "exact": softmax of (z + beta A) / T, sampled (Eqs. 8-12);
                 "greedy-sum": the largest p + beta A, as released
    beta         >= 0: step size; a Ramp moves with the number of the episode
    kl_budget    nats >= 0, the most that advantages may move one decision, remembered actions
                 having joined (join_limit=0 keeps those out); None for no limit
    temperature  T > 0
    gamma        in [0, 1]: discount of the returns (Eq. 3)
    zero_future  "counts" as 0 (Eq. 3), or "repeats" the step's own reward, as released
    fields       how states are compared
    threshold    in [0, 1]: least similarity of a neighbour; a Ramp moves with the step
    k            >= 1: how many neighbours at most; None for all above the threshold
    k_counts     "states": every step of k distinct states is evidence; "steps": k steps
    keep_above   every neighbour at least this similar is kept, beyond k as well; None for none
    per_action   >= 1: of one state at most so many steps of each action are kept, the newest;
                 bounds the evidence of a state that is visited thousands of times; None for all
    source_share in (0, 1]: the most that one source (`jitrl.trust.source_of`) may weigh among the
                 neighbours that took an action; None for no bound
    join         base log-probability of a remembered action that nobody scored: "never" (it stays
                 out), "lowest" (the lowest among the proposals), "zero" (probability 0), or
                 "zero-if-positive" (so, if its mean return is positive)
    join_limit   at most so many remembered actions join, the best first; None for no limit
    join_share   in (0, 1]: an action joins, best first, if those that joined then hold together at
                 most this share of the base policy
    """

    name: str
    estimator: Estimator
    fields: tuple[Field, ...]
    rule: Literal["exact", "greedy-sum"] = "exact"
    beta: float | Ramp = 1.0
    kl_budget: float | None = None
    temperature: float = 1.0
    gamma: float = 0.5
    zero_future: Literal["counts", "repeats"] = "counts"
    threshold: float | Ramp = 0.0
    k: int | None = 10
    k_counts: Literal["states", "steps"] = "steps"
    keep_above: float | None = None
    per_action: int | None = None
    source_share: float | None = None
    join: Literal["never", "lowest", "zero", "zero-if-positive"] = "never"
    join_limit: int | None = None
    join_share: float = 1.0


_GAME = (Field("room", 0.7, n=4), Field("inventory", 0.1), Field("history", 0.2))
_PAPER_GAME = (Field("room", 0.75, n=4), Field("inventory", 0.08), Field("history", 0.17))
_WEB = (
    Field("url", 0.0, exact=True),
    Field("history", 0.7, multiset=False),
    Field("task", 0.3, multiset=False, minimum=math.nextafter(0.27, 1.0)),
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="default",
            estimator=Shrunken(),
            fields=_GAME,
            beta=10.0,
            threshold=0.95,
            k_counts="states",
            per_action=50,
            join_limit=3,
            join_share=0.75,
        ),
        Preset(
            name="paper",
            estimator=Paper(),
            fields=_PAPER_GAME,
            temperature=0.8,
            threshold=Ramp(0.95, 0.85, 20),
            join="lowest",
        ),
        Preset(
            name="released",
            estimator=Released(),
            fields=_GAME,
            rule="greedy-sum",
            beta=Ramp(1.0, 1.5, 50),
            zero_future="repeats",
            threshold=Ramp(0.95, 0.85, 20),
            keep_above=math.nextafter(0.98, 1.0),
            join="zero-if-positive",
        ),
        Preset(
            name="web",
            estimator=Shrunken(),
            fields=_WEB,
            beta=10.0,
            gamma=0.9,
            threshold=0.8,
            k_counts="states",
            per_action=50,
            join_limit=3,
            join_share=0.75,
        ),
        Preset(
            name="paper-web",
            estimator=Paper(explore=0.05),
            fields=_WEB,
            temperature=0.8,
            gamma=0.1,
            threshold=Ramp(0.8, 0.7, 20),
            join="lowest",
        ),
        Preset(
            name="released-web",
            estimator=Released(explore=0.05),
            fields=_WEB,
            rule="greedy-sum",
            gamma=0.1,
            zero_future="repeats",
            threshold=Ramp(0.8, 0.7, 20),
            k=None,
            join="zero",
        ),
    )
}


def preset(name: str | Preset, /, **overrides: object) -> Preset:
    """Return a preset with some of its hyper-parameters, or its estimator's, overridden by name.

    Raises UnknownName for a preset or hyper-parameter that does not exist, InvalidValue for a value
    out of range.

    >>> preset("paper", beta=5.0, alpha=1.0).estimator
    Paper(explore=0.65, alpha=1.0)
    """
    base = name if isinstance(name, Preset) else None
    if isinstance(name, str):
        base = PRESETS.get(name)
    if base is None:
        raise UnknownName("preset", name, sorted(PRESETS))
    given = {key: _plain(value) for key, value in overrides.items()}
    estimator: Any = given.pop("estimator", base.estimator)
    if isinstance(estimator, type) or not (is_dataclass(estimator) and callable(estimator)):
        raise InvalidValue("estimator", estimator, "must be an estimator, such as Shrunken()")
    ours = {field.name for field in fields(Preset)} - {"name", "estimator"}
    theirs = {field.name for field in fields(estimator)}
    for key in given:
        if key not in ours | theirs:
            raise UnknownName(f"hyper-parameter of {base.name}", key, sorted(ours | theirs))
    if "fields" in given:
        given["fields"] = _field_tuple(given["fields"])
    chosen: dict[str, Any] = {key: given[key] for key in given.keys() & ours}
    tuned: dict[str, Any] = {key: given[key] for key in given.keys() & theirs}
    chosen["estimator"] = replace(estimator, **tuned)  # type: ignore[type-var]
    return _checked(replace(base, **chosen))


def _plain(value: object) -> object:
    """Return numpy's scalars as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _field_tuple(given: object) -> tuple[Field, ...]:
    rule = "must be a sequence of jitrl.Field, each of another name"
    if not isinstance(given, list | tuple) or not all(isinstance(f, Field) for f in given):
        raise InvalidValue("fields", given, rule)
    names = [text("name of a field", field.name) for field in given]
    if len(set(names)) < len(names):
        raise InvalidValue("fields", names, rule)
    return tuple(given)


def describe(chosen: Preset) -> dict[str, object]:
    """Return every hyper-parameter as JSON values, to be kept with what was learned under it."""
    settings = asdict(chosen)
    settings["estimator"]["name"] = type(chosen.estimator).__name__
    return settings


_LIMITS: dict[str, tuple[float, float, str]] = {
    "beta": (0.0, LARGEST, "must be a finite number >= 0"),
    "kl_budget": (0.0, LARGEST, "must be a finite number of nats >= 0, or None"),
    "temperature": (math.ulp(0.0), LARGEST, "must be a finite number > 0"),
    "gamma": (0.0, 1.0, "must lie in [0, 1]"),
    "threshold": (0.0, 1.0, "must lie in [0, 1]"),
    "keep_above": (0.0, 1.0, "must lie in [0, 1], or be None"),
    "source_share": (math.ulp(0.0), 1.0, "must lie in (0, 1], or be None"),
    "join_share": (math.ulp(0.0), 1.0, "must lie in (0, 1]"),
    "explore": (0.0, 1.0, "must lie in [0, 1]"),
    "alpha": (0.0, LARGEST, "must be a finite number >= 0"),
    "pseudo_count": (math.ulp(0.0), LARGEST, "must be a finite number > 0"),
    "bonus": (0.0, LARGEST, "must be a finite number >= 0"),
    "weight": (0.0, LARGEST, "must be a finite number >= 0"),
    "minimum": (0.0, 1.0, "must lie in [0, 1], or be None"),
}
_COUNTS = {"k": 1, "per_action": 1, "join_limit": 0, "min_evidence": 1, "n": 1, "over": 1}
_OPTIONAL = {
    "kl_budget",
    "keep_above",
    "source_share",
    "k",
    "per_action",
    "join_limit",
    "explore",
    "minimum",
}
_RAMPS = {"beta", "threshold"}
_CHOICES: dict[str, tuple[object, ...]] = {
    "rule": ("exact", "greedy-sum"),
    "zero_future": ("counts", "repeats"),
    "k_counts": ("states", "steps"),
    "join": ("never", "lowest", "zero", "zero-if-positive"),
    "multiset": (True, False),
    "exact": (True, False),
}


def _checked(chosen: Preset) -> Preset:
    """Return the preset, or raise InvalidValue for the first value that is out of range."""
    estimator: Any = chosen.estimator
    for settings in (chosen, estimator, *chosen.fields):
        for field in fields(settings):
            _check(field.name, getattr(settings, field.name))
    if chosen.rule == "greedy-sum" and chosen.kl_budget is not None:
        raise InvalidValue("kl_budget", chosen.kl_budget, "has no meaning for a greedy rule: None")
    return chosen


def _check(name: str, value: object) -> None:
    if isinstance(value, Ramp) and name in _RAMPS:
        _check("over", value.over)
        for end in (value.start, value.end):
            _check(name, end)
    elif value is None and name in _OPTIONAL:
        return
    elif name in _LIMITS:
        low, high, rule = _LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValue(name, value, rule)
        if not low <= value <= high:
            raise InvalidValue(name, value, rule)
    elif name in _COUNTS:
        count(name, value, least=_COUNTS[name])
    elif name in _CHOICES and value not in _CHOICES[name]:
        raise InvalidValue(name, value, f"must be one of {_CHOICES[name]}")
