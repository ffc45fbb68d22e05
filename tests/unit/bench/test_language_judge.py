"""Runs with a judge: what it scores is learned from, and where it fails it can be asked later."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from folders import cut, drop_lines, log_of
from language_kit import (
    Opener,
    corridor,
    ledger_of,
    says,
    serving,
    silent_judge,
    worth,
)
from process_kit import Process

from jitrl.bench.folder import find, read
from jitrl.bench.language import Access
from jitrl.bench.rejudge import judge_run, unscored
from jitrl.errors import BadReply, BadRun, BudgetSpent, ModelError, ModelUnavailable
from jitrl.memory import SqliteMemory
from jitrl.models import Completion, Request
from jitrl.models.budget import Budget
from jitrl.models.scripted import ScriptedModel
from jitrl.records import Episode

JUDGED = {"judge_model": "openai/judge", "credit": "judged", "episodes": 4}


def stored(path: Path) -> list[Episode]:
    memory = SqliteMemory(path / "memory.db", readonly=True)
    try:
        return list(memory.episodes())
    finally:
        memory.close()


def told(path: Path) -> dict[int, list[float | None]]:
    """Return episode -> scores, as judged.jsonl has them in the end."""
    lines = [json.loads(line) for line in (path / "judged.jsonl").read_text().splitlines()]
    return {line["episode"]: line["scores"] for line in lines}


def number_of(episode: Episode) -> int:
    return int(episode.id.rpartition("-")[2])


def refusing(request: Request) -> str | Completion:
    judge = request.purpose.role == "judge"
    return Completion("I cannot help with that.", "refusal") if judge else says(request)


def rambling(request: Request) -> str:
    return "Well, all in all: good!" if request.purpose.role == "judge" else says(request)


def test_what_the_judge_says_is_stored_logged_and_told_where_from(tmp_path: Path) -> None:
    run = corridor(tmp_path / "run", Access(opener=Opener(says)), **JUDGED)
    episodes = stored(tmp_path / "run")
    for episode in episodes:
        assert [step.judged for step in episode.steps] == [worth(s.action) for s in episode.steps]
        assert episode.provenance["credit judge"] == "openai/judge"
        assert episode.provenance["credit told outcome"] == "no"
        assert episode.provenance["credit prompt"] == run.manifest.prompts["judge"]
    assert list(told(tmp_path / "run").values()) == [
        [step.judged for step in episode.steps] for episode in episodes
    ]
    assert [episode.unscored for episode in run.episodes] == [0, 0, 0, 0]


@pytest.mark.parametrize("tell", [True, False])
def test_whether_the_judge_knows_the_outcome_is_a_choice_that_is_recorded(
    tmp_path: Path, tell: bool
) -> None:
    opener = Opener(says)
    run = corridor(tmp_path / "run", Access(opener=opener), **JUDGED, tell_outcome=tell)
    asked = [r.messages[-1].content for r in opener.requests if r.purpose.role == "judge"]
    assert all(("After its last step" in text) == tell for text in asked)
    assert run.configuration.tell_outcome == tell
    assert ("--tell-outcome" in run.manifest.command) == tell
    for episode in stored(tmp_path / "run"):
        assert episode.provenance["credit told outcome"] == ("yes" if tell else "no")


def test_what_is_learned_from_is_a_choice(tmp_path: Path) -> None:
    """The world pays for coins and the end, the judge for coins: other values, other policies."""
    values: dict[str, Mapping[str, float]] = {}
    for credit in ("reward", "judged", "mixed"):
        judge = {} if credit == "reward" else {"judge_model": "openai/judge"}
        run = corridor(
            tmp_path / credit,
            Access(opener=Opener(says)),
            **{"episodes": 2, "credit": credit, **judge},
        )
        step = find(run, {(1, 0)})[1, 0]
        values[credit] = {action: value.Q for action, value in step.decision.values.actions.items()}
        (first, _) = stored(tmp_path / credit)
        signal = {
            "reward": [s.reward for s in first.steps],
            "judged": [s.judged or 0.0 for s in first.steps],
            "mixed": [s.reward + (s.judged or 0.0) for s in first.steps],
        }[credit]
        returns = [sum(r * 0.5**i for i, r in enumerate(signal[t:])) for t in range(len(signal))]
        for neighbour in step.decision.neighbours:
            assert neighbour.return_ == pytest.approx(returns[neighbour.t])
    assert len({tuple(sorted(value.items())) for value in values.values()}) == 3


@pytest.mark.parametrize("judge", [silent_judge, refusing, rambling])
def test_a_judge_that_fails_leaves_episodes_unscored_and_can_be_asked_later(
    tmp_path: Path, judge: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run"
    run = corridor(path, Access(opener=Opener(judge)), **JUDGED)  # type: ignore[arg-type]
    assert [episode.unscored for episode in run.episodes] == [e.steps for e in run.episodes]
    assert unscored(run) == 4
    assert caplog.text.count("is stored as unscored: the judge failed") == 4
    assert all(step.judged is None for episode in stored(path) for step in episode.steps)
    opener = Opener(says)
    done = judge_run(path, Access(opener=opener))
    steps = sum(episode.steps for episode in run.episodes)
    assert (done.episodes, done.scored, done.unscored, done.failure) == (4, steps, 0, None)
    assert unscored(run) == 0
    for episode in stored(path):
        assert [step.judged for step in episode.steps] == [worth(s.action) for s in episode.steps]
        assert episode.provenance["credit judge"] == "openai/judge"
        assert told(path)[number_of(episode)] == [step.judged for step in episode.steps]
    assert len(opener.requests) == 4
    again = judge_run(path, Access(opener=opener))
    assert (again.episodes, again.scored, again.unscored) == (0, 0, 0)
    assert len(opener.requests) == 4


def test_what_is_judged_later_is_what_would_have_been_judged_at_once(tmp_path: Path) -> None:
    at_once, later = Opener(says), Opener(says)
    choices = {**JUDGED, "tell_outcome": True, "episodes": 1}
    corridor(tmp_path / "a", Access(opener=at_once), **choices)
    corridor(tmp_path / "b", Access(opener=Opener(silent_judge)), **choices)
    judge_run(tmp_path / "b", Access(opener=later))
    (one,) = [request for request in at_once.requests if request.purpose.role == "judge"]
    assert later.requests == [one]
    assert told(tmp_path / "a") == told(tmp_path / "b")
    assert stored(tmp_path / "a")[0].steps == stored(tmp_path / "b")[0].steps


def test_a_run_goes_on_from_what_was_judged_later(tmp_path: Path) -> None:
    path, choices = tmp_path / "run", {**JUDGED, "episodes": 2}
    corridor(path, Access(opener=Opener(silent_judge)), **{**choices, "episodes": 1})
    judge_run(path, Access(opener=Opener(says)))
    run = corridor(path, Access(opener=Opener(says)), resume=True, **choices)
    whole = corridor(tmp_path / "whole", Access(opener=Opener(says)), **choices)
    assert find(run, {(1, 0)}) == find(whole, {(1, 0)})


def test_a_judge_that_fails_again_keeps_what_was_scored(tmp_path: Path) -> None:
    path, answered = tmp_path / "run", []

    def twice(request: Request) -> str:
        answered.append(request)
        if len(answered) > 2:
            raise ModelUnavailable("away again: call later")
        return says(request)

    run = corridor(path, Access(opener=Opener(silent_judge)), **JUDGED)
    done = judge_run(path, Access(opener=Opener(twice)))
    assert done.scored == sum(episode.steps for episode in run.episodes[:2])
    assert done.unscored == sum(episode.steps for episode in run.episodes[2:])
    assert isinstance(done.failure, ModelError)
    assert unscored(run) == 2
    assert judge_run(path, Access(opener=Opener(says))).unscored == 0


def test_steps_that_were_left_out_are_asked_for_and_scores_that_are_there_stay(
    tmp_path: Path,
) -> None:
    def forgetful(request: Request) -> str:
        said = says(request)
        if request.purpose.role != "judge":
            return said
        scores = json.loads(said)["scores"]
        return json.dumps({"scores": [s for s in scores if s["step"] != 0]})

    def generous(request: Request) -> str:
        scores = json.loads(says(request))["scores"]
        return json.dumps({"scores": [entry | {"score": 9} for entry in scores]})

    path = tmp_path / "run"
    run = corridor(path, Access(opener=Opener(forgetful)), **JUDGED)
    assert [episode.unscored for episode in run.episodes] == [1] * 4
    assert unscored(run) == 0  # none is without any score
    assert judge_run(path, Access(opener=Opener(generous))).scored == 4
    for episode in stored(path):
        first, *others = episode.steps
        assert first.judged == 9
        assert [step.judged for step in others] == [worth(step.action) for step in others]
        assert told(path)[number_of(episode)] == [step.judged for step in episode.steps]


def test_judging_later_is_counted_and_within_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "run"
    corridor(path, Access(opener=Opener(silent_judge)), **JUDGED)
    before = ledger_of(path).total
    opener = Opener(says)
    with pytest.raises(BudgetSpent):
        judge_run(path, Access(opener=opener, budget=Budget(tokens=before.tokens)))
    assert not opener.requests
    judge_run(path, Access(opener=opener))
    after = ledger_of(path)
    assert after.total.usage.calls == before.usage.calls + 4
    assert after.roles["judge"].usage.calls == 8


def test_the_judge_may_be_served_elsewhere_now(tmp_path: Path) -> None:
    path = tmp_path / "run"
    corridor(path, Access(opener=Opener(silent_judge)), **JUDGED)
    asked: list[object] = []

    def opener(name: str, **options: object) -> ScriptedModel:
        asked.append(options["base_url"])
        return ScriptedModel(says, name=name)

    assert judge_run(path, Access(opener=opener), "http://127.0.0.1:2/v1").unscored == 0
    assert asked == ["http://127.0.0.1:2/v1"]


@pytest.mark.parametrize("choices", [{}, {"agent": "static", **JUDGED}])
def test_a_run_without_a_judge_has_nothing_to_be_judged(
    tmp_path: Path, choices: dict[str, object]
) -> None:
    corridor(tmp_path / "run", Access(opener=Opener(says)), **choices)
    with pytest.raises(BadRun, match="run it with --judge-model"):
        judge_run(tmp_path / "run", Access(opener=Opener(says)))


def test_a_run_whose_memory_is_missing_is_told(tmp_path: Path) -> None:
    corridor(tmp_path / "run", Access(opener=Opener(silent_judge)), **JUDGED)
    for file in (tmp_path / "run").glob("memory.db*"):
        file.unlink() if file.is_file() else shutil.rmtree(file)
    with pytest.raises(BadRun, match="memory of the run is missing"):
        judge_run(tmp_path / "run", Access(opener=Opener(says)))
    assert not list((tmp_path / "run").glob("memory.db*"))


@pytest.mark.parametrize("judge", [silent_judge, says])
def test_an_episode_completed_from_its_steps_knows_what_the_judge_left_out(
    tmp_path: Path, judge: object
) -> None:
    access = Access(opener=Opener(judge))  # type: ignore[arg-type]
    corridor(tmp_path / "run", access, **JUDGED)
    before = log_of(tmp_path / "run")
    drop_lines(tmp_path / "run" / "episodes.jsonl", 1)
    corridor(tmp_path / "run", access, resume=True, **JUDGED)
    assert log_of(tmp_path / "run") == before


def test_a_torn_line_of_what_was_judged_is_cut_away(tmp_path: Path) -> None:
    path = tmp_path / "run"
    corridor(path, Access(opener=Opener(says)), **{**JUDGED, "episodes": 1})
    cut(path / "judged.jsonl", -5)
    corridor(path, Access(opener=Opener(says)), resume=True, **JUDGED)
    assert told(path).keys() == {1, 2, 3}  # the memory has kept what the line said


def test_judging_that_is_killed_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with serving(delay=0.02) as server:
        served = {"base_url": server.url, "judge_url": server.url, "episodes": 12}
        judged = {"judge_model": "openai/scripted", "credit": "judged", **served}
        corridor(path, Access(opener=Opener(silent_judge)), **judged)
        command = [sys.executable, "-m", "jitrl.cli", "judge", str(path)]
        with Process(command, env=dict(os.environ)) as process:
            assert server.wait(lambda server: len(server.requests) >= 5, 60)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        scored = [e for e in stored(path) if all(s.judged is not None for s in e.steps)]
        assert len(scored) >= 4
        done = judge_run(path, Access())
    assert done.episodes == 12 - len(scored)
    assert done.unscored == 0
    for episode in stored(path):
        assert [step.judged for step in episode.steps] == [worth(s.action) for s in episode.steps]
        assert told(path)[number_of(episode)] == [step.judged for step in episode.steps]


def test_a_player_that_fails_is_no_matter_of_the_judge(tmp_path: Path) -> None:
    def refuses_in_the_second(request: Request) -> str | Completion:
        if request.purpose.episode == 1 and request.purpose.t == 2:
            return Completion("", "refusal")
        return says(request)

    with pytest.raises(BadReply, match="refuses to answer"):
        corridor(tmp_path / "run", Access(opener=Opener(refuses_in_the_second)), **JUDGED)
    assert len(read(tmp_path / "run").episodes) == len(stored(tmp_path / "run")) == 1
    done = corridor(tmp_path / "run", Access(opener=Opener(says)), resume=True, **JUDGED)
    corridor(tmp_path / "whole", Access(opener=Opener(says)), **JUDGED)
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    assert len(done.episodes) == 4
