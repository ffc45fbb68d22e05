"""What a study is said to take at most, held against what it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest
from arms_kit import talking
from study_kit import Here

from jitrl.agents import arms
from jitrl.bench.language import Access
from jitrl.bench.usage import spent
from jitrl.models.ledger import Total
from jitrl.models.prices import Prices
from jitrl.study.plan import Plan, parse
from jitrl.study.play import play
from jitrl.study.price import Row, elapsed, price
from jitrl.testing import Choosing, ScriptedServer, obliging

EXACT = ("static", "jitrl", "jitrl-in-prompt", "memory", "reflexion", "shuffled", "null")
NINE = '[[world]]\nname = "corridor:9"\n'  # three steps lead to no end


def access(folder: Path) -> Access:
    (folder / "prices.toml").write_text('["openai/scripted"]\ninput = 400.0\noutput = 800.0\n')
    return Access(prices=Prices.load(folder / "prices.toml"))


def planned(url: str, world: str, agents: tuple[str, ...], **choices: object) -> Plan:
    values = {"model": "openai/scripted", "base_url": url, **choices}
    words = {str: repr, int: str, bool: lambda value: str(value).lower()}
    lines = [f"{name} = {words[type(value)](value)}\n" for name, value in values.items()]
    return parse("".join(lines) + world + "".join(f"[[arm]]\nagent = {a!r}\n" for a in agents))


def held_against(
    folder: Path, server: ScriptedServer, plan: Plan
) -> Iterator[tuple[str, Row, Total]]:
    """Play a plan; iterate over (arm, what was expected, what was spent)."""
    rows = price(plan, access(folder))
    assert not server.requests  # nobody was asked
    assert [path.name for path in folder.iterdir()] == ["prices.toml"]  # nothing was written
    assert play(plan, folder / "out", Here, access=access(folder)).failed == {}
    for row in rows:
        cells = [cell for cell in plan.cells if (cell.world, cell.arm) == (row.world, row.arm)]
        assert (row.problem, row.runs) == ("", len(cells))
        yield row.arm, row, sum((spent(folder / "out" / c.folder) for c in cells), Total())


def check_at_most(row: Row, total: Total) -> None:
    assert row.use is not None
    assert row.use.dollars is not None
    assert total.dollars is not None
    assert 0 < total.usage.calls <= row.use.usage.calls
    assert total.usage.input <= row.use.usage.input
    assert total.usage.output <= row.use.usage.output
    assert 0 < total.dollars <= row.use.dollars


@pytest.mark.parametrize("scores", ["stated", "sampled", "sequence"])
def test_calls_are_exact_where_no_episode_ends_early_and_tokens_and_dollars_a_bound(
    tmp_path: Path, scores: str
) -> None:
    with talking() as server:
        choices = {"scores": scores, "episodes": 3, "steps": 3, "seeds": 2}
        plan = planned(server.url, NINE, tuple(arms.names()), **choices)
        for arm, row, total in held_against(tmp_path, server, plan):
            assert (row.episodes, row.steps) == (6, 18)
            check_at_most(row, total)
            if arm in EXACT:
                assert row.use is not None
                assert total.usage.calls == row.use.usage.calls
        assert set(EXACT) < set(plan.arms)


def test_a_judge_and_a_summary_are_counted_at_most(tmp_path: Path) -> None:
    with talking() as server:
        choices = {"scores": "stated", "episodes": 3, "steps": 3, "summarise": True}
        judge = {"judge_model": "openai/scripted"}
        plan = planned(server.url, NINE, ("static", "jitrl"), **choices, **judge)
        told = {arm: (row, total) for arm, row, total in held_against(tmp_path, server, plan)}
    for row, total in told.values():
        check_at_most(row, total)
    calls = {arm: row.use.usage.calls for arm, (row, _) in told.items() if row.use is not None}
    assert calls == {"static": 3 * 3 * 2, "jitrl": 3 * 3 * 2 + 3}  # a static agent is not judged
    spent_more = told["jitrl"][1].usage.calls - told["static"][1].usage.calls
    assert spent_more == 3


def test_an_episode_that_ends_early_takes_less(tmp_path: Path) -> None:
    world = '[[world]]\nname = "corridor:2"\n'
    with talking() as server:
        plan = planned(server.url, world, tuple(arms.names()), scores="stated", episodes=3)
        for _, row, total in held_against(tmp_path, server, plan):
            check_at_most(row, total)
            assert row.steps == 3 * 50
            assert row.use is not None
            assert total.usage.calls < row.use.usage.calls


def test_a_world_that_reads_more_than_it_lists_takes_a_call_more_for_a_step(
    tmp_path: Path,
) -> None:
    world = '[[world]]\nname = "locks:2"\n'
    with ScriptedServer(Choosing(obliging)) as server:
        choices = {"scores": "stated", "attempts": 2, "steps": 2}
        plan = planned(server.url, world, ("static", "jitrl"), **choices)
        for _, row, total in held_against(tmp_path, server, plan):
            check_at_most(row, total)
            assert row.use is not None
            assert (row.episodes, row.steps, row.use.usage.calls) == (4, 8, 16)


def test_a_price_that_nobody_knows_is_not_made_up() -> None:
    plan = planned("http://127.0.0.1:9/v1", NINE, ("static",), episodes=2, steps=3)
    (row,) = price(plan, Access())
    assert row.use is not None
    assert (row.use.dollars, row.use.usage.calls) == (None, 6)


def test_a_world_that_cannot_be_opened_says_why_and_the_others_are_told() -> None:
    plan = parse('episodes = 2\n[[world]]\nname = "corridor:x"\n' + NINE + ARMS)
    rows = price(plan, Access())
    assert [(row.world, row.arm, row.episodes) for row in rows] == [
        ("corridor:x", "static", None),
        ("corridor:x", "jitrl", None),
        ("corridor:9", "static", 2),
        ("corridor:9", "jitrl", 2),
    ]
    assert [row.problem for row in rows][::2] == [
        "corridor 'x' has no length: write corridor:5",
        "",
    ]
    assert elapsed(plan, rows, 2) is None


ARMS = '[[arm]]\nagent = "static"\n[[arm]]\nagent = "jitrl"\n'
CHAIN = (
    'episodes = 2\nsteps = 3\nseeds = 3\n[[world]]\nname = "corridor:9"\n[[world]]\n'
    'name = "corridor:8"\nstart = "corridor:9"\nepisodes = 4\n'
)


def test_seconds_are_those_of_the_steps_of_a_world_and_of_the_calls() -> None:
    ticks = count(0, 10)  # five steps of a world take ten seconds
    plan = planned("http://127.0.0.1:9/v1", NINE, ("static", "jitrl"), episodes=2, steps=3)
    rows = price(plan, Access(), latency=7.0, clock=lambda: float(next(ticks)))
    assert [row.seconds for row in rows] == [6 * 2.0 + 6 * 7.0] * 2
    assert [row.seconds for row in price(plan, Access(), steps=0)] == [None, None]


def seconds_of(plan: Plan, each: Mapping[tuple[str, str], float]) -> list[Row]:
    """Return rows whose runs last so long each."""
    return [
        Row(world, arm, len(plan.seeds), seconds=seconds * len(plan.seeds))
        for (world, arm), seconds in each.items()
    ]


def test_several_runs_at_once_take_as_long_as_those_that_wait_for_others() -> None:
    plan = parse(CHAIN + '[[arm]]\nagent = "jitrl"\n')
    rows = seconds_of(plan, {("corridor:9", "jitrl"): 5.0, ("corridor:8", "jitrl"): 8.0})
    assert elapsed(plan, rows, 1) == 3 * (5.0 + 8.0)
    assert elapsed(plan, rows, 3) == 5.0 + 8.0
    assert elapsed(plan, rows, 100) == 5.0 + 8.0  # more hands do not help
    assert elapsed(plan, rows, 2) == 5.0 + 8.0 + 8.0  # beside it the others, done at 18
