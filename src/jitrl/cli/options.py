"""The options of `jitrl run`, `demo` and `judge`: what each is called, means and defaults to.

As in `asking`, which has those of the commands on a memory, an option that several commands take is
written once. Where an option is unset, `show_default` says what holds then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from jitrl.agents import arms
from jitrl.bench.language import Access
from jitrl.checks import count, finite
from jitrl.errors import InvalidValue
from jitrl.models import budget
from jitrl.models.prices import Prices
from jitrl.presets import PRESETS

_MODELS = "Language models"
_SUITES = "Worlds of several tasks"


def _model(help: str, *flags: str, show_default: bool | str = True) -> Any:
    """Return an option of the panel of language models; with `flags`, one without a `--no-`."""
    return typer.Option(*flags, help=help, rich_help_panel=_MODELS, show_default=show_default)


def _suite(help: str, *flags: str, show_default: bool | str = True) -> Any:
    """Return an option of the panel of suites."""
    return typer.Option(*flags, help=help, rich_help_panel=_SUITES, show_default=show_default)


# What is played, by whom, how long, and where it is kept.
World = Annotated[
    str, typer.Argument(help="textworld:SEED, jericho:NAME, miniwob:TASK or webarena:0-811.")
]
Agent = Annotated[str, typer.Option(help=f"What is carried on: {', '.join(arms.names())}.")]
Preset = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(sorted(PRESETS))}.", show_default="the world's own"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override a hyper-parameter, such as --set beta=5; repeatable. VALUE is JSON; a "
        "list (start, end, over how many) makes beta or threshold move.",
    ),
]
Episodes = Annotated[
    int | None,
    typer.Option(
        help="How many; a resumed run may get more.",
        show_default="30; of several tasks, each --attempts times",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(help="At most so many in an episode.", show_default="the world's own, or 50"),
]
Seed = Annotated[int, typer.Option(help="Fixes everything that is random.")]
Proposals = Annotated[int, typer.Option(help="Candidates of a step: drawn, or named by the model.")]
Memory = Annotated[
    str | None,
    typer.Option(
        help="A memory to share with other runs: a file, or postgresql://HOST/DATABASE.",
        show_default="in the run folder",
    ),
]
StartFrom = Annotated[
    Path | None,
    typer.Option(
        help="Folder of a finished run: begin with a copy of its memory, and of what its agent "
        "carries in words.",
        show_default="nothing",
    ),
]
Frozen = Annotated[
    bool, typer.Option("--frozen", help="Learn nothing more than what it begins with.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="The run folder.", show_default="runs/WORLD-AGENT-PRESET[-MODEL-SCORES]-SEED"
    ),
]
Games = Annotated[
    Path | None, typer.Option(help="Folder of story files.", show_default="$JITRL_GAMES")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that is in the folder.")]

# Worlds of several tasks.
Attempts = Annotated[
    int | None, _suite("Attempts at each task; with passes it may grow.", show_default="1")
]
Order = Annotated[
    str, _suite("tasks: all attempts at a task in a row; passes: every task once, then again.")
]
ResetCommand = Annotated[
    str | None,
    _suite("Command that resets the sites before each pass; it must succeed. No shell runs it."),
]
Workers = Annotated[
    int,
    _suite(
        "Processes that share the tasks out and the memory. Each has its own models, an even "
        "share of a budget, and its own recording, FILE.part-K."
    ),
]
WorldOption = Annotated[
    list[str] | None,
    _suite("What the world is opened with, NAME=VALUE; repeatable. VALUE is JSON.", "--option"),
]
Chromium = Annotated[
    Path | None, _suite("The browser of a web world.", show_default="as it is found")
]
Visible = Annotated[bool, _suite("Show the browser.", "--visible")]

# Language models.
Model = Annotated[
    str | None,
    _model(
        "The acting model: BACKEND/NAME, such as openai/gpt-4.1-mini, vllm/NAME or "
        "transformers/FOLDER,device=cuda,dtype=bfloat16."
    ),
]
BaseUrl = Annotated[str | None, _model("Where it is served, if not where usual.")]
Scores = Annotated[
    str | None,
    _model(
        "Base logits: labels, labels-direct, labels-biased, labels-server, sequence, stated, "
        "sampled or decoding.",
        show_default="labels",
    ),
]
Samples = Annotated[int, _model("Answers of which --scores sampled takes frequencies.")]
Window = Annotated[int, _model("Steps of the episode that the model is shown.")]
TopLogprobs = Annotated[int, _model("Log-probabilities reported at a token.")]
MaxTokens = Annotated[int, _model("Of an answer with reasons, at most.")]
Summarise = Annotated[
    bool, _model("The model writes the history in the state: one more call a step.", "--summarise")
]
JudgeModel = Annotated[str | None, _model("Scores the steps after each episode.")]
JudgeUrl = Annotated[
    str | None,
    _model("Where the judge is served.", show_default="--base-url, for the same back end"),
]
Grader = Annotated[
    str | None, _model("Asked where a benchmark's evaluator asks a language model (WebArena).")
]
GraderUrl = Annotated[
    str | None,
    _model("Where the grader is served.", show_default="--base-url, for the same back end"),
]
Credit = Annotated[
    str | None,
    _model(
        "What is learned from: reward, judged or mixed (their sum).",
        show_default="judged with a judge, else reward",
    ),
]
TellOutcome = Annotated[bool, _model("Tell the judge how the episode ended.", "--tell-outcome")]
Budget = Annotated[
    float | None, _model("Dollars that the run may cost in all; it stops between steps.")
]
BudgetTokens = Annotated[int | None, _model("Tokens that it may use in all.")]
PriceFile = Annotated[
    Path | None, _model("TOML file of prices, which come before the known ones.", "--prices")
]
Record = Annotated[Path | None, _model("File that the calls are recorded to.")]
Replay = Annotated[Path | None, _model("File that the calls are replayed from, without a network.")]
Timeout = Annotated[float | None, _model("Seconds that a call may take.", show_default="60")]
Retries = Annotated[
    int | None, _model("Attempts after a failed one, with waits.", show_default="4")
]

# Of `jitrl judge` alone.
RunFolder = Annotated[Path, typer.Argument(help="The run folder.")]
JudgeUrlNow = Annotated[
    str | None, _model("Where the judge is served now.", show_default="where it was")
]
BudgetInAll = Annotated[float | None, _model("Dollars that the run may cost in all.")]


@dataclass(frozen=True)
class Reached:
    """How models are reached and what they may cost, as the options say; None is the default."""

    budget: float | None = None
    budget_tokens: int | None = None
    prices: Path | None = None
    record: Path | None = None
    replay: Path | None = None
    timeout: float | None = None
    retries: int | None = None

    def access(self) -> Access:
        """Return it as the runner takes it. Raises InvalidValue for what cannot be."""
        timeout = self.timeout
        if timeout is not None and finite("--timeout", timeout) <= 0:
            raise InvalidValue("--timeout", timeout, "must be more than 0 seconds")
        return Access(
            budget=budget.Budget(self.budget, self.budget_tokens),
            prices=Prices.load(self.prices),
            record=self.record,
            replay=self.replay,
            timeout=timeout,
            retries=None if self.retries is None else count("--retries", self.retries),
        )

    def words(self) -> list[str]:
        """Return it as words of a command."""
        given = [(name, value) for name, value in vars(self).items() if value is not None]
        return [word for name, value in given for word in (_flag(name), str(value))]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
