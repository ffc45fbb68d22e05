"""The index gives the neighbours that the definition gives, bit for bit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_kit import (
    ALL,
    RETURNS,
    ROOM,
    by_definition,
    by_index,
    cuts,
    episode,
    filled_with,
    specifications,
    states,
    step,
)
from plain_memory import PlainMemory

from jitrl.memory import Cut, Index
from jitrl.records import State


@st.composite
def memories(draw):
    """Draw episodes that visit few distinct states often, so that ties abound."""
    pool = draw(st.lists(states, min_size=1, max_size=6))
    lengths = draw(st.lists(st.integers(0, 5), max_size=5))
    steps = st.builds(
        step, st.sampled_from(pool), st.sampled_from(["n", "s"]), st.integers(-3, 3).map(float)
    )
    return pool, [
        episode(f"e{i}", *draw(st.lists(steps, min_size=length, max_size=length)))
        for i, length in enumerate(lengths)
    ]


@settings(max_examples=800)
@given(memories(), specifications, cuts, st.data())
def test_neighbours_equal_the_definition_bit_for_bit(memory, fields, cut, data):
    pool, episodes = memory
    state = data.draw(st.one_of(st.sampled_from(pool), states))
    view = filled_with(episodes, fields)
    assert len(view) == sum(len(each.steps) for each in episodes)
    assert by_index(view, state, cut) == by_definition(episodes, fields, state, cut)


@settings(max_examples=200)
@given(memories(), specifications, cuts, st.data())
def test_a_view_shows_the_memory_as_it_was_when_it_was_made(memory, fields, cut, data):
    pool, episodes = memory
    state = data.draw(st.sampled_from(pool))
    held = PlainMemory()
    index = Index(held, fields, RETURNS)
    views = [index.refresh()]
    for each in episodes:  # one by one, asked in between: as a learner does
        held.append(each)
        views.append(index.refresh())
        assert by_index(views[-1], state, cut) == by_definition(
            episodes[: len(views) - 1], fields, state, cut
        )
    for count, view in enumerate(views):
        assert by_index(view, state, cut) == by_definition(episodes[:count], fields, state, cut)
        assert len(view) == sum(len(each.steps) for each in episodes[:count])


def filled(*steps, fields=ROOM):
    return filled_with([episode("e", *steps)], fields)


def order(index, state, cut):
    return [(found.state.get("room"), found.t) for found in index.neighbours(state, cut)]


def test_an_empty_memory_has_no_neighbours():
    for view in (filled_with([], ROOM), filled_with([episode("without steps")], ROOM)):
        assert len(view) == 0
        for state in (State(), State(room="a"), State(other="a")):
            assert view.neighbours(state, ALL) == []


def test_the_most_similar_come_first_and_ties_newest_first():
    index = filled(*(step(State(room=room)) for room in ["a", "a b", "a c", "a", "a d"]))
    assert order(index, State(room="a"), ALL) == [
        ("a", 3),
        ("a", 0),
        ("a d", 4),
        ("a c", 2),
        ("a b", 1),
    ]


def test_where_k_counts_states_every_step_of_a_retained_state_is_evidence():
    index = filled(*(step(State(room=room)) for room in ["a", "a b", "a", "a b", "a", "c"]))
    cut = Cut(threshold=0.0, k=1, counts="states")
    assert order(index, State(room="a"), cut) == [("a", 4), ("a", 2), ("a", 0)]
    both = Cut(threshold=0.0, k=2, counts="states")
    assert len(order(index, State(room="a"), both)) == 5


def test_where_k_counts_steps_the_newest_of_equal_steps_are_kept():
    index = filled(*(step(State(room=room)) for room in ["a", "a b", "a", "a c", "a b"]))
    cut = Cut(threshold=0.0, k=3, counts="steps")
    assert order(index, State(room="a"), cut) == [("a", 2), ("a", 0), ("a b", 4)]


def test_steps_of_equally_similar_states_are_ordered_by_age_where_k_counts_steps():
    index = filled(*(step(State(room=room)) for room in ["a b", "a c", "a b", "a c"]))
    by_steps = order(index, State(room="a"), ALL)
    assert by_steps == [("a c", 3), ("a b", 2), ("a c", 1), ("a b", 0)]
    by_states = order(index, State(room="a"), Cut(0.0, None, "states"))
    assert by_states == [("a c", 3), ("a c", 1), ("a b", 2), ("a b", 0)]


@pytest.mark.parametrize("counts", ["steps", "states"])
def test_what_is_similar_enough_is_kept_beyond_k(counts):
    index = filled(
        *(step(State(room="a b", other=str(i))) for i in range(5)), step(State(room="c"))
    )
    fields = State(room="a b", other="9")
    kept = index.neighbours(fields, Cut(0.0, 2, counts, keep_above=0.5))
    assert [found.t for found in kept] == [4, 3, 2, 1, 0]
    assert [found.t for found in index.neighbours(fields, Cut(0.0, 2, counts, 0.6))] == [4, 3]


def test_a_neighbour_at_the_threshold_is_one_and_similarity_0_never_is():
    index = filled(step(State(room="a b")), step(State(room="z")))
    assert len(index.neighbours(State(room="a"), Cut(0.5, None, "steps"))) == 1
    assert index.neighbours(State(room="a"), Cut(0.5000001, None, "steps")) == []
    assert len(index.neighbours(State(room="a"), ALL)) == 1


def test_an_experience_says_where_it_comes_from_and_what_it_was_worth():
    here = State(room="a")
    index = filled_with(
        [
            episode("first", step(here, "n", 1.0), step(here, "s", 4.0), task="t1", model="m"),
            episode("second", step(here, "w", -1.0), task="t2"),
        ],
        ROOM,
    )
    found = index.neighbours(here, ALL)
    assert [(e.episode, e.t, e.action, e.return_, e.task) for e in found] == [
        ("second", 0, "w", -1.0, "t2"),
        ("first", 1, "s", 4.0, "t1"),
        ("first", 0, "n", 3.0, "t1"),
    ]
    assert dict(found[1].provenance) == {"model": "m"}
    assert all(e.state == here and e.similarity == 1.0 for e in found)


def test_a_field_first_seen_late_is_absent_from_the_states_before():
    early, late = State(room="a"), State(room="a", map="x y z w v")
    index = filled(step(early), step(late))
    for state in (early, late, State(room="a", map="x y z w"), State(map="x")):
        assert by_index(index, state, ALL) == by_definition(
            [episode("e", step(early), step(late))], ROOM, state, ALL
        )


def test_a_step_whose_return_is_nan_is_no_evidence_and_the_others_keep_their_places():
    here, gone = State(room="a"), State(room="a gone")
    rewards = [1.0, math.nan, 3.0, math.nan, 5.0]
    index = filled_with(
        [
            episode("e", *(step(here, f"go {t}", r) for t, r in enumerate(rewards))),
            episode("none", step(gone, "x", math.nan)),
            episode("f", step(here, "y", 7.0)),
        ],
        ROOM,
        lambda rewards, judged: rewards,
    )
    assert len(index) == 4
    found = index.neighbours(here, ALL)
    assert [(e.episode, e.t, e.action, e.return_) for e in found] == [
        ("f", 0, "y", 7.0),
        ("e", 4, "go 4", 5.0),
        ("e", 2, "go 2", 3.0),
        ("e", 0, "go 0", 1.0),
    ]


@pytest.mark.parametrize("counts", ["steps", "states"])
def test_of_one_state_the_newest_steps_of_each_action_are_kept(counts):
    here, near = State(room="a"), State(room="a b")
    taken = ["n", "n", "s", "n", "n", "s", "w"]
    index = filled(*(step(here, action) for action in taken), step(near, "n"))
    two = Cut(0.0, None, counts, per_action=2)
    assert order(index, here, two) == [("a", t) for t in (6, 5, 4, 3, 2)] + [("a b", 7)]
    most = Cut(0.0, 4 if counts == "steps" else 1, counts, per_action=1)
    assert [t for _, t in order(index, here, most)][:3] == [6, 5, 4]
