"""The run folder: all that is known of one run, written so that a killed run can be continued.

    run.json        what is run, under which versions, by which command
    steps.jsonl     a line per step: enough to explain the decision afterwards
    episodes.jsonl  a line per finished episode, in the order of play; an episode without one is not
                    finished, nor is an attempt whose last line says that it never began
    memory.db       what was learned, unless the run shares a memory or is static
    carried.jsonl   a line per episode of an agent that carries something on in words
    judged.jsonl    a line per episode that a judge scored
    calls.jsonl     a line per call of a model: what for, what it used, what it cost
    passes.jsonl    a line per call of the user's command that resets the sites before a pass
    part-K          a run folder: the share of one of several processes, whose memory lies here
    lock            held by the process that is writing

A line is one write, and reaches the operating system before the run goes on: what a killed process
leaves behind is whole lines, and at most one torn line at the end of a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Self, TypeVar

from jitrl.agents.carrier import Note
from jitrl.agents.player import Played
from jitrl.bench import codec
from jitrl.bench.codec import LoggedStep
from jitrl.bench.configuration import Configuration
from jitrl.bench.files import Lines, locked, replace_file, whole_lines, writing
from jitrl.bench.plan import Plan, plan
from jitrl.errors import BadRun, JitrlError
from jitrl.worlds import Task

FORMAT = 3  # 1 knew no language models, 2 no suites; they are read
MANIFEST, STEPS, EPISODES, CARRIED, JUDGED, CALLS, MEMORY, LOCK = (
    "run.json",
    "steps.jsonl",
    "episodes.jsonl",
    "carried.jsonl",
    "judged.jsonl",
    "calls.jsonl",
    "memory.db",
    "lock",
)
PLACES = ("games", "base_url", "judge_url", "grader_url", "start")
"""Where a run finds what it plays: it may be somewhere else when the run is continued."""
_NEW = MANIFEST + ".new"
_T = TypeVar("_T")


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
    begins         name of the run whose memory it began with; "" for none
    tasks          of a suite, with the sites and the template of each; empty for another world
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
    tasks: tuple[Task, ...] = ()
    begins: str = ""

    @property
    def plan(self) -> Plan:
        """What is played."""
        return plan(self.configuration, self.tasks)

    def episode_id(self, number: int) -> str:
        """Return the id under which an episode is stored in the memory."""
        return f"{self.run}-{number:04d}"

    def text(self) -> str:
        """Return the content of run.json."""
        tasks = [asdict(task) for task in self.tasks]
        values = vars(self) | {"configuration": self.configuration.as_json(), "tasks": tasks}
        return json.dumps({"format": FORMAT} | values, indent=2) + "\n"

    def check_same(self, wanted: Manifest) -> None:
        """Raise BadRun, naming the first difference, unless `wanted` would play the same run."""
        mine, other = self.configuration.as_json(), wanted.configuration.as_json()
        free = {"episodes", "overrides", "options", *PLACES}  # overrides show in the preset
        if self.plan.by_pass:  # more attempts leave the numbers of the first as they are
            free.add("attempts")
        for name in mine:
            if name not in free:
                _same(name, mine[name], other[name])
        _same("start", self.begins, wanted.begins)
        options, others = self.configuration.what, wanted.configuration.what
        for name in sorted(options.keys() | others.keys()):
            _same(f"option {name}", options.get(name), others.get(name))
        for ours, theirs in zip_longest(self.tasks, wanted.tasks):
            _same("task", ours and ours.name, theirs and theirs.name)
        for name in sorted(self.preset.keys() | wanted.preset.keys()):
            _same(f"hyper-parameter {name}", self.preset.get(name), wanted.preset.get(name))
        for name in sorted(self.world.keys() | wanted.world.keys()):
            _same(f"world's {name}", self.world.get(name), wanted.world.get(name))
        for name in sorted(self.prompts.keys() | wanted.prompts.keys()):
            _same(f"prompt {name}", self.prompts.get(name), wanted.prompts.get(name))

    def check_part_of(self, whole: Manifest, path: Path) -> None:
        """Raise BadRun if the run in `path` is no part of the whole."""
        if self.run != whole.run:
            raise BadRun(f"{str(path)!r} is part of another run: take it out of this folder")

    def grown(self, wanted: Manifest) -> Manifest:
        """Return the same run with as many episodes as `wanted` has, if those are more."""
        if wanted.plan.total <= self.plan.total:
            return self
        more = {name: getattr(wanted.configuration, name) for name in ("episodes", "attempts")}
        return replace(self, configuration=replace(self.configuration, **more))


@dataclass(frozen=True)
class Run:
    """A run as read back from its folder.

    episodes  that are finished, by number
    parts     the runs that it consists of, where several processes share its tasks out
    unbegun   attempts that never began, as they were tried last, by number: to be tried again
    """

    path: Path
    manifest: Manifest
    episodes: list[Played]
    parts: tuple[Run, ...] = ()
    unbegun: tuple[Played, ...] = ()

    @property
    def configuration(self) -> Configuration:
        """What was played."""
        return self.manifest.configuration

    @property
    def memory(self) -> str:
        """Where its memory is; a static run has none there."""
        return memory_of(self.configuration, self.path)

    @property
    def folders(self) -> tuple[Run, ...]:
        """The runs that have files of their own: the parts, or else the run itself."""
        return self.parts or (self,)


class RunFolder:
    """A run folder held for writing, by this process alone.

    lines       of episodes and of attempts that never began, in the order of play
    unfinished  the steps of the one episode that was cut short, if any

    `RunFolder(path, manifest)` begins a run there; with `resume` it continues the one that is
    there, if there is one. Raises BadRun where the folder holds something else than what is wanted,
    RunError where it cannot be written, or where another process is writing it, `patience` seconds
    later still.
    """

    def __init__(
        self, path: Path, manifest: Manifest, *, resume: bool = False, patience: float = 0.0
    ) -> None:
        self.path = path
        self.lines: list[Played] = []
        self.unfinished: list[LoggedStep] = []
        with ExitStack() as opened:
            self.manifest = opened.enter_context(claimed(path, manifest, resume, patience))
            with writing(path):
                self._steps = opened.enter_context(closing(Lines(path / STEPS)))
                self._episodes = opened.enter_context(closing(Lines(path / EPISODES)))
            self._recover()
            self._opened = opened.pop_all()

    def add_step(self, line: str) -> None:
        """Append the line of one step."""
        with writing(self.path):
            self._steps.append(line)

    def add_episode(self, played: Played) -> None:
        """Append the line of one episode, which finishes it unless it never began."""
        with writing(self.path):
            self._episodes.append(codec.episode_line(played))
        self.lines.append(played)

    def add_judged(self, line: str) -> None:
        """Append the line of what a judge made of an episode; of several the last one holds."""
        self._append(JUDGED, line)

    def add_carried(self, line: str) -> None:
        """Append the line of what is carried on from an episode; of several the last one holds."""
        self._append(CARRIED, line)

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

    @property
    def finished(self) -> list[Played]:
        """The finished episodes, by number."""
        return [played for played in _latest(self.lines) if not played.unbegun]

    @property
    def open(self) -> list[int]:
        """The episodes that can be under way: attempts that never began, and the next new one."""
        known = _latest(self.lines)
        new = next(islice(self.manifest.plan.numbers(), len(known), None))
        return [*(played.number for played in known if played.unbegun), new]

    def _append(self, name: str, line: str) -> None:
        with writing(self.path), closing(Lines(self.path / name)) as file:
            file.append(line)

    def _recover(self) -> None:
        """Read what is there, and cut away torn lines."""
        with writing(self.path):
            self.lines, end = _lines(self.path, self.manifest)
            self._episodes.cut(end)
            rest = list(_after_finished(self.path, self.lines))
            self._finished_end = rest[0][0]
            self._steps.cut(rest[-1][0])
            for path in (self.path / JUDGED, self.path / CARRIED):
                if path.exists():
                    end = max((end for end, _ in whole_lines(path)), default=0)
                    with closing(Lines(path)) as file:
                        file.cut(end)
        self.unfinished = [
            _parsed(self.path / STEPS, line, codec.read_step) for _, line in rest[1:]
        ]
        places = [(step.episode, step.t) for step in self.unfinished]
        if places and places not in [[(n, t) for t in range(len(places))] for n in self.open]:
            raise BadRun(f"{str(self.path / STEPS)!r} has steps out of order: restore it")


@contextmanager
def claimed(
    path: Path, wanted: Manifest, resume: bool, patience: float = 0.0
) -> Iterator[Manifest]:
    """Hold a folder for writing by this process alone; the manifest in force is written there.

    Raises as `RunFolder`.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        _check_ours(path)
    lock = locked(path / LOCK, patience)
    try:
        yield _in_force(path, wanted, resume)
    finally:
        os.close(lock)


