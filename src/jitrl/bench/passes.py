"""The user's command that resets the sites before a pass: run once for each, whatever dies.

It is run again for a pass that is come back to, where attempts at it never began: what was played
since then has left its traces.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from contextlib import closing
from pathlib import Path

from jitrl.bench.codec import dumps
from jitrl.bench.files import Lines, whole_lines, writing
from jitrl.errors import BadRun, RunError

PASSES = "passes.jsonl"
_KEPT = 4000  # characters of the output that are kept


def reset(path: Path, command: str, number: int) -> None:
    """Run the command before pass `number`, unless the folder `path` says that this was done last.

    Its words are as in a shell, but no shell reads them. Raises RunError where it fails, with the
    end of what it printed, which the folder keeps. A call that was killed is made again.
    """
    if number == _last(path):
        return
    begun = time.monotonic()
    code, output = _run(shlex.split(command))
    line = {"pass": number, "command": command, "exit": code, "output": output[-_KEPT:]}
    line["seconds"] = round(time.monotonic() - begun, 3)
    with writing(path):
        ends = [end for end, _ in whole_lines(path / PASSES)]
        with closing(Lines(path / PASSES)) as lines:
            lines.cut(ends[-1] if ends else 0)  # a torn line goes
            lines.append(dumps(line))
    if code != 0:
        said = " ".join(output.split())[-300:] or "nothing"
        raise RunError(
            f"the command before pass {number}, {command!r}, ended with {code}: it said: {said}: "
            "repair it, then continue with --resume"
        )


def _run(words: list[str]) -> tuple[int, str]:
    """Return the exit code and the output of a command; 127 for one that cannot be run."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode(errors="replace")


def _last(path: Path) -> int | None:
    """Return the pass before which the command has succeeded last."""
    found = None
    with writing(path):
        for _, line in whole_lines(path / PASSES):
            try:
                got = json.loads(line)
                if got["exit"] == 0:
                    found = int(got["pass"])
            except (ValueError, KeyError, TypeError) as error:
                raise BadRun(
                    f"{str(path / PASSES)!r} holds a damaged line ({error!r}): restore it"
                ) from error
    return found
