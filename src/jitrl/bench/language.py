"""The models of a run: opened, counted, recorded or replayed, within a budget; and its estimate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from jitrl import models, scores
from jitrl.agents.summary import Summariser
from jitrl.bench.configuration import Configuration
from jitrl.checks import count
from jitrl.credit.judge import LONGEST, ModelJudge
from jitrl.errors import BudgetSpent, InvalidValue
from jitrl.models import Model
from jitrl.models.budget import Budget, Estimate, Load, estimate, tokens_of
from jitrl.models.ledger import Ledger, Metered
from jitrl.models.prices import Prices
from jitrl.models.probe import probe
from jitrl.models.recording import Recorder, Replay
from jitrl.prompts import load
from jitrl.records import Observation, Situation
from jitrl.scores import Sampler, ScoreSource
from jitrl.scores.proposing import MOST_REMEMBERED
from jitrl.scores.text import describe

Opener = Callable[..., Model]
_PROBED = ("labels-server",)  # sources that must know more of a model than a reply shows
_PROBES = 16  # calls of a probe, at most
_TURN_TOKENS, _JUDGED_TOKENS = 60, 40  # of a step that is shown, and of its score: an estimate
_IMAGE_TOKENS, _ACTION = 1500, 60  # of a screenshot; characters of an action that a model writes
_DRAWING = ("labels-server", "decoding")  # sources that propose nothing: the model draws an action


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a run calls: its name, where it is served, and what marks its recording."""

    name: str
    url: str | None
    mark: str

    @property
    def place(self) -> tuple[str, str | None]:
        """What tells it from others: its name, and where it is served."""
        return self.name, self.url


Models = Mapping[tuple[str, str | None], Model]
"""Where a model is -> the model, open."""


