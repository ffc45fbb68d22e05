"""A whole episode of a text adventure, with a served language model as the base policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from language_kit import ledger_of, serving

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import find
from jitrl.bench.language import Access
from jitrl.bench.runner import open_world, run


def test_a_game_is_played_through_labels_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JITRL_CACHE", str(tmp_path / "games"))
    with serving() as server:
        wanted = Configuration(
            "textworld:easy-1",
            episodes=4,
            steps=25,
            model="openai/scripted",
            base_url=server.url,
            scores="labels",
        )
        world = open_world(wanted)
        played = run(wanted, tmp_path / "run", world, access=Access())
        world.close()
    for episode in played.episodes:
        assert episode.terminated or episode.steps == 25
        assert not episode.stopped
    assert any(episode.score > 0 for episode in played.episodes)
    later = find(played, {(number, t) for number in (1, 2, 3) for t in range(25)}).values()
    assert all(step.decision.guarantee == "exact" for step in later)
    assert any(step.decision.neighbours for step in later)
    assert any(step.decision.kl > 0 and step.decision.beta > 0 for step in later)
    steps = sum(episode.steps for episode in played.episodes)
    total = ledger_of(tmp_path / "run").total
    assert total.usage.calls == len(server.requests) == steps
