"""The judge of long episodes: every step is asked about once, with what stands around it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_kit import Reads, assess, diligent, episode, lines, scored, shown, true_score

from jitrl.credit.judge import ModelJudge
from jitrl.errors import BadReply, RequestRejected
from jitrl.models import Completion


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 1500), st.integers(0, 12))
def test_chunks_ask_about_each_step_once_with_what_stands_around_it(length, max_chars, overlap):
    found, model = assess(diligent, episode(length), max_chars=max_chars, overlap=overlap)
    assert found == tuple(true_score(t) for t in range(length))
    assert [t for steps in model.asked for t in steps] == list(range(length))
    for steps, request in zip(model.asked, model.requests, strict=True):
        numbers = shown(request)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert set(steps) <= set(numbers)
        before, after = steps[0] - numbers[0], numbers[-1] - steps[-1]
        assert max(before, after) <= overlap
        assert before == after or numbers[0] == 0 or numbers[-1] == length - 1
        first = lines(request)[0]
        assert first["before step"] == numbers[0]
        assert first["observation"] == (f"saw {numbers[0] - 1}" if numbers[0] else "the beginning")
        inside = request.messages[1].content.split("<episode>\n")[1].split("\n</episode>")[0]
        assert len(inside) <= max_chars or len(steps) == 1


def test_consecutive_chunks_overlap():
    _, model = assess(diligent, episode(40), max_chars=1200, overlap=3)
    assert len(model.asked) > 1
    for (early, late), requests in zip(
        zip(model.asked, model.asked[1:], strict=False),
        zip(model.requests, model.requests[1:], strict=False),
        strict=True,
    ):
        common = set(shown(requests[0])) & set(shown(requests[1]))
        assert common >= {early[-1], late[0]}
        assert len(common) == 6


def limited(most):
    """A model that takes so many characters and no more."""

    def answer(steps, request):
        if sum(len(message.content) for message in request.messages) > most:
            return RequestRejected("maximum context length is 5 tokens: shorten the prompt")
        return scored(steps)

    return answer


def test_a_chunk_that_is_too_long_for_the_model_is_halved_and_the_judge_goes_on():
    bare = sum(len(m.content) for m in assess(diligent, episode(1))[1].requests[0].messages)
    for room in (300, 700, 1500):
        found, model = assess(limited(bare + room), episode(30))
        assert found == tuple(true_score(t) for t in range(30))
        answered = [
            t for t, r in zip(model.asked, model.requests, strict=True) if fits(r, bare, room)
        ]
        assert [t for steps in answered for t in steps] == list(range(30))


def fits(request, bare, room):
    return sum(len(message.content) for message in request.messages) <= bare + room


def test_a_single_step_that_is_too_long_is_unscored_and_the_others_are_not():
    bare = sum(len(m.content) for m in assess(diligent, episode(1))[1].requests[0].messages)
    texts = ["begin", *(f"saw {t}" for t in range(10))]
    texts[6] = "word " * 1000  # step 5 leads there, and step 6 begins there
    found, _ = assess(limited(bare + 700), episode(10, texts=texts))
    assert [t for t, score in enumerate(found) if score is None] == [5, 6]


def test_an_episode_that_is_too_long_whatever_is_shown_says_so():
    with pytest.raises(RequestRejected, match="maximum context length"):
        assess(limited(10), episode(4))


def test_a_reply_that_was_cut_off_is_asked_for_in_halves():
    def answer(steps, request):
        text = scored(steps)
        return text if len(text) < 300 else Completion(text[:300], "length")

    found, _ = assess(answer, episode(30))
    assert found == tuple(true_score(t) for t in range(30))


def test_a_model_that_never_ends_an_answer_is_not_asked_for_every_step():
    model = Reads(lambda *_: Completion("let me think", "length"))
    with pytest.raises(BadReply, match="raise max_tokens"):
        asyncio.run(ModelJudge(model).assess(episode(64)))
    assert len(model.requests) == 7


def test_steps_scored_before_a_chunk_was_halved_are_not_asked_for_again():
    def answer(steps, request):
        if len(request.messages) == 2:
            return scored(steps[:-1])
        return RequestRejected("the context is too long")

    found, model = assess(answer, episode(8), overlap=0)
    assert found == (*(true_score(t) for t in range(7)), None)
    assert model.asked[0] == list(range(8))
    assert all(steps == [7] for steps in model.asked[1:])
