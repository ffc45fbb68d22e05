"""The plans that are shipped can be read, and say what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from jitrl.study.plan import read

PLANS = sorted(Path(__file__).parents[3].glob("benchmarks/*/*.toml"))


def test_there_is_a_plan_for_each_table_of_the_paper_and_one_without_a_model() -> None:
    assert {f"{path.parent.name}/{path.stem}" for path in PLANS} >= {
        *("paper/jericho", "paper/backbones", "paper/webarena", "paper/lite", "paper/disjoint"),
        *("paper/logits_or_prompt", "paper/sweeps", "keyless/games"),
    }


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_shipped_plan_is_one(path: Path) -> None:
    plan = read(path)
    assert len(plan.cells) >= 3
    assert all(arm in plan.arms for figures in plan.paper.values() for arm in figures)
    if path.parent.name == "keyless":
        assert all(cell.configuration.model is None for cell in plan.cells)
        assert len(plan.seeds) >= 5
