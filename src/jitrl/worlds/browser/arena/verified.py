"""WebArena-Verified: corrected tasks, judged by rules alone from an answer and a network trace.

Its package pins what it needs to exact versions, so it lives in an environment of its own, which
an option or $WEBARENA_VERIFIED names, and is asked through its own command. It wants the answer as
JSON (`ANSWER` says how) and every request of the browser, which `recording` listens to.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jitrl.errors import MissingExtra, WorldError
from jitrl.worlds.browser.arena import recording, task_files
from jitrl.worlds.browser.arena.arena import Arena, checked, plain
from jitrl.worlds.browser.arena.sites import placeholder
from jitrl.worlds.browser.world import DEFAULTS, BrowserWorld, chosen, needs

if TYPE_CHECKING:
    from browsergym.core.task import AbstractBrowserTask

__all__ = ["ANSWER", "DEFAULTS", "INSTALL", "Referee", "Verified", "benchmark", "make"]


VERSION = "1.2.3"
INSTALL = (
    f"python3 -m venv DIR && DIR/bin/pip install webarena-verified=={VERSION} && "
    "export WEBARENA_VERIFIED=DIR"
)
ANSWER = """\
When you are done, send the user one message: a JSON object with
"task_type": "RETRIEVE" if the task asks for information, "MUTATE" if it asks to create, change or \
delete something, "NAVIGATE" if it asks to show a page;
"status": "SUCCESS", or why it could not be done: "NOT_FOUND_ERROR", "ACTION_NOT_ALLOWED_ERROR", \
"PERMISSION_DENIED_ERROR", "DATA_VALIDATION_ERROR", "UNKNOWN_ERROR";
"retrieved_data": for RETRIEVE a list of what was asked for, numbers as numbers; otherwise null."""
"""How an agent answers, in words for a model."""

_LOCATE = (
    "import importlib.metadata as m, json; d = m.distribution('webarena-verified'); "
    "print(json.dumps([d.version, str(d.locate_file('webarena_verified'))]))"
)
_OPTIONS = ("sites", "accounts", "accounts_file", "logins_folder", "interpreter", "keep")
_PATIENCE = 300.0  # seconds that one call of its command may take


def make(which: str, **options: Any) -> BrowserWorld:
    """Open tasks, named as for `webarena.make`; "hard" are the 258 hard ones.

    sites, accounts, accounts_file, logins_folder  as for `webarena.make`
    interpreter  Python, or the environment, where webarena-verified is (default:
                 $WEBARENA_VERIFIED)
    keep         folder for answers, traces and verdicts as its command wants them, the last attempt
                 at each task, so that they can be handed in; a trace holds cookies, and what the
                 agent typed (default: not kept)

    Raises MissingExtra without its environment; InvalidValue for an unknown task or option;
    WorldError without a Chromium, or where an address is missing.
    """
    needs("browsergym-core", extra="webarena")
    told, browsers = chosen(plain(options), *_OPTIONS)
    found = benchmark(which, **told)
    return BrowserWorld("webarena-verified", which, found, __name__, told, browsers)


def benchmark(which: str, **options: Any) -> Verified:
    """Return the benchmark; see `make`."""
    given = checked("webarena-verified", options, _OPTIONS)
    referee = Referee(given.pop("interpreter", None), given.pop("keep", None))
    hard = _subset(referee.folder / "dataset/subsets/webarena-verified-hard.json")
    return Verified(which, referee.read(), hard, referee, given)


class Verified(Arena):
    """Tasks of WebArena-Verified. The contract is that of `Benchmark`."""

    def __init__(
        self,
        which: str,
        file: task_files.TaskFile,
        hard: tuple[int, ...],
        referee: Referee,
        options: Mapping[str, Any],
    ) -> None:
        packages = {"webarena-verified": referee.version}
        named = {"hard": hard}
        super().__init__(
            "webarena-verified", which, file, packages=packages, named=named, **options
        )
        self._referee = referee

    def entry(self, task: str) -> tuple[type[AbstractBrowserTask], dict[str, Any]]:
        """Return BrowserGym's class of a task and its arguments but for `seed`."""
        from jitrl.worlds.browser.arena.gym_tasks import VerifiedTask

        return VerifiedTask, {
            "config": task_files.fill(self._config(task), self.sites),
            "sites": dict(self.sites),
            "logins": self._logins,
            "judge": self._referee,
            "record": self._record,
        }

    def context(self, task: str) -> dict[str, Any]:
        """Return the logins that are kept for a task's sites, and where to record what is sent."""
        return super().context(task) | recording.options(self._record)

    @cached_property
    def _record(self) -> Path:
        """Where the browser records: one attempt after the other."""
        folder = tempfile.mkdtemp(prefix="jitrl-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder) / "record.zip"

    def needs_grader(self, task: str) -> bool:
        """Return False: every verdict follows from rules."""
        self._config(task)
        return False


class Referee:
    """The command of WebArena-Verified in its own environment.

    interpreter  Python, or the environment that it belongs to; None for $WEBARENA_VERIFIED
    keep         folder where what is judged is left, None for nowhere

    Raises MissingExtra where there is none, or it lacks the package.
    """

    def __init__(
        self, interpreter: str | Path | None = None, keep: str | Path | None = None
    ) -> None:
        named = interpreter or os.environ.get("WEBARENA_VERIFIED")
        if not named:
            raise MissingExtra(f"webarena-verified needs an environment of its own: {INSTALL}")
        path = Path(named)
        self._python = path / "bin" / "python" if path.is_dir() else path
        self._keep = Path(keep) if keep is not None else None

    @cached_property
    def _found(self) -> tuple[str, Path]:
        try:
            done = self._run(["-c", _LOCATE])
            version, folder = json.loads(done.stdout)
        except (OSError, ValueError, WorldError) as error:
            raise MissingExtra(
                f"no webarena-verified with {str(self._python)!r}: {INSTALL}"
            ) from error
        return version, Path(folder)

    @property
    def version(self) -> str:
        """The version of the package."""
        return self._found[0]

    @property
    def folder(self) -> Path:
        """Where its data lie."""
        return self._found[1] / "assets"

    def read(self) -> task_files.TaskFile:
        """Return its tasks."""
        file = self.folder / "dataset/webarena-verified.json"
        return task_files.read(file, needs=("start_urls",))

    def score(
        self, number: int, sites: Mapping[str, str], answer: str | None, har: Mapping[str, Any]
    ) -> float:
        """Return the score of an attempt at a task: 0 or 1.

        sites   label -> address of those that the trace is about
        answer  the agent's message, None where it sent none
        har     every request that the browser made

        Raises WorldError where there is no verdict.
        """
        places = {placeholder(label): {"urls": [address]} for label, address in sites.items()}
        with ExitStack() as stack:
            folder = self._keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place = folder / str(number)
            place.mkdir(parents=True, exist_ok=True)
            config = place / "run_config.json"  # where its command looks for one
            config.write_text(json.dumps({"environments": places}), encoding="utf-8")
            (place / "agent_response.json").write_text(answer or "", encoding="utf-8")
            (place / "network.har").write_text(json.dumps(har), encoding="utf-8")
            verdict = place / "eval_result.json"
            verdict.unlink(missing_ok=True)
            chosen = ["--task-ids", str(number), "--output-dir", str(folder)]
            self._run(["-m", "webarena_verified", "eval-tasks", *chosen])
            return _score(verdict)

    def _run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        command = [str(self._python), *arguments]
        # Its Python must not see what is put in the way of ours.
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_PATIENCE, env=clean, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise WorldError(f"webarena-verified did not end in {_PATIENCE:g} s") from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise WorldError(f"webarena-verified failed ({done.returncode}): {last}")
        return done


def _score(path: Path) -> float:
    try:
        verdict = json.loads(path.read_bytes())
        score, status = float(verdict["score"]), verdict["status"]
        said = [verdict.get("error_msg"), *(e["error_msg"] for e in verdict["evaluators_results"])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorldError(f"webarena-verified wrote no verdict: {error}") from error
    if status == "error":
        reason = next((message for message in said if message), "it says nothing")
        raise WorldError(f"the evaluator failed: {' '.join(reason.split())[:300]}")
    return score


def _subset(path: Path) -> tuple[int, ...]:
    try:
        return tuple(json.loads(path.read_bytes())["task_ids"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorldError(f"no tasks can be read from {str(path)!r}: {error}") from error
