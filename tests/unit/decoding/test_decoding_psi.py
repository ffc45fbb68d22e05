"""Corrections per token against the closed form over whole sequences, all of them listed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from decoding_kit import (
    END,
    assert_same_policy,
    closed_form,
    modulated,
    random_tree,
    sequences,
    token_logprobs,
)
from hypothesis import given
from hypothesis import strategies as st

from jitrl import update
from jitrl.decoding.psi import Known
from jitrl.errors import InvalidValue


@st.composite
def problems(draw, scales=(0.0, 1e-9, 1e-3, 1.0, 20.0, 1e3)):
    """Draw (tree, every sequence, known actions, tilts of every sequence)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vocabulary, depth = draw(st.sampled_from([(2, 4), (3, 4), (4, 3), (8, 2)]))
    tree = random_tree(rng, vocabulary, depth, draw(st.sampled_from([0.05, 0.7, 5.0])))
    every = sequences(tree)
    n = draw(st.integers(0, min(len(every) - 1, 9)))
    chosen = sorted(rng.choice(len(every), size=n, replace=False).tolist())
    tilts = np.zeros(len(every))
    tilts[chosen] = draw(st.sampled_from(scales)) * rng.uniform(-1, 1, size=n)
    known = Known(
        [every[i] for i in chosen],
        [token_logprobs(tree, every[i]) for i in chosen],
        tilts[chosen],
    )
    return tree, every, known, tilts


def totals(tree, every):
    return np.array([np.sum(token_logprobs(tree, sequence)) for sequence in every])


@given(problems())
def test_token_by_token_is_the_closed_form_over_whole_sequences(problem):
    tree, every, known, tilts = problem
    wanted = closed_form(totals(tree, every), tilts)
    assert_same_policy(totals(modulated(tree, known), every), wanted)


@given(problems(scales=(0.0, 1e-3, 1.0, 20.0)))
def test_the_closed_forms_of_known_actions_agree_with_the_update_over_everything(problem):
    tree, every, known, tilts = problem
    z = totals(tree, every)
    number = {sequence: i for i, sequence in enumerate(every)}
    mine = [number[sequence] for sequence in known.sequences]
    rest = [i for i in range(len(every)) if i not in mine]
    whole = update.log_policy(z, tilts, 1.0, 1.0)
    before, after = known.policies()
    assert_same_policy(before, [*z[mine], np.logaddexp.reduce(z[rest])])
    assert_same_policy(after, [*whole[mine], np.logaddexp.reduce(whole[rest])])
    assert_same_policy(z[rest] - known.log_Z, whole[rest])
    base = update.log_policy(z, tilts, 0.0, 1.0)
    assert known.kl == pytest.approx(update.kl(whole, base), rel=1e-6, abs=1e-9)


@given(problems(scales=(1.0,)), st.floats(0.2, 4.0), st.floats(0.0, 10.0))
def test_a_step_and_a_temperature_enter_as_the_step_over_the_temperature(problem, T, beta):
    tree, every, known, tilts = problem
    tilted = Known(known.sequences, known.logprobs, beta * known.tilts / T)
    wanted = update.log_policy(T * totals(tree, every), tilts, beta, T)
    assert_same_policy(totals(modulated(tree, tilted), every), wanted)


@given(problems(scales=(0.0,)))
def test_without_advantages_nothing_is_added_to_any_bit(problem):
    tree, _, known, _ = problem
    for prefix in tree:
        assert not np.any(known.corrections(prefix)[1])
    assert known.log_Z == 0.0
    assert known.kl == 0.0


@given(problems())
def test_only_tokens_that_a_known_action_goes_through_are_corrected(problem):
    tree, _, known, _ = problem
    for prefix in tree:
        through = {s[len(prefix)] for s in known.sequences if s[: len(prefix)] == prefix}
        tokens, log_psi = known.corrections(prefix)
        assert set(tokens) == through
        assert len(tokens) == len(log_psi) == len(through)


