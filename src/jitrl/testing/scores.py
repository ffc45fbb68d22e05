"""The conformance kit of score sources: `check_scores(lambda: Stated(model))`."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from jitrl.errors import InvalidValue
from jitrl.records import (
    ActionValue,
    Candidate,
    Guarantee,
    Modulation,
    Observation,
    Scores,
    Situation,
    State,
    Turn,
    Values,
)
from jitrl.scores import Sampled, Sampler, ScoreSource
from jitrl.seeds import generator
from jitrl.testing.pages import Page

__all__ = ["check_scores"]

_ACTIONS = ("go north", "go south", "take the key", "wait")
_NOWHERE = "polish the seventh moon"  # remembered, and possible in no situation of this kit
_PAGE = Page({"7": ("button", "Send"), "12": ("textbox", "Name"), "31": ("link", "Help")})
_UNLISTED = 'fill(textbox("Name"), "hello")'  # possible on that page
_EPS = 1e-6  # of probabilities
_LEAST, _RATIO_EPS = 1e-3, 1e-3  # of their logarithms, from so much on: models are float32


def check_scores(
    make: Callable[[], ScoreSource | Sampler],
    *,
    actions: Sequence[str] = _ACTIONS,
    repeatable: bool = True,
    seed: int = 1,
    close: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Ask `make()` about a few invented situations, and check that it keeps the contract.

    actions     at least two, that the situations offer: those which the model behind it can answer
    repeatable  the model answers equal requests alike: then equal generators must give equal
                scores, of two sources, and what is remembered must not change the candidates,
                unless the world reads more than it lists: there it is listed
    seed        of the generators
    close       awaited at the end in the same event loop, whatever the outcome: `model.close`

    A `Sampler` is given modulations with the actions known or unknown, with and without a budget,
    and must keep to the closed form. A `ScoreSource` is also asked on a page that reads more
    actions than it lists (`jitrl.testing.pages`). What no reply shows, such as what stands in a
    prompt, is not checked. Raises AssertionError that names what is violated, InvalidValue for a
    wrong argument, and whatever the source itself raises.
    """
    if len(actions) < 2 or len(set(actions)) < len(actions) or _NOWHERE in actions:
        raise InvalidValue("actions", actions, "must be at least two, all different")
    asyncio.run(_check(make, tuple(actions), repeatable, seed, close))


async def _check(
    make: Callable[[], ScoreSource | Sampler],
    actions: tuple[str, ...],
    repeatable: bool,
    seed: int,
    close: Callable[[], Awaitable[object]] | None,
) -> None:
    try:
        situations = [*_situations(actions), _on_a_page()]
        if isinstance(make(), Sampler):
            situations.pop()  # what it draws on a page, nobody has read
        for number, situation in enumerate(situations):
            source, twin = make(), make()
            rngs = [generator(seed, number, "check_scores") for _ in range(3)]
            page = "" if situation.observation.reader is None else "on a page "
            many = len(situation.observation.actions)
            where = f"{page}with {len(situation.turns)} steps and {many} "
            if isinstance(source, Sampler):
                other = twin if repeatable and isinstance(twin, Sampler) else None
                await _check_sampler(source, other, situation, rngs, f"sample, {where}actions")
            else:
                other_source = None if isinstance(twin, Sampler) or not repeatable else twin
                await _check_source(
                    source, other_source, situation, rngs, f"propose, {where}actions"
                )
    finally:
        if close is not None:
            await close()


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _situations(actions: tuple[str, ...]) -> list[Situation]:
    """Return a beginning, a later step, a step with two actions, one with a single action."""
    result = []
    for number, offered in enumerate([actions, actions, actions[:2], actions[-1:]]):
        seen = [
            Observation(
                State(room=f"Chamber {t}", inventory="a cup" if t else "nothing"),
                f"You are in chamber {t}. It is quiet.",
                offered if t == number else actions,
                reward=float(t == 1),
                score=float(t > 0),
            )
            for t in range(number + 1)
        ]
        turns = tuple(
            Turn(before, actions[t % len(actions)], after)
            for t, (before, after) in enumerate(itertools.pairwise(seen))
        )
        remembered = (actions[-1], _NOWHERE, actions[0])
        result.append(Situation("a small test", number, number, seen[-1], turns, remembered))
    return result


def _on_a_page() -> Situation:
    """Return the second step on a page; what failed in the first was remembered from elsewhere."""
    state = State(url="/form", history="", task='Write "hello" into the form and send it.')
    first = Observation(state, _PAGE.text, _PAGE.clicks, reader=_PAGE)
    failed = 'click(button("Cancel"))'
    now = replace(first, reason="There is no button of that name.")
    remembered = (failed, _UNLISTED, _PAGE.clicks[-1], _NOWHERE)
    return Situation("a form", 4, 1, now, (Turn(first, failed, now),), remembered)


