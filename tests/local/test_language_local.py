"""A text adventure with a local model as the base policy, from the command line.

What is remembered comes from a run through a served model: both act by the same memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from language_kit import ledger_of, serving

from jitrl.bench.folder import find, read
from jitrl.cli import main
from jitrl.records import Situation
from jitrl.scores.sequences import action_messages
from jitrl.testing.tiny import save, tiny
from jitrl.worlds import World, make

torch.set_num_threads(1)

GAME, WINDOW, STEPS = "textworld:easy-1", 1, 6


def examples(world: World) -> list[tuple[str, str, float]]:
    """Return the prompt of the game's beginning, answered by each action alike."""
    observation = world.reset(1)
    messages = action_messages(Situation(GAME, 0, 0, observation), WINDOW)
    prompt = "\n\n".join(message.content for message in messages)
    return [(prompt, action, 1.0) for action in observation.actions]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with compiled games, a tiny model and what a served model has remembered."""
    folder = tmp_path_factory.mktemp("played")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("JITRL_CACHE", str(folder / "games"))
        world = make(GAME)
        model, tokenizer = tiny(examples(world), steps=15, vocabulary=1024, context=2048)
        save(model, tokenizer, folder / "tiny")
        world.close()
        with serving() as server:
            served = ["--model", "openai/scripted", "--base-url", server.url]
            assert jitrl(patch, "--episodes", "4", "--steps", "25", "--out", "served", *served) == 0
    return folder


def jitrl(patch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line on the game, with the memory that is shared."""
    patch.setattr(sys, "argv", ["jitrl", "run", GAME, "--memory", "shared.db", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("scores", ["sequence", "decoding"])
def test_a_game_is_played_by_a_local_model_that_remembers_what_another_did(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scores: str
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("JITRL_CACHE", str(place / "games"))
    named = "transformers/tiny,dtype=float64,batch=4"
    words = ["--model", named, "--scores", scores, "--window", str(WINDOW)]
    lengths = ["--episodes", "2", "--steps", str(STEPS), "--out", scores]
    code = jitrl(monkeypatch, *words, *lengths)
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert "finished 2/2" in out
    run = read(place / scores)
    assert run.configuration.model == named
    assert [episode.steps for episode in run.episodes] == [STEPS, STEPS]
    steps = find(run, {(number, t) for number in (0, 1) for t in range(STEPS)})
    for step in steps.values():
        assert step.decision.guarantee == "exact"
        listed = sum(step.decision.after.values())
        assert listed == pytest.approx(1.0) if scores == "sequence" else 0 < listed <= 1 + 1e-9
        assert 0 <= step.decision.outside <= 1
    first = steps[0, 0].decision
    assert first.neighbours and first.kl > 0 and first.before != first.after
    best = max(first.values.actions, key=lambda action: first.values.actions[action].advantage)
    assert first.after[best] > first.before[best]
    assert ledger_of(place / scores).total.usage.calls == 2 * STEPS
