"""The named settings are those of the method, and a wrong one is named."""

from __future__ import annotations

import json
import math
from dataclasses import fields as fields_of
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import InvalidValue, JitrlError, UnknownName
from jitrl.estimators import Shrunken
from jitrl.presets import PRESETS, Preset, Ramp, describe, preset
from jitrl.released import Released
from jitrl.similarity import Field
from jitrl.update import Paper

# --- constants


def test_there_are_six_presets_each_under_its_own_name():
    web = {"web", "paper-web", "released-web"}
    assert set(PRESETS) == {"default", "paper", "released"} | web
    for name, chosen in PRESETS.items():
        assert chosen.name == name
        assert preset(name) == chosen


def test_default_is_the_sound_one():
    default = PRESETS["default"]
    assert isinstance(default.estimator, Shrunken)
    assert (default.rule, default.temperature, default.zero_future) == ("exact", 1.0, "counts")
    assert (default.k_counts, default.join, default.join_limit) == ("states", "never", 3)
    assert default.kl_budget is None
    assert default.estimator.min_evidence >= 1


def test_paper_has_the_papers_constants_for_jericho():
    paper = PRESETS["paper"]
    assert paper.estimator == Paper(explore=0.65, alpha=5.0)
    assert (paper.rule, paper.temperature, paper.gamma) == ("exact", 0.8, 0.5)
    assert (paper.k, paper.k_counts, paper.keep_above) == (10, "steps", None)
    assert (paper.zero_future, paper.join, paper.join_limit) == ("counts", "lowest", None)
    assert paper.threshold == Ramp(0.95, 0.85, 20)
    assert paper.kl_budget is None


def test_released_has_the_constants_of_the_jericho_code():
    released = PRESETS["released"]
    assert released.estimator == Released(explore=None, alpha=1.0)
    assert (released.rule, released.zero_future) == ("greedy-sum", "repeats")
    assert (released.gamma, released.k, released.k_counts) == (0.5, 10, "steps")
    assert released.beta == Ramp(1.0, 1.5, 50)
    assert released.threshold == Ramp(0.95, 0.85, 20)


def test_web_is_the_sound_one_with_the_fields_of_web_pages():
    web, default = PRESETS["web"], PRESETS["default"]
    assert web.fields == PRESETS["paper-web"].fields == PRESETS["released-web"].fields
    changed = {"name": "default", "fields": default.fields, "gamma": default.gamma}
    assert replace(web, **changed, threshold=default.threshold) == default
    assert (web.gamma, web.threshold) == (0.9, 0.8)


def test_paper_web_has_the_papers_constants_for_webarena():
    paper = PRESETS["paper-web"]
    assert paper.estimator == Paper(explore=0.05, alpha=5.0)
    assert (paper.rule, paper.temperature, paper.gamma) == ("exact", 0.8, 0.1)
    assert (paper.k, paper.threshold, paper.join) == (10, Ramp(0.8, 0.7, 20), "lowest")


def test_released_web_has_the_constants_of_the_webarena_code():
    web = PRESETS["released-web"]
    assert web.estimator == Released(explore=0.05, alpha=1.0)
    assert (web.rule, web.zero_future) == ("greedy-sum", "repeats")
    assert (web.gamma, web.k, web.beta) == (0.1, None, 1.0)
    assert web.threshold == Ramp(0.8, 0.7, 20)
    specified = {field.name: field for field in web.fields}
    assert set(specified) == {"url", "history", "task"}
    assert specified["url"].exact
    assert specified["url"].weight == 0.0
    assert (specified["history"].weight, specified["task"].weight) == (0.7, 0.3)
    assert not specified["history"].multiset
    assert not specified["task"].multiset
    assert 0.27 < specified["task"].minimum < 0.27 + 1e-12  # the task alone: more than .27


@pytest.mark.parametrize("name", ["default", "paper", "released"])
def test_games_are_compared_by_the_room_in_4_grams_and_by_what_led_there(name):
    specified = {field.name: field for field in PRESETS[name].fields}
    assert set(specified) == {"room", "inventory", "history"}
    room = 0.75 if name == "paper" else 0.7
    assert (specified["room"].weight, specified["room"].n) == (room, 4)
    assert specified["inventory"].weight + specified["history"].weight == pytest.approx(1 - room)
    assert specified["history"].n == specified["inventory"].n == 1
    assert all(field.multiset for field in specified.values())


@given(st.floats(-10, 10), st.floats(-10, 10), st.integers(1, 100), st.lists(st.integers(0, 200)))
def test_a_ramp_is_straight_and_then_level(start, end, over, counts):
    ramp = Ramp(start, end, over)
    assert ramp.at(0) == start
    for count in [*counts, over]:
        share = min(count, over) / over
        assert ramp.at(count) == pytest.approx(start * (1 - share) + end * share, abs=1e-12)


# --- overrides

