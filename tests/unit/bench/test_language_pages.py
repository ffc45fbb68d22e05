"""Whole runs on a page: a model that writes its actions, its judge, its summaries, its bill."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from folders import log_of
from language_kit import Opener, asked
from pages_kit import FORM, TASK, Form

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.bench.language import Access, expected
from jitrl.bench.runner import run
from jitrl.models import Request
from jitrl.models.ledger import Ledger
from jitrl.testing import Choosing, ScriptedServer, obliging

SOURCES = ["labels", "labels-direct", "stated", "sampled", "sequence"]
LEARNING = {"threshold": 0.0, "fields": [{"name": "url", "weight": 1.0}]}


def configured(**choices: object) -> Configuration:
    values = {"episodes": 4, "steps": 5, "model": "vllm/scripted", "overrides": LEARNING, **choices}
    return Configuration("form:1", **values)  # type: ignore[arg-type]


def played(path: Path, access: Access | None = None, **choices: object) -> Run:
    return run(configured(**choices), path, Form(), access=access or Access())


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "steps.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("source", SOURCES)
def test_a_model_plays_on_a_page_and_nothing_it_takes_is_impossible(
    tmp_path: Path, source: str
) -> None:
    with ScriptedServer(Choosing(obliging)) as server:
        done = played(tmp_path / "run", base_url=server.url, scores=source)
        first = Form().reset(1)
        told = expected(configured(scores=source), "form:1", first, Access())
        assert asked(server) <= told.usage.calls
    steps = lines(tmp_path / "run")
    assert all(FORM.executable(str(step["action"])) for step in steps)
    assert {str(step["action"]).split("(")[0] for step in steps} == {"click", "fill"}
    assert len(done.episodes) == 4
    used = Ledger.read(tmp_path / "run" / "calls.jsonl").total.usage
    if source != "sequence":
        assert used.calls == 2 * len(steps)
    assert used.input <= told.usage.input


def test_the_form_is_learned_from_its_own_reward(tmp_path: Path) -> None:
    with ScriptedServer(Choosing(obliging)) as server:
        where = {"base_url": server.url, "scores": "labels-direct", "episodes": 40}
        learned = played(tmp_path / "jitrl", **where)
        static = played(tmp_path / "static", **where, agent="static")
    won = [sum(e.score for e in each.episodes[20:]) for each in (learned, static)]
    assert won[0] >= 1.5 * won[1] > 0


def test_the_judge_and_the_summaries_read_the_page(tmp_path: Path) -> None:
    opener = Opener(lambda request: max(obliging(request.messages)))
    extra = {"judge_model": "vllm/judge", "credit": "judged", "summarise": True, "steps": 3}
    done = played(tmp_path / "run", Access(opener=opener), scores="stated", episodes=1, **extra)
    assert [episode.unscored for episode in done.episodes] == [0]
    by_role: dict[str, list[Request]] = {}
    for request in opener.requests:
        by_role.setdefault(request.purpose.role, []).append(request)
    assert set(by_role) == {"act", "summarise", "judge"}
    (judge,) = by_role["judge"]
    assert json.dumps(TASK) in judge.messages[1].content
    for request in (*by_role["act"], *by_role["summarise"]):
        assert f"Task: {TASK}" in request.messages[-1].content
        assert "[5] button 'OK'" in request.messages[-1].content
        assert re.search(r"<page>\n.*\n</page>", request.messages[-1].content, re.DOTALL)


def test_equal_seeds_play_alike_on_a_page(tmp_path: Path) -> None:
    logs = []
    with ScriptedServer(Choosing(obliging)) as server:
        for name, seed in (("a", 3), ("b", 3), ("c", 4)):
            played(tmp_path / name, base_url=server.url, scores="labels", seed=seed)
            logs.append(log_of(tmp_path / name))
    assert logs[0] == logs[1] != logs[2]


def test_a_screenshot_is_part_of_the_estimate() -> None:
    first = Form().reset(1)
    seen = replace(first, image=b"PNG")
    blind, seeing = (expected(configured(scores="labels"), "f", o, Access()) for o in (first, seen))
    assert seeing.usage.calls == blind.usage.calls == 2 * 20
    assert seeing.usage.input > blind.usage.input + 20 * 1000


def test_one_that_draws_its_action_itself_is_asked_once(tmp_path: Path) -> None:
    first = Form().reset(1)
    told = expected(configured(scores="labels-server"), "form:1", first, Access())
    assert told.usage.calls == 20 + 16
