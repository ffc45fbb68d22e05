"""The ledger: every call is counted once, totals add up, and unknown stays unknown."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from process_kit import Process

from jitrl.errors import (
    BadReply,
    BadRun,
    InvalidValue,
    ModelUnavailable,
    NotRecorded,
    RequestRejected,
    RunError,
)
from jitrl.models import Message, Purpose, Reply, Request, Usage
from jitrl.models.ledger import Ledger, Metered, Total
from jitrl.models.prices import Price, Prices
from jitrl.models.scripted import ScriptedModel

PRICES = Prices({"scripted/model": Price(1.0, 0.5, 2.0, "test")})
ASKED = (Message("user", "one two three"),)

places = st.none() | st.integers(0, 3)
purposes = st.builds(Purpose, st.sampled_from(["act", "judge", "summarise"]), places, places)
usages = st.builds(Usage, *[st.integers(0, 10**6)] * 4)
costs = st.none() | st.floats(0, 1e6)
entries = st.lists(st.tuples(purposes, usages, costs), max_size=20)


def request(role: str = "act", episode: int | None = 0, t: int | None = 0) -> Request:
    return Request(ASKED, max_tokens=5, purpose=Purpose(role, episode, t))


def failing(error: BaseException) -> ScriptedModel:
    def fail(_: Request) -> str:
        raise error

    return ScriptedModel(fail)


def views(ledger: Ledger) -> tuple[object, ...]:
    return ledger.total, ledger.roles, ledger.episodes, ledger.steps


@given(entries)
def test_totals_add_up(calls):
    ledger = Ledger()
    for purpose, usage, dollars in calls:
        ledger.add(purpose, "openai/x", usage, dollars)
    for part in (ledger.roles, ledger.episodes, ledger.steps):
        assert sum((total.usage for total in part.values()), Usage()) == ledger.total.usage
        assert sum(total.unpriced for total in part.values()) == ledger.total.unpriced
        assert sum(total.known_dollars for total in part.values()) == pytest.approx(
            ledger.total.known_dollars
        )
    exactly = sum(Fraction(dollars) for _, _, dollars in calls if dollars is not None)
    assert ledger.total.known_dollars == pytest.approx(float(exactly))
    assert ledger.total.tokens == sum(usage.input + usage.output for _, usage, _ in calls)


@given(entries)
def test_one_unknown_cost_makes_every_total_it_is_in_unknown(calls):
    ledger = Ledger()
    for purpose, usage, dollars in calls:
        ledger.add(purpose, "openai/x", usage, dollars)
    unknown = [purpose for purpose, _, dollars in calls if dollars is None]
    assert (ledger.total.dollars is None) == bool(unknown)
    for role, total in ledger.roles.items():
        assert (total.dollars is None) == any(purpose.role == role for purpose in unknown)
    for (episode, t), total in ledger.steps.items():
        here = [purpose for purpose in unknown if (purpose.episode, purpose.t) == (episode, t)]
        assert (total.dollars is None) == bool(here)
        assert total.dollars is None or total.dollars == total.known_dollars


def test_an_empty_ledger_cost_nothing():
    assert Ledger().total == Total(Usage(), 0.0, 0)
    assert Ledger().total.dollars == 0.0


@given(calls=entries, cut=st.integers(0, 20))
def test_a_file_is_read_back_and_continued_to_the_same_totals(tmp_path_factory, calls, cut):
    path = tmp_path_factory.mktemp("ledger") / "calls.jsonl"
    whole = Ledger()
    for part in (calls[:cut], calls[cut:]):
        ledger = Ledger(path)
        for purpose, usage, dollars in part:
            ledger.add(purpose, "openai/x", usage, dollars)
            whole.add(purpose, "openai/x", usage, dollars)
        assert views(ledger) == views(whole)
        assert views(Ledger.read(path)) == views(whole)
        ledger.close()
        ledger.close()


def test_a_ledger_is_written_by_one_at_a_time_and_looked_at_by_all(tmp_path):
    ledger = Ledger(tmp_path / "calls.jsonl")
    ledger.add(Purpose(), "m/x", Usage(1, 2, 0, 3), 0.5)
    with pytest.raises(RunError, match="is being written already"):
        Ledger(tmp_path / "calls.jsonl")
    assert Ledger.read(tmp_path / "calls.jsonl").total == Total(Usage(1, 2, 0, 3), 0.5)
    ledger.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"calls":1', b'"calls":-1'),
        (b'"input":2', b'"input":2.5'),
        (b'"output":3', b'"output":true'),
        (b'"dollars":0.5', b'"dollars":NaN'),
        (b'"dollars":0.5', b'"dollars":-1'),
        (b'"dollars":0.5', b'"dollars":"free"'),
        (b'"dollars"', b'"dolars"'),
        (b'"t":null', b'"t":"1"'),
        (b'"model":"m/x"', b'"model":7'),
        (b'"act"', b"act"),
        (b'{"role"', b'["role"'),
    ],
)
def test_a_damaged_line_is_named_and_left_as_it_is(tmp_path, old, new):
    path = tmp_path / "calls.jsonl"
    ledger = Ledger(path)
    ledger.add(Purpose("judge"), "m/x", Usage(), None)
    ledger.add(Purpose(), "m/x", Usage(1, 2, 0, 3), 0.5)
    ledger.close()
    damaged = path.read_bytes().replace(b'"model":"m/x"', b'"model":"m/y"', 1)
    assert old in damaged
    damaged = damaged[: damaged.index(b"\n")] + damaged[damaged.index(b"\n") :].replace(old, new)
    path.write_bytes(damaged)
    for open_it in (Ledger, Ledger.read):
        with pytest.raises(BadRun, match="line 2 is damaged"):
            open_it(path)
    assert path.read_bytes() == damaged


def test_a_killed_writer_leaves_a_ledger_that_can_be_read_and_continued(tmp_path):
    path = tmp_path / "calls.jsonl"
    script = """