OVERRIDES = {
    "beta": [0.0, 2, 7.5, Ramp(1.0, 2.0, 5)],
    "kl_budget": [0.0, 0.25, None],
    "temperature": [0.1, 1, 5.0],
    "gamma": [0, 0.9, 1.0],
    "fields": [(Field("page", 2.0, n=3),)],
    "threshold": [0.0, 1, 0.5, Ramp(0.9, 0.5, 3)],
    "k": [1, 100, None],
    "k_counts": ["states", "steps"],
    "keep_above": [0.0, 0.9, None],
    "per_action": [1, 100, None],
    "source_share": [0.1, 1, None],
    "join": ["never", "lowest", "zero", "zero-if-positive"],
    "join_limit": [0, 5, None],
    "join_share": [0.1, 1.0],
    "zero_future": ["counts", "repeats"],
}
ESTIMATORS = {
    "default": {"pseudo_count": [0.5, 10], "bonus": [0.0, 2], "min_evidence": [1, 9]},
    "paper": {"explore": [0.0, 1], "alpha": [0.0, 1.5]},
    "released": {"explore": [0.3, None], "alpha": [2.0]},
    "released-web": {"explore": [0.3, None], "alpha": [2.0]},
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("key", OVERRIDES)
def test_every_hyper_parameter_is_overridden_by_its_name_and_nothing_else_moves(name, key):
    for value in OVERRIDES[key]:
        if key == "kl_budget" and value is not None and PRESETS[name].rule != "exact":
            continue
        assert preset(name, **{key: value}) == replace(PRESETS[name], **{key: value})


@pytest.mark.parametrize("rule", ["exact", "greedy-sum"])
def test_the_rule_is_overridden_by_its_name(rule):
    assert preset("default", rule=rule).rule == rule


def test_every_field_of_a_preset_is_covered_here():
    assert {f.name for f in fields_of(Preset)} == {*OVERRIDES, "name", "estimator", "rule"}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(n, k, v) for n, keys in ESTIMATORS.items() for k, values in keys.items() for v in values],
)
def test_settings_of_the_estimator_are_overridden_by_name_as_well(name, key, value):
    chosen = preset(name, **{key: value})
    base = PRESETS[name]
    assert chosen == replace(base, estimator=replace(base.estimator, **{key: value}))


@pytest.mark.parametrize(("name", "keys"), ESTIMATORS.items())
def test_every_setting_of_an_estimator_is_covered_here(name, keys):
    assert {f.name for f in fields_of(PRESETS[name].estimator)} == set(keys)


def test_another_estimator_comes_with_its_own_settings():
    chosen = preset("default", estimator=Paper(), alpha=2.0)
    assert chosen.estimator == Paper(explore=0.65, alpha=2.0)
    with pytest.raises(UnknownName, match="pseudo_count"):
        preset("default", estimator=Paper(), pseudo_count=2.0)


def test_fields_may_be_any_sequence():
    assert preset("default", fields=[Field("a")]).fields == (Field("a"),)
    assert preset("default", fields=[]).fields == ()


def test_a_preset_made_elsewhere_is_taken_and_overridden_too():
    mine = replace(PRESETS["paper"], name="mine", beta=3.0)
    assert preset(mine) is not PRESETS["paper"]
    assert preset(mine, gamma=0.2) == replace(mine, gamma=0.2)
    with pytest.raises(InvalidValue, match="gamma"):
        preset(replace(mine, gamma=2.0))


def test_an_override_leaves_the_named_preset_as_it_was():
    before = PRESETS["default"]
    preset("default", beta=99.0, pseudo_count=7.0)
    assert PRESETS["default"] is before
    assert before.beta != 99.0


@pytest.mark.parametrize("name", PRESETS)
def test_a_description_is_json_and_tells_settings_apart(name):
    text = json.dumps(describe(preset(name)), allow_nan=False)
    assert name in text
    assert type(PRESETS[name].estimator).__name__ in text
    assert set(describe(preset(name))) == {f.name for f in fields_of(Preset)}
    assert json.dumps(describe(preset(name, gamma=0.123)), allow_nan=False) != text
    assert (
        json.dumps(describe(preset(name, alpha=0.123)) if name not in ("default", "web") else None)
        != text
    )


# --- wrong names


@pytest.mark.parametrize("name", ["papr", "", "Default", None, 3])
def test_an_unknown_preset_is_named_with_the_known_ones(name):
    with pytest.raises(UnknownName) as caught:
        preset(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in PRESETS)
    for kind in (JitrlError, ValueError, KeyError):
        assert isinstance(caught.value, kind)


@pytest.mark.parametrize("key", ["betta", "lambda_", "Beta", "n", "weight", "over", "name"])
def test_an_unknown_hyper_parameter_is_named_with_the_known_ones(key):
    with pytest.raises(UnknownName) as caught:
        preset("default", **{key: 1})
    assert repr(key) in str(caught.value)
    assert "beta" in str(caught.value)
    assert "pseudo_count" in str(caught.value)


def test_a_setting_of_another_presets_estimator_is_unknown():
    with pytest.raises(UnknownName, match="alpha"):
        preset("default", alpha=1.0)
    with pytest.raises(UnknownName, match="pseudo_count"):
        preset("paper", pseudo_count=1.0)


# --- wrong values

