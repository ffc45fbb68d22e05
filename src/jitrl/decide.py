"""From a state, its neighbours and scored candidates to one Decision: a pure function.

Retrieval has happened and storing is yet to come. Here remembered actions join the candidates
(Eq. 23), the evidence is estimated, the policy updated, and an action drawn. Where a model draws
the action itself, `modulate` tells it what memory adds and `decided` keeps what it did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jitrl import released, update
from jitrl.checks import finite
from jitrl.errors import InvalidValue
from jitrl.presets import Preset
from jitrl.records import ActionValue, Decision, Experience, Modulation, Scores, State, Values
from jitrl.scores import Sampled
from jitrl.trust import action_weights, source_of
from jitrl.update import Estimate, Evidence, Floats

_OTHER = ""  # no action is empty: the place of all that was never taken near here

Scorer = Callable[[list[str]], Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class Draws:
    """What a decision may draw from: one generator for the choice, one for the estimator."""

    choose: np.random.Generator
    explore: np.random.Generator


def decide(
    state: State,
    scores: Scores,
    neighbours: Sequence[Experience],
    preset: Preset,
    beta: float,
    draws: Draws,
    score: Scorer | None = None,
) -> Decision:
    """Return the decision in `state`; `jitrl.learner.LiveEpisode.choose` states the contract.

    scores      at least one candidate, checked: finite log-probabilities, no action twice
    neighbours  most similar first
    beta        the step size wanted, before the KL budget
    """
    logprobs = {candidate.action: candidate.logprob for candidate in scores.candidates}
    joined: dict[str, float] = {}
    abstained = _abstains(preset, neighbours)
    if score is None and scores.remembered is not None:
        score = _given(scores.remembered)
    if _moves(preset, beta) and not abstained:
        neighbours, joining = _joining(logprobs, neighbours, preset, score, scores.unscored)
        abstained = _abstains(preset, neighbours)
        if not abstained:
            joined = _limited(logprobs, joining, neighbours, preset, draws.explore)
    actions = [*logprobs, *joined]
    z = np.array([*logprobs.values(), *joined.values()])
    if abstained:
        estimate = _unmoved(_evidence(neighbours, actions, preset))
    else:
        estimate = preset.estimator(_evidence(neighbours, actions, preset), draws.explore)
    log_before = update.log_policy(z, np.zeros(len(z)), 0.0, preset.temperature)
    if preset.rule == "exact":
        beta = update.beta_within(z, estimate.A, beta, preset.kl_budget, preset.temperature)
    log_after = _updated(z, estimate.A, beta, preset)
    u = float(draws.choose.random())
    chosen = update.sample(np.exp(log_after), u)
    alone = z[: len(logprobs)]
    without_memory = update.sample(np.exp(_updated(alone, np.zeros(len(alone)), 0.0, preset)), u)
    return Decision(
        state=state,
        action=actions[chosen],
        before=dict(zip(actions, np.exp(log_before).tolist(), strict=True)),
        after=dict(zip(actions, np.exp(log_after).tolist(), strict=True)),
        kl=update.kl(log_after, log_before),
        beta=beta,
        temperature=preset.temperature,
        values=_values(actions, estimate),
        neighbours=tuple(neighbours),
        joined=tuple(joined),
        abstained=abstained,
        changed=chosen != without_memory,
        guarantee=scores.guarantee,
        outside=scores.outside,
        samples=scores.samples,
        without=actions[without_memory],
    )


def remembered(neighbours: Sequence[Experience], preset: Preset, beta: float) -> tuple[str, ...]:
    """Return the actions of the neighbours, nearest first; none where memory cannot move a policy.

    What a score source is asked for, before `decide`, to let them join.
    """
    if not _moves(preset, beta) or _abstains(preset, neighbours):
        return ()
    return tuple(update.candidate_union((), (step.action for step in neighbours)))


def modulate(
    state: State,
    neighbours: Sequence[Experience],
    preset: Preset,
    beta: float,
    draws: Draws,
    executable: Collection[str] | None = None,
) -> Modulation:
    """Return what the memory adds to the logits of `state`, for a policy that draws by itself.

    executable  the actions that can be taken here, where that is known: a remembered action that
                cannot is not known, and takes no part in the statistics

    Raises InvalidValue for a preset whose rule is not exact: it has no closed form.
    """
    if preset.rule != "exact":
        raise InvalidValue("preset", preset.name, "has a greedy rule: a model cannot draw from it")
    if executable is not None:
        neighbours = [step for step in neighbours if step.action in executable]
    known = remembered(neighbours, preset, beta)
    actions = [*known, _OTHER]
    evidence = _evidence(neighbours, actions, preset)
    estimate = preset.estimator(evidence, draws.explore) if known else _unmoved(evidence)
    values = _values(actions, estimate)
    advantages = {action: values[action].advantage for action in known}
    return Modulation(
        state=state,
        advantages=advantages,
        otherwise=values[_OTHER].advantage,
        beta=beta if known else 0.0,
        kl_budget=preset.kl_budget,
        temperature=preset.temperature,
        values=Values(values.V, {action: values[action] for action in known}),
        neighbours=tuple(neighbours),
        abstained=_abstains(preset, neighbours),
    )


def decided(modulation: Modulation, drawn: Sampled, draws: Draws) -> Decision:
    """Return the decision that a sampler made under a modulation.

    `changed` is drawn from the maximal coupling of the two policies: given the action, the base
    policy would have drawn the same with probability min(1, before / after).
    """
    before, after = drawn.before[drawn.action], drawn.after[drawn.action]
    actions = list(drawn.after)
    rest_before, rest_after = drawn.outside
    with np.errstate(divide="ignore"):
        log_before = np.log([*(drawn.before[action] for action in actions), rest_before])
        log_after = np.log([*(drawn.after[action] for action in actions), rest_after])
    u = float(draws.choose.random())
    return Decision(
        state=modulation.state,
        action=drawn.action,
        before=dict(drawn.before),
        after=dict(drawn.after),
        kl=update.kl(log_after, log_before),
        beta=drawn.beta,
        temperature=modulation.temperature,
        values=modulation.values,
        neighbours=modulation.neighbours,
        joined=(),
        abstained=modulation.abstained,
        changed=u * after >= before,
        without="" if u * after >= before else drawn.action,
        guarantee=drawn.guarantee,
        outside=rest_before if math.isnan(drawn.unlisted) else drawn.unlisted,
    )


def _moves(preset: Preset, beta: float) -> bool:
    """Say whether a memory may move the policy at all."""
    return beta != 0.0 and preset.kl_budget != 0.0


def _given(logprobs: Mapping[str, float]) -> Scorer:
    return lambda actions: logprobs


def _updated(z: Floats, A: Floats, beta: float, preset: Preset) -> Floats:
    """Return the log of the policy that the preset's rule makes of base logits and advantages."""
    if preset.rule == "exact":
        return update.log_policy(z, A, beta, preset.temperature)
    base = update.log_policy(z, A, 0.0, preset.temperature)
    return released.log_policy(np.exp(base), A, beta)


