"""An episode as a line of JSON: the same to the last bit, or refused by name."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack_kit import episodes, finite
from sqlite_kit import episode, step

from jitrl.errors import InvalidValue
from jitrl.memory.packs.codec import dumps, loads
from jitrl.records import State


@given(episodes(finite))
def test_an_episode_comes_back_as_it_was(told):
    line = dumps(told)
    assert "\n" not in line
    assert loads(line) == loads(line.encode()) == told
    assert dumps(loads(line)) == line


@given(finite | st.sampled_from([-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]))
def test_floats_come_back_to_the_last_bit(x):
    (back,) = loads(dumps(episode("e", step(reward=x, before={"a": x}, judged=x)))).steps
    for found in (back.reward, back.before["a"], back.judged):
        assert struct.pack("d", found) == struct.pack("d", x)


def test_names_keep_their_order():
    (back,) = loads(dumps(episode("e", step(before={"z": 0.5, "a": 0.25, "m": 0.25})))).steps
    assert list(back.before) == ["z", "a", "m"]


GOOD = json.loads(dumps(episode("e", step(0, judged=0.5), final_state=State(x="y"))))


def refused(line):
    with pytest.raises(InvalidValue) as caught:
        loads(line)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def changed(*place, to):
    """The line of a good episode with another value in one place."""
    value = json.loads(json.dumps(GOOD))
    held = value
    for key in place[:-1]:
        held = held[key]
    held[place[-1]] = to
    return json.dumps(value)


WRONG = {
    ("id",): [None, 3, ["e"], "\ud800"],
    ("task",): [None, 3, {}],
    ("steps",): [None, {}, "", 3],
    ("steps", 0): [None, [], "step"],
    ("terminated",): [None, 0, 1, "true"],
    ("final_state",): [[], "x", {"x": 1}, {"\udfff": "x"}],
    ("final_state", "x"): [None, 1, ["y"]],
    ("provenance",): [None, [], {"x": 1}],
    ("steps", 0, "state"): [None, [], {"x": None}],
    ("steps", 0, "action"): [None, 1, []],
    ("steps", 0, "reward"): [None, "1", True, [], {}, 10**400, float("nan"), float("inf")],
    ("steps", 0, "behaviour_logprob"): [None, "0", -float("inf"), False],
    ("steps", 0, "before"): [None, [], {"a": None}, {"a": "1"}, {"a": float("nan")}, {"a": True}],
    ("steps", 0, "after"): [None, 0.5, {"a": {}}],
    ("steps", 0, "changed"): [None, 0, "yes"],
    ("steps", 0, "preset"): [None, 1],
    ("steps", 0, "seed"): [None, -1, 2**63, 1.0, True, "1"],
    ("steps", 0, "judged"): ["1", True, [], float("nan")],
    ("more",): [1],
    ("steps", 0, "more"): [1],
}


@pytest.mark.parametrize("place", WRONG, ids=str)
def test_a_value_of_another_type_is_refused_and_the_place_named(place):
    for value in WRONG[place]:
        assert str(place[-1]) in refused(changed(*place, to=value))


@pytest.mark.parametrize("name", GOOD)
def test_a_key_that_is_missing_is_refused(name):
    assert name in refused(json.dumps({key: GOOD[key] for key in GOOD if key != name}))


@pytest.mark.parametrize("name", GOOD["steps"][0])
def test_a_key_that_is_missing_in_a_step_is_refused(name):
    less = {key: value for key, value in GOOD["steps"][0].items() if key != name}
    message = refused(changed("steps", 0, to=less))
    assert name in message
    assert "steps[0]" in message


@pytest.mark.parametrize(
    "line",
    [
        *("", "x", "[]", "3", "null", "{}", "[" * 10**6, '{"id":' * 10**6, "9" * 10**4, '"e"'),
        *(b"\xff", b"\xef\xbb\xbf{}", "{}\n{}", json.dumps(GOOD) + "x", b"\0", "{'id': 1}"),
        json.dumps(GOOD).replace('"id"', '"id": "f", "id"'),
        json.dumps(GOOD).replace('"reward"', '"reward": 1, "reward"'),
        json.dumps(GOOD).replace('"reward": 1.0', '"reward": 1e999'),
        json.dumps(GOOD).replace('"reward": 1.0', f'"reward": {"9" * 10**4}'),
        json.dumps(GOOD).replace('"reward": 1.0', '"reward": NaN'),
        json.dumps(GOOD).encode("utf-16"),
    ],
    ids=range(22),
)
def test_what_is_no_strict_json_of_an_episode_is_refused(line):
    refused(line)


def test_a_long_name_does_not_make_a_long_message():
    refused(changed("provenance", to={"n" * 10**5: 3}))
    refused(changed("provenance", to={"n": ["v" * 10**5]}))
    refused(changed("n" * 10**5, to=1))


@pytest.mark.parametrize(
    "bad",
    [
        {"reward": float("nan")},
        {"judged": float("inf")},
        {"before": {"a": float("nan")}},
        {"after": None},
        {"action": "\ud800"},
        {"action": None},
        {"seed": 2**63},
        {"seed": -1},
        {"state": {"x": 1}},
    ],
    ids=str,
)
def test_what_could_not_be_read_again_is_not_written(bad):
    with pytest.raises(InvalidValue, match=r"steps\[1\]"):
        dumps(episode("e", step(0), step(1, **bad)))
