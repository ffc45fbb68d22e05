"""A model that a benchmark's evaluator may ask: named by the user, counted, recorded beside."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from language_kit import MODEL, Opener, says

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.bench.language import Access
from jitrl.bench.runner import open_world, run
from jitrl.errors import InvalidValue
from jitrl.models import Request
from jitrl.records import Observation
from jitrl.worlds import Grader, World

GRADER = "openai/strict"
QUESTION = "Is it right? Answer correct or incorrect."


class Graded:
    """A corridor where a coin earns what a language model says, a benchmark's way."""

    def __init__(self, inner: World, may_ask: bool = True) -> None:
        self._inner = inner
        self.may_ask_grader = may_ask
        self.grader: Grader | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def step(self, action: str) -> Observation:
        seen = self._inner.step(action)
        if not seen.reward or self.grader is None:
            return replace(seen, reward=0.0)
        said = self.grader([{"role": "user", "content": QUESTION}])
        return replace(seen, reward=1.0 if said == "correct" else 0.0)


def answers(request: Request) -> str:
    """Return what the player says, and as the grader that it is right."""
    return "correct" if request.messages[-1].content == QUESTION else says(request)


@pytest.fixture
def opener() -> Opener:
    return Opener(answers)


def play(path: Path, access: Access, may_ask: bool = True, **choices: object) -> Run:
    values = {"world": "corridor:3", "episodes": 2, "steps": 6, "grader": GRADER, **choices}
    configuration = Configuration(**values)  # type: ignore[arg-type]
    with closing(open_world(configuration)) as world:
        asking = Graded(world, may_ask)
        return run(configuration, path, asking, access=access)  # type: ignore[arg-type]


def lines(found: Run, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (found.path / name).read_bytes().splitlines()]


def rewards(found: Run) -> list[object]:
    return [line["reward"] for line in lines(found, "steps.jsonl")]


def test_an_evaluator_asks_the_model_that_the_user_named_and_it_is_counted(
    tmp_path: Path, opener: Opener
) -> None:
    found = play(tmp_path / "run", Access(opener=opener))
    graded = [request for request in opener.requests if request.purpose.role == "grade"]
    assert graded and all(request.temperature == 0 for request in graded)
    assert rewards(found).count(1.0) == len(graded)
    assert [line["role"] for line in lines(found, "calls.jsonl")] == ["grade"] * len(graded)
    assert [model.name for model in opener.opened] == [GRADER]


@pytest.mark.parametrize("model", [None, MODEL, GRADER])
def test_its_recording_lies_beside_also_where_it_is_the_acting_model(
    tmp_path: Path, opener: Opener, model: str | None
) -> None:
    acting = {} if model is None else {"model": model, "scores": "stated"}
    file = tmp_path / "calls"
    first = play(tmp_path / "a", Access(opener=opener, record=file), **acting)
    beside = {path.name for path in tmp_path.glob("calls*")}
    assert beside == {"calls.grader"} | (set() if model is None else {"calls"})
    again = play(tmp_path / "b", Access(replay=file), **acting)
    assert rewards(again) == rewards(first)
    assert 1.0 in rewards(first)


def test_a_world_where_no_verdict_asks_refuses_a_grader(tmp_path: Path, opener: Opener) -> None:
    with pytest.raises(InvalidValue, match="grader has no meaning in corridor:3: no verdict"):
        play(tmp_path / "a", Access(opener=opener), may_ask=False)
    configuration = Configuration("corridor:3", episodes=1, steps=2, grader=GRADER)
    with (
        closing(open_world(configuration)) as world,
        pytest.raises(InvalidValue, match="grader has no meaning"),
    ):
        run(configuration, tmp_path / "b", world, access=Access(opener=opener))
    assert opener.requests == []
