"""The long rounds of kills and of many writers, which are commands, in a shorter form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("kill_memory.py", "--kills 50 --seed 1", "nothing lost, nothing doubled, nothing torn"),
        ("kill_memory.py", "--kills 10 --durability power", "nothing lost"),
        ("storm_memory.py", "--writers 16 --episodes 20", "nothing lost, nothing doubled"),
    ],
)
def test_nothing_is_lost(script: str, words: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *words.split()],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
