"""remembered, modulation, sampled: what memory tells a source or a sampler, and what is kept."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_kit import HALL, NORTH, SOUTH, one_line, stored

from jitrl import Candidate, Learner, Scores, State, update
from jitrl.decide import Draws, decided, modulate, remembered
from jitrl.errors import EpisodeError, InvalidValue
from jitrl.presets import preset as find_preset
from jitrl.records import Decision, Experience, Modulation
from jitrl.scores import Sampled

ACTIONS = ("north", "south", "wait", "sing")
BASE = {"north": 0.4, "south": 0.3, "wait": 0.2, "sing": 0.1}
EXACT = ["default", "paper"]


def taught(preset="default", steps=(("north", 0.0), ("south", 5.0)) * 2, **options) -> Learner:
    """A learner that took these actions in the hall, for these rewards."""
    options = {"provenance": {"run": "r"}, "clock": lambda: 0.0, **options}
    learner = Learner(preset=preset, **options)
    for i, (action, reward) in enumerate(steps):
        with learner.episode(id=f"lesson {i}") as episode:
            episode.choose(HALL, [Candidate(action)])
            episode.record(reward)
    return learner


def tilted(modulation: Modulation, base=BASE) -> dict[str, float]:
    """pi exp(beta A) / Z with pi = base^(1/T) / Z', written without any code of ours."""
    T, beta = modulation.temperature, modulation.beta
    weights = {
        action: math.exp(
            (math.log(p) + beta * modulation.advantages.get(action, modulation.otherwise)) / T
        )
        for action, p in base.items()
    }
    total = math.fsum(weights.values())
    return {action: weight / total for action, weight in weights.items()}


def draw(modulation: Modulation, action="south", base=BASE, **changes) -> Sampled:
    """What an honest sampler says that it drew."""
    before = tilted(replace(modulation, beta=0.0), base)
    after = tilted(modulation, base)
    drawn = Sampled(action, before, after, (0.0, 0.0), modulation.beta, "exact")
    return replace(drawn, **changes)


# --- remembered -------------------------------------------------------------------------------


def test_the_actions_of_similar_states_are_remembered_each_once() -> None:
    episode = taught().episode()
    assert sorted(episode.remembered(HALL)) == ["north", "south"]
    assert episode.remembered(State(room="a far away tower")) == ()


def test_the_nearest_come_first() -> None:
    chosen = find_preset("default", min_evidence=1)
    near, far = (
        Experience(s, HALL, action, 1.0, "e", t, "")
        for t, (s, action) in enumerate([(0.99, "near"), (0.96, "far")])
    )
    assert remembered([near, far, near], chosen, 1.0) == ("near", "far")


@pytest.mark.parametrize("preset", EXACT)
@pytest.mark.parametrize("options", [{"beta": 0.0}, {"kl_budget": 0.0}])
def test_where_memory_may_not_move_the_policy_nothing_is_remembered(preset, options) -> None:
    episode = taught(preset, **options).episode()
    assert episode.remembered(HALL) == ()
    modulation = episode.modulation(HALL)
    assert dict(modulation.advantages) == {} and modulation.beta == 0.0
    assert not modulation.abstained  # it would know
    assert len(modulation.neighbours) == 4


@pytest.mark.parametrize(
    "learner",
    [Learner, lambda: Learner(preset="paper"), lambda: taught(steps=[("south", 5.0)])],
    ids=["empty", "empty, as in the paper", "too little"],
)
def test_a_memory_that_knows_too_little_abstains(learner) -> None:
    episode = learner().episode()
    assert episode.remembered(HALL) == ()
    modulation = episode.modulation(HALL)
    assert modulation.abstained
    assert (dict(modulation.advantages), modulation.otherwise, modulation.beta) == ({}, 0.0, 0.0)


