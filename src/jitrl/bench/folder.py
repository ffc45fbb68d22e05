"""The run folder: all that is known of one run, written so that a killed run can be continued.

    run.json        what is run, under which versions, by which command
    steps.jsonl     a line per step: enough to explain the decision afterwards
    episodes.jsonl  a line per finished episode; an episode without one is not finished
    memory.db       what was learned, unless the run shares a memory or is static
    judged.jsonl    a line per episode that a judge scored
    calls.jsonl     a line per call of a model: what for, what it used, what it cost
    lock            held by the process that is writing

A line is one write, and reaches the operating system before the run goes on: what a killed process
leaves behind is whole lines, and at most one torn line at the end of a file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from jitrl.agents.player import Played
from jitrl.bench import codec
from jitrl.bench.codec import LoggedStep
from jitrl.bench.configuration import Configuration
from jitrl.errors import BadRun, JitrlError, RunError

FORMAT = 2  # 1 knew no language models; it is read
MANIFEST, STEPS, EPISODES, JUDGED, CALLS, MEMORY, LOCK = (
    "run.json",
    "steps.jsonl",
    "episodes.jsonl",
    "judged.jsonl",
    "calls.jsonl",
    "memory.db",
    "lock",
)
PLACES = ("games", "base_url", "judge_url")
"""Where a run finds what it plays: it may be somewhere else when the run is continued."""
_NEW = MANIFEST + ".new"
_T = TypeVar("_T")
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@dataclass(frozen=True)
class Manifest:
    """What run.json tells.

    run            names the run; its episodes are stored as RUN-NUMBER
    configuration  what is played
    preset         every hyper-parameter
    world          what identifies the world exactly
    max_score      the world's highest score, None where nobody knows
    versions       of jitrl, Python, numpy and the platform when the run began
    started        when that was, ISO 8601 in UTC
    command        that plays the same
    prompts        template -> hash, of all that models are asked with
    """

    run: str
    configuration: Configuration
    preset: Mapping[str, Any]
    world: Mapping[str, str]
    max_score: float | None
    versions: Mapping[str, str]
    started: str
    command: list[str]
    prompts: Mapping[str, str] = field(default_factory=dict)

    def episode_id(self, number: int) -> str:
        """Return the id under which an episode is stored in the memory."""
        return f"{self.run}-{number:04d}"

    def text(self) -> str:
        """Return the content of run.json."""
        values = vars(self) | {"configuration": self.configuration.as_json()}
        return json.dumps({"format": FORMAT} | values, indent=2) + "\n"

    def check_same(self, wanted: Manifest) -> None:
        """Raise BadRun, naming the first difference, unless `wanted` would play the same run."""
        mine, other = self.configuration.as_json(), wanted.configuration.as_json()
        for name in mine:
            if name not in ("episodes", "overrides", *PLACES):  # overrides show in the preset
                _same(name, mine[name], other[name])
        for name in sorted(self.preset.keys() | wanted.preset.keys()):
            _same(f"hyper-parameter {name}", self.preset.get(name), wanted.preset.get(name))
        for name in sorted(self.world.keys() | wanted.world.keys()):
            _same(f"world's {name}", self.world.get(name), wanted.world.get(name))
        for name in sorted(self.prompts.keys() | wanted.prompts.keys()):
            _same(f"prompt {name}", self.prompts.get(name), wanted.prompts.get(name))


@dataclass(frozen=True)
class Run:
    """A run as read back from its folder: finished episodes only, in order."""

    path: Path
    manifest: Manifest
    episodes: list[Played]

    @property
    def configuration(self) -> Configuration:
        """What was played."""
        return self.manifest.configuration


class RunFolder:
    """A run folder held for writing, by this process alone.

    finished    the finished episodes, in order
    unfinished  the steps of the one episode after them that was cut short, if any

    `RunFolder(path, manifest)` begins a run there; with `resume` it continues the one that is
    there, if there is one. Raises BadRun where the folder holds something else than what is wanted,
    RunError where it cannot be written, or where another process is writing it.
    """

    def __init__(self, path: Path, manifest: Manifest, *, resume: bool = False) -> None:
        self.path = path
        self.finished: list[Played] = []
        self.unfinished: list[LoggedStep] = []
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            _check_ours(path)
        with ExitStack() as opened:
            opened.callback(os.close, _locked(path / LOCK))
            self.manifest = self._claimed(manifest, resume)
            with writing(path):
                self._steps = opened.enter_context(closing(_Lines(path / STEPS)))
                self._episodes = opened.enter_context(closing(_Lines(path / EPISODES)))
            self._recover()
            self._opened = opened.pop_all()

    def add_step(self, line: str) -> None:
        """Append the line of one step."""
        with writing(self.path):
            self._steps.append(line)

    def add_episode(self, played: Played) -> None:
        """Append the line of one episode, which finishes it."""
        with writing(self.path):
            self._episodes.append(codec.episode_line(played))
        self.finished.append(played)

    def add_judged(self, line: str) -> None:
        """Append the line of what a judge made of an episode; of several the last one holds."""
        with writing(self.path), closing(_Lines(self.path / JUDGED)) as judged:
            judged.append(line)

    def drop_unfinished(self) -> None:
        """Cut away the steps of the unfinished episode, so that it can be played anew."""
        with writing(self.path):
            self._steps.cut(self._finished_end)
        self.unfinished = []

    def close(self) -> None:
        """Close the files and let go of the folder."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _claimed(self, wanted: Manifest, resume: bool) -> Manifest:
        """Return the manifest in force: the one that is there, or `wanted`, now written."""
        if (self.path / MANIFEST).exists():
            if not resume:
                raise BadRun(
                    f"{str(self.path)!r} already holds a run: continue it with --resume, or name "
                    "another folder with --out"
                )
            held = _read_manifest(self.path)
            held.check_same(wanted)
            return held
        with writing(self.path):
            replace_file(self.path / MANIFEST, wanted.text().encode())
        return wanted

    def _recover(self) -> None:
        """Read what is there, and cut away torn lines."""
        with writing(self.path):
            self.finished, end = _finished(self.path)
            self._episodes.cut(end)
            rest = list(_after_finished(self.path, self.finished))
            self._finished_end = rest[0][0]
            self._steps.cut(rest[-1][0])
            if (self.path / JUDGED).exists():
                end = max((end for end, _ in _whole_lines(self.path / JUDGED)), default=0)
                with closing(_Lines(self.path / JUDGED)) as judged:
                    judged.cut(end)
        self.unfinished = [
            _parsed(self.path / STEPS, line, codec.read_step) for _, line in rest[1:]
        ]
        places = [(step.episode, step.t) for step in self.unfinished]
        if places != [(len(self.finished), t) for t in range(len(places))]:
            raise BadRun(f"{str(self.path / STEPS)!r} has steps out of order: restore it")


