"""The nouns: what they hold, what they equal, how they print."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl import records
from jitrl.records import ActionValue, Candidate, Decision, Episode, Experience, State, Step, Values

fields = st.dictionaries(st.text(), st.text(), max_size=5)


@given(fields)
def test_a_state_reads_as_the_mapping_it_was_made_of(given_fields):
    state = State(**given_fields)
    assert dict(state) == given_fields
    assert len(state) == len(given_fields)
    assert set(state) == set(given_fields)
    assert all(state[name] == text for name, text in given_fields.items())
    assert state.get("no such field\0") is None
    assert State(**state) == state


@given(fields, st.randoms(use_true_random=False))
def test_states_are_equal_and_hash_equally_whatever_the_order_of_fields(given_fields, random):
    turned = list(given_fields.items())
    random.shuffle(turned)
    one, other = State(**given_fields), State(**dict(turned))
    assert one == other
    assert hash(one) == hash(other)
    assert list(one) == list(other) == sorted(given_fields)
    assert repr(one) == repr(other)


@given(fields, fields)
def test_states_with_different_fields_differ(one, other):
    assert (State(**one) == State(**other)) == (one == other)


def test_a_state_may_have_a_field_of_any_name():
    assert State(self="x", fields="y", items="z")["self"] == "x"


def test_a_state_cannot_be_changed():
    state = State(room="a")
    with pytest.raises(TypeError):
        state["room"] = "b"
    with pytest.raises(AttributeError):
        state.room = "b"


def test_a_state_prints_as_it_is_written():
    assert repr(State(room="Kitchen", bag="lamp's")) == """State(bag="lamp's", room='Kitchen')"""


def test_every_record_is_frozen():
    kinds = [kind for kind in vars(records).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) >= 9
    for kind in kinds:
        assert kind.__dataclass_params__.frozen, kind
    with pytest.raises(dataclasses.FrozenInstanceError):
        Candidate("north").logprob = 1.0


def test_a_candidate_without_a_log_probability_has_the_constant_zero():
    assert Candidate("north") == Candidate("north", 0.0)


def test_provenance_that_is_not_given_is_empty_and_read_only():
    for record in (
        Episode("e", "t", ()),
        Experience(1.0, State(), "n", 0.0, "e", 0, "t"),
    ):
        assert dict(record.provenance) == {}
        with pytest.raises(TypeError):
            record.provenance["k"] = "v"


def decision(**changes):
    plain = Decision(
        state=State(room="hall"),
        action="north",
        before={"north": 0.25, "open door": 0.75},
        after={"north": 0.625, "open door": 0.375},
        kl=0.3123,
        beta=1.75,
        temperature=0.8,
        values=Values(
            2.5,
            {
                "north": ActionValue(4.25, 3, 0.5, 0.667),
                "open door": ActionValue(1.5, 0, math.inf, -0.125),
            },
        ),
        neighbours=tuple(
            Experience(1.0, State(room="hall"), "north", 4.0, "e", t, "t") for t in range(3)
        ),
        joined=("open door",),
        abstained=False,
        changed=True,
        guarantee="prior",
    )
    return dataclasses.replace(plain, **changes)


def test_a_decision_prints_as_an_explanation():
    text = str(decision())
    for essential in ("'north'", "changed by memory", "3 similar steps", "V = 2.5"):
        assert essential in text
    for essential in ("beta = 1.75", "KL = 0.312", "T = 0.8", "prior"):
        assert essential in text
    north = next(line for line in text.splitlines() if line.rstrip().endswith(" north"))
    assert north.strip().startswith(">")
    for number in ("25.0%", "62.5%", "0.667", "4.25", "3"):
        assert number in north
    door = next(line for line in text.splitlines() if line.rstrip().endswith(" open door"))
    assert door.strip().startswith("+")
    for number in ("75.0%", "37.5%", "-0.125", "1.5", "0"):
        assert number in door
    assert text.index(" north\n") < text.index(" open door")  # the likeliest first
    assert "remembered from a similar state" in text


def test_a_decision_that_abstained_says_so():
    text = str(decision(abstained=True, changed=False, joined=(), values=decision().values))
    assert "the memory abstained (3 similar steps)" in text
    assert "as without memory" in text
    assert "remembered from" not in text


def test_the_value_of_an_action_is_read_by_its_name():
    values = decision().values
    assert values["north"].Q == 4.25
    with pytest.raises(KeyError):
        values["south"]


def test_the_behaviour_log_probability_is_that_of_the_policy_that_acted():
    assert decision().behaviour_logprob == math.log(0.625)
    assert decision(action="open door").behaviour_logprob == math.log(0.375)


def test_a_step_keeps_the_policy_before_and_after_and_who_chose():
    names = {field.name for field in dataclasses.fields(Step)}
    assert {"behaviour_logprob", "before", "after", "changed", "preset", "seed"} <= names