def test_asking_what_is_remembered_changes_nothing() -> None:
    plain, asked = (taught("paper", seed=5).episode() for _ in range(2))
    for _ in range(3):
        asked.remembered(HALL)
    assert plain.choose(HALL, [NORTH, SOUTH]) == asked.choose(HALL, [NORTH, SOUTH])


def test_the_task_is_filled_in_where_the_fields_name_it() -> None:
    learner = Learner(preset="released-web")
    state = State(url="x", history="-")
    with learner.episode("buy tea") as episode:
        episode.choose(state, [NORTH])
        episode.record(1.0)
    assert learner.episode("buy tea").remembered(state) == ("north",)


# --- scores that say what is remembered -------------------------------------------------------


def scores(remembered, proposed=(NORTH,), **more) -> Scores:
    return Scores(tuple(proposed), "exact", remembered=remembered, **more)


def test_a_remembered_action_joins_with_the_log_probability_given() -> None:
    decision = taught().episode().choose(HALL, scores({"south": -1.5}))
    assert decision.joined == ("south",)
    p, q = math.exp(NORTH.logprob), math.exp(-1.5)
    assert decision.before == {
        "north": pytest.approx(p / (p + q)),
        "south": pytest.approx(q / (p + q)),
    }


@pytest.mark.parametrize("given", [{}, {"sing": -1.0}])
def test_a_remembered_action_without_one_stays_out_and_does_not_count(given) -> None:
    decision = taught().episode().choose(HALL, scores(given))
    assert decision.joined == ()
    assert set(decision.before) == {"north"}
    assert {step.action for step in decision.neighbours} == {"north"}


def test_a_remembered_action_that_is_a_candidate_keeps_the_candidates_log_probability() -> None:
    decision = taught().episode().choose(HALL, scores({"north": -50.0, "south": -0.9}))
    plain = taught().episode().choose(HALL, scores({"south": -0.9}))
    assert decision == plain


def test_a_remembered_log_probability_that_is_none_is_refused() -> None:
    episode = taught().episode()
    with pytest.raises(InvalidValue, match="log-probability of 'south'") as caught:
        episode.choose(HALL, scores({"south": math.nan}))
    assert one_line(caught.value)
    episode.choose(HALL, scores({"south": -1.0}))


def test_a_scorer_of_the_callers_own_goes_before_what_the_scores_say() -> None:
    decision = taught().episode().choose(HALL, scores({"south": -1.0}), lambda a: {"south": None})
    assert decision.joined == ()


def test_the_guarantee_the_rest_and_the_samples_are_kept_in_the_decision() -> None:
    given = Scores((NORTH, SOUTH), "sampled", outside=0.125, samples=16)
    decision = Learner().episode().choose(HALL, given)
    assert (decision.guarantee, decision.outside, decision.samples) == ("sampled", 0.125, 16)
    assert "sampled (n = 16), 12.50% on what is not listed" in str(decision)


# --- modulation -------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", EXACT)
def test_a_modulation_and_a_choice_among_all_actions_make_one_policy(preset) -> None:
    """Tilting the base policy by a modulation is what `choose` does with all actions listed."""
    options = {"explore": 0.0} if preset == "paper" else {}
    listed = [Candidate(action, math.log(p)) for action, p in BASE.items()]
    decision = taught(preset, **options).episode().choose(HALL, listed)
    modulation = taught(preset, **options).episode().modulation(HALL, ACTIONS)
    assert decision.beta == modulation.beta > 0
    assert decision.kl > 0.01
    assert tilted(modulation) == {
        action: pytest.approx(p, abs=1e-12) for action, p in decision.after.items()
    }


memories = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(-10, 10).map(float)), max_size=10
).map(lambda steps: [Experience(1.0, HALL, a, r, "e", t, "") for t, (a, r) in enumerate(steps)])


