"""A language model for a benchmark's evaluator that asks one: named by the user, off by default.

The evaluator asks in the midst of a world's step, where nothing can be awaited: so the model has an
event loop of its own, in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from jitrl.bench import language
from jitrl.bench.configuration import Configuration
from jitrl.bench.language import Access, Served
from jitrl.errors import InvalidValue
from jitrl.models import Message, Model, Purpose, Request
from jitrl.models.jsonreply import finished
from jitrl.models.ledger import Ledger
from jitrl.worlds import Graded, World

__all__ = ["graded", "grader_of"]

_TOKENS = 768  # of a reply, as WebArena has it


def grader_of(configuration: Configuration) -> Served | None:
    """Return the model that a run's evaluator may ask."""
    if configuration.grader is None:
        return None
    return Served(configuration.grader, configuration.grader_url, ".grader")


@contextmanager
def graded(
    world: World, configuration: Configuration, access: Access, ledger: Ledger
) -> Iterator[None]:
    """Let a world's evaluator ask the model that the run names, counted in `ledger`.

    Raises InvalidValue for a world that asks none, and what opening the model raises.
    """
    served = grader_of(configuration)
    if served is None:
        yield
        return
    if not (isinstance(world, Graded) and world.may_ask_grader):
        rule = f"has no meaning in {configuration.world}: no verdict there asks a model"
        raise InvalidValue("grader", configuration.grader, rule)
    with _loop() as waited_for:
        model = waited_for(_opened(served, access, ledger))
        try:
            world.grader = lambda said: waited_for(_answer(model, said))
            yield
        finally:
            waited_for(model.close())


@contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Yield a function that waits for a coroutine, which runs in a loop of another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda what: asyncio.run_coroutine_threadsafe(what, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _opened(served: Served, access: Access, ledger: Ledger) -> Model:
    return language.opened_one(served, access, ledger)


async def _answer(model: Model, said: Sequence[Mapping[str, str]]) -> str:
    request = Request(
        tuple(Message(cast("Any", m["role"]), m["content"]) for m in said),
        max_tokens=_TOKENS,
        temperature=0.0,
        purpose=Purpose("grade"),
    )
    return finished(await model.complete(request), model.name)
