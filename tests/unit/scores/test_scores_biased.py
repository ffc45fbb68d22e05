"""The update on the server: it draws from pi exp(beta A / T) / Z, and says how probable each is."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scores_kit import ACTIONS, closed_form, completion, modulation, served, situation

from jitrl import update
from jitrl.errors import BadReply, InvalidValue, RequestRejected
from jitrl.models import Capabilities, Purpose
from jitrl.models.scripted import ScriptedModel
from jitrl.scores import Options, make
from jitrl.scores.biased import Biased, biases
from jitrl.testing import ABLE, characters

P = {"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}
BY_ACTION = dict(zip(ACTIONS, P.values(), strict=True))
A = {"go north": -0.6, "take lamp": 0.5, "wait": 1.0}
EQUAL = dict.fromkeys(ACTIONS, 0.25)


def draws(policy, given, count=1, *, shown="before", where=None, tokens=None, **options):
    """What the server draws under a modulation, and the bodies of the requests."""

    async def use(model, running):
        source, rng = Biased(model, **options), np.random.default_rng(7)
        step = where or situation()
        drawn = [await source.sample(step, given, rng)]  # which asks for the ids of the labels
        while len(drawn) < count:
            some = min(count - len(drawn), 50)
            drawn += await asyncio.gather(*(source.sample(step, given, rng) for _ in range(some)))
        chat = [r.body for r in running.requests if r.path.endswith("/chat/completions")]
        return drawn, chat

    return served(
        policy,
        use,
        tokens=tokens,
        known={"bias_shown": shown},
        capabilities=replace(ABLE, bias_shown="before" if shown is None else shown),
    )


def fits(drawn, expected) -> float:
    """The p-value of a chi-square test of the drawn actions against probabilities."""
    counts = Counter(each.action for each in drawn)
    assert set(counts) <= set(expected)
    seen = [counts[action] for action in expected]
    return float(stats.chisquare(seen, [p * len(drawn) for p in expected.values()]).pvalue)


def near(policy):
    return {action: pytest.approx(p, abs=1e-9) for action, p in policy.items()}


# --- the policy that is drawn from ------------------------------------------------------------


@pytest.mark.parametrize(
    ("T", "shown", "count"), [(1.0, "before", 2000), (0.8, "before", 600), (1.0, "after", 600)]
)
def test_the_server_draws_from_the_closed_form(T, shown, count) -> None:
    given = modulation(A, beta=1.5, otherwise=0.25, temperature=T)
    known = A | {"go south": 0.25}
    expected = closed_form(BY_ACTION, known, 1.5, T)
    drawn, requests = draws(P, given, count, shown=shown)
    assert len(requests) == count
    assert fits(drawn, expected) > 0.01
    assert fits(drawn, closed_form(BY_ACTION, {}, 0.0, T)) < 1e-9  # the test can tell
    for each in drawn[:3]:
        assert each.after == near(expected)
        assert each.before == near(closed_form(BY_ACTION, {}, 0.0, T))


def test_other_spellings_of_a_label_carry_no_bias_and_are_no_part_of_the_policy() -> None:
    spaced = {" A": 0.5, "A": 0.05, "B": 0.25, "C": 0.2}
    where = situation(ACTIONS[:3])
    drawn, _ = draws(spaced, modulation({}, beta=0.0), 300, where=where)
    expected = {"go north": 0.1, "go south": 0.5, "take lamp": 0.4}
    assert drawn[0].before == near(expected)
    assert drawn[0].unlisted == pytest.approx(0.5)
    assert fits(drawn, expected) > 0.01


@pytest.mark.parametrize("shown", ["before", "after"])
def test_what_is_drawn_is_reported_whole(shown) -> None:
    (drawn,), _ = draws(P, modulation(A), shown=shown)
    assert drawn.guarantee == "exact"
    assert drawn.outside == (0.0, 0.0)
    assert drawn.action in ACTIONS
    assert math.fsum(drawn.before.values()) == pytest.approx(1.0, abs=1e-12)
    assert math.fsum(drawn.after.values()) == pytest.approx(1.0, abs=1e-12)


def test_before_the_bias_the_mass_beside_the_labels_is_the_models_own() -> None:
    policy = {label: p / 4 for label, p in P.items()} | {"Let": 0.75}
    (drawn,), _ = draws(policy, modulation(A))
    assert drawn.unlisted == pytest.approx(0.75, abs=1e-9)
    assert drawn.before == near(BY_ACTION)


def test_after_the_bias_it_is_what_is_left() -> None:
    policy = {label: p / 4 for label, p in P.items()} | {"Let": 0.75}
    (drawn,), _ = draws(policy, modulation(A), shown="after")
    assert 0 <= drawn.unlisted < 1e-9
    assert drawn.before == {a: pytest.approx(p, abs=1e-6) for a, p in BY_ACTION.items()}


def test_labels_that_were_not_reported_are_left_out_and_the_rest_is_bounded() -> None:
    (drawn,), _ = draws(P, modulation(A), top_logprobs=2)
    assert drawn.guarantee == "bounded"
    assert drawn.action in drawn.before and len(drawn.before) < len(ACTIONS)
    shares = {a: BY_ACTION[a] for a in drawn.before}
    assert drawn.before == near(closed_form(shares, {}, 0.0))
    assert drawn.after == near(closed_form(shares, A, drawn.beta))
    assert drawn.unlisted == pytest.approx(1 - sum(shares.values()), abs=1e-9)


def test_knowing_nothing_leaves_the_base_policy_to_the_last_bit() -> None:
    nothing = modulation({}, beta=0.0, abstained=True)
    (drawn,), requests = draws(P, nothing)
    assert drawn.before == drawn.after
    assert drawn.beta == 0.0
    assert set(requests[0]["logit_bias"].values()) == {100.0}


# --- the request ------------------------------------------------------------------------------


def test_one_call_of_one_token_with_the_bias_of_each_label() -> None:
    (_,), requests = draws(P, modulation(A, beta=2.0, otherwise=0.25, temperature=0.8))
    (body,) = requests
    assert body["max_completion_tokens"] == 1
    assert body["temperature"] == 0.8
    assert "top_p" not in body  # 1: nothing is cut off
    assert {chr(int(id)): bias for id, bias in body["logit_bias"].items()} == {
        "A": pytest.approx(100 - 2 * 1.6),
        "B": pytest.approx(100 - 2 * 0.75),
        "C": pytest.approx(100 - 2 * 0.5),
        "D": 100.0,
    }


def test_what_is_remembered_is_in_the_biases_alone() -> None:
    plain, aided = (draws(P, modulation(a), where=situation(turns=2))[1][0] for a in ({}, A))
    assert plain.pop("logit_bias") != aided.pop("logit_bias")
    assert plain == aided


def test_the_step_is_said_to_the_ledger_and_the_draw_is_seeded() -> None:
    able = Capabilities(logit_bias=True, bias_shown="before")
    model = ScriptedModel(
        lambda request: completion(["A"]), tokenizer=lambda text: [ord(text)], capabilities=able
    )
    for seed in (0, 0, 1):
        rng = np.random.default_rng(seed)
        asyncio.run(Biased(model).sample(situation(turns=1), modulation(A), rng))
    first, again, other = model.requests
    assert first == again and first.seed != other.seed
    assert first.purpose == Purpose("act", 2, 1)


# --- the budget -------------------------------------------------------------------------------

advantages = st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=6)
base_logits = st.lists(st.floats(-12.0, 0.0), min_size=6, max_size=6)


@given(
    advantages,
    base_logits,
    st.floats(0.0, 200.0),
    st.floats(0.0, 5.0),
    st.floats(0.1, 3.0),
)
def test_the_budget_is_kept_whatever_the_base_policy_is(A, z, beta, budget, T) -> None:
    A, z = np.array(A), np.array(z[: len(A)])
    step = update.beta_for_any_base(A, beta, budget, T)
    assert 0 <= step <= beta
    spent = update.kl(update.log_policy(z, A, step, T), update.log_policy(z, A, 0.0, T))
    assert spent <= budget * (1 + 1e-9) + 1e-12


@given(st.floats(-1.0, 0.9), st.floats(0.05, 1.0), st.floats(0.001, 3.0), st.floats(0.1, 3.0))
def test_the_step_is_within_a_factor_of_three_of_the_best_for_the_worst_base(low, R, budget, T):
    """Two actions, and the base policy for which a step costs most: no needless timidity."""
    A = np.array([low, low + R])
    step = update.beta_for_any_base(A, math.inf, budget, T)
    costs = [
        update.kl(update.log_policy(z, A, 3 * step, T), update.log_policy(z, A, 0.0, T))
        for z in (T * np.array([0.0, gap]) for gap in np.linspace(-20, 5, 120))
    ]
    assert max(costs) > budget


@given(advantages, st.floats(0.0, 200.0), st.floats(0.1, 3.0))
def test_without_a_budget_or_a_difference_the_step_is_the_one_wanted(A, beta, T) -> None:
    assert update.beta_for_any_base(np.array(A), beta, None, T) == beta
    assert update.beta_for_any_base(np.full(3, A[0]), beta, 0.1, T) == beta


def test_a_budget_of_nothing_moves_nothing() -> None:
    assert update.beta_for_any_base(np.array([0.0, 1.0]), 10.0, 0.0, 1.0) == 0.0


@pytest.mark.parametrize("budget", [0.01, 0.1, 1.0])
def test_a_draw_under_a_budget_keeps_to_it_and_reports_its_step(budget) -> None:
    (drawn,), _ = draws(P, modulation(A, beta=10.0, kl_budget=budget))
    assert 0 < drawn.beta < 10.0
    spent = sum(q * math.log(q / drawn.before[a]) for a, q in drawn.after.items())
    assert 0 < spent <= budget
    assert drawn.after == near(closed_form(BY_ACTION, A, drawn.beta))


def test_only_actions_that_can_be_taken_here_count_for_the_range() -> None:
    elsewhere = A | {"eat the sun": 1000.0}
    (drawn,), _ = draws(P, modulation(elsewhere, beta=10.0, kl_budget=0.1))
    (plain,), _ = draws(P, modulation(A, beta=10.0, kl_budget=0.1))
    assert drawn == plain


# --- what cannot be done is refused -----------------------------------------------------------


@given(st.dictionaries(st.sampled_from("ABCD"), st.floats(-1.0, 1.0), min_size=1))
def test_biases_lie_between_half_and_the_whole_of_what_servers_take(A) -> None:
    made = biases(A, 20.0)
    assert max(made.values()) == 100.0
    assert min(made.values()) >= 50.0
    for one in A:
        for other in A:
            assert made[one] - made[other] == pytest.approx(20 * (A[one] - A[other]), abs=1e-9)


def test_a_beta_that_would_spread_them_too_far_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"beta spreads the biases by more than 50.*60"):
        draws(P, modulation(A | {"go north": 0.0}, beta=60.0))
    assert min(biases({"A": 0.0, "B": 1.0}, 50.0).values()) == 50.0


def test_nobody_knows_where_the_log_probabilities_are_from() -> None:
    with pytest.raises(InvalidValue, match=r"bias_shown.*jitrl models probe.*None"):
        draws(P, modulation(A), shown=None)


def test_after_the_bias_the_base_policy_is_known_at_temperature_one_alone() -> None:
    with pytest.raises(InvalidValue, match=r"temperature must be 1.*after the bias.*0\.8"):
        draws(P, modulation(A, temperature=0.8), shown="after")


def test_a_model_that_tells_no_ids_cannot_be_biased() -> None:
    able = Capabilities(logit_bias=True, bias_shown="before")
    source = Biased(ScriptedModel([], capabilities=able))
    with pytest.raises(RequestRejected, match="does not tell the ids"):
        asyncio.run(source.sample(situation(), modulation(A), np.random.default_rng(0)))


def test_labels_of_several_tokens_cannot_be_biased() -> None:
    many = situation([f"do {i}" for i in range(60)])
    with pytest.raises(BadReply, match="'AA' is 2 tokens"):
        draws({"AA": 1.0}, modulation({}), where=many, tokens=characters)


def test_a_server_that_ignores_the_bias_is_found_out() -> None:
    async def use(model, running):
        await Biased(model).sample(situation(), modulation(A), np.random.default_rng(0))

    with pytest.raises(BadReply, match="'Let' instead of a label"):
        served(
            {"Let": 1.0},
            use,
            known={"bias_shown": "before"},
            capabilities=replace(ABLE, logit_bias=False),
        )


def test_a_drawn_label_of_probability_zero_is_an_error() -> None:
    able = Capabilities(logit_bias=True, bias_shown="before")
    said = completion(["A"])
    said = replace(said, tokens=(replace(said.tokens[0], logprob=-math.inf, top={}),))
    model = ScriptedModel([said], tokenizer=lambda text: [ord(text)], capabilities=able)
    with pytest.raises(BadReply, match="its own choice the probability 0"):
        asyncio.run(Biased(model).sample(situation(), modulation(A), np.random.default_rng(0)))


def test_it_is_found_by_name() -> None:
    model = ScriptedModel([])
    made = make("labels-server", model, Options(top_logprobs=5, window=2))
    assert made == Biased(model, top_logprobs=5, window=2)