@settings(max_examples=300)
@given(memories, st.sampled_from(EXACT), st.floats(0.0, 20.0), st.sets(st.sampled_from("abcdef")))
def test_known_are_the_remembered_actions_that_can_be_taken(steps, name, beta, executable) -> None:
    chosen = find_preset(name)
    draws = Draws(np.random.default_rng(0), np.random.default_rng(1))
    modulation = modulate(HALL, steps, chosen, beta, draws, executable)
    counted = [step for step in steps if step.action in executable]
    assert modulation.neighbours == tuple(counted)
    assert modulation.advantages.keys() == modulation.values.actions.keys()
    assert modulation.abstained == (len(counted) < (2 if name == "default" else 1))
    if modulation.abstained or beta == 0:
        assert not modulation.advantages
        assert modulation.beta == modulation.otherwise == 0.0
    else:
        assert set(modulation.advantages) == {step.action for step in counted}
        assert modulation.beta == beta
    for action, A in modulation.advantages.items():
        value = modulation.values[action]
        assert value.advantage == A and value.n == sum(s.action == action for s in counted)
        assert math.isfinite(A) and abs(A) <= 1
    again = Draws(np.random.default_rng(0), np.random.default_rng(1))
    assert modulate(HALL, counted, chosen, beta, again).advantages == modulation.advantages


def test_a_modulation_carries_the_settings_of_the_preset() -> None:
    learner = taught("paper", kl_budget=0.25, beta=3.0)
    modulation = learner.episode().modulation(HALL)
    assert (modulation.beta, modulation.kl_budget, modulation.temperature) == (3.0, 0.25, 0.8)
    assert modulation.state == HALL
    assert "" not in modulation.advantages and "" not in modulation.values.actions


@pytest.mark.parametrize("preset", ["released", "released-web"])
def test_a_greedy_rule_has_nothing_that_a_model_could_draw_from(preset) -> None:
    episode = Learner(preset=preset).episode()
    with pytest.raises(InvalidValue, match=f"preset has a greedy rule.*{preset}"):
        episode.modulation(HALL)
    episode.choose(HALL, [NORTH])


# --- sampled ----------------------------------------------------------------------------------


def test_the_decision_keeps_what_was_drawn_and_why() -> None:
    episode = taught().episode()
    modulation = episode.modulation(HALL, ACTIONS)
    drawn = draw(modulation)
    decision = episode.sampled(modulation, drawn)
    assert isinstance(decision, Decision)
    assert (decision.state, decision.action) == (HALL, "south")
    assert (decision.before, decision.after) == (drawn.before, drawn.after)
    assert decision.beta == modulation.beta
    assert decision.temperature == modulation.temperature
    assert decision.values is modulation.values
    assert decision.neighbours == modulation.neighbours
    assert (decision.joined, decision.abstained, decision.guarantee) == ((), False, "exact")
    assert decision.kl == pytest.approx(
        sum(q * math.log(q / drawn.before[a]) for a, q in drawn.after.items())
    )
    assert "chose 'south'" in str(decision)


def test_what_is_not_listed_counts_for_the_kl_and_is_shown() -> None:
    episode = taught().episode()
    modulation = episode.modulation(HALL)
    drawn = draw(modulation, before={"south": 0.25}, after={"south": 0.75}, outside=(0.75, 0.25))
    decision = episode.sampled(modulation, drawn)
    assert decision.kl == pytest.approx(0.5 * math.log(3))
    assert decision.outside == 0.75
    assert decision.behaviour_logprob == pytest.approx(math.log(0.75))


def test_where_the_policies_are_over_the_listed_alone_the_models_rest_is_shown() -> None:
    episode = taught().episode()
    modulation = episode.modulation(HALL)
    assert episode.sampled(modulation, draw(modulation, unlisted=0.5)).outside == 0.5


def test_a_policy_that_memory_left_alone_is_never_changed() -> None:
    learner = Learner()
    for _ in range(20):
        episode = learner.episode()
        modulation = episode.modulation(HALL)
        decision = episode.sampled(modulation, draw(modulation, "sing"))
        assert decision.before == decision.after == BASE | decision.before
        assert (decision.kl, decision.beta) == (0.0, 0.0)
        assert decision.abstained and not decision.changed


