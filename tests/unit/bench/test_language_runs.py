"""Runs with a language model as the base policy, over the scripted server."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from folders import log_of
from language_kit import Opener, asked, corridor, ledger_of, listed, named, says, serving

from jitrl.bench.folder import Run, find
from jitrl.bench.language import Access
from jitrl.errors import InvalidValue
from jitrl.models import Request
from jitrl.models.scripted import ScriptedModel

LEARNING = {"beta": 5}


def steps_of(run: Run) -> list:
    places = {(n, t) for n in range(len(run.episodes)) for t in range(run.configuration.steps)}
    return [step for _, step in sorted(find(run, places).items())]


@pytest.mark.parametrize(
    ("scores", "guarantee"),
    [
        ("labels", "exact"),
        ("labels-direct", "exact"),
        ("labels-biased", "exact"),
        ("labels-server", "exact"),
        ("sequence", "exact"),
        ("stated", "stated"),
        ("sampled", "sampled"),
    ],
)
def test_every_source_plays_with_the_calls_and_the_guarantee_that_it_promises(
    tmp_path: Path, scores: str, guarantee: str
) -> None:
    with serving() as server:
        run = corridor(tmp_path / "run", Access(), base_url=server.url, scores=scores)
        ledger = ledger_of(tmp_path / "run")
        assert ledger.total.usage.calls == asked(server)
    steps = steps_of(run)
    assert len(steps) == sum(episode.steps for episode in run.episodes)
    for step in steps:
        decision = step.decision
        assert decision.guarantee == guarantee
        assert decision.samples == (10 if scores == "sampled" else 0)
        assert decision.action in decision.before
        assert math.isclose(sum(decision.after.values()), 1.0, abs_tol=1e-9)
        calls = ledger.steps[step.episode, step.t].usage.calls
        # a served model reads the prompt, and then each of the five actions after it
        assert calls == (6 if scores == "sequence" else 1)
    assert ledger.roles.keys() == {"act"} | ({"probe"} if scores == "labels-server" else set())
    assert not any(math.isnan(run.kl) for run in run.episodes)


@pytest.mark.parametrize("scores", ["labels-direct", "sequence"])
def test_a_base_policy_that_is_known_exactly_is_what_is_logged(tmp_path: Path, scores: str) -> None:
    with serving() as server:
        run = corridor(tmp_path / "run", Access(), base_url=server.url, scores=scores)
    for step in steps_of(run):
        assert len(step.decision.before) == 5
        assert list(step.decision.before.values()) == pytest.approx([0.2] * 5, abs=1e-6)
        assert step.decision.outside == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("scores", ["labels-direct", "labels-server", "sampled"])
def test_a_run_learns_through_a_served_model(tmp_path: Path, scores: str) -> None:
    means = {}
    for agent in ("static", "jitrl"):
        with serving() as server:
            run = corridor(
                tmp_path / agent,
                Access(),
                base_url=server.url,
                scores=scores,
                agent=agent,
                episodes=12,
                steps=12,
                overrides=LEARNING,
                samples=40,
            )
        gained = [episode.score - episode.start_score for episode in run.episodes]
        means[agent] = sum(gained[6:]) / 6
        assert (sum(episode.kl for episode in run.episodes) > 0) == (agent == "jitrl")
    assert means["jitrl"] > means["static"] + 1


def test_a_summariser_is_one_more_call_a_step_but_the_first(tmp_path: Path) -> None:
    with serving() as server:
        choices = {"base_url": server.url, "scores": "labels-direct", "summarise": True}
        run = corridor(tmp_path / "run", Access(), **choices)
        assert len(run.manifest.prompts["summary"]) >= 16
    ledger = ledger_of(tmp_path / "run")
    for step in steps_of(run):
        calls = ledger.steps[step.episode, step.t].usage.calls
        assert calls == (2 if step.t else 1)
        if step.t:
            assert step.decision.state["history"] == f"After {step.t} actions nothing is carried."
    written = ledger.roles["summarise"].usage.calls
    assert written == sum(episode.steps - 1 for episode in run.episodes)


def test_a_judge_is_one_call_an_episode(tmp_path: Path) -> None:
    with serving() as server:
        served = {"base_url": server.url, "judge_url": server.url}
        run = corridor(
            tmp_path / "run", Access(), judge_model="openai/scripted", credit="judged", **served
        )
    ledger = ledger_of(tmp_path / "run")
    assert ledger.roles["judge"].usage.calls == len(run.episodes)
    for number, episode in enumerate(run.episodes):
        assert ledger.episodes[number].usage.calls == episode.steps + 1


def test_what_a_run_asked_with_is_kept_by_hash_and_prompts_hold_nothing_remembered(
    tmp_path: Path,
) -> None:
    opener = Opener(says)
    run = corridor(tmp_path / "run", Access(opener=opener), scores="stated", overrides=LEARNING)
    assert run.manifest.prompts.keys() == {"agent", "label", "action", "web"}
    first = [request for request in opener.requests if request.purpose.t == 0]
    assert len({request.messages[-1].content.partition("score of")[0] for request in first}) == 1


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    logs = []
    with serving() as server:
        for name, seed in (("a", 3), ("b", 3), ("c", 4)):
            corridor(tmp_path / name, Access(), base_url=server.url, scores="labels", seed=seed)
            logs.append(log_of(tmp_path / name))
    assert logs[0] == logs[1] != logs[2]


def test_models_are_closed_whatever_happens(tmp_path: Path) -> None:
    closed: list[str] = []

    class Closing(ScriptedModel):
        async def close(self) -> None:
            closed.append(self.name)

    def broken(name: str, **options: object) -> ScriptedModel:
        return Closing(["no JSON"] * 2, name=name)

    judged = {"judge_model": "openai/judge", "credit": "judged"}
    with pytest.raises(Exception, match="JSON"):
        corridor(tmp_path / "run", Access(opener=broken), scores="stated", **judged)
    assert set(closed) == {"openai/judge", "openai/scripted"}


@pytest.mark.parametrize("preset", ["released", "released-web"])
def test_a_greedy_preset_is_refused_before_a_server_is_to_draw(tmp_path: Path, preset: str) -> None:
    opener = Opener(says)
    with pytest.raises(InvalidValue, match="has a greedy rule"):
        corridor(tmp_path / "run", Access(opener=opener), scores="labels-server", preset=preset)
    assert opener.requests == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("preset", "joins"), [("default", False), ("paper", True)])
def test_with_stated_confidences_remembered_actions_join_as_the_paper_says(
    tmp_path: Path, preset: str, joins: bool
) -> None:
    def one(request: Request) -> str:
        labels = listed(request.messages[-1].content)
        label = labels[(request.seed or 0) % len(labels)]
        return named([label], label)

    run = corridor(tmp_path / "run", Access(opener=Opener(one)), preset=preset, episodes=6)
    steps = steps_of(run)
    assert any(step.decision.joined for step in steps) is joins
    for decision in (step.decision for step in steps):
        proposed = [p for action, p in decision.before.items() if action not in decision.joined]
        assert all(decision.before[action] == min(proposed) for action in decision.joined)