def _executable(situation: Situation, action: str) -> bool:
    reader = situation.observation.reader
    listed = action in situation.observation.actions
    return listed or (reader is not None and reader.executable(action))


# --- sources ----------------------------------------------------------------------------------


async def _check_source(
    source: ScoreSource,
    twin: ScoreSource | None,
    situation: Situation,
    rngs: Sequence[np.random.Generator],
    where: str,
) -> None:
    scores = await source.propose(situation, rngs[0])
    _check_scores(scores, situation, where)
    if twin is not None:
        again = await twin.propose(situation, rngs[1])
        _require(
            repr(again) == repr(scores),  # nan is equal to itself there
            f"{where}: equal generators must give equal scores, they give {scores!r} and {again!r}",
        )
    empty = replace(situation, remembered=())
    unaided = await (twin or source).propose(empty, rngs[2])
    _check_scores(unaided, empty, f"{where}, nothing remembered")
    if twin is not None and situation.observation.reader is None:
        _require(
            unaided.candidates == scores.candidates,
            f"{where}: what is remembered must not change the candidates, they are "
            f"{scores.candidates!r} with it and {unaided.candidates!r} without",
        )


def _check_scores(scores: Scores, situation: Situation, where: str) -> None:
    _require(isinstance(scores, Scores), f"{where} must return Scores, it returned {scores!r}")
    _require(
        isinstance(scores.candidates, tuple) and bool(scores.candidates),
        f"{where}: candidates must be a tuple of at least one, it is {scores.candidates!r}",
    )
    for candidate in scores.candidates:
        _require(
            isinstance(candidate, Candidate)
            and isinstance(candidate.action, str)
            and bool(candidate.action),
            f"{where}: a candidate must be a Candidate with an action, it is {candidate!r}",
        )
        _require(
            _is_number(candidate.logprob),
            f"{where}: log-probabilities must be finite, it is {candidate!r}",
        )
    proposed = [candidate.action for candidate in scores.candidates]
    if situation.observation.reader is not None:
        elsewhere = [action for action in proposed if not _executable(situation, action)]
        _require(
            not elsewhere,
            f"{where}: only what can be executed here may be a candidate, not {elsewhere!r}",
        )
    _require(
        len(set(proposed)) == len(proposed),
        f"{where}: no action may be a candidate twice, they are {proposed!r}",
    )
    _check_remembered(scores.remembered, proposed, situation, where)
    left = {a for a in situation.remembered if _executable(situation, a) and a not in proposed}
    _require(
        left.issuperset(scores.unscored) and not {*(scores.remembered or ())} & {*scores.unscored},
        f"{where}: unscored may hold only remembered actions that can be executed here and have "
        f"no log-probability, it holds {scores.unscored!r}",
    )
    _check_worth(scores, where)


def _check_remembered(
    remembered: Mapping[str, float] | None,
    proposed: Sequence[str],
    situation: Situation,
    where: str,
) -> None:
    _require(
        remembered is None or isinstance(remembered, Mapping),
        f"{where}: remembered must be a mapping or None, it is {remembered!r}",
    )
    for action, logprob in (remembered or {}).items():
        _require(
            action in situation.remembered,
            f"{where}: remembered may hold only what was asked for, it holds {action!r}",
        )
        _require(
            _executable(situation, action),
            f"{where}: remembered may hold only what can be executed here, it holds {action!r}",
        )
        _require(
            action not in proposed,
            f"{where}: {action!r} must not be remembered and a candidate at once",
        )
        _require(
            _is_number(logprob),
            f"{where}: log-probabilities must be finite, of {action!r} it is {logprob!r}",
        )


def _check_worth(scores: Scores, where: str) -> None:
    _check_guarantee(scores.guarantee, where)
    _check_share("outside", scores.outside, where)
    _require(
        type(scores.samples) is int and (scores.samples > 0) == (scores.guarantee == "sampled"),
        f'{where}: samples must be above 0 where the guarantee is "sampled", and 0 elsewhere, '
        f"it is {scores.samples!r} with {scores.guarantee!r}",
    )


def _check_guarantee(guarantee: str, where: str) -> None:
    known = get_args(Guarantee)
    _require(guarantee in known, f"{where}: guarantee must be one of {known}, it is {guarantee!r}")


def _check_share(name: str, share: float, where: str) -> None:
    _require(
        isinstance(share, float) and (math.isnan(share) or 0 <= share <= 1),
        f"{where}: {name} must be a probability, or nan where unknown, it is {share!r}",
    )


# --- samplers ---------------------------------------------------------------------------------


