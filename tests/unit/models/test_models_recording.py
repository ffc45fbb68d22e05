"""Recordings: what was recorded is replayed bit for bit, and nothing else is ever said."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from process_kit import Process

from jitrl.errors import (
    BadReply,
    InvalidValue,
    ModelUnavailable,
    NotRecorded,
    RequestRejected,
    RunError,
)
from jitrl.models import (
    Capabilities,
    Completion,
    Message,
    Model,
    Purpose,
    Reply,
    Request,
    SequenceScores,
    Token,
    Usage,
)
from jitrl.models.ledger import Ledger, Metered
from jitrl.models.recording import Recorder, Replay
from jitrl.models.scripted import ScriptedModel

ASKED = (Message("system", "You play."), Message("user", "What now?"))
REQUEST = Request(ASKED, max_tokens=8, purpose=Purpose("act", 0, 3))

texts = st.text(max_size=8)
logprobs = st.floats(max_value=0.0, allow_nan=False)
counts = st.integers(0, 2**62)
purposes = st.builds(
    Purpose,
    st.sampled_from(["act", "judge"]),
    st.none() | st.integers(0, 1),
    st.none() | st.integers(0, 1),
)
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.sampled_from("ab")),
    min_size=1,
    max_size=2,
).map(tuple)
schemas = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
requests = st.builds(
    Request,
    messages,
    st.integers(1, 2),
    temperature=st.floats(0, 2) | st.integers(0, 2),
    top_p=st.just(1.0) | st.floats(0.1, 1),
    n=st.integers(1, 3),
    seed=st.none() | st.integers(0, 1),
    stop=st.lists(texts, max_size=2).map(tuple),
    schema=st.none() | st.dictionaries(texts, schemas, max_size=2).map(MappingProxyType),
    top_logprobs=st.none() | st.integers(0, 2),
    logit_bias=st.dictionaries(counts, st.integers(-100, 100) | st.floats(-100, 100), max_size=2),
    purpose=purposes,
)
tokens = st.builds(Token, texts, logprobs, st.dictionaries(texts, logprobs, max_size=3))
completions = st.builds(
    Completion, texts, texts, st.none() | st.lists(tokens, max_size=2).map(tuple)
)
usages = st.builds(Usage, counts, counts, counts, counts)
replies = st.builds(Reply, st.lists(completions, min_size=1, max_size=3).map(tuple), usages, texts)
scores = st.builds(SequenceScores, st.lists(logprobs, max_size=3).map(tuple), usages, texts)
token_ids = st.none() | st.lists(counts, max_size=3).map(tuple)
# A call is (what is asked, what is answered): a few requests, so that equal ones come again.
few = st.lists(requests, min_size=1, max_size=3)


class Answering:
    """Gives the answers it holds, in the order of the calls, each when it is let go."""

    name = "test/answering"
    capabilities = Capabilities(top_logprobs=5, bias_shown="before", sequence=True)

    def __init__(self, answers: list[object], order: list[int] | None = None) -> None:
        self._answers = iter(enumerate(answers))
        self._order = order if order is not None else list(range(len(answers)))
        self._done = 0
        self.calls = 0

    async def _next(self):
        self.calls += 1
        number, answer = next(self._answers)
        while self._order[self._done] != number:
            await asyncio.sleep(0)
        self._done += 1
        return answer

    async def complete(self, request):
        return await self._next()

    async def score(self, messages, continuations, purpose):
        return await self._next()

    async def tokenize(self, text):
        return await self._next()

    async def close(self):
        pass


class Unasked:
    """Must not be asked for anything."""

    name = Answering.name
    capabilities = Answering.capabilities

    async def complete(self, request):
        raise AssertionError("asked")

    score = tokenize = complete

    async def close(self):
        pass


async def issue(model: Model, call: tuple) -> object:
    kind, *arguments = call
    return await getattr(model, kind)(*arguments)


def run(model: Model, calls: list[tuple], together: bool) -> list[object]:
    """Make the calls, all in flight at once or one after the other; close the model."""

    async def make() -> list[object]:
        if together:
            answers = await asyncio.gather(*(issue(model, call) for call in calls))
        else:
            answers = [await issue(model, call) for call in calls]
        await model.close()
        await model.close()
        return answers

    return asyncio.run(make())


@st.composite
def sessions(draw):
    """Draw calls with their answers, and the order in which the answers arrive."""
    asked = draw(few)
    calls, answers = [], []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["complete", "score"]))
        request = draw(st.sampled_from(asked))
        if kind == "complete":
            calls.append((kind, request))
            answers.append(draw(replies))
        else:
            said = draw(st.lists(st.sampled_from(["go", "no"]), max_size=2))
            calls.append((kind, request.messages, said, request.purpose))
            answers.append(draw(scores))
    return calls, answers, draw(st.permutations(range(len(calls))))


@given(session=sessions())
def test_what_was_recorded_is_replayed(tmp_path_factory, session):
    calls, answers, order = session
    path = tmp_path_factory.mktemp("recording") / "calls.jsonl"
    for together in (True, False):
        path.unlink(missing_ok=True)
        model = Answering(answers, order if together else None)
        assert run(Recorder(model, path), calls, together) == answers
        recorded = path.read_bytes()
        for again in (True, False):  # whether calls are in flight together makes no difference
            replay = Replay(path)
            assert run(replay, calls, again) == answers
            assert (replay.name, replay.capabilities) == (model.name, model.capabilities)
            assert run(Recorder(Unasked(), path), calls, again) == answers
        assert path.read_bytes() == recorded


@given(session=sessions(), cut=st.integers(0, 10**9))
def test_a_recording_that_was_cut_anywhere_is_continued_to_the_byte(tmp_path_factory, session, cut):
    calls, answers, _ = session
    path = tmp_path_factory.mktemp("recording") / "calls.jsonl"
    run(Recorder(Answering(answers), path), calls, together=False)
    whole = path.read_bytes()
    left = whole[: cut % (len(whole) + 1)]
    path.write_bytes(left)
    held = max(left.count(b"\n") - 1, 0)
    model = Answering(answers[held:])
    assert run(Recorder(model, path), calls, together=False) == answers
    assert path.read_bytes() == whole
    assert model.calls == len(calls) - held


@given(session=sessions(), place=st.integers(0, 10**9), byte=st.integers(1, 255))
def test_a_recording_with_one_byte_changed_is_refused_or_says_the_same(
    tmp_path_factory, session, place, byte
):
    calls, answers, _ = session
    path = tmp_path_factory.mktemp("recording") / "calls.jsonl"
    run(Recorder(Answering(answers), path), calls, together=False)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= byte
    path.write_bytes(content)
    try:
        assert run(Replay(path), calls, together=False) == answers
    except InvalidValue as error:
        assert "\n" not in str(error)
    except NotRecorded:  # the last line has lost its end: it counts as torn
        assert not content.endswith(b"\n")


@given(text=texts, ids=token_ids)
def test_a_text_is_tokenised_once(tmp_path_factory, text, ids):
    path = tmp_path_factory.mktemp("recording") / "calls.jsonl"
    calls = [("tokenize", text)] * 3
    model = Answering([ids])
    assert run(Recorder(model, path), calls, together=False) == [ids] * 3
    assert model.calls == 1
    assert run(Replay(path), calls, together=True) == [ids] * 3
    together = path.with_name("together")
    assert run(Recorder(Answering([ids] * 3), together), calls, together=True) == [ids] * 3
    assert together.read_bytes() == path.read_bytes()


def test_floats_survive_exactly(tmp_path):
    path = tmp_path / "calls.jsonl"
    values = (-0.1 - 0.2, -math.inf, -5e-324, -1.7976931348623157e308, 0.0, math.log(1 / 3))
    run(Recorder(Answering([SequenceScores(values, Usage(), "m")]), path), [scoring()], False)
    (got,) = run(Replay(path), [scoring()], False)
    assert [value.hex() for value in got.logprobs] == [value.hex() for value in values]


def scoring() -> tuple:
    return ("score", ASKED, ["go", "stay"], Purpose())


@pytest.mark.parametrize("seconds", [{"temperature": 1}, {"top_p": 1}, {"logit_bias": {}}])
def test_equal_requests_are_one_and_the_same(tmp_path, seconds):
    path = tmp_path / "calls.jsonl"
    run(Recorder(ScriptedModel(["go"]), path), [("complete", REQUEST)], False)
    again = replace(REQUEST, **seconds)
    assert again == REQUEST
    assert run(Replay(path), [("complete", again)], False)[0].text == "go"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"seed": 5},
            "complete for act, episode 0, step 3): what is recorded there has another seed",
        ),
        ({"seed": 5, "n": 2}, "has another n, seed"),
        ({"messages": ASKED[:1]}, "has another messages"),
        ({"purpose": Purpose("act", 0, 4)}, "step 4): nothing is recorded there"),
        ({"purpose": Purpose("judge", 0)}, "(complete for judge, episode 0): nothing is recorded"),
    ],
)
def test_what_was_not_recorded_is_an_error_that_says_what_differs(tmp_path, changes, says):
    path = tmp_path / "calls.jsonl"
    run(Recorder(ScriptedModel(["go"]), path), [("complete", REQUEST)], False)
    with pytest.raises(NotRecorded) as caught:
        run(Replay(path), [("complete", replace(REQUEST, **changes))], False)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_request_issued_once_more_than_recorded_is_an_error(tmp_path):
    path = tmp_path / "calls.jsonl"
    run(Recorder(ScriptedModel(["a", "b"]), path), [("complete", REQUEST)] * 2, False)
    with pytest.raises(NotRecorded, match="issued 3 times, it is recorded 2 times"):
        run(Replay(path), [("complete", REQUEST)] * 3, False)
    for call in (scoring(), ("tokenize", "x")):
        with pytest.raises(NotRecorded, match="nothing is recorded there"):
            run(Replay(path), [call], False)


@pytest.mark.parametrize("kind", [ModelUnavailable, RequestRejected, BadReply])
def test_failed_calls_fail_alike_in_a_replay_and_are_asked_again_by_a_recorder(tmp_path, kind):
    path = tmp_path / "calls.jsonl"

    def fail(_: Request) -> str:
        raise kind("gone")

    async def refused(model) -> None:
        with pytest.raises(kind, match=r"^gone$"):
            await model.complete(REQUEST)
        await model.close()

    asyncio.run(refused(Recorder(ScriptedModel(fail), path)))
    asyncio.run(refused(Replay(path)))
    assert (
        run(Recorder(ScriptedModel(["go"]), path), [("complete", REQUEST)], False)[0].text == "go"
    )
    assert run(Replay(path), [("complete", REQUEST)], False)[0].text == "go"


def test_what_is_served_from_the_file_is_not_paid_again(tmp_path):
    path, ledger = tmp_path / "calls.jsonl", Ledger()
    calls = [("complete", REQUEST), ("complete", REQUEST)]
    model = ScriptedModel(["go", "stay"])
    run(Recorder(Metered(model, ledger), path), calls[:1], False)
    run(Recorder(Metered(model, ledger), path), calls, False)
    assert ledger.total.usage.calls == 2
    again = Ledger()
    run(Metered(Replay(path), again), calls, False)
    assert again.total == ledger.total


def test_capabilities_are_those_of_when_the_recording_began(tmp_path):
    path = tmp_path / "calls.jsonl"
    model = ScriptedModel(["go"], capabilities=Capabilities(schema=True))
    run(Recorder(model, path), [("complete", REQUEST)], False)
    model.capabilities = Capabilities(schema=False)
    continued = Recorder(model, path)
    assert continued.capabilities == Capabilities(schema=True) == Replay(path).capabilities
    asyncio.run(continued.close())


def test_another_models_recording_is_refused(tmp_path):
    path = tmp_path / "calls.jsonl"
    run(Recorder(ScriptedModel([], name="scripted/a"), path), [], False)
    before = path.read_bytes()
    with pytest.raises(InvalidValue, match="recording of scripted/b, not of scripted/a"):
        Recorder(ScriptedModel([], name="scripted/b"), path)
    assert path.read_bytes() == before
    run(Recorder(ScriptedModel([], name="scripted/a"), path), [], False)  # it was let go of


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must hold a recording"),
        (b"{}\n", "line 1 is none of a recording"),
        (b"dear diary\n", "line 1 is none of a recording"),
        (b"dear diary", "is not one of ours"),
        (b'{"check":"0123456789abcdef","format":1}\n', "line 1 is damaged"),
    ],
)
def test_what_is_no_recording_is_refused_and_left_as_it_was(tmp_path, content, says):
    path = tmp_path / "calls.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidValue, match=says):
        Replay(path)
    if content:
        with pytest.raises(InvalidValue, match=says):
            Recorder(ScriptedModel([]), path)
    assert path.read_bytes() == content


def test_a_recording_without_its_first_line_is_refused(tmp_path):
    path = tmp_path / "calls.jsonl"
    run(Recorder(ScriptedModel(["go"]), path), [("complete", REQUEST)], False)
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    with pytest.raises(InvalidValue, match="must begin with a line of format 1"):
        Replay(path)


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "calls.jsonl"
    run(Recorder(ScriptedModel(["go"]), path), [("complete", REQUEST)], False)
    path.write_bytes(path.read_bytes().replace(b'"go"', b'"no"'))
    with pytest.raises(InvalidValue, match="its line 2 is damaged: restore it"):
        Replay(path)


def test_a_missing_recording_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="must be a file that can be read"):
        Replay(tmp_path / "missing")


def test_a_recording_is_written_by_one_at_a_time(tmp_path):
    path = tmp_path / "calls.jsonl"
    recorder = Recorder(ScriptedModel(["go"]), path)
    with pytest.raises(RunError, match="is being written already"):
        Recorder(ScriptedModel(["go"]), path)
    asyncio.run(recorder.complete(REQUEST))
    assert run(Replay(path), [("complete", REQUEST)], False)[0].text == "go"
    asyncio.run(recorder.close())


def test_no_key_of_the_environment_reaches_the_file(tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-secret-of-the-test")
    path = tmp_path / "calls.jsonl"
    calls = [("complete", REQUEST), scoring(), ("tokenize", "x")]
    run(Recorder(ScriptedModel(["go"], logprobs=lambda _: -1.0), path), calls, False)
    assert path.read_bytes().count(b"\n") == 4
    assert b"sk-secret" not in path.read_bytes()


RECORDING = """
import asyncio, pathlib, sys
from jitrl.models import Message, Purpose, Request
from jitrl.models.recording import Recorder
from jitrl.models.scripted import ScriptedModel