def _evidence(neighbours: Sequence[Experience], actions: Sequence[str], preset: Preset) -> Evidence:
    union = update.candidate_union(actions, (step.action for step in neighbours))
    number = {action: i for i, action in enumerate(union)}
    taken = np.array([number[step.action] for step in neighbours], dtype=np.int64)
    weight = np.ones(len(neighbours))
    if preset.source_share is not None:
        sources = [source_of(step.provenance) for step in neighbours]
        weight = action_weights(taken, sources, preset.source_share)
    return Evidence(
        returns=np.array([step.return_ for step in neighbours], dtype=np.float64),
        taken=taken,
        similarity=np.array([step.similarity for step in neighbours], dtype=np.float64),
        actions=len(actions),
        weight=weight,
    )


def _abstains(preset: Preset, neighbours: Sequence[Experience]) -> bool:
    return preset.estimator.abstains(_evidence(neighbours, (), preset))


def _unmoved(evidence: Evidence) -> Estimate:
    """Return what little is known where the estimator abstains; every advantage is 0."""
    weight = evidence.weight
    V = float(np.average(evidence.returns, weights=weight)) if len(evidence) else math.nan
    Q, _ = update.weighted_means(evidence, weight)
    n = update.counts(evidence)
    return Estimate(V, Q, n, np.full(len(n), math.inf), np.zeros(len(n)))


