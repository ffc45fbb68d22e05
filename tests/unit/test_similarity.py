"""The definition of similarity, against a second one of a few lines, and case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.records import State
from jitrl.similarity import UNNAMED, Field, grams, jaccard, similarity, specification, words

texts = st.lists(st.sampled_from(["a", "b", "c", "A", "b.", "c,", ""]), max_size=9).map(" ".join)
names = st.sampled_from(["room", "inventory", "history", "other", "extra"])
states = st.dictionaries(names, texts, max_size=4).map(lambda fields: State(**fields))
specifications = st.lists(
    st.builds(
        Field,
        name=st.sampled_from(["room", "inventory", "history", "never"]),
        weight=st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0, 5.0]),
        n=st.integers(1, 4),
        multiset=st.booleans(),
        minimum=st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5, 1.0])),
        exact=st.booleans(),
    ),
    unique_by=lambda field: field.name,
    max_size=3,
)


def plain(left, right, n, multiset):
    """Jaccard similarity once more: cross off equal n-grams one by one."""

    def pieces(text):
        tokens = [token.strip(".,") for token in text.lower().split()]
        if 0 < len(tokens) < n:
            return [" ".join(tokens)]
        found = [" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
        return found if multiset else sorted(set(found))

    a, b = pieces(left), pieces(right)
    if not a and not b:
        return 1.0
    rest, common = list(b), 0
    for piece in a:
        if piece in rest:
            rest.remove(piece)
            common += 1
    return common / (len(a) + len(b) - common)


@given(texts, texts, st.integers(1, 5), st.booleans())
def test_jaccard_equals_an_independent_implementation(a, b, n, multiset):
    assert jaccard(a, b, n, multiset) == plain(a, b, n, multiset)


@given(st.text(), st.text(), st.integers(1, 5), st.booleans())
def test_jaccard_of_any_text_lies_in_0_1_is_symmetric_and_1_for_equal_texts(a, b, n, multiset):
    score = jaccard(a, b, n, multiset)
    assert 0.0 <= score <= 1.0
    assert score == jaccard(b, a, n, multiset)
    assert jaccard(a, a, n, multiset) == 1.0


@given(states, states, specifications)
def test_similarity_lies_in_0_1_and_is_symmetric_to_the_last_bit(a, b, fields):
    value = similarity(a, b, fields)
    assert 0.0 <= value <= 1.0
    assert value == similarity(b, a, fields)


@given(states, specifications)
def test_equal_states_have_similarity_1(state, fields):
    assert similarity(state, State(**dict(state)), fields) == 1.0


@given(states, states, specifications)
def test_similarity_is_the_weighted_mean_over_the_fields_that_either_state_has(a, b, fields):
    total = weight = 0.0
    named = {field.name: field for field in fields}
    for name in {*a, *b}:
        field = named.get(name, UNNAMED)
        both = name in a and name in b
        score = plain(a[name], b[name], field.n, field.multiset) if both else 0.0
        refused = field.exact and not (both and a[name] == b[name])
        if refused or (field.minimum is not None and score < field.minimum):
            assert similarity(a, b, fields) == 0.0
            return
        total, weight = total + field.weight * score, weight + field.weight
    expected = total / weight if weight else 1.0
    assert similarity(a, b, fields) == pytest.approx(expected, abs=1e-12)


def test_a_multiset_counts_repeated_n_grams_and_a_set_does_not():
    assert jaccard("a a a b", "a b b b", 1, multiset=True) == 2 / 6
    assert jaccard("a a a b", "a b b b", 1, multiset=False) == 1.0
    assert jaccard("a b a b", "a b", 2, multiset=True) == 1 / 3
    assert jaccard("a b a b", "a b", 2, multiset=False) == 1 / 2


def test_n_grams_keep_the_order_of_words():
    assert jaccard("north of house", "house of north", 1, multiset=True) == 1.0
    assert jaccard("north of house", "house of north", 2, multiset=True) == 0.0


def test_a_text_shorter_than_n_words_is_one_n_gram_the_whole_text():
    assert grams("dark room", 4) == {("dark", "room"): 1}
    assert jaccard("dark room", "Dark room.", 4, multiset=True) == 1.0
    assert jaccard("dark room", "dark", 4, multiset=True) == 0.0
    assert grams("a b c d", 4) == {("a", "b", "c", "d"): 1}
    assert len(grams("a b c d e", 4)) == 2


@pytest.mark.parametrize("blank", ["", " ", "\n\t "])
def test_two_empty_texts_have_similarity_1_and_one_empty_text_0(blank):
    for multiset in (True, False):
        assert jaccard(blank, "", 2, multiset) == 1.0
        assert jaccard(blank, "word", 2, multiset) == 0.0


def test_a_field_absent_on_both_sides_is_left_out_and_the_weights_renormalised():
    fields = [Field("room", 0.7), Field("inventory", 0.1), Field("history", 0.2)]
    a, b = State(room="a b", history="x"), State(room="a c", history="x")
    assert similarity(a, b, fields) == pytest.approx((0.7 / 3 + 0.2) / 0.9)
    assert similarity(State(room="a"), State(room="a"), fields) == 1.0


def test_a_field_absent_on_one_side_scores_0():
    fields = [Field("room", 0.75), Field("history", 0.25)]
    assert similarity(State(room="a", history="x"), State(room="a"), fields) == 0.75
    assert similarity(State(room="a", history=""), State(room="a"), fields) == 0.75
    assert similarity(State(), State(room="a"), fields) == 0.0


def test_two_states_without_any_field_are_equal():
    assert similarity(State(), State(), [Field("room", exact=True, minimum=1.0)]) == 1.0


def test_a_field_that_the_specification_does_not_name_is_compared_like_the_room_of_default():
    assert (UNNAMED.weight, UNNAMED.n, UNNAMED.multiset) == (0.7, 4, True)
    assert (UNNAMED.minimum, UNNAMED.exact) == (None, False)
    a, b = (
        State(room="k", page="one two three four five"),
        State(room="k", page="one two three four"),
    )
    assert similarity(a, b, [Field("room", 0.7)]) == pytest.approx((0.7 + 0.7 / 2) / 1.4)
    assert similarity(a, b, []) == pytest.approx(0.75)
    assert [f.name for f in specification([Field("room")], ["z", "room", "b"])] == [
        "room",
        "b",
        "z",
    ]


def test_an_exact_field_must_be_equal_as_text_or_the_similarity_is_0():
    fields = [Field("url", 0.0, exact=True), Field("page", 1.0)]
    page = "the same page"
    assert similarity(State(url="/a", page=page), State(url="/a", page=page), fields) == 1.0
    for other in ("/A", "/a.", "/a ", "/b"):  # equal as words is not enough
        assert similarity(State(url="/a", page=page), State(url=other, page=page), fields) == 0.0
    assert similarity(State(url="/a", page=page), State(page=page), fields) == 0.0
    assert similarity(State(page=page), State(page=page), fields) == 1.0


def test_a_field_below_its_own_minimum_makes_the_similarity_0():
    fields = [Field("task", 0.1, minimum=0.5), Field("page", 0.9)]
    same = {"page": "the same page"}
    assert similarity(State(task="a b", **same), State(task="a b", **same), fields) == 1.0
    assert similarity(State(task="a b c", **same), State(task="a b d", **same), fields) > 0.9
    assert similarity(State(task="a b", **same), State(task="a c", **same), fields) == 0.0
    assert similarity(State(task="a", **same), State(**same), fields) == 0.0
    assert similarity(State(**same), State(**same), fields) == 1.0


def test_the_weights_are_shares_not_percentages():
    a, b = State(room="a", history="x"), State(room="a", history="y")
    small = [Field("room", 0.3), Field("history", 0.1)]
    large = [Field("room", 30.0), Field("history", 10.0)]
    assert similarity(a, b, small) == pytest.approx(0.75)
    assert similarity(a, b, large) == pytest.approx(0.75)


@given(states, states, specifications)
def test_any_texts_compare_without_an_exception_and_the_order_of_fields_is_nothing(a, b, fields):
    turned = State(**dict(reversed(list(a.items()))))
    assert similarity(turned, b, fields) == similarity(a, b, fields)


def test_case_is_folded_in_any_script():
    assert words("Straße ÉCOLE Ωμέγα") == ["strasse", "école", "ωμέγα"]
    assert jaccard("STRASSE école", "straße ÉCOLE", 1, multiset=True) == 1.0
    assert jaccard("台所 です", "台所 でした", 1, multiset=True) == 1 / 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("costs $3.50.", "costs $3.05."),
        ("on 2026-11-23,", "on 2026-11-24,"),
        ("book 'Emma'", "book 'Persuasion'"),
        ('say "yes"', 'say "no"'),
        ("score -10", "score 10"),
        ("lights (3)", "lights (4)"),
        ("at 10:30", "at 10:45"),
        ("order #1182", "order #1183"),
        ("a@b.org", "a@c.org"),
        ("50%", "50"),
    ],
)
def test_prices_dates_signs_and_quoted_names_tell_texts_apart(one, other):
    assert jaccard(one, other, 1, multiset=True) < 1.0
    assert len(words(one)) == len(one.split())


@pytest.mark.parametrize(
    "dressed", ['"lamp"', "'lamp'", "(lamp)", "lamp.", "lamp,", "[lamp];", "Lamp!"]
)
def test_punctuation_at_the_edges_of_a_word_is_not_part_of_it(dressed):
    assert words(dressed) == ["lamp"]


def test_a_word_of_punctuation_alone_is_kept():
    assert words("- ! ...") == ["-", "!", "..."]
