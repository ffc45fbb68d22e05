from __future__ import annotations

import json
import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.agents.player import Played
from jitrl.bench import codec
from jitrl.records import ActionValue, Decision, Experience, Observation, State, Values

texts = st.text(st.characters(codec="utf-8"))
numbers = st.floats()
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    actions = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    neighbour = st.builds(
        Experience,
        similarity=finite,
        state=st.just(State()),
        action=texts,
        return_=finite,
        episode=texts,
        t=st.integers(0, 99),
        task=texts,
    )
    value = st.builds(ActionValue, numbers, st.integers(0, 99), numbers, numbers)
    policy = st.fixed_dictionaries(dict.fromkeys(actions, finite))
    action, changed = draw(st.sampled_from(actions)), draw(st.booleans())
    return Decision(
        state=State(**draw(st.dictionaries(texts, texts, max_size=3))),
        action=action,
        before=draw(policy),
        after=draw(policy),
        kl=draw(numbers),
        beta=draw(finite),
        temperature=draw(finite),
        values=Values(draw(numbers), {action: draw(value) for action in actions}),
        neighbours=tuple(draw(st.lists(neighbour, max_size=3))),
        joined=tuple(draw(st.lists(st.sampled_from(actions), unique=True))),
        abstained=draw(st.booleans()),
        changed=changed,
        without=draw(texts) if changed else action,
        guarantee="prior",
    )


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


@given(decisions(), texts, finite, finite, finite, st.booleans())
def test_a_step_survives_the_way_through_its_line(
    decision: Decision, id: str, reward: float, score: float, start: float, ended: bool
) -> None:
    after = Observation(State(), "", (), reward=reward, score=score, terminated=ended)
    first = Observation(State(), "hello", (), score=start)
    line = codec.step_line(3, id, 7, first, decision, after)
    step = codec.read_step(line.encode())
    assert "\n" not in line
    json.loads(line, parse_constant=refuse)
    assert line.encode().startswith(codec.step_prefix(3, id, 7))
    assert (step.episode, step.id, step.t, step.terminated) == (3, id, 7, ended)
    assert (step.reward, step.score, step.start_score) == (reward, score, start)
    assert codec.step_line(3, id, 7, first, step.decision, after) == line
    # nan differs from itself, so equality is told by how the two are printed
    assert repr(step.decision) == repr(decision)


@given(
    st.builds(
        Played,
        st.integers(0),
        texts,
        numbers,
        numbers,
        st.integers(0),
        st.booleans(),
        numbers,
        st.integers(0),
        st.integers(0),
        st.dictionaries(texts, finite),
    )
)
def test_an_episode_survives_the_way_through_its_line(played: Played) -> None:
    line = codec.episode_line(played)
    json.loads(line, parse_constant=refuse)
    assert repr(codec.read_episode(line)) == repr(played)


def test_the_place_of_a_step_is_read_without_reading_the_line() -> None:
    match = codec.PLACE.match(codec.step_prefix(12, "run-0012", 34))
    assert match is not None
    assert (int(match[1]), int(match[2])) == (12, 34)


def test_what_json_has_no_number_for_is_a_null_or_a_text() -> None:
    given = {"a": math.nan, "b": (math.inf, -math.inf), "c": MappingProxyType({"d": 1.5})}
    assert codec.dumps(codec.plain(given)) == '{"a":null,"b":["inf","-inf"],"c":{"d":1.5}}'


@pytest.mark.parametrize("value", [True, [], {}, "many"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        codec.number(value)


def test_an_attempt_that_never_began_is_marked_and_no_other_is() -> None:
    unbegun = Played(3, "r-3", 0.0, 0.0, 0, False, 0.0, 0, 0, {}, task="w:1", unbegun=True)
    line = codec.episode_line(unbegun)
    assert json.loads(line)["unbegun"] is True
    assert codec.read_episode(line) == unbegun
    begun = Played(3, "r-3", 0.0, 0.0, 0, False, 0.0, 0, 0, {}, task="w:1")
    assert "unbegun" not in json.loads(codec.episode_line(begun))
    assert codec.read_episode(codec.episode_line(begun)) == begun


@pytest.mark.parametrize("change", [{"unbegun": 1}, {"unbegun": True, "steps": 2}])
def test_a_mark_that_makes_no_sense_is_damage(change: dict[str, object]) -> None:
    line = json.loads(codec.episode_line(Played(3, "r-3", 0.0, 0.0, 0, False, 0.0, 0, 0, {})))
    with pytest.raises(TypeError, match="unbegun"):
        codec.read_episode(json.dumps(line | change))