@dataclass(frozen=True)
class Access:
    """How a run reaches its models, and what it may spend: nothing that changes what is played.

    budget  dollars and tokens allowed in all, earlier starts of the run included
    prices  of models
    record  file that the calls are recorded to; beside it those of a judge that is another model,
            and of a grader
    replay  file that they are replayed from, without a network
    timeout seconds that a call may take; None: what its back end has
    retries attempts after a failed one; None: what its back end has
    opener  opens a model: `jitrl.models.make`
    """

    budget: Budget = field(default_factory=Budget)
    prices: Prices = field(default_factory=Prices)
    record: Path | None = None
    replay: Path | None = None
    timeout: float | None = None
    retries: int | None = None
    opener: Opener = models.make

    def __post_init__(self) -> None:
        if self.record is not None and self.replay is not None:
            raise InvalidValue("record", str(self.record), "has no meaning with a replay")

    def of_part(self, part: int, parts: int) -> Access:
        """Return the share of one of several processes: of the budget, and a file of its own."""
        dollars, tokens = self.budget.dollars, self.budget.tokens
        return replace(
            self,
            budget=Budget(
                None if dollars is None else dollars / parts,
                None if tokens is None else max(tokens // parts, 1),
            ),
            record=None if self.record is None else _beside(self.record, f".part-{part}"),
            replay=None if self.replay is None else _beside(self.replay, f".part-{part}"),
        )

    def prices_of(self, served: Served) -> Prices:
        """Return the prices that hold: the user's alone for a model at an address of its own."""
        return self.prices if served.url is None else self.prices.own()


@dataclass(frozen=True)
class Cast:
    """Who plays a run: the score source, and judge, summariser and model if there are any."""

    source: ScoreSource | Sampler
    judge: ModelJudge | None
    summarise: Summariser | None
    acting: Model | None
    ledger: Ledger
    budget: Budget

    def may_go_on(self) -> bool:
        """Say whether the budget allows another step."""
        try:
            self.budget.check(self.ledger)
        except BudgetSpent:
            return False
        return True


@asynccontextmanager
async def opened(configuration: Configuration, access: Access) -> AsyncIterator[Models]:
    """Open the models of a run, before anything is written; close them at the end.

    No call is made. Raises InvalidValue where a dollar budget needs a price that is unknown, or
    where the source of scores cannot use its model or the preset, and what opening a model raises.
    """
    alone = not called(configuration) and configuration.grader is None
    if alone and access != Access(prices=access.prices, opener=access.opener):
        raise InvalidValue("model", None, "must be named for a budget, a recording or a time-out")
    result: dict[tuple[str, str | None], Model] = {}
    try:
        for served in called(configuration):
            if served.place not in result:
                result[served.place] = _open(served, access)
        acting = result.get((configuration.model or "", configuration.base_url))
        source = scores.make(configuration.scores, acting, configuration.score_options)
        greedy = configuration.arm.preset(configuration.resolved()).rule != "exact"
        if isinstance(source, Sampler) and greedy:
            rule = f"has a greedy rule, and {configuration.scores} draws: use --scores labels"
            raise InvalidValue("preset", configuration.preset, rule)
        if isinstance(source, Sampler) and configuration.arm.tempers:
            rule = f"sets the temperature, and {configuration.scores} draws: use --scores labels"
            raise InvalidValue("agent", configuration.agent, rule)
        yield result
    finally:
        for model in result.values():
            await model.close()


@asynccontextmanager
async def cast(
    configuration: Configuration, access: Access, ledger: Ledger, models: Models
) -> AsyncIterator[Cast]:
    """Return who plays, with the models that are open: counted in `ledger`, and recorded."""
    kept: dict[tuple[str, str | None], Model] = {}
    try:
        for served in called(configuration):
            if served.place not in kept:
                kept[served.place] = _kept(models[served.place], served, access, ledger)
        acting = kept.get((configuration.model or "", configuration.base_url))
        judging = kept.get((configuration.judge_model or "", configuration.judge_url))
        source = scores.make(configuration.scores, acting, configuration.score_options)
        if acting is not None and configuration.scores in _PROBED:
            await _probed(acting)
        summarise = judge = None
        if acting is not None and configuration.summarise:
            summarise = Summariser(acting, seed=configuration.seed)
        if judging is not None and configuration.judges:
            judge = judge_of(configuration, judging)
        yield Cast(source, judge, summarise, acting, ledger, access.budget)
    finally:
        for model in kept.values():
            await model.close()


@asynccontextmanager
async def opened_judge(
    configuration: Configuration, access: Access, ledger: Ledger
) -> AsyncIterator[Model]:
    """Open the model that judges a run, counted in `ledger`; close it at the end."""
    model = opened_one(called(configuration)[-1], access, ledger)
    try:
        yield model
    finally:
        await model.close()


def opened_one(served: Served, access: Access, ledger: Ledger) -> Model:
    """Open a model, counted in `ledger`, and recorded where that is wanted."""
    return _kept(_open(served, access), served, access, ledger)


def judge_of(configuration: Configuration, model: Model) -> ModelJudge:
    """Return the judge of a run, on a model that is open."""
    return ModelJudge(model, tell_outcome=configuration.tell_outcome)


def called(configuration: Configuration) -> list[Served]:
    """Return the models that a run calls: the acting one, then the judge."""
    result = []
    if configuration.model is not None:
        result.append(Served(configuration.model, configuration.base_url, ""))
    if configuration.judge_model is not None and configuration.judges:
        result.append(Served(configuration.judge_model, configuration.judge_url, ".judge"))
    return result


def prompts(configuration: Configuration) -> dict[str, str]:
    """Return template -> hash, of all that a run may ask with."""
    used = ["agent", "label", "action", "web"] if configuration.model is not None else []
    used += list(configuration.arm.prompts)
    used += ["summary"] if configuration.summarise else []
    used += ["judge"] if configuration.judge_model is not None else []
    return {name: load(name).hash for name in used}


def expected(
    configuration: Configuration, world: str, first: Observation, access: Access
) -> Estimate:
    """Return what a run will use at most, from the first thing that its world shows.

    The configuration says how many episodes. A prompt is taken to be as long as the first one, with
    a full window of steps, and to list as many actions. Replies that have to be asked for again
    come on top. Where the world reads more actions than it lists, the model writes some first, and
    these are listed.
    """
    proposes = first.reader is not None and configuration.scores not in _DRAWING
    listed = _longest_list(configuration) if proposes else first.actions
    shown = tokens_of(describe(Situation(world, 0, 0, first), 0) + "\n".join(listed))
    arm = configuration.arm
    asked = shown + 150 + arm.told + configuration.window * _TURN_TOKENS
    episodes = count("episodes", configuration.episodes, least=1)
    steps = episodes * configuration.steps
    total = estimate([], access.prices)
    for served in called(configuration):
        if served.mark:  # the judge
            read = configuration.steps * (min(shown, LONGEST // 4) + _TURN_TOKENS)
            written = configuration.steps * _JUDGED_TOKENS
            loads = [Load(served.name, episodes, read, written)]
        else:
            calls, output = _calls_per_step(configuration, len(listed))
            loads = [Load(served.name, steps * calls, asked, output)]
            if proposes:
                read = asked + (0 if first.image is None else _IMAGE_TOKENS)
                loads += [Load(served.name, steps, read, configuration.max_tokens)]
            loads += [Load(served.name, steps, asked, 300)] if configuration.summarise else []
            after, read, written = arm.asked
            if after and not configuration.frozen:
                read += shown + configuration.steps * _TURN_TOKENS
                loads += [Load(served.name, episodes * after, read, written)]
            loads += [Load(served.name, _PROBES, 20, 16)] if configuration.scores in _PROBED else []
        total += estimate(loads, access.prices_of(served))
    if configuration.grader is not None:
        served = Served(configuration.grader, configuration.grader_url, "")
        total += estimate([Load(served.name, episodes, 500, 100)], access.prices_of(served))
    return total


def _longest_list(configuration: Configuration) -> list[str]:
    """Return as many actions as a list may hold that begins with a model's own."""
    return ["x" * _ACTION] * (configuration.proposals + MOST_REMEMBERED)


def _calls_per_step(configuration: Configuration, actions: int) -> tuple[int, int]:
    """Return calls a step with so many actions listed, and output tokens of one."""
    if configuration.scores in ("labels", "stated"):
        return 1, configuration.max_tokens
    if configuration.scores == "sampled":
        return 1, 3 * configuration.samples
    if configuration.scores == "sequence":
        return actions + 1, 1  # the prompt alone as well
    return 1, 12


def _open(served: Served, access: Access) -> Model:
    """Open a model, or its recording."""
    access.budget.check_possible(access.prices_of(served), [served.name])
    if access.replay is not None:
        replay = Replay(_beside(access.replay, served.mark))
        if replay.name != served.name:
            rule = f"must be a recording of {served.name}, not of {replay.name}"
            raise InvalidValue("replay", str(access.replay), rule)
        return replay
    given = {"base_url": served.url, "timeout": access.timeout, "retries": access.retries}
    options = {name: value for name, value in given.items() if value is not None}
    return access.opener(served.name, **options)


def _kept(model: Model, served: Served, access: Access, ledger: Ledger) -> Model:
    """Return an open model, counted and, where that is wanted, recorded."""
    counted = Metered(model, ledger, access.prices_of(served))
    if access.record is None:
        return counted
    return Recorder(counted, _beside(access.record, served.mark))


def _beside(path: Path, mark: str) -> Path:
    return path.with_name(path.name + mark)


async def _probed(model: Model) -> None:
    """Find out what the model can do, where nobody said."""
    if model.capabilities.bias_shown is None:
        model.capabilities = await probe(model)
