"""The sources that run on a local model keep the contract of sources."""

from __future__ import annotations

import pytest
from local_kit import words_model

from jitrl.models import Message
from jitrl.scores.freeform import FreeForm
from jitrl.scores.sequences import Sequences
from jitrl.testing import check_scores

ACTIONS = ("go north", "go east", "take lamp", "take")


def short(situation):
    return (Message("user", f"now go {'east ' * (len(situation.turns) % 3)}?"),)


@pytest.mark.parametrize("limit", [4, 2])
def test_free_form_actions_keep_the_contract(limit):
    check_scores(lambda: FreeForm(words_model(), short, max_tokens=limit), actions=ACTIONS)


def test_scored_sequences_keep_the_contract(monkeypatch):
    monkeypatch.setattr(
        "jitrl.scores.sequences.action_messages", lambda situation, window: short(situation)
    )
    check_scores(lambda: Sequences(words_model()), actions=ACTIONS)
