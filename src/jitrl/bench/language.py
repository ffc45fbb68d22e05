"""The models of a run: opened, counted, recorded or replayed, within a budget; and its estimate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jitrl import models, scores
from jitrl.agents.summary import Summariser
from jitrl.bench.configuration import Configuration
from jitrl.credit.judge import ModelJudge
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
from jitrl.scores.text import describe

Opener = Callable[..., Model]
_PROBED = ("labels-server",)  # sources that must know more of a model than a reply shows
_TURN_TOKENS = 60  # of a step shown in the prompt, in an estimate


@dataclass(frozen=True)
class Access:
    """How a run reaches its models, and what it may spend: nothing that changes what is played.

    budget  dollars and tokens allowed in all, earlier starts of the run included
    prices  of models
    record  file that the calls are recorded to; the judge's beside it, where it is another model
    replay  file that they are replayed from, without a network
    timeout seconds that a call may take
    opener  opens a model: `jitrl.models.make`
    """

    budget: Budget = field(default_factory=Budget)
    prices: Prices = field(default_factory=Prices)
    record: Path | None = None
    replay: Path | None = None
    timeout: float = 60.0
    opener: Opener = models.make

    def __post_init__(self) -> None:
        if self.record is not None and self.replay is not None:
            raise InvalidValue("record", str(self.record), "has no meaning with a replay")


@dataclass(frozen=True)
class Cast:
    """Who plays a run: the score source, and the judge and the summariser if there are any."""

    source: ScoreSource | Sampler
    judge: ModelJudge | None
    summarise: Summariser | None
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
async def cast(configuration: Configuration, access: Access, ledger: Ledger) -> AsyncIterator[Cast]:
    """Open the models of a run, counted in `ledger`; close them at the end.

    Raises InvalidValue where a dollar budget needs a price that is unknown, and what opening a
    model raises.
    """
    access.budget.check_possible(access.prices, names(configuration))
    judged = configuration.judge_model is not None and configuration.agent != "static"
    wanted = [(configuration.model, configuration.base_url, "")]
    if judged:
        wanted.append((configuration.judge_model, configuration.judge_url, ".judge"))
    opened: dict[tuple[str, str | None], Model] = {}
    try:
        for name, url, mark in wanted:
            if name is not None and (name, url) not in opened:
                opened[name, url] = _opened(name, url, mark, access, ledger)
        acting = opened.get((configuration.model or "", configuration.base_url))
        judging = opened.get((configuration.judge_model or "", configuration.judge_url))
        source = scores.make(configuration.scores, acting, configuration.options)
        if acting is not None and configuration.scores in _PROBED:
            await _probed(acting)
        summarise = judge = None
        if acting is not None and configuration.summarise:
            summarise = Summariser(acting, seed=configuration.seed)
        if judging is not None and judged:
            judge = judge_of(configuration, judging)
        yield Cast(source, judge, summarise, ledger, access.budget)
    finally:
        for model in opened.values():
            await model.close()


@asynccontextmanager
async def opened_judge(
    configuration: Configuration, access: Access, ledger: Ledger
) -> AsyncIterator[Model]:
    """Open the model that judges a run, counted in `ledger`; close it at the end."""
    name = str(configuration.judge_model)
    access.budget.check_possible(access.prices, [name])
    model = _opened(name, configuration.judge_url, ".judge", access, ledger)
    try:
        yield model
    finally:
        await model.close()


def judge_of(configuration: Configuration, model: Model) -> ModelJudge:
    """Return the judge of a run, on a model that is open."""
    return ModelJudge(model, tell_outcome=configuration.tell_outcome)


def names(configuration: Configuration) -> list[str]:
    """Return the models that a run calls, each once."""
    judge = configuration.judge_model if configuration.agent != "static" else None
    return list(dict.fromkeys(name for name in (configuration.model, judge) if name))


def prompts(configuration: Configuration) -> dict[str, str]:
    """Return template -> hash, of all that a run may ask with."""
    used = ["agent", "label", "action"] if configuration.model is not None else []
    used += ["summary"] if configuration.summarise else []
    used += ["judge"] if configuration.judge_model is not None else []
    return {name: load(name).hash for name in used}


def expected(
    configuration: Configuration, world: str, first: Observation, prices: Prices
) -> Estimate:
    """Return what a run will use at most, from the first thing that its world shows."""
    situation = Situation(world, 0, 0, first)
    shown = tokens_of(describe(situation, 0) + "\n".join(first.actions))
    asked = shown + 150 + configuration.window * _TURN_TOKENS
    steps = configuration.episodes * configuration.steps
    loads = []
    if configuration.model is not None:
        model = configuration.model
        calls, output = calls_per_step(configuration, first)
        loads.append(Load(model, steps * calls, asked, output))
        if configuration.summarise:
            loads.append(Load(model, steps, asked, 300))
    if configuration.judge_model is not None and configuration.agent != "static":
        read = configuration.steps * (shown + _TURN_TOKENS)
        written = configuration.steps * 40
        loads.append(Load(configuration.judge_model, configuration.episodes, read, written))
    return estimate(loads, prices)


def calls_per_step(configuration: Configuration, first: Observation) -> tuple[int, int]:
    """Return calls a step, and output tokens of one."""
    if configuration.scores in ("labels", "stated"):
        return 1, configuration.max_tokens
    if configuration.scores == "sampled":
        return 1, 3 * configuration.samples
    if configuration.scores == "sequence":
        return len(first.actions), 1
    return 1, 12


def _opened(name: str, url: str | None, beside: str, access: Access, ledger: Ledger) -> Model:
    """Open a model: counted, and recorded or replayed."""
    if access.replay is not None:
        replay = Replay(_beside(access.replay, beside))
        if replay.name != name:
            rule = f"must be a recording of {name}, not of {replay.name}"
            raise InvalidValue("--replay", str(access.replay), rule)
        return Metered(replay, ledger, access.prices)
    options: dict[str, object] = {"timeout": access.timeout}
    if url is not None:
        options["base_url"] = url
    counted = Metered(access.opener(name, **options), ledger, access.prices)
    return counted if access.record is None else Recorder(counted, _beside(access.record, beside))


def _beside(path: Path, mark: str) -> Path:
    return path.with_name(path.name + mark)


async def _probed(model: Model) -> None:
    """Find out what the model can do, where nobody said."""
    if model.capabilities.bias_shown is None:
        model.capabilities = await probe(model)
