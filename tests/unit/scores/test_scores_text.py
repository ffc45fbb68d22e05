"""A situation as text, and actions behind labels."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores_kit import ACTIONS, HALL, situation

from jitrl.errors import InvalidValue
from jitrl.records import Observation, Situation, State, Turn
from jitrl.scores.text import describe, executable, labels, listed

TWO = [f"do {i}" for i in range(53)]


def seen(text: str, **more: object) -> Observation:
    return Observation(State(room=text), text, ACTIONS, **more)


def walk(*texts: str) -> Situation:
    shown = [seen(text) for text in texts]
    turns = tuple(
        Turn(before, f"act {t}", after)
        for t, (before, after) in enumerate(itertools.pairwise(shown))
    )
    return Situation("a walk", 0, len(turns), shown[-1], turns)


# --- labels -----------------------------------------------------------------------------------


@given(st.integers(1, 676))
def test_every_action_has_one_label_and_no_label_begins_another(count) -> None:
    actions = [f"do {i}" for i in range(count)]
    labelled = labels(actions)
    assert list(labelled.values()) == actions
    assert {len(label) for label in labelled} == ({1} if count <= 52 else {2})
    assert all(label.isascii() and label.isalpha() for label in labelled)


def test_fifty_two_actions_have_letters_and_one_more_makes_pairs_of_them() -> None:
    assert list(labels(TWO[:52]))[24:28] == ["Y", "Z", "a", "b"]
    assert list(labels(TWO))[:2] == ["AA", "AB"] and list(labels(TWO))[26] == "BA"


@pytest.mark.parametrize("count", [0, 677])
def test_no_action_and_too_many_to_label_are_refused(count) -> None:
    with pytest.raises(InvalidValue, match=f"1 to 676.*{count}"):
        labels([f"do {i}" for i in range(count)])


def test_listed_actions_stand_one_on_a_line_behind_their_labels() -> None:
    assert listed(labels(["go north", "wait"])) == "A: go north\nB: wait"


# --- the situation ----------------------------------------------------------------------------


def test_at_the_beginning_the_text_and_the_state_are_told() -> None:
    assert describe(situation()) == (
        "Task: a small test\n\nThe beginning:\nA quiet hall.\n\n"
        "Now, after 0 steps, with a score of 0:\ninventory: a lamp\nroom: Hall"
    )


def test_steps_are_told_in_order_with_what_they_earned() -> None:
    turns = (
        Turn(seen("a hall"), "go north", replace(seen("a den"), reward=5.0, score=5.0)),
        Turn(seen("a den"), "sing", replace(seen("a den, still"), reward=-2.0, score=3.0)),
        Turn(seen("a den, still"), "wait", seen("a den again")),
    )
    text = describe(Situation("a walk", 0, 3, turns[-1].after, turns))
    assert "> go north\na den\n[the score changed by +5]\n> sing\na den, still\n[the score" in text
    assert "changed by -2]\n> wait\na den again\n\nNow, after 3 steps" in text


def test_only_the_last_steps_of_the_window_are_told_and_how_many_there_were() -> None:
    walked = walk("at the gate", "one", "two", "three", "four")
    text = describe(walked, window=2)
    assert "Steps so far, the last 2 of 4:\n> act 2\nthree\n> act 3\nfour" in text
    assert "act 1" not in text
    assert text.startswith("Task: a walk\n\nThe beginning:\nat the gate")
    assert "Steps so far:\n> act 0" in describe(walked, window=4)
    assert "> act" not in describe(walked, window=0)


def test_long_texts_are_cut_and_the_first_one_later() -> None:
    first, later = "f" * 3000, "l" * 3000
    text = describe(walk(first, later, "now"))
    assert "f" * 2000 + " ..." in text and "f" * 2001 not in text
    assert "l" * 600 + " ..." in text and "l" * 601 not in text


def test_the_history_of_the_state_is_not_told_twice() -> None:
    state = State(room="Hall", history="waited, waited")
    here = replace(situation(turns=1), observation=replace(HALL, state=state))
    assert "waited, waited" not in describe(here)


@given(st.lists(st.text(min_size=1), max_size=4))
def test_what_is_remembered_is_no_part_of_the_text(remembered) -> None:
    assert describe(situation(remembered=remembered)) == describe(situation())


@given(st.text())
def test_what_the_world_prints_is_put_in_as_it_is(text) -> None:
    printed = replace(situation(), observation=replace(HALL, text=text[:2000]))
    assert text[:2000].strip() in describe(printed)


# --- remembered actions ------------------------------------------------------------------------


class Even:
    """Takes even numbers, whether they are listed or not."""

    guide = "an even number"

    def read(self, written: str) -> str:
        return written

    def executable(self, action: str) -> bool:
        return action.isdecimal() and int(action) % 2 == 0


@pytest.mark.parametrize(("reader", "left"), [(None, ("1",)), (Even(), ("4", "1"))])
def test_what_is_listed_or_known_to_the_reader_can_be_executed(reader, left) -> None:
    shown = Observation(State(room="a"), "a", ("1", "2"), reader=reader)
    here = Situation("numbers", 0, 0, shown, remembered=("4", "1", "2", "3"))
    assert executable(here, ["2"]) == left
    assert executable(here) == tuple(a for a in ("4", "1", "2") if a == "2" or a in left)
