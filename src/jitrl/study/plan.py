"""The plan of a study: which worlds, which arms, which seeds; from a TOML file to its cells. Pure.

    title = "Does memory help?"
    seeds = 5                     # 0 to 4; or a list, such as [3, 7]
    episodes = 30                 # whatever `jitrl run` takes, for all

    [[world]]
    name = "jericho:detective"    # and whatever `jitrl run` takes, for this world

    [[arm]]
    agent = "jitrl"               # and whatever `jitrl run` takes, for this arm
    set = { beta = 5 }

What an arm says comes before what its world says, and that before what the plan says. A cell is one
world, one arm and one seed: a run with a folder of its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

from jitrl.bench.configuration import Configuration, usual
from jitrl.checks import count, finite
from jitrl.errors import BadPlan, InvalidValue, JitrlError, UnknownName

_RENAMED = {"set": "overrides", "option": "options"}  # as `jitrl run` calls them
_OWN = ("world", "agent", "seed", "start", "part", "workers")  # said otherwise, or not at all
_ANNOTATED = {field.name: str(field.type) for field in fields(Configuration)}
_FREE = frozenset((_ANNOTATED.keys() | _RENAMED.keys()) - {*_OWN, *_RENAMED.values()})
_PLAN = _FREE - {"frozen"} | {"title", "seeds", "world", "arm", "paper"}
_WORLD = _FREE | {"name", "label", "start", "replays", "reorders"}
_ARM = _FREE - {"frozen"} | {"agent", "label", "only"}
_MERGED = ("overrides", "options")  # what several levels say of these goes together
_TYPES = {"str": str, "int": int, "bool": bool, "Signal": str, "Order": str}
_TYPES |= {"Mapping[str, object]": dict}
_SAID = {str: "a text", int: "a whole number", bool: "true or false", dict: "a table"}
_LONGEST = 60  # characters of a label in the name of a folder


@dataclass(frozen=True)
class Stage:
    """A world of a study, with its place in it.

    label     names it in the study
    start     label of the world whose memory, of the same arm and seed, it begins with; or None
    frozen    nothing is added to that memory
    replays   label of the world whose tasks it plays again, to see what was forgotten; or None
    reorders  label of the world whose tasks it plays in another order; or None
    """

    label: str
    start: str | None = None
    frozen: bool = False
    replays: str | None = None
    reorders: str | None = None


@dataclass(frozen=True, eq=False)
class Place:
    """A run's place in a study, and its folder, relative to the study's."""

    world: str
    arm: str
    seed: int
    folder: Path


@dataclass(frozen=True, eq=False)
class Cell(Place):
    """One run of a study.

    after  folder of the cell that must be finished before, relative to the study's; None: none
    """

    configuration: Configuration
    after: Path | None = None


@dataclass(frozen=True)
class Outline:
    """What a plan tells of a study, without a look at its worlds: enough to read what was played.

    worlds, arms  labels, in their order; the first arm is what the others are compared with
    places        of its runs, in the order of worlds, arms, seeds
    paper         label of the world -> label of the arm -> the figure of the paper, if it has one
    text          the file, to the byte
    """

    title: str
    worlds: tuple[Stage, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    places: tuple[Place, ...]
    paper: Mapping[str, Mapping[str, float]]
    text: str

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.arms[0]


@dataclass(frozen=True)
class Plan(Outline):
    """A study as it is planned: its outline, and the runs."""

    cells: tuple[Cell, ...]


def read(path: Path, games: Path | None = None) -> Plan:
    """Return the plan in a file; raises InvalidValue for one that cannot be."""
    return parse(text_of(path), str(path), games)


def text_of(path: Path) -> str:
    """Return the text of a plan's file; raises InvalidValue where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(
            "plan", str(path), f"cannot be read ({error}): name a TOML file"
        ) from error


def outline(text: str, name: str = "plan") -> Outline:
    """Return what a TOML text tells of a study; `name` is that of the file, for what is raised.

    Raises InvalidValue or BadPlan, naming the table that is wrong.
    """
    return _outline(_told(text, name), text, name)


