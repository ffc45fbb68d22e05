"""What a run plays: the configuration, checked, as it is kept in the run folder."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from jitrl.agents import arms
from jitrl.agents.arms import Arm
from jitrl.checks import count
from jitrl.credit import Signal
from jitrl.errors import InvalidValue, UnknownName
from jitrl.memory.address import holds_password, remote, shown
from jitrl.presets import Preset, Ramp, preset
from jitrl.scores import Options
from jitrl.scores import names as score_names
from jitrl.similarity import Field
from jitrl.worlds import defaults

Order = Literal["tasks", "passes"]
OPTION_PLACES = (
    *("chromium", "visible", "uploads", "log", "keep", "interpreter"),
    *("sites", "accounts", "accounts_file", "logins_folder"),
)
"""Options that say where a world finds what it plays, or how it is watched, not what it is."""
_LIMITS = ("episodes", "steps", "proposals")
_COUNTS = (*_LIMITS, "samples", "top_logprobs", "max_tokens", "attempts", "workers")
_LONGEST = 80  # characters of a world's name in that of a folder
_ACTING = ("model", "scores", "samples", "window", "top_logprobs", "max_tokens", "summarise")
_JUDGING = ("judge_model", "credit", "tell_outcome")
_FIRST = ("world", "agent", "preset", "overrides", "seed", *_LIMITS)
_RAMPS = ("beta", "threshold")
_OPTIONS = {"start": "start-from"}  # of `jitrl run`, that are not called as the field is


@dataclass(frozen=True)
class Configuration:
    """One run: an agent plays a world for a number of episodes.

    world      as `jitrl.worlds.make` takes it: "textworld:1"
    agent      the arm, as `jitrl.agents.arms.make` takes it: "jitrl" learns, "static" is the same
               without a memory
    preset     name of the preset
    overrides  hyper-parameter -> JSON value; a list of three numbers is a Ramp
    seed       >= 0
    episodes   >= 1: how many are wanted, of a suite at most tasks x attempts; None: all of these,
               or 30 of another world. All but this, and where things are found (games, base_url,
               judge_url, some options), must be equal to resume a run
    steps      >= 1: at most so many in an episode
    proposals  >= 1: candidates of a step: drawn from the valid actions, or named by the model
    memory     path or postgresql:// address of a memory that other runs share, without a password;
               None: in the run folder
    games      folder of story files, where the world needs one; None: as the world finds them
    model      the acting model as `jitrl.models.make` takes it; None: the uniform prior
    base_url   where it is served; None: where its back end usually is
    scores     where base log-probabilities come from, as `jitrl.scores.make` takes it
    samples, window, top_logprobs, max_tokens  see `jitrl.scores.Options`
    judge_model, judge_url  the model that scores steps after an episode; None: none does
    credit     what returns are made of: "reward", "judged" or "mixed" (reward + judged)
    tell_outcome  the judge is told how the episode ended
    summarise  the history in the state is written by the acting model
    attempts   >= 1: at each task of a suite; may grow with "passes", or a single task
    order      "tasks": all attempts at a task in a row; "passes": every task once, then again
    options    name -> JSON value: what the world is opened with
    reset_command  run before each pass, without a shell; it must succeed
    workers    >= 1: processes that share the tasks out among them, and the memory
    grader, grader_url  the model that a benchmark's evaluator may ask; None: where it would, there
               is no verdict
    start      folder of a finished run: this one begins with a copy of its memory, and of what
               its agent carries in words; None: with nothing
    frozen     nothing is added to what it begins with
    part       in [0, workers): the share of one of them; None: all

    Raises InvalidValue or UnknownName.
    """

    world: str
    agent: str = "jitrl"
    preset: str = "default"
    overrides: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    episodes: int | None = None
    steps: int = 50
    proposals: int = 3
    memory: str | None = None
    games: str | None = None
    model: str | None = None
    base_url: str | None = None
    scores: str = "prior"
    samples: int = 10
    window: int = 10
    top_logprobs: int = 20
    max_tokens: int = 600
    judge_model: str | None = None
    judge_url: str | None = None
    credit: Signal = "reward"
    tell_outcome: bool = False
    summarise: bool = False
    attempts: int = 1
    order: Order = "tasks"
    options: Mapping[str, object] = field(default_factory=dict)
    reset_command: str | None = None
    workers: int = 1
    grader: str | None = None
    grader_url: str | None = None
    start: str | None = None
    frozen: bool = False
    part: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.world, str):
            raise InvalidValue("world", self.world, "must be a text such as textworld:1")
        arm = arms.make(self.agent)
        for name in _COUNTS:
            if name != "episodes" or self.episodes is not None:
                count(name, getattr(self, name), least=1)
        count("seed", self.seed)
        count("window", self.window)
        self._check_models()
        self._check_tasks()
        if remote(self.memory) and holds_password(self.memory):  # it would stand in the run folder
            raise InvalidValue(
                "memory", shown(self.memory), "must hold no password: set PGPASSWORD, or ~/.pgpass"
            )
        if not arm.stores and self.memory is not None:
            rule = f"has no meaning for {self.agent}, which stores nothing: omit it"
            raise InvalidValue("memory", self.memory, rule)
        self._check_arm(arm)
        self.resolved()

    def _check_arm(self, arm: Arm) -> None:
        """Raise for what cannot go with the arm, or with what the run begins with."""
        if arm.carrier is not None and self.model is None:
            raise InvalidValue("agent", self.agent, "needs a model to tell: name one with --model")
        if arm.carrier is not None and self.workers > 1:
            rule = f"must be 1 for {self.agent}: what it carries is not shared"
            raise InvalidValue("workers", self.workers, rule)
        if arm.exact and self.resolved().rule != "exact":
            rule = f"has a greedy rule, and {self.agent} needs an exact one: use default or paper"
            raise InvalidValue("preset", self.preset, rule)
        if self.start is not None and (not (arm.stores or arm.carrier) or self.memory is not None):
            rule = "has no meaning for an agent that carries nothing, or with a shared memory"
            raise InvalidValue("start", self.start, rule)
        if self.frozen and self.start is None and self.memory is None:
            raise InvalidValue("frozen", self.frozen, "needs a start, or a memory, to stand on")

    def _check_models(self) -> None:
        """Raise for names and options of models that cannot go together."""
        if self.scores not in score_names():
            raise UnknownName("scores", self.scores, score_names())
        if (self.model is None) != (self.scores == "prior"):
            wanted = "a model: name one with --model" if self.model is None else "no model"
            raise InvalidValue("scores", self.scores, f"needs {wanted}")
        for name, needed in (("base_url", "model"), ("summarise", "model")):
            if getattr(self, name) and getattr(self, needed) is None:
                raise InvalidValue(name, getattr(self, name), f"needs a --{needed}")
        if self.credit not in ("reward", "judged", "mixed"):
            raise UnknownName("credit", self.credit, ["reward", "judged", "mixed"])
        if (self.judge_model is None) != (self.credit == "reward"):
            rule = "must be reward without a --judge-model, and judged or mixed with one"
            raise InvalidValue("credit", self.credit, rule)
        if self.grader is None and self.grader_url:
            raise InvalidValue("grader", None, "must be given: an address is set for one")
        if self.judge_model is None and (self.judge_url or self.tell_outcome):
            raise InvalidValue("judge_model", None, "must be given: what is set is for a judge")

    def _check_tasks(self) -> None:
        """Raise for what cannot be meant of a suite."""
        if self.order not in get_args(Order):
            raise UnknownName("order", self.order, list(get_args(Order)))
        if not isinstance(self.options, Mapping):
            raise InvalidValue("options", self.options, "must be a mapping from name to value")
        if not isinstance(self.options.get("accounts", ""), str):
            rule = "must hold no password, which would stand in the run folder: give accounts_file"
            raise InvalidValue("accounts", "...", rule)
        if self.part is not None and not 0 <= count("part", self.part) < self.workers:
            raise InvalidValue("part", self.part, f"must be less than workers, {self.workers}")
        if self.reset_command is None:
            return
        try:
            words = shlex.split(self.reset_command)
        except ValueError as error:
            rule = f"cannot be read ({error}): quote it as for a shell"
            raise InvalidValue("reset_command", self.reset_command, rule) from error
        if not words or self.order != "passes":
            rule = "must be a command, and needs --order passes"
            raise InvalidValue("reset_command", self.reset_command, rule)

    @property
    def arm(self) -> Arm:
        """The agent."""
        return arms.make(self.agent)

    @property
    def stores(self) -> bool:
        """Say whether the run has a memory."""
        return self.arm.stores

    @property
    def judges(self) -> bool:
        """Say whether a judge scores its steps."""
        return self.judge_model is not None and self.stores and not self.frozen

    @property
    def acting(self) -> dict[str, object]:
        """How the base policy comes about: the model, and all that it is asked with."""
        return {name: getattr(self, name) for name in _ACTING}

    @property
    def judging(self) -> dict[str, object]:
        """What is learned from: the judge, and how it judges."""
        return {name: getattr(self, name) for name in _JUDGING}

    @property
    def score_options(self) -> Options:
        """What the score source is told."""
        return Options(
            self.proposals, self.samples, self.window, self.top_logprobs, self.max_tokens
        )

    def resolved(self) -> Preset:
        """Return the preset with the overrides applied."""
        return resolve(self.preset, self.overrides)

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON values; `from_json` is the way back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"overrides": dict(self.overrides), "options": dict(self.options)}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Configuration:
        """Return the configuration that `as_json` described; raises TypeError for other keys."""
        return cls(**cast("dict[str, Any]", dict(values)))

    def extended(self, episodes: int | None) -> Configuration:
        """Return the same with another number of episodes."""
        return replace(self, episodes=episodes)

    @property
    def what(self) -> dict[str, object]:
        """The options but for those that say where things are: what is played."""
        return {name: self.options[name] for name in self.options if name not in OPTION_PLACES}

    def folder(self) -> Path:
        """Return the folder that a run of this is kept in unless the user names one."""
        model = "" if self.model is None else f"-{self.model.rpartition('/')[2]}-{self.scores}"
        world = self.world
        if len(world) > _LONGEST:  # a suite may name many tasks, and a folder may not
            world = f"{world[:_LONGEST]}-{hashlib.sha256(world.encode()).hexdigest()[:8]}"
        name = f"{world}-{self.agent}-{self.preset}{model}-{self.seed}"
        return Path("runs", re.sub(r"[^A-Za-z0-9._-]+", "-", name))

    def command(self, folder: Path) -> list[str]:
        """Return the command that plays this in `folder`, every choice spelled out."""
        words = ["jitrl", "run", self.world]
        for name in ("agent", "preset", "seed", *_LIMITS):
            if (limit := getattr(self, name)) is not None:
                words += [f"--{name}", str(limit)]
        for option, held in (("--set", self.overrides), ("--option", self.options)):
            for name, value in held.items():
                words += [option, f"{name}={json.dumps(value)}"]
        for given in fields(self)[len(_FIRST) :]:
            value = getattr(self, given.name)
            if value != given.default and given.name not in ("options", "part"):
                option = "--" + _OPTIONS.get(given.name, given.name.replace("_", "-"))
                words += [option] if value is True else [option, str(value)]
        return [*words, "--out", str(folder)]


def usual(world: str, **given: Any) -> Configuration:
    """Return the configuration with what is usual where nothing is given, or None.

    Preset and steps are the world's own; base logits come from labels, if there is a model; what is
    learned from is the judge's scores, if there is one; a judge, or a grader, of the same back end
    is served where the model is.
    """
    held = {name: value for name, value in given.items() if value is not None}
    own = defaults(world)
    model, judge = held.get("model"), held.get("judge_model")
    held.setdefault("preset", own.preset)
    held.setdefault("steps", own.steps)
    held.setdefault("scores", "prior" if model is None else "labels")
    held.setdefault("credit", "reward" if judge is None else "judged")
    for name, other in (("judge_url", judge), ("grader_url", held.get("grader"))):
        if model and other and model.partition("/")[0] == other.partition("/")[0]:
            held.setdefault(name, held.get("base_url"))
    return Configuration(world, **held)


_WORDS = {"None": None, "True": True, "False": False}


def parse_overrides(settings: Iterable[str], option: str = "--set") -> dict[str, object]:
    """Turn "NAME=VALUE" texts into values: VALUE is JSON, a word of Python's, or else a text.

    option  that gave them, for what is raised

    Raises InvalidValue for a setting without "=", or one that is given twice.

    >>> parse_overrides(["beta=5", "kl_budget=null", "k=None", "k_counts=steps"])
    {'beta': 5, 'kl_budget': None, 'k': None, 'k_counts': 'steps'}
    """
    result: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InvalidValue(option, setting, "must be NAME=VALUE, such as beta=5")
        if name in result:
            raise InvalidValue(option, setting, f"must give {name} once")
        try:
            result[name] = json.loads(text)
        except (ValueError, RecursionError):
            result[name] = _WORDS.get(text, text)
    return result


def resolve(name: str, overrides: Mapping[str, object]) -> Preset:
    """Return a preset with overrides given as JSON values applied; raises InvalidValue."""
    return preset(name, **{key: _python(key, value) for key, value in overrides.items()})


def _python(name: str, value: object) -> object:
    """Return a hyper-parameter as a preset takes it, from its JSON value."""
    if name in ("estimator", "name"):
        raise InvalidValue("hyper-parameter", name, "cannot be set: choose another preset")
    if name in _RAMPS and isinstance(value, list):
        if len(value) != 3:
            raise InvalidValue(name, value, "must be a number, or [start, end, over how many]")
        return Ramp(*value)
    if name == "fields":
        rule = 'must be a list such as [{"name": "room", "weight": 1, "n": 4}]'
        try:
            return tuple(Field(**given) for given in cast("list[dict[str, Any]]", value))
        except TypeError as error:
            raise InvalidValue(name, value, rule) from error
    return value
