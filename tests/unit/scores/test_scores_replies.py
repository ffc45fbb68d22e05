"""Where in a reply the label stands that decides: never a wrong token."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores_kit import answer, completion

from jitrl.errors import BadReply
from jitrl.models import Reply, Usage
from jitrl.models.jsonreply import parse
from jitrl.scores.replies import (
    MARKS,
    agent_schema,
    choice_token,
    label_logprobs,
    label_token,
    read_named,
    single,
)

LABELS = ["A", "B", "C", "AB"]


def cut(text: str, places) -> list[str]:
    """A text cut into tokens at these places."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def at(tokens: list[str], place: int) -> int:
    """The number of the token that covers a character."""
    for number, token in enumerate(tokens):
        if place < len(token):
            return number
        place -= len(token)
    raise AssertionError("beyond the end")


def found(tokens: list[str], choice: str) -> int:
    """The number of the token that is found; tokens are told apart by identity."""
    said = completion(tokens)
    token = choice_token(said, choice)
    return next(i for i, each in enumerate(said.tokens) if each is token)


# --- the choice in a JSON answer ---------------------------------------------------------------

nasty = st.text(
    st.sampled_from(list('"\\{}[]:,ABchoie \n\té')),
    max_size=12,
) | st.sampled_from(
    [
        '"choice": "B"',
        '\\"choice\\": \\"B\\"',
        "choice",
        '{"choice": "A"}',
        'labels "A" and "B"',
        '}, "choice": "C',
        "\\",
        "A",
    ]
)


@st.composite
def serialised(draw, labels=tuple(LABELS)):
    """An answer as text, where the label of its choice begins in it, and that label."""
    choice = draw(st.sampled_from(labels))
    candidates = [
        {"label": label, "reason": draw(nasty), "confidence": draw(st.integers(0, 100))}
        for label in draw(st.lists(st.sampled_from(LABELS), min_size=1, unique=True))
    ]
    pairs = [("candidates", candidates), ("choice", choice), ("note", draw(nasty))]
    if draw(st.booleans()):
        pairs.append(("inner", {"choice": draw(st.sampled_from(LABELS))}))
    fields = dict(draw(st.permutations(pairs)))
    style = {
        "indent": draw(st.sampled_from([None, 0, 2])),
        "separators": (draw(st.sampled_from([",", ", "])), draw(st.sampled_from([":", " : "]))),
        "ensure_ascii": draw(st.booleans()),
    }
    before, after = draw(
        st.sampled_from([("", ""), ("```json\n", "\n```"), ("Here: ", ' My "choice": "A" it is.')])
    )
    place = json.dumps(fields | {"choice": "@"}, **style).index("@")  # it is nowhere else
    return before + json.dumps(fields, **style) + after, len(before) + place, choice


@settings(max_examples=300)
@given(serialised(), st.lists(st.integers(0, 400), max_size=60))
def test_the_token_found_is_the_one_that_covers_the_choice(made, places) -> None:
    text, place, choice = made
    assert parse(text, "it")["choice"] == choice
    tokens = cut(text, [p for p in places if not place < p % (len(text) + 1) < place + len(choice)])
    number = at(tokens, place)
    if tokens[number].strip(MARKS) == choice:
        assert found(tokens, choice) == number
    else:  # merged with more than marks, its probability is not that of the label
        with pytest.raises(BadReply, match="more than one token"):
            choice_token(completion(tokens), choice)


@given(serialised(["AB"]), st.lists(st.integers(0, 400), max_size=60))
def test_a_choice_that_is_split_is_refused(made, places) -> None:
    text, place, choice = made
    with pytest.raises(BadReply, match=r"more than one token.*sequence, stated or sampled"):
        choice_token(completion(cut(text, [*places, place + 1])), choice)


@pytest.mark.parametrize(
    ("tokens", "number"),
    [
        (['{"candidates": [], "choice": "', "A", '"}'], 1),
        (['{"candidates": [], "choice": ', '"A', '"}'], 1),
        (['{"candidates": [], "choice": "', 'A"', "}"], 1),
        (['{"candidates": [], "choice": ', '"A"}'], 1),
        (['{"choice"', "\n : \t", '"', "A", '", "candidates": []}'], 3),
        (['{"choice": "', "A", '", "candidates": [{"choice": "', "A", '"}]}'], 1),
        (['My "choice": "', "A", '" is: {"choice": "', "A", '"}'], 3),
        (['{"choice": "', "A", '"} so my "choice": "', "A", '" stands'], 1),
        (['{"why": "\\"choice\\": \\"', "A", '\\"", "choice": "', "A", '"}'], 3),
        (['{"choice": "', "A", '", "why": "{ \\"choice\\": \\"', "A", '\\" }"}'], 1),
    ],
)
def test_the_choice_is_found_in_any_dress(tokens, number) -> None:
    assert found(tokens, "A") == number


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        ['{"candidates": []}'],
        ['{"choice": 3}'],
        ['{"choice": "\\u0041"}'],
        ['{"cho\\u0069ce": "', "A", '"}'],
        ['{"choice": "', "B", '"}'],
    ],
)
def test_where_no_such_choice_is_among_the_tokens_nothing_is_guessed(tokens) -> None:
    with pytest.raises(BadReply, match="no choice of 'A' is found among the reply's tokens"):
        choice_token(completion(tokens), "A")


