from __future__ import annotations

from pathlib import Path

import pytest

from jitrl.bench.configuration import Configuration, parse_overrides
from jitrl.errors import InvalidValue, UnknownName
from jitrl.presets import Ramp
from jitrl.similarity import Field


def test_settings_are_json_or_else_text() -> None:
    settings = ["beta=5", "kl_budget=null", "k_counts=steps", "explore=0.5", 'join="zero"']
    assert parse_overrides(settings) == {
        "beta": 5,
        "kl_budget": None,
        "k_counts": "steps",
        "explore": 0.5,
        "join": "zero",
    }


@pytest.mark.parametrize("setting", ["beta", "=5", ""])
def test_a_setting_without_a_name_and_a_value_is_refused(setting: str) -> None:
    with pytest.raises(InvalidValue, match="NAME=VALUE"):
        parse_overrides([setting])


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(InvalidValue, match="beta once"):
        parse_overrides(["beta=5", "beta=6"])


def test_a_list_of_three_makes_a_value_move() -> None:
    resolved = Configuration("w:1", overrides={"threshold": [0.9, 0.8, 10]}).resolved()
    assert resolved.threshold == Ramp(0.9, 0.8, 10)


def test_fields_can_be_given_as_objects() -> None:
    resolved = Configuration("w:1", overrides={"fields": [{"name": "room", "n": 2}]}).resolved()
    assert resolved.fields == (Field("room", n=2),)


@pytest.mark.parametrize(
    "overrides",
    [
        {"beta": "much"},
        {"beta": [1, 2]},
        {"beta": True},
        {"beta": float("nan")},
        {"beta": -1},
        {"gamma": 2},
        {"k": 0},
        {"threshold": [0.9, 0.8, 0]},
        {"estimator": "Paper"},
        {"name": "x"},
        {"fields": 3},
        {"fields": [3]},
        {"fields": [{"title": "room"}]},
    ],
)
def test_a_hyper_parameter_that_cannot_be_is_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        Configuration("w:1", overrides=overrides)


@pytest.mark.parametrize("name", ["episodes", "steps", "proposals"])
@pytest.mark.parametrize("value", [0, -3, 1.5, True])
def test_counts_must_be_whole_and_positive(name: str, value: object) -> None:
    with pytest.raises(InvalidValue, match=name):
        Configuration("w:1", **{name: value})  # type: ignore[arg-type]


def test_unknown_names_are_told_with_those_that_are_known() -> None:
    with pytest.raises(UnknownName, match=r"jitrl.*static"):
        Configuration("w:1", agent="genius")
    with pytest.raises(UnknownName, match="default, paper"):
        Configuration("w:1", preset="best")
    with pytest.raises(UnknownName, match="beta"):
        Configuration("w:1", overrides={"betta": 1})


def test_a_static_agent_has_no_memory_to_share() -> None:
    with pytest.raises(InvalidValue, match="memory"):
        Configuration("w:1", agent="static", memory="m.db")


def test_the_folder_is_named_after_the_run_and_holds_no_odd_character() -> None:
    assert Configuration("textworld:1", seed=4).folder() == Path("runs/textworld-1-jitrl-default-4")
    assert Configuration("w:../../x y").folder().parts[:-1] == ("runs",)


def test_a_configuration_survives_json() -> None:
    configuration = Configuration("w:1", overrides={"beta": [1, 2, 3]}, memory="m.db")
    assert Configuration.from_json(configuration.as_json()) == configuration


def test_the_command_spells_every_choice_out() -> None:
    command = Configuration("w:1", overrides={"beta": 5}, games="g").command(Path("out"))
    assert command[:3] == ["jitrl", "run", "w:1"]
    assert command[command.index("--set") :][:2] == ["--set", "beta=5"]
    assert command[-4:] == ["--games", "g", "--out", "out"]
