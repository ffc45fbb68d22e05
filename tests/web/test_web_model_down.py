"""A model that stops answering in mid-suite: the run stops, and goes on as if it had not."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run, read
from jitrl.bench.language import Access
from jitrl.bench.runner import Listener, open_world, run
from jitrl.errors import ModelUnavailable
from jitrl.memory import open as open_memory
from jitrl.testing import Choosing, Fault, ScriptedServer, obliging


class Outage(Listener):
    """Lets the server fail once a step was taken, as often as a call is tried."""

    def __init__(self, server: ScriptedServer, number: int, t: int, tries: int) -> None:
        self._server, self._when, self._tries = server, (number, t), tries
        self.finished: list[int] = []

    def begun(self, finished: list[Played], episodes: int) -> None:
        self.finished = [played.number for played in finished]

    def stepped(self, number: int, t: int, score: float) -> None:
        if (number, t) == self._when:
            fault = Fault("status", status=503, retry_after="0")
            self._server.faults.extend([fault] * self._tries)


def played_out(folder: Path, server: ScriptedServer, listener: Listener) -> Run:
    configuration = Configuration(
        "miniwob:click-test-2,login-user",
        attempts=2,
        steps=4,
        seed=3,
        model="vllm/scripted",
        scores="labels-direct",
        base_url=server.url,
        preset="web",
        options={"settle": 0},
    )
    with closing(open_world(configuration)) as world:
        return run(
            configuration,
            folder,
            world,
            resume=True,
            listener=listener,
            access=Access(retries=1),
        )


def told(run: Run) -> list[dict[str, object]]:
    """What was decided at each step, and what came of it."""
    lines = (run.path / "steps.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_model_that_stays_down_stops_the_run_which_goes_on_with_nothing_lost_or_repeated(
    tmp_path: Path,
) -> None:
    with ScriptedServer(Choosing(obliging)) as server:
        whole = played_out(tmp_path / "whole", server, Listener())
    assert [one.number for one in whole.episodes] == [0, 1, 2, 3]
    assert whole.episodes[2].steps > 1  # one is taken before the outage

    with ScriptedServer(Choosing(obliging)) as server:
        outage = Outage(server, number=2, t=0, tries=2)
        with pytest.raises(ModelUnavailable, match="503"):
            played_out(tmp_path / "run", server, outage)
        assert not server.faults  # the call and the one that tried again
        asked = len(server.requests)
        stopped = read(tmp_path / "run")
        assert [one.number for one in stopped.episodes] == [0, 1]
        with closing(open_memory(tmp_path / "run" / "memory.db")) as memory:
            assert memory.get(stopped.manifest.episode_id(2)) is None

        after = Outage(server, number=-1, t=0, tries=0)
        resumed = played_out(tmp_path / "run", server, after)
        assert after.finished == [0, 1]
        assert len(server.requests) == asked + sum(2 * one.steps for one in resumed.episodes[2:])
    assert told(resumed) == told(whole)
    assert [(one.id, one.steps) for one in resumed.episodes] == [
        (one.id, one.steps) for one in whole.episodes
    ]
    with closing(open_memory(tmp_path / "run" / "memory.db")) as memory:
        assert [stored.id for stored in memory.episodes()] == [one.id for one in whole.episodes]


def test_a_model_that_answers_again_in_time_ends_no_attempt(tmp_path: Path) -> None:
    with ScriptedServer(Choosing(obliging)) as server:
        played = played_out(tmp_path / "run", server, Outage(server, number=2, t=0, tries=1))
    assert [(one.number, one.reason) for one in played.episodes] == [(n, "") for n in range(4)]
