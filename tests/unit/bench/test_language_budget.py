"""What a run uses: counted by role, episode and step, estimated, and kept within a budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from folders import drop_lines, log_of
from language_kit import Opener, asked, corridor, ledger_of, says, serving

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import CALLS, read
from jitrl.bench.language import Access, expected
from jitrl.bench.runner import open_world
from jitrl.bench.usage import usage_rows
from jitrl.errors import BudgetSpent, InvalidValue
from jitrl.memory import SqliteMemory
from jitrl.models.budget import Budget
from jitrl.models.prices import Prices

JUDGED = {"judge_model": "openai/judge", "credit": "judged"}


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    """Prices of both models: a dollar for ten calls, about."""
    file = tmp_path / "prices.toml"
    rows = [f'["openai/{name}"]\ninput = 500.0\noutput = 100.0\n' for name in ("scripted", "judge")]
    file.write_text("\n".join(rows))
    return Prices.load(file)


def stored(path: Path) -> dict[str, list[float | None]]:
    memory = SqliteMemory(path / "memory.db", readonly=True)
    try:
        return {e.id: [step.judged for step in e.steps] for e in memory.episodes()}
    finally:
        memory.close()


def test_every_call_is_counted_once_by_role_episode_and_step(tmp_path: Path) -> None:
    with serving() as server:
        served = {"base_url": server.url, "judge_url": server.url}
        choices = {"judge_model": "openai/scripted", "credit": "mixed", "summarise": True}
        run = corridor(tmp_path / "run", Access(), **served, **choices)
        calls = asked(server)
    ledger = ledger_of(tmp_path / "run")
    assert ledger.total.usage.calls == calls
    steps = sum(episode.steps for episode in run.episodes)
    by_role = {role: total.usage.calls for role, total in ledger.roles.items()}
    assert by_role == {"act": steps, "summarise": steps - 2, "judge": 2}
    for totals in (ledger.roles, ledger.episodes, ledger.steps):
        assert sum(total.usage.calls for total in totals.values()) == calls
        assert sum(total.tokens for total in totals.values()) == ledger.total.tokens
    columns, rows = usage_rows(run)
    assert [row[0] for row in rows] == ["act", "judge", "summarise", "all"]
    assert rows[0][columns.index("calls/step")] == "1.00"
    assert rows[-1][columns.index("dollars")] == "unknown"


@pytest.mark.parametrize("scores", ["labels", "labels-server", "sequence", "stated", "sampled"])
def test_the_estimate_is_no_less_than_what_is_called(tmp_path: Path, scores: str) -> None:
    with serving() as server:
        values = {"base_url": server.url, "scores": scores, "episodes": 2, "steps": 6}
        run = corridor(tmp_path / "run", Access(), **values, summarise=True)
        world = open_world(run.configuration)
        told = expected(run.configuration, "corridor:3", world.reset(1), Access())
        assert asked(server) <= told.usage.calls
    total = ledger_of(tmp_path / "run").total
    assert total.usage.calls <= told.usage.calls <= 1.5 * total.usage.calls + 16


def test_the_estimate_of_a_judged_run_has_the_judge_and_its_price(prices: Prices) -> None:
    plain = Configuration("corridor:3", model="openai/scripted", scores="labels", episodes=4)
    judged = Configuration(
        "corridor:3", model="openai/scripted", scores="labels", episodes=4, **JUDGED
    )
    first, access = open_world(plain).reset(1), Access(prices=prices)
    alone, both = (expected(c, "corridor:3", first, access) for c in (plain, judged))
    assert both.usage.calls == alone.usage.calls + 4
    assert alone.dollars is not None and both.dollars is not None
    assert both.dollars > alone.dollars > 0


def test_a_budget_of_tokens_stops_between_steps_with_everything_stored(tmp_path: Path) -> None:
    opener = Opener(says)
    whole = corridor(tmp_path / "whole", Access(opener=opener), episodes=4)
    tokens = ledger_of(tmp_path / "whole").total.tokens
    path = tmp_path / "run"
    budget = Budget(tokens=tokens * 3 // 8)
    with pytest.raises(BudgetSpent, match="--resume and a larger --budget-tokens"):
        corridor(path, Access(opener=opener, budget=budget), episodes=4)
    run, ledger = read(path), ledger_of(path)
    assert [episode.stopped for episode in run.episodes] == [False, True]
    cut = run.episodes[1]
    assert 0 < cut.steps < whole.episodes[1].steps
    assert [len(steps) for steps in stored(path).values()] == [e.steps for e in run.episodes]
    assert budget.tokens is not None
    assert budget.tokens <= ledger.total.tokens < budget.tokens + tokens / 10
    lines = (path / "steps.jsonl").read_text().split("\n")[:-1]
    assert len(lines) == sum(episode.steps for episode in run.episodes)
    for _ in range(2):  # nothing is played, nothing is asked
        with pytest.raises(BudgetSpent):
            corridor(path, Access(opener=opener, budget=budget), resume=True, episodes=4)
        assert ledger_of(path).total == ledger.total
    done = corridor(path, Access(opener=opener), resume=True, episodes=4)
    assert [episode.stopped for episode in done.episodes] == [False, True, False, False]


def test_a_cut_episode_that_reached_the_memory_alone_is_completed_as_cut(tmp_path: Path) -> None:
    opener = Opener(says)
    corridor(tmp_path / "whole", Access(opener=opener), episodes=1)
    used = ledger_of(tmp_path / "whole").steps
    access = Access(opener=opener, budget=Budget(tokens=used[0, 0].tokens + used[0, 1].tokens))
    with pytest.raises(BudgetSpent):
        corridor(tmp_path / "run", access, **JUDGED)
    before = log_of(tmp_path / "run")
    drop_lines(tmp_path / "run" / "episodes.jsonl", 1)
    with pytest.raises(BudgetSpent):
        corridor(tmp_path / "run", access, resume=True, **JUDGED)
    assert log_of(tmp_path / "run") == before
    assert before[1][-1]["stopped"] and before[1][-1]["unscored"] == before[1][-1]["steps"]


def test_a_budget_of_dollars_is_counted_over_all_starts(tmp_path: Path, prices: Prices) -> None:
    opener, path = Opener(says), tmp_path / "run"
    spent = []
    for dollars in (0.5, 1.0):
        access = Access(opener=opener, prices=prices, budget=Budget(dollars))
        with pytest.raises(BudgetSpent, match=r"larger --budget$"):
            corridor(path, access, resume=True, episodes=40)
        total = ledger_of(path).total
        assert total.dollars is not None and dollars <= total.dollars < dollars + 0.4
        spent.append(total.dollars)
    assert spent[0] < spent[1]
    assert ledger_of(path).total.usage.calls == len(opener.requests)


def test_the_judge_is_not_asked_once_the_budget_is_spent(tmp_path: Path) -> None:
    opener = Opener(says)
    with pytest.raises(BudgetSpent):
        corridor(tmp_path / "run", Access(opener=opener, budget=Budget(tokens=500)), **JUDGED)
    assert "judge" not in ledger_of(tmp_path / "run").roles
    (scores,) = stored(tmp_path / "run").values()
    assert scores == [None] * len(scores)


def test_dollars_without_a_price_are_refused_before_anything_is_written(
    tmp_path: Path, prices: Prices
) -> None:
    opener = Opener(says)
    for given, choices, named in (
        (Prices({}), {}, "openai/scripted"),
        (prices, {"judge_model": "openai/other", "credit": "judged"}, "openai/other"),
    ):
        access = Access(opener=opener, prices=given, budget=Budget(1.0))
        with pytest.raises(InvalidValue, match=f"price of {named}.*--prices FILE"):
            corridor(tmp_path / "run", access, **choices)
    assert not (tmp_path / "run").exists()
    assert not opener.requests


def test_the_file_of_calls_tells_what_each_was_for(tmp_path: Path, prices: Prices) -> None:
    corridor(tmp_path / "run", Access(opener=Opener(says), prices=prices), episodes=1, steps=2)
    lines = [json.loads(line) for line in (tmp_path / "run" / CALLS).read_text().splitlines()]
    assert [(line["role"], line["episode"], line["t"]) for line in lines] == [
        ("act", 0, 0),
        ("act", 0, 1),
    ]
    assert all(line["dollars"] > 0 and line["model"] == "openai/scripted" for line in lines)
