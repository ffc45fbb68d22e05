"""One decision: what joins and how it is scored, odd estimators and numbers, how it prints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from decide_kit import (
    EXACT,
    GOOD_AND_BAD,
    THREE,
    Scorer,
    choose,
    logprobs,
    memories,
    remember,
    tables,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from jitrl.decide import finite
from jitrl.errors import InvalidValue, JitrlError
from jitrl.presets import PRESETS
from jitrl.update import Estimate, Evidence

# --- the scorer and what joins


@given(logprobs, memories, tables, st.sampled_from(sorted(PRESETS)))
def test_the_scorer_is_asked_once_for_exactly_the_remembered_actions_not_proposed(
    given_logprobs, memory, table, name
):
    score = Scorer(table)
    decision = choose(given_logprobs, memory, name, score=score)
    remembered = {step.action for step in memory} - given_logprobs.keys()
    if not remembered:
        assert score.calls == []
    elif score.calls:
        (asked,) = score.calls
        assert type(asked) is list
        assert len(asked) == len(set(asked))
        assert set(asked) == remembered
    else:  # only where nothing may join
        assert choose(given_logprobs, memory, name).abstained
    assert set(decision.joined) <= {
        action for action in remembered if table.get(action) is not None
    }
    assert list(decision.before) == [*given_logprobs, *decision.joined]


def test_the_scorer_is_asked_in_the_order_of_the_neighbours():
    score = Scorer({})
    choose(THREE, remember(("z", 1.0), ("a", 0.0), ("y", 2.0), ("z", 3.0)), score=score)
    assert score.calls == [["z", "y"]]


@pytest.mark.parametrize("name", PRESETS)
def test_the_scorer_is_not_asked_where_every_remembered_action_is_proposed(name):
    score = Scorer({})
    choose(THREE, GOOD_AND_BAD, name, score=score)
    assert score.calls == []


@pytest.mark.parametrize("over", [{"beta": 0.0}, {"kl_budget": 0.0}, {"min_evidence": 9}])
def test_none_joins_at_beta_0_without_budget_or_where_the_memory_abstains(over):
    score = Scorer({"d": 0.0})
    decision = choose(THREE, remember(("d", 9.0), ("d", 9.0), ("a", 0.0)), score=score, **over)
    assert decision.joined == ()
    assert list(decision.before) == list(THREE)
    assert score.calls == []


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_scorer_omits_or_answers_with_none_cannot_be_executed_and_stays_out(name):
    memory = remember(("d", 9.0), ("e", 9.0), ("f", 9.0), ("f", 8.0), ("a", 0.0))
    decision = choose(THREE, memory, name, score=Scorer({"d": None, "f": -1.0}))
    assert decision.joined == ("f",)
    assert set(decision.before) == {"a", "b", "c", "f"}


@pytest.mark.parametrize("name", EXACT)
def test_what_cannot_be_executed_here_sets_neither_baseline_nor_normaliser(name):
    memory = remember(("d", 1000.0), ("a", 1.0), ("b", 3.0), ("d", 500.0))
    decision = choose(THREE, memory, name, score=Scorer({"d": None}))
    without = choose(THREE, remember(("a", 1.0), ("b", 3.0)), name)
    assert decision.values.V == without.values.V == 2.0
    assert decision.after == without.after
    assert [step.action for step in decision.neighbours] == ["a", "b"]


@pytest.mark.parametrize("name", EXACT)
def test_where_nothing_remembered_can_be_executed_the_base_policy_stands(name):
    decision = choose(THREE, remember(("d", 5.0), ("e", 1.0)), name, score=Scorer({}))
    assert decision.abstained
    assert decision.after == decision.before == choose(THREE, [], name).before
    assert decision.kl == 0.0


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("logprob", [-7.25, 0.0, 1, -0.5])
def test_the_values_of_the_scorer_are_used_in_every_preset(name, logprob):
    memory = remember(("d", 3.0), ("d", 2.0), ("a", 1.0))
    decision = choose(THREE, memory, name, score=Scorer({"d": logprob}), join_share=1.0)
    assert decision.joined == ("d",)
    z = np.array([*THREE.values(), logprob]) / decision.temperature
    assert list(decision.before.values()) == pytest.approx(special.softmax(z), rel=1e-9)


def test_without_a_scorer_remembered_actions_stay_out_in_default():
    decision = choose(THREE, remember(("d", 9.0), ("a", 0.0), ("e", 1.0)))
    assert decision.joined == ()
    assert list(decision.after) == list(THREE)


def test_without_a_scorer_paper_gives_the_lowest_log_probability_of_the_proposals():
    decision = choose(THREE, remember(("d", 9.0), ("a", 0.0), ("e", 1.0)), "paper")
    assert set(decision.joined) == {"d", "e"}
    assert decision.before["d"] == decision.before["e"] == decision.before["c"]
    z = np.array([*THREE.values(), THREE["c"], THREE["c"]]) / 0.8
    assert list(decision.before.values()) == pytest.approx(special.softmax(z), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "joined"), [("default", ()), ("paper", ("d",)), ("released", ("d",))]
)
def test_what_a_source_could_not_score_joins_as_the_preset_says(name, joined):
    memory = remember(("d", 9.0), ("a", 0.0), ("e", 1.0))
    decision = choose(THREE, memory, name, unscored=("d",))
    assert decision.joined == joined  # nobody says that e can be executed
    if name == "paper":
        assert decision.before["d"] == decision.before["c"]
    if name == "released":
        assert decision.before["d"] == 0.0


def test_without_a_scorer_released_gives_probability_0_and_only_to_a_positive_mean():
    memory = remember(("d", 9.0), ("e", -1.0), ("f", 2.0), ("f", -2.0), ("g", 3.0), ("g", -2.0))
    decision = choose(THREE, memory, "released")
    assert set(decision.joined) == {"d", "g"}  # e is negative, f is 0
    assert decision.before["d"] == decision.before["g"] == 0.0
    assert [decision.before[a] for a in THREE] == pytest.approx([0.5, 0.3, 0.2])


def test_without_a_scorer_released_web_gives_probability_0_to_every_remembered_action():
    decision = choose(THREE, remember(("d", 9.0), ("e", -1.0), ("f", 0.0)), "released-web")
    assert set(decision.joined) == {"d", "e", "f"}
    assert all(decision.before[action] == 0.0 for action in "def")


def test_the_released_rule_takes_a_remembered_action_that_nobody_proposed():
    memory = remember(("d", 9.0), ("a", 1.0), ("b", 1.0), ("c", 1.0))
    decision = choose(THREE, memory, "released")
    assert decision.action == "d"
    assert decision.after["d"] == 1.0
    assert decision.kl == math.inf
    assert decision.behaviour_logprob == 0.0


def test_at_most_three_join_in_default_the_best_first():
    memory = remember(*((f"x{i}", float(i)) for i in range(6)), ("a", 0.0))
    score = Scorer({f"x{i}": -3.0 for i in range(6)})
    decision = choose(THREE, memory, score=score)
    assert decision.joined == ("x5", "x4", "x3")
    assert len(score.calls) == 1


@pytest.mark.parametrize("limit", [0, 1, 2, 5, None])
def test_the_number_of_joined_actions_is_a_setting(limit):
    memory = remember(*((f"x{i}", float(i)) for i in range(6)), ("a", 0.0))
    score = Scorer({f"x{i}": -3.0 for i in range(6)})
    decision = choose(THREE, memory, score=score, join_limit=limit, join_share=1.0)
    assert len(decision.joined) == (6 if limit is None else limit)


@given(logprobs, memories, tables, st.floats(0.01, 1.0))
def test_joined_actions_hold_at_most_their_share_of_the_base_policy(
    given_logprobs, memory, table, share
):
    decision = choose(given_logprobs, memory, score=Scorer(table), join_share=share)
    held = math.fsum(decision.before[action] for action in decision.joined)
    assert held <= share + 1e-12
    assert len(decision.joined) <= 3


def test_no_more_than_three_join_paper_or_released_only_if_asked():
    memory = remember(*((f"x{i}", float(i + 1)) for i in range(6)))
    for name in ("paper", "released", "released-web"):
        assert len(choose(THREE, memory, name).joined) == 6


def test_the_evidence_of_a_remembered_action_counts_once_it_joins():
    memory = remember(("d", 10.0), ("d", 10.0), ("a", 0.0), ("b", 0.0))
    decision = choose(THREE, memory, score=Scorer({"d": math.log(0.1)}))
    assert decision.values["d"].n == 2
    assert decision.values["d"].advantage > decision.values["a"].advantage
    assert decision.after["d"] > decision.before["d"]


@pytest.mark.parametrize(
    "answer", [math.nan, math.inf, -math.inf, "0.5", True, [0.5], 1j, object, b"1", 10**400]
)
@pytest.mark.parametrize("name", PRESETS)
def test_a_scorer_that_answers_with_no_finite_number_is_refused(name, answer):
    with pytest.raises(InvalidValue, match="log-probability of 'd'") as caught:
        choose(THREE, remember(("d", 1.0), ("a", 0.0)), name, score=Scorer({"d": answer}))
    assert isinstance(caught.value, JitrlError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [None, [("d", 0.5)], 0.5, "d", {"d"}])
def test_a_scorer_that_returns_no_mapping_is_refused(answer):
    with pytest.raises(InvalidValue, match="score must return a mapping"):
        choose(THREE, remember(("d", 1.0), ("a", 0.0)), score=Scorer(answer))


def test_an_exception_of_the_scorer_is_the_callers():
    def score(actions):
        raise LookupError("the server is down")

    with pytest.raises(LookupError, match="the server is down"):
        choose(THREE, remember(("d", 1.0), ("a", 0.0)), score=score)


def test_a_scorer_may_answer_more_than_it_was_asked_and_change_its_list():
    def score(actions):
        actions.clear()
        return {"d": -1.0, "nobody asked": 5.0, "a": 99.0}

    decision = choose(THREE, remember(("d", 1.0), ("a", 0.0)), score=score)
    assert decision.joined == ("d",)
    assert decision.before["a"] / decision.before["b"] == pytest.approx(0.5 / 0.3)


def test_numbers_of_numpy_are_numbers():
    decision = choose(THREE, remember(("d", 1.0), ("a", 0.0)), score=Scorer({"d": np.float32(-1)}))
    assert decision.joined == ("d",)
    assert type(decision.before["d"]) is float


# --- estimators of others


@dataclass(frozen=True)
class Strict:
    """Abstains below three neighbours, and refuses to be asked for less, as its contract allows."""

    def abstains(self, evidence: Evidence) -> bool:
        return len(evidence) < 3

    def __call__(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        if self.abstains(evidence):
            raise RuntimeError("asked although it abstains")
        zeros = np.zeros(evidence.actions)
        return Estimate(0.0, zeros, zeros.astype(int), zeros, zeros)


def test_an_estimator_is_never_asked_where_it_abstains():
    memory = remember(("d", 1.0), ("e", 1.0), ("a", 0.0))
    for table in ({"d": -1.0, "e": None}, {"d": -1.0, "e": -1.0}, {}):
        decision = choose(THREE, memory, score=Scorer(table), estimator=Strict())
        assert decision.abstained == (table.get("e") is None)
        assert decision.kl == 0.0


# --- what is not a number


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("huge", [1e-300, 1e50, 1e150])
def test_returns_from_the_smallest_to_the_very_large_give_a_policy(name, huge):
    memory = remember(("a", huge), ("b", -huge), ("b", huge), ("a", huge), ("c", 0.0))
    decision = choose(THREE, memory, name)
    assert math.fsum(decision.after.values()) == pytest.approx(1.0)
    assert all(math.isfinite(decision.values[action].advantage) for action in THREE)


@pytest.mark.parametrize("name", EXACT)
def test_log_probabilities_of_any_finite_size_give_a_policy(name):
    for z in ([1e308, -1e308], [-1e308, -1e308], [5e-324, 0.0], [1e300, -3.0], [0.0, -5000.0]):
        decision = choose(dict(zip("ab", z, strict=True)), GOOD_AND_BAD, name)
        for policy in (decision.before, decision.after):
            assert math.fsum(policy.values()) == pytest.approx(1.0)
        assert math.isfinite(decision.kl)
        assert math.isfinite(decision.behaviour_logprob)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_finite_number_is_returned_as_a_float(number):
    assert finite("reward", number) == number
    assert type(finite("reward", np.float64(number))) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "1", True, 1j, [1.0], b"1"])
def test_what_is_not_a_finite_number_is_refused_with_its_name(value):
    with pytest.raises(InvalidValue, match=r"reward must be a finite real number, actual value"):
        finite("reward", value)


# --- how it prints


@pytest.mark.parametrize("name", PRESETS)
def test_a_decision_prints_what_is_needed_to_see_why(name):
    memory = remember(("d", 9.0), ("a", 1.0), ("b", -2.0))
    decision = choose(THREE, memory, name, guarantee="stated")
    text = str(decision)
    assert repr(decision.action) in text
    assert "stated" in text
    assert "3 similar steps" in text
    assert f"V = {decision.values.V:.3g}" in text
    assert f"beta = {decision.beta:.3g}" in text
    assert f"KL = {decision.kl:.3g}" in text
    for action in decision.after:
        (line,) = [row for row in text.splitlines() if row.endswith(f"  {action}")]
        assert f"{decision.before[action]:.1%}" in line
        assert f"{decision.after[action]:.1%}" in line
        assert f"{decision.values[action].Q:.3g}" in line
        assert f"{decision.values[action].advantage:.3f}" in line
        assert (line[1] == ">") == (action == decision.action)
        assert (line[2] == "+") == (action in decision.joined)


def test_a_decision_of_an_empty_memory_prints_that_it_abstained():
    text = str(choose(THREE))
    assert "abstained" in text
    assert "as without memory" in text