def _in_force(path: Path, wanted: Manifest, resume: bool) -> Manifest:
    """Return the manifest that is there, grown to what is wanted, or `wanted`, now written."""
    held = None
    if (path / MANIFEST).exists():
        if not resume:
            raise BadRun(
                f"{str(path)!r} already holds a run: continue it with --resume, or name "
                "another folder with --out"
            )
        held = _read_manifest(path)
        held.check_same(wanted)
        wanted = held.grown(wanted)
    if wanted is not held:
        with writing(path):
            replace_file(path / MANIFEST, wanted.text().encode())
    return wanted


def memory_of(configuration: Configuration, path: Path) -> str:
    """Return where the memory of a run in the folder `path` is."""
    return configuration.memory or str(whole_of(configuration, path) / MEMORY)


def whole_of(configuration: Configuration, path: Path) -> Path:
    """Return the folder that the parts of a run share, from that of one; else the run's own."""
    return path if configuration.part is None else path.parent


def part_folder(path: Path, part: int) -> Path:
    """Return the folder of a part of the run in the folder `path`."""
    return path / f"part-{part}"


def read(path: Path) -> Run:
    """Return the run in a folder, whether it is finished, killed or still going.

    Raises BadRun where there is none, or where it is damaged.
    """
    manifest = _read_manifest(path)
    parts: list[Run] = []
    with writing(path):
        if manifest.configuration.workers == 1 or manifest.configuration.part is not None:
            known = _latest(_lines(path, manifest)[0])
            return Run(
                path,
                manifest,
                [played for played in known if not played.unbegun],
                unbegun=tuple(played for played in known if played.unbegun),
            )
        for number in range(manifest.configuration.workers):
            if (part_folder(path, number) / MANIFEST).exists():
                parts.append(read(part_folder(path, number)))
                parts[-1].manifest.check_part_of(manifest, parts[-1].path)
    episodes = _latest(one for part in parts for one in part.episodes)
    unbegun = _latest(one for part in parts for one in part.unbegun)
    return Run(path, manifest, episodes, tuple(parts), tuple(unbegun))


