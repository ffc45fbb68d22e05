"""The benchmark of the memory runs, and what it measures with is what it says."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("memory_data")


def test_the_whole_benchmark_runs_at_a_tiny_size(tmp_path):
    report = tmp_path / "speed.md"
    sizes = ["--steps", "500", "--queries", "3", "--more", "2", "--played", "1"]
    arms = ["--arms", "numpy", "definition", "fts5", "faiss"]
    places = ["--folder", str(tmp_path / "memories"), "--out", str(report)]
    command = [sys.executable, str(BENCHMARKS / "memory.py"), *sizes, *arms, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert report.read_text() == done.stdout
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    by_arm = {row[0]: row for row in rows}
    assert by_arm["definition"][4:6] == ["1.000", "1.000"]
    assert by_arm["faiss"][1] in ("3", "its library is missing")
    starts = {row[0] for row in rows}
    assert {"revisit", "new", "self", "numpy", "fts5", "paper"} <= starts
    assert {"growing, process, numpy", "at full size, power, numpy"} <= starts


@pytest.mark.parametrize("changes", [{}, {"one_game": True}, {"distinct": True}])
def test_states_are_text_game_like_and_the_same_every_time(made, changes):
    data = made.Data(seed=3, **changes)
    episodes = list(made.episodes(data, 199, 202))
    assert episodes == list(made.episodes(data, 199, 202))
    assert len({episode.task for episode in episodes}) == (1 if "one_game" in changes else 2)
    for number, episode in enumerate(episodes, 199):
        assert [step.state for step in episode.steps] == made.states(data, number)
        assert {len(step.before) for step in episode.steps} == {made.CANDIDATES}
        assert all(step.action in step.before for step in episode.steps)
    states = [step.state for step in chain(*(episode.steps for episode in episodes))]
    assert all(50 < sum(len(text.split()) for text in s.values()) < 500 for s in states)


def test_room_texts_repeat_unless_they_are_to_differ(made):
    def rooms(distinct):
        data = made.Data(one_game=True, distinct=distinct)
        return {state["room"] for number in range(20) for state in made.states(data, number)}

    assert len(rooms(False)) < 500
    assert len(rooms(True)) > 950


def test_queries_come_in_three_kinds_of_the_number_that_is_asked_for(made):
    asked = made.queries(made.Data(), stored=20, n=60)
    fewer = made.queries(made.Data(), stored=20, n=7)
    assert fewer == {kind: states[:7] for kind, states in asked.items()}
    assert {kind: len(states) for kind, states in asked.items()} == {
        "revisit": 60,
        "new": 60,
        "self": 60,
    }


def test_one_of_equally_similar_states_is_as_good_as_another(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    recall = import_module("memory").recall
    assert recall([[0.9, 0.5, 0.5]], [[0.9, 0.5, 0.5]]) == 1.0
    assert recall([[0.9, 0.5, 0.5, 0.4]], [[0.9, 0.5, 0.3, 0.2]]) == 0.5
    assert recall([[], [1.0]], [[], []]) == 0.0
