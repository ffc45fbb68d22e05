"""The summariser: the history as a model tells it, for those who want the paper's."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jitrl.agents.summary import Summariser
from jitrl.errors import BadReply, RequestRejected
from jitrl.models import Completion, Purpose
from jitrl.models.scripted import ScriptedModel
from jitrl.records import Observation, Situation, State, Turn

HERE = Observation(State(room="Hall", history="of the world"), "A quiet hall.", ("wait",))


def situation(turns=1, episode=4) -> Situation:
    past = tuple(Turn(HERE, f"act {t}", HERE) for t in range(turns))
    return Situation("a test", episode, turns, HERE, past, ("eat the sun",))


def summarise(model, where=None, **options):
    return asyncio.run(Summariser(model, **options)(where or situation()))


def test_the_history_is_what_the_model_says_and_the_rest_stays() -> None:
    before = situation()
    after = summarise(ScriptedModel(["  Waited once.\n"]), before)
    assert after.observation.state == State(room="Hall", history="Waited once.")
    state = before.observation.state
    assert replace(after, observation=replace(after.observation, state=state)) == before


def test_a_state_without_a_history_gets_one() -> None:
    bare = replace(situation(), observation=replace(HERE, state=State(room="Hall")))
    after = summarise(ScriptedModel(["Waited."]), bare)
    assert after.observation.state == State(room="Hall", history="Waited.")


def test_the_first_step_costs_no_call() -> None:
    model = ScriptedModel([])
    first = situation(turns=0)
    assert summarise(model, first) is first
    assert model.requests == []


def test_the_request_is_cold_seeded_and_counted_as_a_summary() -> None:
    model = ScriptedModel(lambda request: "Waited.")
    for where in (situation(), situation(), situation(turns=2), situation(episode=5)):
        summarise(model, where, max_tokens=50)
    first, again, later, other = model.requests
    assert first == again
    assert len({first.seed, later.seed, other.seed}) == 3
    assert (first.temperature, first.max_tokens) == (0.0, 50)
    assert later.purpose == Purpose("summarise", 4, 2)
    summarise(model, situation(), seed=1)
    assert model.requests[-1].seed != first.seed


def test_the_model_reads_the_steps_of_the_window_and_nothing_remembered() -> None:
    model = ScriptedModel(["Waited."])
    summarise(model, situation(turns=5), window=2)
    prompt = model.requests[0].messages[-1].content
    assert "act 3" in prompt and "act 4" in prompt and "act 2" not in prompt
    assert "eat the sun" not in prompt


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (Completion("   \n"), "empty summary"),
        (Completion("I went", "length"), "raise max_tokens"),
        (Completion("I will not", "refusal"), "refuses"),
    ],
)
def test_a_summary_that_cannot_be_used_is_an_error_and_none_is_made_up(said, says) -> None:
    with pytest.raises(BadReply, match=says):
        summarise(ScriptedModel([said]))


@pytest.mark.parametrize("finish", ["stop", "end_turn", "unknown"])
def test_a_servers_own_word_for_an_end_is_an_end(finish) -> None:
    after = summarise(ScriptedModel([Completion("Waited.", finish)]))
    assert after.observation.state["history"] == "Waited."


def test_an_error_of_the_model_is_passed_on() -> None:
    def broken(request):
        raise RequestRejected("no such model")

    with pytest.raises(RequestRejected, match="no such model"):
        summarise(ScriptedModel(broken))