class _Lines:
    """A file that grows by whole lines."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def append(self, line: str) -> None:
        data = memoryview(line.encode() + b"\n")
        while data:  # a nearly full disk takes part of it before it fails
            data = data[os.write(self._file, data) :]

    def cut(self, end: int) -> None:
        if os.fstat(self._file).st_size != end:
            os.ftruncate(self._file, end)

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> Run:
    """Return the run in a folder, whether it is finished, killed or still going.

    Raises BadRun where there is none, or where it is damaged.
    """
    manifest = _read_manifest(path)
    with writing(path):
        return Run(path, manifest, _finished(path)[0])


def find(run: Run, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], LoggedStep]:
    """Return the steps at those places, (episode, t); a place that was not played is left out.

    Steps of an episode that is not finished are found as well.
    """
    found = {}
    with writing(run.path):
        for _, line in _whole_lines(run.path / STEPS):
            match = codec.PLACE.match(line)
            if match is None or (int(match[1]), int(match[2])) in places:
                step = _parsed(run.path / STEPS, line, codec.read_step)
                found[step.episode, step.t] = step
    return found


def judged(run: Run) -> dict[int, list[float | None]]:
    """Return episode -> the judge's scores of its steps, None for none; raises BadRun."""
    found = {}
    with writing(run.path):
        for _, line in _whole_lines(run.path / JUDGED):
            number, scores = _parsed(run.path / JUDGED, line, codec.read_judged)
            found[number] = scores
    return found


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole, or as it was before."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a RunError that names the folder."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in _FULL:
            remedy = "free some disk space, then continue with --resume; finished episodes are kept"
        else:
            remedy = "check the path and its rights, or name another folder"
        raise RunError(f"{str(where)!r}: {error.strerror or error}: {remedy}") from error