def test_changed_is_as_frequent_as_the_policies_are_far_apart() -> None:
    """Over drawn actions, with the frequency of the total variation: no coupling has less."""
    modulation = taught(beta=2.0).episode().modulation(HALL)
    before, after = tilted(replace(modulation, beta=0.0)), tilted(modulation)
    distance = sum(abs(after[a] - before[a]) for a in BASE) / 2
    assert 0.2 < distance < 0.8
    rng = np.random.default_rng(11)
    draws = Draws(np.random.default_rng(12), np.random.default_rng(13))
    n, p = 8000, np.array(list(after.values()))
    changed = 0
    for u in rng.random(n):
        action = list(after)[update.sample(p, float(u))]
        decision = decided(modulation, draw(modulation, action), draws)
        assert not (decision.changed and after[action] <= before[action])
        changed += decision.changed
    assert abs(changed / n - distance) < 4 * math.sqrt(distance * (1 - distance) / n)


def test_a_certain_turn_is_always_changed_and_a_decision_repeats() -> None:
    flags = []
    for _ in range(2):
        episode = taught(seed=8).episode()
        modulation = episode.modulation(HALL)
        drawn = draw(modulation, before={"south": 0.5}, after={"south": 1.0}, outside=(0.5, 0.0))
        flags.append(episode.sampled(modulation, drawn).changed)
    assert flags[0] == flags[1]
    draws = Draws(np.random.default_rng(0), np.random.default_rng(0))
    drawn = draw(modulation, before={"south": 1e-300}, after={"south": 1.0}, outside=(1.0, 0.0))
    assert all(decided(modulation, drawn, draws).changed for _ in range(100))


def test_it_is_stored_as_a_choice_is() -> None:
    learner = taught(seed=2)
    with learner.episode("a test", id="sampled") as episode:
        modulation = episode.modulation(HALL, ACTIONS)
        decision = episode.sampled(modulation, draw(modulation))
        episode.record(2.0, True, State(room="end"))
    kept = stored(learner)[-1]
    (step,) = kept.steps
    assert (kept.id, kept.terminated, kept.final_state) == ("sampled", True, State(room="end"))
    assert (step.state, step.action, step.reward) == (HALL, "south", 2.0)
    assert (step.before, step.after) == (decision.before, decision.after)
    assert step.behaviour_logprob == pytest.approx(math.log(decision.after["south"]))
    assert (step.changed, step.preset, step.seed) == (decision.changed, "default", 2)


def test_what_is_stored_is_not_the_samplers_own() -> None:
    learner = Learner()
    with learner.episode() as episode:
        modulation = episode.modulation(HALL)
        drawn = draw(modulation)
        decision = episode.sampled(modulation, drawn)
        drawn.before["south"] = drawn.after["south"] = 99.0
        decision.after["south"] = 98.0
        episode.record(1.0)
    assert stored(learner)[-1].steps[0].after["south"] == pytest.approx(BASE["south"])


# --- wrong, or out of turn --------------------------------------------------------------------