def _values(actions: Sequence[str], estimate: Estimate) -> Values:
    columns = zip(
        actions,
        estimate.Q.tolist(),
        estimate.n.tolist(),
        estimate.uncertainty.tolist(),
        estimate.A.tolist(),
        strict=True,
    )
    return Values(
        estimate.V, {action: ActionValue(Q, n, error, A) for action, Q, n, error, A in columns}
    )


def _joining(
    proposed: Mapping[str, float],
    neighbours: Sequence[Experience],
    preset: Preset,
    score: Scorer | None,
    unscored: Collection[str] = (),
) -> tuple[Sequence[Experience], dict[str, float]]:
    """Return the neighbours that count, and the remembered actions that may join. (Eq. 23)

    What `score` says cannot be executed here takes no part in the statistics, but for the released
    rule, whose baseline it set.
    """
    union = update.candidate_union(proposed, (step.action for step in neighbours))
    remembered = union[len(proposed) :]
    if not remembered:
        return neighbours, {}
    base = min(proposed.values()) if preset.join == "lowest" else -math.inf
    if score is not None:
        joining = _scored(score, remembered)
        if preset.join != "never":
            invented = dict.fromkeys((a for a in remembered if a in unscored), base)
            joining = invented | joining
        if preset.rule == "exact":
            known = proposed.keys() | joining.keys()
            neighbours = [step for step in neighbours if step.action in known]
    elif preset.join == "never":
        return neighbours, {}
    else:
        joining = dict.fromkeys(remembered, base)
    if preset.join == "zero-if-positive":
        evidence = _evidence(neighbours, union, preset)
        mean, _ = update.weighted_means(evidence, evidence.weight)
        positive = {action for action, Q in zip(union, mean, strict=True) if Q > 0}
        joining = {action: base for action, base in joining.items() if action in positive}
    return neighbours, joining


def _scored(score: Scorer, remembered: list[str]) -> dict[str, float]:
    """Return the log-probabilities that the caller's scorer gives, checked."""
    given = score(list(remembered))
    if not isinstance(given, Mapping):
        raise InvalidValue("score", given, "must return a mapping from action to log-probability")
    result = {}
    for action in remembered:
        if (logprob := given.get(action)) is not None:
            result[action] = finite(f"log-probability of {action!r}", logprob)
    return result


def _limited(
    proposed: Mapping[str, float],
    joining: Mapping[str, float],
    neighbours: Sequence[Experience],
    preset: Preset,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return those that join, highest Q first, within `join_limit` and `join_share`."""
    unlimited = preset.join_limit is None and preset.join_share == 1.0
    if not joining or unlimited:
        return dict(joining)
    actions = [*proposed, *joining]
    z = np.array([*proposed.values(), *joining.values()])
    mass = np.exp(update.log_policy(z, np.zeros(len(z)), 0.0, preset.temperature))
    Q = preset.estimator(_evidence(neighbours, actions, preset), rng).Q
    held, total = 0.0, float(np.sum(mass[: len(proposed)]))
    result: dict[str, float] = {}
    for i in sorted(range(len(proposed), len(actions)), key=lambda i: -Q[i]):
        if preset.join_limit is not None and len(result) >= preset.join_limit:
            break
        if held + mass[i] <= preset.join_share * (total + held + mass[i]):
            held += float(mass[i])
            result[actions[i]] = joining[actions[i]]
    return result
