from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jitrl.records import State
from jitrl.worlds.text_state import TextGameState

# room, inventory, reward of each step; the actions are numbered, so that each one can be told
Transitions = list[tuple[str, str, float]]
transitions = st.lists(
    st.tuples(
        st.sampled_from("ABC"), st.sampled_from(["", "lamp"]), st.sampled_from([0.0, 0.0, 0.0, 1.0])
    ),
    max_size=30,
)


def follow(steps: Transitions) -> TextGameState:
    game = TextGameState("A")
    for number, (room, inventory, reward) in enumerate(steps):
        game.add(f"do {number}", room, inventory, reward)
    return game


def path(state: State) -> list[int]:
    lines = [line for line in state["history"].splitlines() if line.startswith("path: ")]
    return [int(action[3:]) for action in lines[0][6:].split("; ")] if lines else []


def test_a_new_episode_has_no_history() -> None:
    assert TextGameState("Hall").state == State(room="Hall", inventory="", history="")


def test_the_path_is_listed_in_order() -> None:
    game = TextGameState("Hall")
    game.add("west", "Cellar", "", 0.0)
    game.add("take lamp", "Cellar", "lamp", 0.0)
    assert game.state == State(room="Cellar", inventory="lamp", history="path: west; take lamp")


def test_going_there_and_back_leaves_no_trace() -> None:
    game = TextGameState("Hall")
    game.add("west", "Cellar", "", 0.0)
    game.add("east", "Hall", "", 0.0)
    assert game.state == TextGameState("Hall").state


def test_what_changes_nothing_leaves_no_trace() -> None:
    game = TextGameState("Hall", "lamp")
    game.add("wait", "Hall", "lamp", 0.0)
    assert game.state["history"] == ""


def test_coming_back_with_something_else_in_hand_is_no_loop() -> None:
    game = TextGameState("Hall")
    game.add("west", "Cellar", "", 0.0)
    game.add("take lamp", "Cellar", "lamp", 0.0)
    game.add("east", "Hall", "lamp", 0.0)
    assert game.state["history"] == "path: west; take lamp; east"


def test_a_change_of_score_is_never_cut_out() -> None:
    game = TextGameState("Hall")
    game.add("west", "Cellar", "", 0.0)
    game.add("kiss frog", "Cellar", "", 5.0)
    game.add("east", "Hall", "", 0.0)
    assert game.state["history"] == "score: +5 kiss frog\npath: west; kiss frog; east"
    game.add("fall", "Hall", "", -2.5)
    assert game.state["history"].startswith("score: +5 kiss frog; -2.5 fall\n")


def test_a_loop_after_a_change_of_score_goes_back_to_it_and_no_further() -> None:
    game = TextGameState("Hall")
    game.add("west", "Cellar", "", 1.0)
    game.add("east", "Hall", "", 0.0)
    game.add("west again", "Cellar", "", 0.0)
    assert game.state["history"] == "score: +1 west\npath: west"


def cut_by_definition(steps: Transitions) -> list[int]:
    """Cut the first loop without a change of score, again and again until there is none."""
    kept = list(range(len(steps)))
    while True:
        places = [("A", ""), *(steps[i][:2] for i in kept)]
        loops = [
            (end, start)
            for end in range(len(places))
            for start in range(end)
            if places[start] == places[end] and not any(steps[i][2] for i in kept[start:end])
        ]
        if not loops:
            return kept
        end, start = min(loops)
        del kept[start:end]


@given(transitions)
def test_the_path_is_what_the_definition_leaves(steps: Transitions) -> None:
    assert path(follow(steps).state) == cut_by_definition(steps)


@given(transitions)
def test_between_two_visits_of_a_place_the_score_changed(steps: Transitions) -> None:
    kept = path(follow(steps).state)
    places = [("A", ""), *(steps[i][:2] for i in kept)]
    for end in range(len(places)):
        for start in range(end):
            if places[start] == places[end]:
                assert any(steps[i][2] for i in kept[start:end])


@given(transitions)
def test_the_path_leads_where_the_player_is(steps: Transitions) -> None:
    state = follow(steps).state
    kept = path(state)
    here = steps[-1][:2] if steps else ("A", "")
    assert (state["room"], state["inventory"]) == here
    # what follows in the path begins where the action before it ended
    befores = [("A", ""), *(step[:2] for step in steps)]
    assert [befores[i] for i in kept] + [here] == [("A", ""), *(steps[i][:2] for i in kept)]


@given(transitions)
def test_every_change_of_score_is_kept_in_order(steps: Transitions) -> None:
    state = follow(steps).state
    scoring = [i for i, step in enumerate(steps) if step[2]]
    assert [i for i in path(state) if steps[i][2]] == scoring
    listed = "; ".join(f"+1 do {i}" for i in scoring)
    assert state["history"].startswith(f"score: {listed}" if scoring else ("path", ""))


@given(transitions, transitions)
def test_the_state_depends_on_nothing_but_the_steps_so_far(
    steps: Transitions, later: Transitions
) -> None:
    assert follow(steps).state == follow(steps).state
    game = follow(steps)
    before = game.state
    for room, inventory, reward in later:
        game.add("later", room, inventory, reward)
    assert before == follow(steps).state