NO_NUMBER = [math.nan, math.inf, -math.inf, True, False, "1", [1.0], 1j, 10**400]
WRONG = {
    ("default", "beta"): [*NO_NUMBER, -1e-9, None, (1.0, 1.5, 50)],
    ("default", "kl_budget"): [*NO_NUMBER, -1e-9],
    ("default", "temperature"): [*NO_NUMBER, 0.0, -1.0, None],
    ("default", "gamma"): [*NO_NUMBER, -0.1, 1.1, None],
    ("default", "threshold"): [*NO_NUMBER, -0.1, 1.1, None],
    ("default", "keep_above"): [*NO_NUMBER, -0.1, 1.1],
    ("default", "source_share"): [*NO_NUMBER, 0.0, -0.1, 1.1],
    ("default", "join_share"): [*NO_NUMBER, 0.0, -0.1, 1.1, None],
    ("default", "k"): [0, -1, 1.5, 2.0, math.nan, math.inf, True, "3"],
    ("default", "join_limit"): [-1, 1.5, math.nan, True, "3"],
    ("default", "rule"): ["softmax", "", None, 1, True],
    ("default", "zero_future"): ["repeat", None, 0],
    ("default", "k_counts"): ["state", None, 10],
    ("default", "join"): ["always", None, False],
    ("default", "pseudo_count"): [*NO_NUMBER, 0.0, -1.0, None],
    ("default", "bonus"): [*NO_NUMBER, -0.1, None],
    ("default", "min_evidence"): [0, -1, 1.5, math.nan, True, "2", None],
    ("paper", "explore"): [*NO_NUMBER, -0.1, 1.1],
    ("paper", "alpha"): [*NO_NUMBER, -0.1, None],
    ("released", "explore"): [*NO_NUMBER, -0.1, 1.1],
    ("released", "alpha"): [*NO_NUMBER, -0.1, None],
    ("default", "fields"): [[None], ["room"], "room", [("room", 1.0)], None, 5, Field("room")],
    ("default", "estimator"): [None, "shrunken", 1.0, object(), Shrunken],
}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(*where, value) for where, values in WRONG.items() for value in values],
    ids=lambda value: "huge" if value == 10**400 else None,
)
def test_a_value_out_of_range_is_named_in_one_line_with_the_value(name, key, value):
    with pytest.raises(InvalidValue) as caught:
        preset(name, **{key: value})
    message = str(caught.value)
    assert message.startswith(key)
    assert "must" in message
    assert "\n" not in message
    assert isinstance(caught.value, JitrlError)
    assert isinstance(caught.value, ValueError)
    if key not in ("fields", "estimator"):
        assert repr(value)[:100] in message


@pytest.mark.parametrize("key", ["beta", "threshold"])
@pytest.mark.parametrize(
    "ramp",
    [
        Ramp(-1.0, 0.5, 10),
        Ramp(0.5, math.nan, 10),
        Ramp(math.inf, 0.5, 10),
        Ramp("0", 0.5, 10),
        Ramp(0.5, 1.0, 0),
        Ramp(0.5, 1.0, -5),
        Ramp(0.5, 1.0, 2.5),
        Ramp(0.5, 1.0, True),
    ],
)
def test_a_ramp_is_checked_at_both_ends_and_in_its_length(key, ramp):
    with pytest.raises(InvalidValue, match="must"):
        preset("default", **{key: ramp})


@pytest.mark.parametrize(
    "key",
    [
        "gamma",
        "temperature",
        "kl_budget",
        "k",
        "keep_above",
        "source_share",
        "join_limit",
        "join_share",
        "pseudo_count",
        "bonus",
        "min_evidence",
    ],
)
def test_only_beta_and_the_threshold_may_be_ramps(key):
    ends = (1, 2) if key in ("k", "join_limit", "min_evidence") else (0.5, 1.0)
    with pytest.raises(InvalidValue, match=key):
        preset("default", **{key: Ramp(*ends, 10)})


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (Field("a", weight=-1.0), "weight"),
        (Field("a", weight=math.nan), "weight"),
        (Field("a", weight=math.inf), "weight"),
        (Field("a", weight=True), "weight"),
        (Field("a", weight="1"), "weight"),
        (Field("a", n=0), "n "),
        (Field("a", n=-1), "n "),
        (Field("a", n=1.5), "n "),
        (Field("a", n=True), "n "),
        (Field("a", minimum=1.5), "minimum"),
        (Field("a", minimum=-0.1), "minimum"),
        (Field("a", minimum=math.nan), "minimum"),
        (Field("a", minimum="0.2"), "minimum"),
    ],
)
def test_a_wrong_field_is_refused(field, says):
    with pytest.raises(InvalidValue) as caught:
        preset("default", fields=[Field("fine"), field])
    assert str(caught.value).startswith(says)


def test_a_field_is_named_once():
    with pytest.raises(InvalidValue, match="each of another name"):
        preset("default", fields=[Field("a"), Field("b"), Field("a")])


@pytest.mark.parametrize("name", ["released", "released-web"])
def test_a_kl_budget_has_no_meaning_for_a_greedy_rule(name):
    with pytest.raises(InvalidValue, match="kl_budget"):
        preset(name, kl_budget=0.1)
