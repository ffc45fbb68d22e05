"""Every agent that is compared, from end to end: played, broken off, recorded, failing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from arms_kit import IN_WORDS, LEARNING, ROLES, SUITE, kept, play, talking, talks, told
from folders import cut, log_of
from language_kit import Opener, ledger_of
from process_kit import Process

from jitrl.agents import arms
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import RunFolder, read
from jitrl.bench.language import Access, expected
from jitrl.bench.runner import open_world
from jitrl.errors import InvalidValue, ModelUnavailable, NotRecorded
from jitrl.models import Completion, Request
from jitrl.records import Observation

WORLDS: dict[str, dict[str, object]] = {"corridor": {"episodes": 5}, "locks": SUITE}


def begun(world: dict[str, object]) -> Observation:
    return open_world(Configuration(**{"world": "corridor:3"} | world)).reset(1)  # type: ignore[arg-type]


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "carried.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("agent", arms.names())
def test_every_arm_plays_over_a_server_within_what_is_expected_of_it(
    tmp_path: Path, agent: str, world: str
) -> None:
    choices = {"agent": agent, "scores": "labels-direct", "steps": 8} | WORLDS[world]
    with talking() as server:
        run = play(tmp_path / "run", Access(), base_url=server.url, **choices)
    episodes = 5 if world == "corridor" else 12
    assert [played.number for played in run.episodes] == list(range(episodes))
    assert not any(played.unlearned for played in run.episodes)
    roles = ledger_of(tmp_path / "run").roles
    assert roles.keys() <= {"act", ROLES.get(agent, "act")}
    after = {played.number for played in run.episodes if played.steps}
    assert (tmp_path / "run" / "carried.jsonl").exists() == (agent in IN_WORDS)
    if agent in IN_WORDS:
        assert {line["episode"] for line in lines_of(tmp_path / "run")} == after
    assert (tmp_path / "run" / "memory.db").exists() == arms.make(agent).stores
    most = expected(
        run.configuration.extended(episodes), "it", begun(WORLDS[world]), Access()
    ).usage
    used = ledger_of(tmp_path / "run").total.usage
    assert used.calls <= most.calls
    assert used.input <= most.input


def test_every_arm_has_as_many_calls_a_step(tmp_path: Path) -> None:
    for agent in arms.names():
        opener = Opener(talks)
        run = play(tmp_path / agent, Access(opener=opener), agent=agent)
        steps = sum(played.steps for played in run.episodes)
        assert ledger_of(tmp_path / agent).roles["act"].usage.calls == steps


class Breaking:
    """Breaks a run off right after its n-th line is written."""

    def __init__(self, patch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        for name in ("add_step", "add_carried", "add_episode"):
            patch.setattr(RunFolder, name, self._breaking(getattr(RunFolder, name)))

    def _breaking(self, write):
        def written(folder: RunFolder, line: object) -> None:
            write(folder, line)
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

        return written


def goes_on(path: Path, again: Opener, whole: Path, opener: Opener, **choices: object) -> None:
    """Resume a run that was broken off: it and all that was asked are as in the whole one."""
    play(path, Access(opener=again), resume=True, **choices)
    assert kept(path) == kept(whole)
    assert told(again.requests) == told(opener.requests)


@pytest.mark.parametrize("agent", [*IN_WORDS, "shuffled"])
def test_a_run_broken_off_after_any_line_comes_to_the_same_notes_prompts_and_results(
    tmp_path: Path, agent: str
) -> None:
    choices = {"agent": agent, "overrides": {"min_evidence": 1, "beta": 3}}
    opener = Opener(talks)
    whole = play(tmp_path / "whole", Access(opener=opener), **choices)
    lines = sum(played.steps + 1 for played in whole.episodes)
    lines += 3 if agent in IN_WORDS else 0
    for after in range(1, lines + 1):
        path, again = tmp_path / f"run-{after}", Opener(talks)
        with pytest.MonkeyPatch.context() as patch:
            Breaking(patch, after)
            with pytest.raises(KeyboardInterrupt):
                play(path, Access(opener=again), **choices)
        goes_on(path, again, tmp_path / "whole", opener, **choices)


@pytest.mark.parametrize("agent", LEARNING)
@pytest.mark.parametrize("world", WORLDS)
def test_a_run_broken_off_while_it_learns_comes_to_the_same(
    tmp_path: Path, agent: str, world: str
) -> None:
    choices = {"agent": agent, **WORLDS[world], "steps": 8, "seed": 1}
    opener = Opener(talks)
    play(tmp_path / "whole", Access(opener=opener), **choices)
    calls = sum(request.purpose.role == ROLES[agent] for request in opener.requests)
    assert calls
    for broken in range(calls):
        left = [broken]

        def breaks(request: Request, left: list[int] = left) -> str:
            if request.purpose.role == ROLES[agent]:
                left[0] -= 1
                if left[0] == -1:
                    raise KeyboardInterrupt
            return talks(request)

        path, again = tmp_path / f"run-{broken}", Opener(breaks)
        with pytest.raises(KeyboardInterrupt):
            play(path, Access(opener=again), **choices)
        goes_on(path, again, tmp_path / "whole", opener, **choices)


@pytest.mark.parametrize("agent", IN_WORDS)
def test_a_torn_note_is_written_again(tmp_path: Path, agent: str) -> None:
    play(tmp_path / "whole", Access(opener=Opener(talks)), agent=agent)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Breaking(patch, 5)  # the note on the first episode, before its line
        play(tmp_path / "run", Access(opener=Opener(talks)), agent=agent)
    cut(tmp_path / "run" / "carried.jsonl", -9)
    play(tmp_path / "run", Access(opener=Opener(talks)), resume=True, agent=agent)
    assert kept(tmp_path / "run") == kept(tmp_path / "whole")


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("agent", IN_WORDS)
def test_a_recorded_run_is_replayed_to_the_byte(tmp_path: Path, agent: str, world: str) -> None:
    choices = {"agent": agent, **WORLDS[world], "steps": 8}
    recorded, replayed = (Access(**{what: tmp_path / "rec"}) for what in ("record", "replay"))
    with talking() as server:
        play(tmp_path / "run", recorded, base_url=server.url, **choices)
        asked = len(server.requests)
        play(tmp_path / "again", replayed, base_url=server.url, **choices)
        assert len(server.requests) == asked
    assert log_of(tmp_path / "again") == log_of(tmp_path / "run")
    notes = [(tmp_path / name / "carried.jsonl").read_bytes() for name in ("run", "again")]
    assert notes[0] == notes[1]


def test_a_killed_evolution_is_continued_recorded_and_replayed_to_the_byte(tmp_path: Path) -> None:
    recording, choices = tmp_path / "rec", {"agent": "evotest", "episodes": 6, "steps": 8}
    with talking() as server:
        play(tmp_path / "whole", Access(), base_url=server.url, **choices)
    with talking() as server:
        server.delay = 0.01
        words = [
            *(sys.executable, "-m", "jitrl.cli", "run", "corridor:3", "--agent", "evotest"),
            *("--episodes", "6", "--steps", "8", "--model", "openai/scripted"),
            *("--scores", "stated", "--base-url", server.url, "--record", str(recording)),
            *("--out", str(tmp_path / "run")),
        ]
        with Process(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert server.wait(lambda server: len(server.requests) >= 24, 60)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        access = Access(record=recording)
        play(tmp_path / "run", access, resume=True, base_url=server.url, **choices)
    play(tmp_path / "again", Access(replay=recording), **choices)
    assert kept(tmp_path / "run") == kept(tmp_path / "whole") == kept(tmp_path / "again")


def unavailable(request: Request) -> str:
    raise ModelUnavailable("the model is away: call again")


FAILURES = {
    "away": unavailable,
    "refuses": lambda request: Completion("I would rather not.", finish="refusal"),
    "silent": lambda request: " \n",
    "cut off": lambda request: Completion('{"prompt": "Take', finish="length"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("agent", LEARNING)
def test_what_cannot_be_learned_is_told_and_the_run_goes_on(
    tmp_path: Path, agent: str, failure: str
) -> None:
    def says(request: Request) -> str | Completion:
        failing = request.purpose.role == ROLES[agent] and request.purpose.episode == 1
        return FAILURES[failure](request) if failing else talks(request)

    opener = Opener(says)
    choices = {"agent": agent, "episodes": 4, "steps": 8, "seed": 6}
    run = play(tmp_path / "run", Access(opener=opener), **choices)
    assert [played.unlearned for played in run.episodes] == [False, True, False, False]
    assert [played.steps > 0 for played in run.episodes] == [True] * 4
    notes = [line["note"] for line in lines_of(tmp_path / "run")]
    assert notes[0] is not None
    assert notes[1] is None
    assert read(tmp_path / "run").episodes == run.episodes
    again = play(tmp_path / "more", Access(opener=Opener(says)), **choices | {"episodes": 2})
    assert again.episodes[1].unlearned
    play(tmp_path / "more", Access(opener=Opener(says)), resume=True, **choices)
    assert kept(tmp_path / "more") == kept(tmp_path / "run")


@pytest.mark.parametrize("agent", LEARNING)
def test_what_is_not_recorded_of_learning_is_an_error(tmp_path: Path, agent: str) -> None:
    def says(request: Request) -> str:
        if request.purpose.role == ROLES[agent]:
            raise NotRecorded("nothing is recorded there: replay with the options")
        return talks(request)

    with pytest.raises(NotRecorded):
        play(tmp_path / "run", Access(opener=Opener(says)), agent=agent, steps=8)
    assert read(tmp_path / "run").episodes == []


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"agent": "evotest", "scores": "labels-server"}, "agent sets the temperature.*'evotest'"),
        ({"agent": "jitrl-in-prompt", "preset": "released"}, "greedy rule.*default or paper"),
        ({"agent": "reflexion", "memory": "m.db"}, "stores nothing"),
    ],
)
def test_what_an_arm_cannot_do_is_refused_before_anything_is_written(
    tmp_path: Path, choices: dict[str, object], named: str
) -> None:
    opener = Opener(talks)
    with pytest.raises(InvalidValue, match=named) as caught:
        play(tmp_path / "run", Access(opener=opener), **choices)
    assert "\n" not in str(caught.value)
    assert opener.requests == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("agent", IN_WORDS)
def test_an_arm_that_tells_its_model_something_needs_one(tmp_path: Path, agent: str) -> None:
    with pytest.raises(InvalidValue, match="needs a model to tell: name one with --model"):
        play(tmp_path / "run", agent=agent)
