"""The scripted model: it says what the script says, and nothing else."""

from __future__ import annotations

import asyncio
import math

import pytest

from jitrl.errors import BadReply, ModelUnavailable, RequestRejected
from jitrl.models import (
    Capabilities,
    Completion,
    Message,
    Purpose,
    Reply,
    Request,
    Token,
    Usage,
)
from jitrl.models.scripted import ScriptedModel

ASKED = (Message("system", "You play."), Message("user", "What now, then?"))
REQUEST = Request(ASKED, max_tokens=8)
SURE = Completion("A", tokens=(Token("A", -0.1, {"A": -0.1, "B": -2.5, "C": -4.0}),))


def ask(model: ScriptedModel, **changes) -> Reply:
    return asyncio.run(model.complete(Request(ASKED, max_tokens=8, **changes)))


def test_replies_come_in_order_and_requests_are_kept():
    model = ScriptedModel(["go north", Completion("no", finish="refusal")])
    assert ask(model).completions == (Completion("go north"),)
    assert ask(model, seed=3).completions == (Completion("no", finish="refusal"),)
    assert [request.seed for request in model.requests] == [None, 3]


def test_usage_counts_words():
    model = ScriptedModel(["go  north\nnow"], name="scripted/words")
    reply = ask(model)
    assert reply.usage == Usage(calls=1, input=5, output=3)
    assert reply.model == "scripted/words"


def test_a_script_that_has_ended_says_so():
    model = ScriptedModel(["look"])
    ask(model)
    with pytest.raises(BadReply, match=r"^the script has ended after 1 replies: give it more"):
        ask(model)


def test_a_list_gives_each_completion_a_reply_of_its_own():
    model = ScriptedModel(["a", "b", "c"])
    assert [said.text for said in ask(model, n=2).completions] == ["a", "b"]
    with pytest.raises(BadReply, match="ended"):
        ask(model, n=2)


def test_a_function_sees_the_request():
    model = ScriptedModel(lambda request: f"{request.purpose.role} {len(request.messages)}")
    assert ask(model, purpose=Purpose("judge")).text == "judge 2"


def test_a_function_may_give_the_whole_reply():
    reply = Reply((Completion("x"), Completion("y")), Usage(2, 30, 20, 4), "another")
    assert ask(ScriptedModel(lambda _: reply), n=2) == reply
    with pytest.raises(BadReply, match="gives 2 completions, asked were 3"):
        ask(ScriptedModel(lambda _: reply), n=3)


def test_a_function_may_raise():
    def fail(_: Request) -> str:
        raise ModelUnavailable("gone")

    with pytest.raises(ModelUnavailable):
        ask(ScriptedModel(fail))


@pytest.mark.parametrize(
    ("top", "shown"), [(0, {}), (2, {"A": -0.1, "B": -2.5}), (9, dict(SURE.tokens[0].top))]
)
def test_as_many_alternatives_are_shown_as_were_asked_for(top, shown):
    (said,) = ask(ScriptedModel([SURE]), top_logprobs=top).completions
    assert said.tokens == (Token("A", -0.1, shown),)


def test_tokens_are_left_out_unless_asked_for():
    assert ask(ScriptedModel([SURE])).completions == (Completion("A"),)


def test_log_probabilities_that_the_script_lacks_are_not_made_up():
    with pytest.raises(BadReply, match="no tokens for 'A'"):
        ask(ScriptedModel(["A"]), top_logprobs=5)


def test_a_bias_is_refused_unless_the_script_is_said_to_follow_it():
    with pytest.raises(RequestRejected, match="takes no logit_bias"):
        ask(ScriptedModel(["A"]), logit_bias={7: 1.0})
    able = ScriptedModel(["A"], capabilities=Capabilities(logit_bias=True))
    assert ask(able, logit_bias={7: 1.0}).text == "A"


def test_scores_are_what_the_function_says():
    model = ScriptedModel([], logprobs={"go": -1.5, "stay here": -math.inf}.__getitem__)
    scores = asyncio.run(model.score(ASKED, ["stay here", "go"], Purpose()))
    assert scores.logprobs == (-math.inf, -1.5)
    assert scores.usage == Usage(calls=1, input=8)


@pytest.mark.parametrize("value", [0.5, math.nan, math.inf])
def test_what_is_no_log_probability_is_refused(value):
    model = ScriptedModel([], logprobs=lambda _: value)
    with pytest.raises(BadReply, match="is no log-probability, of 'go'"):
        asyncio.run(model.score(ASKED, ["go"], Purpose()))


def test_without_a_function_scoring_is_rejected():
    with pytest.raises(RequestRejected, match="logprobs=FUNCTION"):
        asyncio.run(ScriptedModel([]).score(ASKED, ["go"], Purpose()))


def test_tokens_are_told_by_the_tokenizer_alone():
    assert asyncio.run(ScriptedModel([]).tokenize("ab")) is None
    spelling = ScriptedModel([], tokenizer=lambda text: [ord(letter) for letter in text])
    assert asyncio.run(spelling.tokenize("ab")) == (97, 98)


def test_capabilities_tell_what_the_script_shows():
    bare = ScriptedModel([]).capabilities
    assert (bare.sequence, bare.tokenize, bare.logprobs) == (False, False, None)
    able = ScriptedModel([], logprobs=float, tokenizer=lambda _: ()).capabilities
    assert (able.sequence, able.tokenize) == (True, True)


def test_closing_twice_is_harmless():
    model = ScriptedModel([])
    asyncio.run(model.close())
    asyncio.run(model.close())