def find(run: Run, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], LoggedStep]:
    """Return the steps at those places, (episode, t); a place that was not played is left out.

    Steps of an episode that is not finished are found as well.
    """
    found = {}
    for path in (part.path / STEPS for part in run.folders):
        with writing(run.path):
            for _, line in whole_lines(path):
                match = codec.PLACE.match(line)
                if match is None or (int(match[1]), int(match[2])) in places:
                    step = _parsed(path, line, codec.read_step)
                    found[step.episode, step.t] = step
    return found


def judged(run: Run) -> dict[int, list[float | None]]:
    """Return episode -> the judge's scores of its steps, None for none; raises BadRun."""
    found = {}
    for path in (part.path / JUDGED for part in run.folders):
        with writing(run.path):
            for _, line in whole_lines(path):
                number, scores = _parsed(path, line, codec.read_judged)
                found[number] = scores
    return found


def carried(
    path: Path, name: str = CARRIED, finished: Collection[int] | None = None
) -> list[tuple[str, Note]]:
    """Return (task, note) of episodes in the order of play; raises BadRun.

    finished  of these alone; None: of all
    """
    found: dict[int, tuple[str, Note]] = {}
    with writing(path):
        for _, line in whole_lines(path / name):
            number, task, note = _parsed(path / name, line, codec.read_carried)
            found.pop(number, None)  # an attempt that was played again comes when it was
            found[number] = task, note
    return [told for number, told in found.items() if finished is None or number in finished]


def _check_ours(path: Path) -> None:
    """Raise BadRun if the folder holds files of somebody else."""
    names = {entry.name for entry in path.iterdir()}
    if MANIFEST not in names and names - {LOCK, _NEW}:
        raise BadRun(f"{str(path)!r} holds files, but no run: name another folder with --out")


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
        got["tasks"] = tuple(
            Task(task["name"], tuple(task["sites"]), task["template"], task.get("verdict", True))
            for task in got.get("tasks", ())
        )
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


def _lines(path: Path, manifest: Manifest) -> tuple[list[Played], int]:
    """Return what the lines of episodes tell, in their order, and where the last one ends.

    They come in the order of the plan, but for attempts that never began and were tried again.
    """
    lines: list[Played] = []
    end = 0
    numbers, unbegun = manifest.plan.numbers(), set[int]()
    number = next(numbers)
    for line_end, line in whole_lines(path / EPISODES):
        played = _parsed(path / EPISODES, line, codec.read_episode)
        if played.number == number:
            number = next(numbers)
        elif played.number not in unbegun:
            raise BadRun(f"{str(path / EPISODES)!r} lacks episode {number}: restore it")
        (unbegun.add if played.unbegun else unbegun.discard)(played.number)
        lines.append(played)
        end = line_end
    return lines, end


def _latest(lines: Iterable[Played]) -> list[Played]:
    """Return the last line of each episode, by number."""
    latest = {played.number: played for played in lines}
    return [latest[number] for number in sorted(latest)]


def _after_finished(path: Path, finished: list[Played]) -> Iterator[tuple[int, bytes]]:
    """Iterate over (where it ends, line) from the last line of a finished episode on.

    The first is that last line, (0, b"") where there is none. Raises BadRun if a line is missing.
    """
    lines = whole_lines(path / STEPS)
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
