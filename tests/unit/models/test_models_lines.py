"""Files of whole lines: torn ones are cut away, those of others are left alone."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jitrl.errors import InvalidValue, RunError
from jitrl.models.lines import Lines, read

BEGINS = b"line "


def taken(path: Path) -> list[tuple[int, bytes]]:
    got: list[tuple[int, bytes]] = []
    read(path, BEGINS, lambda number, line: got.append((number, line)))
    return got


def opened(path: Path) -> Lines:
    return Lines(path, BEGINS, lambda number, line: None)


@pytest.mark.parametrize("torn", [b"", b"l", b"line", b"line 3, half"])
def test_a_torn_last_line_is_cut_away_when_the_file_is_continued(tmp_path, torn):
    path = tmp_path / "file"
    path.write_bytes(b"line 1\nline 2\n" + torn)
    assert taken(path) == [(1, b"line 1"), (2, b"line 2")]
    lines = opened(path)
    lines.append("line 3")
    lines.close()
    assert path.read_bytes() == b"line 1\nline 2\nline 3\n"


@pytest.mark.parametrize("content", [b"dear diary", b"line 1\nlove"])
def test_a_file_of_somebody_else_is_left_as_it_was(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidValue, match="is not one of ours"):
        opened(path)
    assert path.read_bytes() == content


def test_a_file_is_written_by_one_at_a_time(tmp_path):
    path = tmp_path / "file"
    first = opened(path)
    with pytest.raises(RunError, match="is being written already"):
        opened(path)
    held = "import sys, pathlib; from jitrl.models.lines import Lines\n"
    held += "Lines(pathlib.Path(sys.argv[1]), b'line ', print)"
    other = subprocess.run(
        [sys.executable, "-c", held, str(path)], capture_output=True, text=True, check=False
    )
    assert "RunError" in other.stderr
    first.close()
    opened(path).close()


def test_what_does_not_fit_on_the_disk_leaves_no_torn_line(tmp_path):
    script = """
import pathlib, sys
from jitrl.errors import RunError
from jitrl.models.lines import Lines
lines = Lines(pathlib.Path(sys.argv[1]), b"line ", print)
lines.append("line 1")
try:
    lines.append("line " + "x" * 100)
except RunError as error:
    print(error)
lines.append("line 2")
"""
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)),
    )
    assert done.stdout.endswith("free some disk space, then continue\n")
    assert path.read_bytes() == b"line 1\nline 2\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(RunError, match="check the path and its rights"):
        opened(tmp_path / "missing" / "file")
    with pytest.raises(InvalidValue, match="must be a file that can be read"):
        taken(tmp_path / "missing")


def test_closing_twice_is_harmless_and_nothing_is_written_afterwards(tmp_path):
    lines = opened(tmp_path / "file")
    lines.close()
    lines.close()
    with pytest.raises(RunError):
        lines.append("line 1")
    assert (tmp_path / "file").read_bytes() == b""