async def _check_sampler(
    sampler: Sampler,
    twin: Sampler | None,
    situation: Situation,
    rngs: Sequence[np.random.Generator],
    where: str,
) -> None:
    """Sample under several modulations; nothing remembered is told but through them."""
    situation = replace(situation, remembered=())
    for what, modulation in _modulations(situation):
        place = f"{where}, {what}"
        drawn = await sampler.sample(situation, modulation, rngs[0])
        _check_drawn(drawn, modulation, place)
        if twin is not None:
            again = await twin.sample(situation, modulation, rngs[1])
            _require(
                repr(again) == repr(drawn),
                f"{place}: equal generators must draw alike, they draw {drawn!r} and {again!r}",
            )


def _modulations(situation: Situation) -> list[tuple[str, Modulation]]:
    known = situation.observation.actions[:3]
    advantages = dict(zip(known, (0.5, -0.4, 0.1), strict=False))
    values = {a: ActionValue(Q=A, n=2, uncertainty=0.1, advantage=A) for a, A in advantages.items()}
    knowing = Modulation(
        state=situation.observation.state,
        advantages=advantages,
        otherwise=0.2,
        beta=3.0,
        kl_budget=None,
        temperature=1.0,
        values=Values(0.0, values),
        neighbours=(),
        abstained=False,
    )
    nothing = replace(
        knowing, advantages={}, otherwise=0.0, beta=0.0, values=Values(math.nan, {}), abstained=True
    )
    return [
        ("knowing nothing", nothing),
        ("knowing actions", knowing),
        ("with a budget", replace(knowing, kl_budget=0.01)),
        ("with no budget left", replace(knowing, kl_budget=0.0)),
    ]


def _check_drawn(drawn: Sampled, modulation: Modulation, where: str) -> None:
    _require(isinstance(drawn, Sampled), f"{where} must return a Sampled, it returned {drawn!r}")
    _require(
        isinstance(drawn.action, str) and bool(drawn.action),
        f"{where}: action must be a nonempty string, it is {drawn.action!r}",
    )
    _require(
        drawn.before.keys() == drawn.after.keys() and drawn.action in drawn.after,
        f"{where}: before and after must list the same actions, the drawn one {drawn.action!r} "
        f"among them, they list {list(drawn.before)} and {list(drawn.after)}",
    )
    for name, part, rest in (
        ("before", drawn.before, drawn.outside[0]),
        ("after", drawn.after, drawn.outside[1]),
    ):
        masses = [*part.values(), rest]
        _require(
            all(_is_number(p) and p >= 0 for p in masses) and abs(math.fsum(masses) - 1) <= _EPS,
            f"{where}: {name} and outside must be probabilities that sum to 1, they are "
            f"{dict(part)} and {rest!r}",
        )
        _require(
            part[drawn.action] > 0,
            f"{where}: {name} must give the drawn {drawn.action!r} a probability above 0",
        )
    _require(
        _is_number(drawn.beta) and 0 <= drawn.beta <= modulation.beta,
        f"{where}: beta must lie in [0, {modulation.beta}], it is {drawn.beta!r}",
    )
    _check_guarantee(drawn.guarantee, where)
    _check_share("unlisted", drawn.unlisted, where)
    _check_policy(drawn, modulation, where)


def _check_policy(drawn: Sampled, modulation: Modulation, where: str) -> None:
    """Require the closed form, within the budget."""
    pairs = [(drawn.before[action], drawn.after[action]) for action in drawn.after]
    pairs.append(drawn.outside)
    if modulation.abstained or modulation.kl_budget == 0.0:
        _require(
            all(before == after for before, after in pairs),
            f"{where}: before and after must be equal to the last bit, they are "
            f"{dict(drawn.before)} and {dict(drawn.after)}",
        )
    if modulation.kl_budget is not None:
        spent = math.fsum(q * math.log(q / p) if p > 0 else math.inf for p, q in pairs if q > 0)
        _require(
            spent <= modulation.kl_budget + _EPS,
            f"{where}: KL(after || before) must be at most {modulation.kl_budget}, it is {spent!r}",
        )
    # log(after / before) - beta A / T is one constant, -log Z. The drawn action is left out: a
    # model may write it in several ways, of which memory knows one.
    tilted = [
        (before, after, modulation.advantages.get(action, modulation.otherwise))
        for action, (before, after) in zip(drawn.after, pairs, strict=False)
        if action != drawn.action
    ]
    tilted.append((*drawn.outside, modulation.otherwise))
    levels = [
        math.log(after / before) - drawn.beta * A / modulation.temperature
        for before, after, A in tilted
        if min(before, after) > _LEAST
    ]
    _require(
        max(levels, default=0.0) - min(levels, default=0.0) <= _RATIO_EPS,
        f"{where}: after must be before * exp(beta A / T) / Z with beta = {drawn.beta!r}, they are "
        f"{dict(drawn.before)} and {dict(drawn.after)}",
    )