def _check_ours(path: Path) -> None:
    """Raise BadRun if the folder holds files of somebody else."""
    names = {entry.name for entry in path.iterdir()}
    if MANIFEST not in names and names - {LOCK, _NEW}:
        raise BadRun(f"{str(path)!r} holds files, but no run: name another folder with --out")


def _locked(path: Path) -> int:
    """Return the lock file, locked until it is closed or the process dies."""
    with writing(path):
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise RunError(
                f"another process is writing {str(path.parent)!r}: wait for it, or end it"
            ) from error
        except BaseException:
            os.close(lock)
            raise
        return lock


def _read_manifest(path: Path) -> Manifest:
    if not (path / MANIFEST).is_file():
        raise BadRun(f"{str(path)!r} is no run folder: it has no {MANIFEST}")
    with writing(path):
        content = (path / MANIFEST).read_bytes()
    try:
        got = json.loads(content)
        version = got.pop("format")
        if not isinstance(version, int) or version > FORMAT:
            raise BadRun(
                f"{str(path)!r} has format {version!r}, this jitrl reads up to {FORMAT}: install "
                "a newer jitrl"
            )
        got["configuration"] = Configuration.from_json(got["configuration"])
        return Manifest(**got)
    except BadRun:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, JitrlError) as error:
        raise BadRun(f"{str(path / MANIFEST)!r} is damaged ({error!r}): restore it") from error


def _same(name: str, held: object, wanted: object) -> None:
    if held != wanted:
        raise BadRun(
            f"cannot resume with another {name}: the run has {held!r}, wanted is {wanted!r}; "
            "name another folder with --out, or delete this one"
        )


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Iterate over (where the line ends, the line); a torn one at the end is left out."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, line


def _finished(path: Path) -> tuple[list[Played], int]:
    """Return the finished episodes, and where the last one's line ends."""
    finished: list[Played] = []
    end = 0
    for line_end, line in _whole_lines(path / EPISODES):
        played = _parsed(path / EPISODES, line, codec.read_episode)
        if played.number != len(finished):
            raise BadRun(f"{str(path / EPISODES)!r} lacks episode {len(finished)}: restore it")
        finished.append(played)
        end = line_end
    return finished, end


def _after_finished(path: Path, finished: list[Played]) -> Iterator[tuple[int, bytes]]:
    """Iterate over (where it ends, line) from the last line of a finished episode on.

    The first is that last line, (0, b"") where there is none. Raises BadRun if a line is missing.
    """
    lines = _whole_lines(path / STEPS)
    last = (0, b"")
    for played in finished:
        for t in range(played.steps):
            last = next(lines, (0, b""))
            if not last[1].startswith(codec.step_prefix(played.number, played.id, t)):
                raise BadRun(
                    f"{str(path / STEPS)!r} lacks step {t} of episode {played.number}: restore it"
                )
    yield last
    yield from lines


def _parsed(path: Path, line: bytes, read_line: Callable[[bytes], _T]) -> _T:
    try:
        return read_line(line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadRun(
            f"{str(path)!r} holds a damaged line ({error!r}): restore it, or begin a new run"
        ) from error
