"""What a model call costs beside the server's own time: two ratios, each within one run.

    python benchmarks/calls.py

The scripted server waits a fixed time before it answers (--delay), as a model would compute; it
runs in a process of its own. First, --calls calls at once against one after another. Then the
processor time of a call in the client against the bare SDK's, without a delay, in alternating
rounds: time in which the server works, or another process, is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from openai import AsyncOpenAI

from jitrl.models import Message, Model, Request, make
from jitrl.testing import Fixed, ScriptedServer

_REQUEST = Request((Message("user", "Which way?\n" * 50),), max_tokens=16)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds the server waits")
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    at_once, in_turn = _serving(given.delay, lambda url: _concurrency(url, given.calls))
    ours, bare = _serving(0.0, lambda url: _overhead(url, given.calls, given.rounds))
    print(f"{given.calls} calls, the server waits {given.delay:g} s before each answer")
    print(f"  one after another   {in_turn:8.2f} s")
    print(
        f"  {given.calls} in flight        {at_once:8.2f} s   {in_turn / at_once:.1f} times faster"
    )
    print(f"processor time a call, median of {given.rounds} rounds of {given.calls} each, in turn")
    print(f"  bare SDK            {bare * 1e3:8.2f} ms")
    print(f"  jitrl               {ours * 1e3:8.2f} ms  {ours / bare:.2f} times the bare SDK")


def _serving(
    delay: float, measure: Callable[[str], Coroutine[None, None, tuple[float, float]]]
) -> tuple[float, float]:
    """Serve in another process, which has an interpreter lock of its own, and measure."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process: SpawnProcess = context.Process(target=_serve, args=(there, delay), daemon=True)
    process.start()
    try:
        return asyncio.run(measure(here.recv()))
    finally:
        here.send(None)
        process.join()


def _serve(pipe: Connection, delay: float) -> None:
    with ScriptedServer(Fixed(["go north"]), delay=delay) as server:
        pipe.send(server.url)
        pipe.recv()


async def _concurrency(url: str, calls: int) -> tuple[float, float]:
    """Return seconds for all calls at once, and one after another."""
    model = make("openai/scripted", base_url=url, concurrency=calls)
    await asyncio.gather(*(model.complete(_REQUEST) for _ in range(calls)))  # opens connections
    start = time.perf_counter()
    await asyncio.gather(*(model.complete(_REQUEST) for _ in range(calls)))
    middle = time.perf_counter()
    await _each(model, calls)
    end = time.perf_counter()
    await model.close()
    return middle - start, end - middle


async def _overhead(url: str, calls: int, rounds: int) -> tuple[float, float]:
    """Return seconds of processor time a call: ours, and the bare SDK's."""
    model = make("openai/scripted", base_url=url)
    client = AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
    await _each(model, calls)
    await _bare(client, calls)
    ours, bare = [], []
    for _ in range(rounds):
        start = time.process_time()
        await _each(model, calls)
        middle = time.process_time()
        await _bare(client, calls)
        ours.append((middle - start) / calls)
        bare.append((time.process_time() - middle) / calls)
    await model.close()
    await client.close()
    return statistics.median(ours), statistics.median(bare)


async def _each(model: Model, calls: int) -> None:
    for _ in range(calls):
        await model.complete(_REQUEST)


async def _bare(client: AsyncOpenAI, calls: int) -> None:
    content = _REQUEST.messages[0].content
    for _ in range(calls):
        await client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": content}],
            max_completion_tokens=_REQUEST.max_tokens,
            temperature=_REQUEST.temperature,
        )


if __name__ == "__main__":
    main()
