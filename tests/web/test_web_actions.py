"""The language of actions against BrowserGym's own functions: names, parameters, defaults."""

from __future__ import annotations

import inspect

import pytest
from browsergym.core.action import functions
from browsergym.core.action.functions import check, uncheck
from browsergym.core.action.highlevel import HighLevelActionSet

from jitrl.worlds.browser.language import ACTIONS, Text, parse

SUBSETS = ["chat", "infeas", "bid", "coord", "nav", "tab", "custom"]
THEIRS = HighLevelActionSet(SUBSETS, custom_actions=[check, uncheck]).action_set
KINDS = {
    str: "text",
    float: "number",
    int: "number",
    bool: "flag",
    str | list[str]: "texts",
}


def test_every_action_of_browsergym_is_there_and_no_other() -> None:
    assert set(ACTIONS) == set(THEIRS)


def plain(value: object) -> object:
    if isinstance(value, Text):
        return value.literal
    return value


@pytest.mark.parametrize("name", ACTIONS)
def test_the_parameters_of_an_action_are_browsergyms(name: str) -> None:
    theirs = inspect.signature(getattr(functions, name), eval_str=True).parameters
    assert [p.name for p in ACTIONS[name]] == list(theirs)
    for parameter, their in zip(ACTIONS[name], theirs.values(), strict=True):
        if parameter.optional:
            assert plain(parameter.default) == their.default
        else:
            assert their.default is inspect.Parameter.empty
        if parameter.name.endswith("bid"):
            assert parameter.kind == "element"
        elif str(their.annotation).startswith("list["):
            assert parameter.kind == "list"
        else:
            assert parameter.kind == KINDS.get(their.annotation, "text")


@pytest.mark.parametrize(
    "example",
    [example for name in ACTIONS for example in THEIRS[name].examples],
)
def test_browsergyms_own_examples_are_read(example: str) -> None:
    assert parse(example).name == example.partition("(")[0]