def test_psi_is_the_formula_of_the_method():
    tree = random_tree(np.random.default_rng(3), 4, 3)
    every = sequences(tree)[2:6]
    tilts = [1.5, -0.7, 0.2, -3.0]
    known = Known(every, [token_logprobs(tree, s) for s in every], tilts)
    for prefix in tree:
        for token, log_psi in zip(*known.corrections(prefix), strict=True):
            x = (*prefix, token)
            psi = 1.0 + sum(
                math.exp(np.sum(token_logprobs(tree, s)[len(x) :])) * math.expm1(tilt)
                for s, tilt in zip(every, tilts, strict=True)
                if s[: len(x)] == x
            )
            assert log_psi == pytest.approx(math.log(psi), abs=1e-12)


def test_actions_that_are_prefixes_of_each_other_are_told_apart_by_their_ends():
    tree = random_tree(np.random.default_rng(5), 4, 4)
    chosen = [(1, END), (1, 2, END), (1, 2, 3, END), (END,)]
    known = Known(chosen, [token_logprobs(tree, s) for s in chosen], [2.0, -2.0, 1.0, -1.0])
    every = sequences(tree)
    tilt = dict(zip(chosen, known.tilts, strict=True))
    wanted = closed_form(totals(tree, every), [tilt.get(s, 0.0) for s in every])
    assert_same_policy(totals(modulated(tree, known), every), wanted)


@pytest.mark.parametrize("scale", [700.0, -700.0, 1e5, -1e5, 1e300, -1e300])
def test_a_huge_tilt_overflows_nothing(scale):
    tree = random_tree(np.random.default_rng(8), 4, 3)
    every = sequences(tree)
    known = Known([every[4]], [token_logprobs(tree, every[4])], [scale])
    wanted = closed_form(totals(tree, every), np.where(np.arange(len(every)) == 4, scale, 0.0))
    assert_same_policy(totals(modulated(tree, known), every), wanted, 1e-8)
    assert math.isfinite(known.kl)


def test_known_actions_that_hold_all_the_mass_leave_nothing_to_the_rest():
    thirds = np.log([1 / 3, 1.0])
    known = Known([(1, END), (2, END), (3, END)], [thirds] * 3, [-50.0, -49.0, -51.0])
    before, after = known.policies()
    assert np.exp(before).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0], abs=1e-15)
    assert_same_policy(after[:3], closed_form([0.0] * 3, [-50.0, -49.0, -51.0]))
    rounded = Known(
        [(1, END), (2, END)], [[math.log(0.6) + 1e-7, 0.0], [math.log(0.4), 0.0]], [1, 2]
    )
    assert rounded.log_rest == -math.inf
    assert np.all(np.isfinite(rounded.corrections([])[1]))


def test_what_truncation_excludes_keeps_probability_zero():
    known = Known([(1, END), (2, END)], [[-math.inf, -0.1], [math.log(0.5), 0.0]], [9.0, 1.0])
    before, after = known.policies()
    assert before[0] == after[0] == -math.inf
    assert math.exp(after[1]) == pytest.approx(math.e / (1 + math.e))
    assert np.all(np.isfinite(known.corrections([])[1]))


def test_no_known_action_changes_nothing():
    known = Known([], [], [])
    assert len(known) == 0
    assert known.corrections([])[0] == []
    assert (known.log_Z, known.log_rest, known.kl) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("chosen", "logprobs", "tilts", "reason"),
    [
        ([(1, 0), (1, 0)], [[-1, 0], [-1, 0]], [0, 0], "repeat"),
        ([(1,), (1, 0)], [[-1], [-1, 0]], [0, 0], "begin"),
        ([(1, 0), (1,)], [[-1, 0], [-1]], [0, 0], "begin"),
        ([()], [[]], [0], "one logprob a token"),
        ([(1, 0)], [[-1]], [0], "one logprob a token"),
        ([(1, 0)], [[-1, math.nan]], [0], "nan"),
        ([(1, 0)], [[-1, 0.5]], [0], "at most 0"),
        ([(1, 0)], [[-1, 0]], [math.inf], "finite"),
        ([(1, 0)], [[-1, 0]], [math.nan], "finite"),
        ([(1, 0)], [[-1, 0]], [], "one length"),
    ],
)
def test_what_does_not_belong_together_is_refused(chosen, logprobs, tilts, reason):
    with pytest.raises(InvalidValue, match=reason):
        Known(chosen, logprobs, tilts)