def _outline(told: Mapping[str, Any], text: str, name: str) -> Outline:
    worlds, arms = told["world"], told["arm"]
    stages, labels = _stages(worlds, name), _labels(arms, "agent", f"{name}: arms")
    for label, arm in zip(labels, arms, strict=True):
        _check_only(label, arm.get("only", []), [stage.label for stage in stages])
    seeds = _seeds(told.get("seeds", 1), name)
    places = [
        Place(stage.label, label, seed, _folder(stage.label, label, seed))
        for stage in stages
        for label, arm in zip(labels, arms, strict=True)
        if stage.label in arm.get("only", [stage.label])
        for seed in seeds
    ]
    return Outline(
        _text(told.get("title", Path(name).stem), "title"),
        stages,
        labels,
        seeds,
        tuple(places),
        _paper(told.get("paper", {}), [s.label for s in stages], labels),
        text,
    )


def parse(text: str, name: str = "plan", games: Path | None = None) -> Plan:
    """Return the plan that a TOML text tells.

    name   of the file, for what is raised
    games  folder of story files; None: as the worlds find them

    Raises InvalidValue or BadPlan, naming the table that is wrong.
    """
    told = _told(text, name)
    found = _outline(told, text, name)
    shared = {key: value for key, value in told.items() if key in _FREE}
    worlds = {
        stage.label: (stage, world)
        for stage, world in zip(found.worlds, told["world"], strict=True)
    }
    arms = dict(zip(found.arms, told["arm"], strict=True))
    cells = [
        cell
        for (label, arm), places in groupby(found.places, lambda place: (place.world, place.arm))
        for cell in _cells(*worlds[label], arms[arm], shared, list(places), games)
    ]
    given = {field.name: getattr(found, field.name) for field in fields(found)}
    return Plan(**given, cells=_chained(cells, name))