def test_a_reply_without_tokens_has_no_choice() -> None:
    said = completion(['{"choice": "A"}'])
    with pytest.raises(BadReply, match="no choice"):
        choice_token(type(said)(said.text), "A")


# --- a label alone ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "label"),
    [
        (["A"], "A"),
        ([" A"], "A"),
        (["\n", " ", "A"], "A"),
        (['"', "A", '"'], "A"),
        (["**", "B", "**"], "B"),
        (["(C)", "\n"], "C"),
        (["A", ":", " go north"], "A"),
        (["A", ".", " because"], "A"),
        (["B", "\n", "I think"], "B"),
        (["AB"], "AB"),
        (["A", "<|end|>"], "A"),
    ],
)
def test_a_plain_answer_begins_with_its_label(tokens, label) -> None:
    token, said = label_token(completion(tokens), LABELS)
    assert said == label
    assert label in token.text


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        ["  ", "\n"],
        ["go north"],
        ["Answer", ":", " A"],
        ["A", "B"],
        ["A", "nything else"],
        ["A", " good way is B"],
        ["A", "'s", " best"],
        ["A ", "good way"],
        ["a"],
        ["D"],
        ["A, B"],
    ],
)
def test_an_answer_in_words_is_not_mistaken_for_a_label(tokens) -> None:
    with pytest.raises(BadReply, match="instead of a label of one token"):
        label_token(completion(tokens), LABELS)


# --- log-probabilities of labels --------------------------------------------------------------


def test_tokens_that_say_the_same_are_added_up_and_others_left_out() -> None:
    top = {"A": 0.25, " A": 0.125, '"B': 0.0625, "Apple": 0.5, "": 0.01, '"': 0.01}
    logs = {text: math.log(p) for text, p in top.items()}
    assert label_logprobs(logs, LABELS) == {
        "A": pytest.approx(math.log(0.375), abs=1e-12),
        "B": pytest.approx(math.log(0.0625), abs=1e-12),
    }


def test_an_impossible_label_is_not_reported() -> None:
    assert label_logprobs({"A": -math.inf, "B": 0.0}, LABELS) == {"B": 0.0}


# --- what the answer names --------------------------------------------------------------------


def test_candidates_keep_their_order_and_those_beyond_the_number_are_cut_off() -> None:
    named = read_named(json.loads(answer("C", ("B", 70), ("A", 0.5), ("C", 100))), LABELS, 2)
    assert dict(named.confidence) == {"B": 70.0, "A": 0.5}
    assert list(named.confidence) == ["B", "A"]
    assert named.choice == "C"


def one(**candidate: object) -> dict[str, object]:
    return {"candidates": [{"label": "A", "confidence": 50} | candidate], "choice": "A"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "object"),
        ("A", "object"),
        ({"choice": "A"}, "candidates"),
        ({"candidates": {"A": 1}, "choice": "A"}, "candidates"),
        ({"candidates": ["A"], "choice": "A"}, "labels shown"),
        ({"candidates": [], "choice": "A"}, "no candidate"),
        (one(label="Z"), "labels shown"),
        (one(label=["A"]), "labels shown"),
        (one(label="go north"), "labels shown"),
        (one(confidence=101), "0 to 100"),
        (one(confidence=-1), "0 to 100"),
        (one(confidence=True), "0 to 100"),
        (one(confidence="50"), "0 to 100"),
        (one(confidence=None), "0 to 100"),
        (one(confidence=math.nan), "0 to 100"),
        (one() | {"choice": "Z"}, "choice 'Z'"),
        (one() | {"choice": None}, "choice None"),
        ({"candidates": one()["candidates"] * 2, "choice": "A"}, "named twice"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_with_the_reason(value, says) -> None:
    with pytest.raises(ValueError, match=says):
        read_named(value, LABELS, 3)


def test_the_schema_allows_the_labels_alone() -> None:
    schema = agent_schema("AB")
    assert schema["required"] == ["candidates", "choice"]
    assert schema["properties"]["choice"] == {"type": "string", "enum": ["A", "B"]}
    item = schema["properties"]["candidates"]["items"]
    assert item["properties"]["label"]["enum"] == ["A", "B"]
    assert schema["additionalProperties"] is item["additionalProperties"] is False


def test_a_refusal_is_an_error_that_names_the_model() -> None:
    said = completion(["A"])
    reply = Reply((said,), Usage(1), "m")
    assert single(reply, "some/model") is said
    refused = Reply((type(said)("no", "refusal"),), Usage(1), "m")
    with pytest.raises(BadReply, match="some/model refuses"):
        single(refused, "some/model")
