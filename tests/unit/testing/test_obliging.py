"""The model that knows nothing, served from the command line to try things out."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_kit import PLUGIN
from process_kit import Process

from jitrl.bench.configuration import Configuration
from jitrl.bench.runner import run
from jitrl.models import Message
from jitrl.testing import obliging
from jitrl.worlds import make


@pytest.mark.parametrize("source", ["labels", "labels-server", "stated", "sampled", "sequence"])
def test_it_plays_with_every_source_and_judges(
    tmp_path: Path, served: str, plugin_world: None, source: str
) -> None:
    where = {"base_url": served, "judge_url": served, "judge_model": "vllm/scripted"}
    configuration = Configuration(
        "corridor:5",
        episodes=2,
        steps=4,
        model="vllm/scripted",
        scores=source,
        credit="mixed",
        **where,  # type: ignore[arg-type]
    )
    played = run(configuration, tmp_path / "run", make("corridor:5"))
    assert [episode.unscored for episode in played.episodes] == [0, 0]


@pytest.fixture(scope="module")
def served() -> str:
    """`python -m jitrl.testing` in a process of its own, and the address that it prints."""
    command = [sys.executable, "-m", "jitrl.testing"]
    with Process(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", said)
        assert found is not None
        yield found[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.fixture
def plugin_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))


def test_its_answers_are_a_distribution() -> None:
    assert sum(obliging([Message("user", "anything")]).values()) == pytest.approx(1.0)