def _told(text: str, name: str) -> dict[str, Any]:
    """Return the tables of a plan, whose words are known."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue("plan", name, f"is no TOML: {error}") from error
    _known(told, _PLAN, name)
    for kind, words in (("world", _WORLD), ("arm", _ARM)):
        for number, table in enumerate(_tables(told, kind, name), 1):
            _known(table, words, f"{name}, {kind} {number}")
    return told


def _cells(
    stage: Stage,
    world: Mapping[str, Any],
    arm: Mapping[str, Any],
    shared: Mapping[str, Any],
    places: Sequence[Place],
    games: Path | None,
) -> list[Cell]:
    """Return the cells of one world and one arm, in the order of seeds."""
    levels = [{k: v for k, v in level.items() if k in _FREE} for level in (shared, world, arm)]
    given: dict[str, Any] = {"agent": arm["agent"]}
    if games is not None:
        given["games"] = str(games)
    for level in levels:
        for key, value in level.items():
            name = _RENAMED.get(key, key)
            _check_type(name, value)
            given[name] = {**given.get(name, {}), **value} if name in _MERGED else value
    frozen = given.pop("frozen", False)
    try:
        plain = usual(world["name"], **given)
    except JitrlError as error:
        raise BadPlan(f"{stage.label}, {places[0].arm}: {error}") from error
    carries = plain.stores or plain.arm.carrier is not None
    result = []
    for place in places:
        after = None
        configuration = replace(plain, seed=place.seed)
        if stage.start is not None and carries:
            after = _folder(stage.start, place.arm, place.seed)
            configuration = replace(configuration, start=str(after), frozen=frozen)
        told = (place.world, place.arm, place.seed, place.folder)
        result.append(Cell(*told, configuration, after))
    return result


def _stages(worlds: Sequence[Mapping[str, Any]], name: str) -> tuple[Stage, ...]:
    """Return what the worlds are to each other; each may only point at an earlier one."""
    labels = _labels(worlds, "name", f"{name}: worlds")
    result = []
    for number, (label, world) in enumerate(zip(labels, worlds, strict=True)):
        for key in ("start", "replays", "reorders"):
            if (other := world.get(key)) is not None and other not in labels[:number]:
                raise BadPlan(f"{label}: {key} must be the label of an earlier world: {other!r}")
        if world.get("frozen") and "start" not in world:
            raise BadPlan(f"{label}: frozen needs a start: the label of the world it stands on")
        frozen = bool(world.get("frozen", False))
        result.append(
            Stage(label, world.get("start"), frozen, world.get("replays"), world.get("reorders"))
        )
    return tuple(result)


def _check_only(arm: str, only: object, worlds: Sequence[str]) -> None:
    if not isinstance(only, list):
        raise BadPlan(f"{arm}: only must be a list of labels of worlds: {only!r}")
    for label in only:
        if label not in worlds:
            raise BadPlan(f"{arm}: only names {label!r}, which is no world of the plan")


def _chained(cells: Sequence[Cell], name: str) -> tuple[Cell, ...]:
    """Return the cells; raises BadPlan where one begins with a cell that is not in the plan."""
    folders = [cell.folder for cell in cells]
    for cell in cells:
        if folders.count(cell.folder) > 1:
            raise BadPlan(
                f"{name}: two cells have the folder {str(cell.folder)!r}: label them apart"
            )
        if cell.after is not None and cell.after not in folders:
            raise BadPlan(
                f"{cell.world}, {cell.arm}: it begins with what is not played: see `only`"
            )
    return tuple(cells)


def _labels(tables: Sequence[Mapping[str, Any]], key: str, name: str) -> tuple[str, ...]:
    for table in tables:
        if not isinstance(table.get(key), str):
            raise BadPlan(f"{name}: each needs {key}, which is a text: {table.get(key)!r}")
    labels = tuple(_text(table.get("label", table[key]), "label") for table in tables)
    for label in labels:
        if labels.count(label) > 1:
            raise BadPlan(f"{name}: two are called {label!r}: give one another label")
    return labels


def _tables(told: Mapping[str, Any], kind: str, name: str) -> list[Mapping[str, Any]]:
    tables = told.get(kind, [])
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise BadPlan(f"{name}: it needs at least one [[{kind}]]")
    return tables


def _known(table: Mapping[str, Any], names: frozenset[str], where: str) -> None:
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, 1)
            meant = f"did you mean {near[0]}" if near else f"it may have {', '.join(sorted(names))}"
            raise BadPlan(f"{where}: there is no {key!r}: {meant}")


def _seeds(given: object, name: str) -> tuple[int, ...]:
    if isinstance(given, list):
        seeds = [count("seeds", seed) for seed in given]
        if not seeds or len(set(seeds)) < len(seeds):
            raise InvalidValue("seeds", given, f"of {name} must be at least one, none twice")
        return tuple(seeds)
    return tuple(range(count("seeds", given, least=1)))


def _paper(
    given: object, worlds: Sequence[str], arms: Sequence[str]
) -> Mapping[str, Mapping[str, float]]:
    """Return world -> arm -> figure, checked."""
    if not isinstance(given, dict):
        raise InvalidValue("paper", given, "must be a table: world, arm, figure")
    for world, figures in given.items():
        if world not in worlds:
            raise UnknownName("world of the paper", world, list(worlds))
        if not isinstance(figures, dict):
            raise InvalidValue("paper", figures, "must be a table: arm, figure")
        for arm, figure in figures.items():
            if arm not in arms:
                raise UnknownName("arm of the paper", arm, list(arms))
            finite("figure of the paper", figure)
    return given


def _check_type(name: str, value: object) -> None:
    """Raise InvalidValue for a value of another type than the configuration's."""
    allowed = [_TYPES[word] for word in _ANNOTATED[name].split(" | ") if word in _TYPES]
    if not any(type(value) is kind for kind in allowed):
        told = " or ".join(_SAID[kind] for kind in allowed)
        raise InvalidValue(name, value, f"must be {told}")


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidValue(name, value, "must be a text, and not empty")
    return value


def _folder(world: str, arm: str, seed: int) -> Path:
    """Return the folder of a run, relative to the study's."""
    return Path("runs", _name(world), f"{_name(arm)}-{seed}")


def _name(label: str) -> str:
    """Return a label as it names a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.")[:_LONGEST] or "-"
