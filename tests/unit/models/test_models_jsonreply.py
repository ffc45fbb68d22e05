"""JSON is read strictly out of what a model writes, or refused with a reason; never guessed at."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import BadReply, ModelUnavailable
from jitrl.models import Capabilities, Completion, Message, Reply, Request, Token, Usage
from jitrl.models.jsonreply import ask_json, parse


class Says:
    """A model that says one thing after the other, and keeps what it was asked."""

    name = "test/says"
    capabilities = Capabilities()

    def __init__(self, *said):
        self.said = list(said)
        self.asked = []

    async def complete(self, request):
        self.asked.append(request)
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        completion = said if isinstance(said, Completion) else Completion(said)
        return Reply((completion,), Usage(1, 10, 0, len(completion.text)), self.name)


REQUEST = Request((Message("user", "which step?"),), max_tokens=50)


def step_of(value):
    if not isinstance(value, dict) or not isinstance(value.get("step"), int):
        raise ValueError("there must be a step, an integer")
    return value["step"]


def ask(model, check=step_of):
    return asyncio.run(ask_json(model, REQUEST, check))


def refused(text):
    with pytest.raises(BadReply) as caught:
        parse(text, "the reply")
    message = str(caught.value)
    assert message.startswith("the reply holds ")
    assert "\n" not in message
    assert "ask again" in message
    return message


NO_BRACKETS = st.text(st.characters(exclude_characters="{}[]"), max_size=30)


def containers_of(text):
    """Objects and arrays, deep ones among them, with strings drawn from `text`."""
    numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    values = st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=12,
    )
    return st.lists(values, max_size=4) | st.dictionaries(text, values, max_size=4)


containers = containers_of(st.text())


# --- parse --------------------------------------------------------------------------------------


@given(containers | st.floats(-9, 9) | st.text(), st.sampled_from(["", " ", "\n\t"]))
def test_json_alone_is_read_as_it_is(value, space):
    assert parse(f"{space}{json.dumps(value)}{space}", "it") == value


@given(containers, NO_BRACKETS, NO_BRACKETS)
def test_an_object_or_array_is_found_in_prose(value, before, after):
    assert parse(f"{before} {json.dumps(value)} {after}", "it") == value


@given(containers_of(NO_BRACKETS), st.data())
def test_half_a_json_is_never_read(value, data):
    written = json.dumps(value, ensure_ascii=False)
    refused(written[: data.draw(st.integers(0, len(written) - 1))])


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"step": 1}\n```',
        '```\n{"step": 1}\n```\n',
        'Sure {as you wish}, [here]: {"step": 1}. Bye :-]',
        '\ufeff{"step": 1}',
        '{"step": 1}}',
    ],
)
def test_fences_and_prose_are_tolerated(text):
    assert parse(text, "it") == {"step": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON"),
        ("I would rather not say 3.", "no JSON"),
        ('{"step": 1', "no JSON"),
        ('{"scores": [{"step": 0, "score": 1}, {"step": 1, "sc', "no JSON"),
        ('{"step": 1} {"step": 2}', "2 JSON values"),
        ('{"step": 1} or rather [2]', "2 JSON values"),
        ('{"step": 1, "step": 2}', "names a key twice"),
        ('{"score": NaN}', "NaN is no JSON"),
        ('{"score": -Infinity}', "-Infinity is no JSON"),
        ('{"score": 1e999}', "1e999 is beyond"),
        ("{'step': 1}", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"a":' * 100_000, "no JSON"),
    ],
)
def test_what_cannot_be_read_without_guessing_is_refused(text, problem):
    assert problem in refused(text)


def test_a_long_reply_is_quoted_in_short():
    assert len(refused("word " * 1000)) < 300


# --- ask_json -----------------------------------------------------------------------------------


def test_a_good_reply_is_returned_with_what_it_means():
    tokens = (Token("{", -0.5, {"{": -0.5}),)
    model = Says(Completion('{"step": 4}', tokens=tokens))
    step, reply = ask(model)
    assert step == 4
    assert reply.completions[0].tokens == tokens
    assert model.asked == [REQUEST]


@pytest.mark.parametrize("first", ["step four", '{"step": "4"}', '{"step": 4'])
def test_a_bad_reply_is_sent_back_once_with_what_was_wrong(first):
    model = Says(first, '{"step": 4}')
    step, reply = ask(model)
    assert (step, reply.text) == (4, '{"step": 4}')
    assert reply.usage == Usage(1, 10, 0, 11)
    *before, said, told = model.asked[1].messages
    assert tuple(before) == REQUEST.messages
    assert said == Message("assistant", first)
    assert told.role == "user"
    assert ("an integer" in told.content) or ("no JSON" in told.content)


def test_an_empty_reply_is_sent_back_as_a_message_with_content():
    model = Says("", '{"step": 4}')
    assert ask(model)[0] == 4
    assert all(message.content for message in model.asked[1].messages)


def test_a_second_bad_reply_is_an_error_that_names_the_problem():
    model = Says('{"step": "4"}', '{"step": "five"}')
    with pytest.raises(BadReply) as caught:
        ask(model)
    message = str(caught.value)
    assert "test/says" in message
    assert "there must be a step, an integer" in message
    assert "five" in message
    assert "\n" not in message
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    "said", [Completion("I cannot help with that.", "refusal"), Completion("", "refusal")]
)
def test_a_refusal_is_an_error_at_once(said):
    model = Says(said)
    with pytest.raises(BadReply, match="refuses to answer"):
        ask(model)
    assert len(model.asked) == 1


def test_a_reply_that_was_cut_off_is_an_error_that_names_max_tokens():
    model = Says(Completion('{"step": 4}', "length"))
    with pytest.raises(BadReply, match=r"cut off.*raise max_tokens"):
        ask(model)
    assert len(model.asked) == 1


def test_a_refusal_to_repair_is_an_error_too():
    with pytest.raises(BadReply, match="refuses to answer"):
        ask(Says("what?", Completion("no", "refusal")))


def test_an_error_of_the_model_is_passed_on():
    with pytest.raises(ModelUnavailable, match="gone"):
        ask(Says(ModelUnavailable("gone")))


def test_an_error_of_the_check_that_is_no_verdict_is_passed_on():
    def broken(value):
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        ask(Says("{}"), broken)