HALVES = {"north": 0.5, "south": 0.5}
WRONG = {
    "no record": ("south", "jitrl.scores.Sampled"),
    "no action": ({"action": ""}, "action"),
    "an action of another type": ({"action": 3}, "action"),
    "an action that is not listed": ({"action": "dance"}, "and the drawn"),
    "lists that differ": ({"before": {"south": 1.0}}, "list what `before` does"),
    "more than 1": ({"before": dict.fromkeys(ACTIONS, 0.5)}, "before must be probabilities"),
    "less than 1": ({"after": dict.fromkeys(ACTIONS, 0.1)}, "after must be probabilities"),
    "a rest too many": ({"outside": (0.5, 0.0)}, "before must be probabilities, 0.5"),
    "a rest that is none": ({"outside": (0.0, math.nan)}, "after must be probabilities, nan"),
    "a negative one": (
        {"before": HALVES, "after": {"north": -0.5, "south": 1.5}},
        "after must be probabilities",
    ),
    "nan": ({"before": HALVES, "after": {"north": math.nan, "south": 0.5}}, "finite real number"),
    "a text": ({"before": {"south": "1"}, "after": {"south": 1.0}}, "finite real number"),
    "a draw of probability 0": (
        {"before": HALVES, "after": {"north": 1.0, "south": 0.0}},
        "after must give 'south' a probability > 0",
    ),
    "a draw that the base excludes": (
        {"before": {"north": 1.0, "south": 0.0}, "after": HALVES},
        "before must give 'south' a probability > 0",
    ),
    "a larger step": ({"beta": 11.0}, r"beta must lie in \[0, 10"),
    "a negative step": ({"beta": -1.0}, "beta must lie in"),
    "a step that is none": ({"beta": math.nan}, "beta must be a finite"),
    "an impossible rest": ({"unlisted": 1.5}, r"unlisted must lie in \[0, 1\]"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_have_been_drawn_is_refused_and_the_episode_unharmed(wrong) -> None:
    changes, says = WRONG[wrong]
    plain, episode = (taught(seed=4).episode() for _ in range(2))
    modulation = episode.modulation(HALL, ACTIONS)
    drawn = changes if isinstance(changes, str) else draw(modulation, **changes)
    with pytest.raises(InvalidValue, match=says) as caught:
        episode.sampled(modulation, drawn)
    assert one_line(caught.value)
    other = plain.modulation(HALL, ACTIONS)
    assert episode.sampled(modulation, draw(modulation)) == plain.sampled(other, draw(other))
    episode.record(1.0)


def test_a_modulation_of_another_step_or_none_of_ours_is_refused() -> None:
    episode = taught().episode()
    with pytest.raises(EpisodeError, match="call modulation"):
        episode.sampled(None, None)
    old = episode.modulation(State(room="elsewhere"))
    new = episode.modulation(HALL)
    for other in (old, replace(new, beta=100.0), taught().episode().modulation(HALL)):
        with pytest.raises(EpisodeError, match="not the last of this step") as caught:
            episode.sampled(other, draw(other))
        assert one_line(caught.value)
    episode.sampled(new, draw(new))
    episode.record(1.0)
    with pytest.raises(EpisodeError, match="not the last of this step"):
        episode.sampled(new, draw(new))


def test_a_modulation_may_end_in_a_choice_after_all() -> None:
    episode = taught().episode()
    episode.modulation(HALL)
    episode.choose(HALL, [NORTH, SOUTH])
    episode.record(1.0)
    assert episode.modulation(HALL).advantages


@pytest.mark.parametrize("call", ["remembered", "modulation", "sampled"])
def test_calls_out_of_turn_are_refused(call) -> None:
    learner = taught()
    episode = learner.episode()
    modulation = episode.modulation(HALL)
    arguments = (modulation, draw(modulation)) if call == "sampled" else (HALL,)
    episode.sampled(modulation, draw(modulation))
    with pytest.raises(EpisodeError, match=r"'south' waits for its reward: call record\(\)"):
        getattr(episode, call)(*arguments)
    episode.record(1.0, terminated=True)
    with pytest.raises(EpisodeError, match="the world has ended"):
        getattr(episode, call)(*arguments)
    episode.close()
    with pytest.raises(EpisodeError, match=rf"{call}\(\) on an episode that is closed"):
        getattr(episode, call)(*arguments)
    assert len(learner.memory) == 5


@pytest.mark.parametrize("call", ["remembered", "modulation"])
@pytest.mark.parametrize("state", [None, "hall", {"room": "hall"}])
def test_a_state_must_be_a_state(call, state) -> None:
    episode = taught().episode()
    with pytest.raises(InvalidValue, match=r"state must be a jitrl.State"):
        getattr(episode, call)(state)
    assert episode.remembered(HALL)
