"""What a learner remembers of secrets: that there was one, and what came of the step."""

from __future__ import annotations

from contextlib import closing

import pytest
from learner_kit import BOTH, NORTH, play, stored
from plain_memory import PlainMemory

from jitrl import Candidate, Learner, State
from jitrl.errors import InvalidValue
from jitrl.memory import Redaction, SqliteMemory
from jitrl.memory.redaction import DEFAULT

EMAIL = DEFAULT.with_patterns(email=r"[\w.+-]+@[\w-]+\.[\w.]+")


def page(secret):
    return State(page=f"Welcome, your api key: {secret}", url="https://shop.example/")


def test_states_are_compared_as_they_are_stored():
    with Learner(min_evidence=1, gamma=1.0) as learner:
        play(learner, [1.0], state=page("aa1bb2cc3"), candidates=[NORTH])
        with learner.episode() as episode:
            decision = episode.choose(page("dd4ee5ff6"), BOTH)
            episode.record(0.0)
        (near,) = decision.neighbours
        assert near.similarity == 1.0
        assert near.state == decision.state == page("[redacted:secret]")
        assert [e.steps[0].state for e in stored(learner)] == [decision.state] * 2


def test_the_caller_still_gets_the_action_that_works_here():
    with Learner() as learner:
        secretive = Candidate("fill('password', 'x') token=aa1bb2")
        with learner.episode(task="log in with password=x") as episode:
            decision = episode.choose(State(), [secretive])
            episode.record(1.0, state=State(page="token=aa1bb2"))
        assert decision.action == secretive.action
        (kept,) = stored(learner)
        mark = "token=[redacted:secret]"
        assert kept.steps[0].action == f"fill('password', 'x') {mark}"
        assert kept.steps[0].before == {kept.steps[0].action: 1.0}
        assert kept.final_state == State(page=mark)
        assert kept.task == "log in with password=[redacted:password]"


def test_nothing_of_a_secret_is_in_the_file(tmp_path):
    with Learner(tmp_path / "memory.db", redaction=EMAIL, provenance={"by": "a@b.org"}) as learner:
        play(learner, [1.0], state=State(page="a@b.org password=hunter2"), task="mail a@b.org")
    for file in tmp_path.iterdir():
        held = file.read_bytes() if file.is_file() else b""
        assert b"a@b.org" not in held
        assert b"hunter2" not in held


def test_nothing_is_redacted_where_that_is_wanted():
    with Learner(redaction=None) as learner:
        play(learner, [1.0], state=page("aa1bb2cc3"), id="token=aa1bb2")
        (kept,) = stored(learner)
        assert kept.steps[0].state == page("aa1bb2cc3")


def test_an_id_that_holds_a_secret_is_refused_before_anything_is_played():
    with Learner() as learner, pytest.raises(InvalidValue, match="must not hold a secret"):
        learner.episode(id="token=aa1bb2")


def test_a_memory_brings_its_own_redaction():
    with closing(SqliteMemory(redaction=EMAIL)) as memory:
        for keywords in ({}, {"redaction": EMAIL}):
            learner = Learner(memory, **keywords)
            decision = learner.episode().choose(State(page="a@b.org"), BOTH)
            assert decision.state == State(page="[redacted:email]")
        for other in (None, Redaction({"x": "y"})):
            with pytest.raises(InvalidValue, match="the Memory has its own"):
                Learner(memory, redaction=other)


def test_a_memory_that_redacts_nothing_is_taken_as_it_is():
    learner = Learner(PlainMemory())
    assert learner.episode().choose(page("aa1bb2cc3"), BOTH).state == page("aa1bb2cc3")