def say(request):
    return f"{request.purpose.t}: " + "word " * 200

async def main():
    recorder = Recorder(ScriptedModel(say), pathlib.Path(sys.argv[1]))
    for t in range(400):
        await recorder.complete(
            Request((Message("user", "What now?"),), max_tokens=8, purpose=Purpose("act", 0, t))
        )
        print(t, flush=True)
    await recorder.close()

asyncio.run(main())
"""


def test_a_killed_recording_is_continued_to_the_byte(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-c", RECORDING]
    subprocess.run([*command, str(whole)], check=True, stdout=subprocess.DEVNULL)
    for least in (20, 150, 300):
        with Process([*command, str(killed)], stdout=subprocess.PIPE, text=True) as child:
            said = [line for line in child.stdout if end(child, line, least)]
        assert child.returncode == -signal.SIGKILL
        content = killed.read_bytes()
        assert whole.read_bytes().startswith(content)
        assert content.count(b"\n") >= len(said)
        killed.write_bytes(content[: len(content) - random.Random(least).randrange(900)])
    subprocess.run([*command, str(killed)], check=True, stdout=subprocess.DEVNULL)
    assert killed.read_bytes() == whole.read_bytes()


def end(child: subprocess.Popen[str], line: str, least: int) -> bool:
    """Kill the child once it has said `least`."""
    if int(line) == least:
        os.kill(child.pid, signal.SIGKILL)
    return True