import itertools, pathlib, sys
from jitrl.models import Purpose, Usage
from jitrl.models.ledger import Ledger
ledger = Ledger(pathlib.Path(sys.argv[1]))
for number in itertools.count():
    ledger.add(Purpose("act", 0, number), "m/x", Usage(1, 10, 0, 1), 0.25)
    print(number, flush=True)
"""
    acknowledged = -1
    for least in (50, 400, 900):
        with Process(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
        ) as child:
            lines = []
            for line in child.stdout:
                lines.append(int(line))
                if lines[-1] == least:
                    os.kill(child.pid, signal.SIGKILL)
        acknowledged += lines[-1] + 1
        held = Ledger.read(path).total
        assert held.usage.calls in (acknowledged + 1, acknowledged + 2)
        assert held.known_dollars == 0.25 * held.usage.calls
        acknowledged = held.usage.calls - 1
    Ledger(path).close()
    assert path.read_bytes().endswith(b"}\n")


def test_a_metered_model_passes_everything_through_and_counts_it():
    model = ScriptedModel(["go north"], logprobs=lambda _: -1.0, tokenizer=lambda _: [7])
    ledger = Ledger()
    metered = Metered(model, ledger, PRICES)

    async def use() -> None:
        assert (await metered.complete(request("act", 2, 5))).text == "go north"
        scores = await metered.score(ASKED, ["up"], Purpose("judge", 2))
        assert scores.logprobs == (-1.0,)
        assert await metered.tokenize("x") == (7,)
        await metered.close()
        await metered.close()

    asyncio.run(use())
    assert (metered.name, metered.capabilities) == (model.name, model.capabilities)
    assert ledger.roles == {
        "act": Total(Usage(1, 3, 0, 2), 7e-6),
        "judge": Total(Usage(1, 4, 0, 0), 4e-6),
    }
    assert ledger.steps.keys() == {(2, 5), (2, None)}
    assert ledger.episodes[2].dollars == pytest.approx(11e-6)


def test_without_prices_every_cost_is_unknown():
    ledger = Ledger()
    asyncio.run(Metered(ScriptedModel(["a"]), ledger).complete(request()))
    assert (ledger.total.dollars, ledger.total.unpriced) == (None, 1)
    assert ledger.total.known_dollars == 0.0


@pytest.mark.parametrize("error", [BadReply("half"), ModelUnavailable("late"), ValueError("bug")])
def test_a_failed_call_is_counted_at_an_unknown_cost(error):
    ledger = Ledger()
    with pytest.raises(type(error)):
        asyncio.run(Metered(failing(error), ledger, PRICES).complete(request()))
    assert ledger.total == Total(Usage(calls=1), 0.0, 1)


def test_a_failed_call_that_says_what_it_used_is_counted_so():
    error = BadReply("no tokens in it")
    error.usage = Usage(2, 10, 0, 5)
    ledger = Ledger()
    with pytest.raises(BadReply):
        asyncio.run(Metered(failing(error), ledger, PRICES).complete(request()))
    assert ledger.total == Total(Usage(2, 10, 0, 5), 20e-6)


def test_a_rejected_request_is_a_call_that_used_nothing():
    ledger = Ledger()
    with pytest.raises(RequestRejected):
        asyncio.run(Metered(failing(RequestRejected("no")), ledger, PRICES).complete(request()))
    assert ledger.total == Total(Usage(calls=1), 0.0, 0)


def test_what_a_recording_does_not_hold_was_no_call():
    ledger = Ledger()
    with pytest.raises(NotRecorded):
        asyncio.run(Metered(failing(NotRecorded("?")), ledger, PRICES).complete(request()))
    assert ledger.total == Total()


class Waiting(ScriptedModel):
    """Answers once it is let go."""

    def __init__(self) -> None:
        super().__init__(lambda asked: f"to {asked.purpose.t}")
        self.asked = 0
        self.go = asyncio.Event()

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        await self.go.wait()
        return await super().complete(request)


def test_a_cancelled_call_is_counted_at_an_unknown_cost():
    async def cancel() -> Total:
        model, ledger = Waiting(), Ledger()
        call = asyncio.create_task(Metered(model, ledger, PRICES).complete(request()))
        while not model.asked:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return ledger.total

    assert asyncio.run(cancel()) == Total(Usage(calls=1), 0.0, 1)


def test_calls_in_flight_together_are_each_counted_at_their_place(tmp_path: Path):
    async def together() -> Ledger:
        model, ledger = Waiting(), Ledger(tmp_path / "calls.jsonl")
        metered = Metered(model, ledger, PRICES)
        calls = [asyncio.create_task(metered.complete(request("act", 0, t))) for t in range(50)]
        while model.asked < 50:
            await asyncio.sleep(0)
        assert ledger.total == Total()
        model.go.set()
        await asyncio.gather(*calls)
        ledger.close()
        return ledger

    ledger = asyncio.run(together())
    assert ledger.total.usage == Usage(50, 150, 0, 100)
    assert all(ledger.steps[0, t].usage.calls == 1 for t in range(50))
    assert views(Ledger.read(tmp_path / "calls.jsonl")) == views(ledger)


def test_a_file_that_is_no_ledger_is_left_as_it_was(tmp_path):
    path = tmp_path / "notes"
    path.write_text("dear diary")
    with pytest.raises(InvalidValue, match="is not one of ours"):
        Ledger(path)
    assert path.read_text() == "dear diary"
