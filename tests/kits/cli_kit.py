"""The command line, called in this process and without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from jitrl.cli import main

Outcome = tuple[int, str, str]
"""Exit code, stdout, stderr."""
Cli = Callable[..., Outcome]


def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *first: str
) -> Cli:
    """Return what calls `jitrl`, with these words first, on a screen of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["jitrl", *first, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def complaint(outcome: Outcome, code: int) -> str:
    """Return the one line of a failure, checked to be one line and to be ours."""
    assert outcome[0] == code, outcome
    assert outcome[2].startswith("jitrl: ")
    assert outcome[2].count("\n") == 1
    return outcome[2]
