"""`python -m jitrl.worlds.pocket`: what it says of itself, and of a port that cannot be."""

from __future__ import annotations

import pytest

from jitrl.worlds.pocket.__main__ import main


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_it_says_what_it_serves_and_how_it_is_called(word, capsys):
    assert main([word]) == 0
    said = capsys.readouterr().out
    assert "a shop, its admin, a wiki and a Git host" in said
    assert "python -m jitrl.worlds.pocket 8100" in said


@pytest.mark.parametrize(
    "words", [["eight"], ["0"], ["80"], ["99999"], ["-1"], ["8100", "9"], [""]]
)
def test_a_port_that_cannot_be_is_one_line_and_no_success(words, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "must be the number of the first port, 1024 to 65532" in line
    assert line.endswith(repr(" ".join(words)))
