"""Runs that begin with what another has left: its memory, its notes; frozen or not."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path

import pytest
from arms_kit import SUITE, advice, kept, play, talks
from folders import log_of
from language_kit import Opener

from jitrl.agents import arms
from jitrl.bench import beginnings
from jitrl.bench.beginnings import STARTED, notes_of
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import RunFolder, find, read
from jitrl.bench.language import Access
from jitrl.bench.parts import play_parts
from jitrl.bench.runner import describe_run, open_world
from jitrl.errors import BadRun, InvalidValue
from jitrl.memory import SqliteMemory

CARRYING = ("memory", "reflexion", "awm", "evotest")
LONG = {"episodes": 4, "steps": 8}


def stored(path: Path) -> list[str]:
    with closing(SqliteMemory(path / "memory.db", readonly=True)) as memory:
        return [episode.id for episode in memory.episodes()]


def content(path: Path) -> dict[str, str]:
    """Return file -> hash of all that a run has written, but for what is derived."""
    files = [path / name for name in ("run.json", "steps.jsonl", "episodes.jsonl")]
    files += [path / name for name in ("carried.jsonl", "memory.db") if (path / name).exists()]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def with_model() -> Access:
    return Access(opener=Opener(talks))


def test_a_memory_is_taken_over_and_the_original_untouched(tmp_path: Path) -> None:
    first = play(tmp_path / "first", **LONG)
    before = content(tmp_path / "first")
    second = play(tmp_path / "second", start=str(tmp_path / "first"), **LONG)
    assert content(tmp_path / "first") == before
    ids = [played.id for played in (*first.episodes, *second.episodes)]
    assert stored(tmp_path / "second") == ids
    assert len(set(ids)) == 8
    assert second.manifest.begins == first.manifest.run != second.manifest.run
    found = find(second, {(0, t) for t in range(8)}).values()
    assert {near.episode for step in found for near in step.decision.neighbours} <= set(ids[:4])
    assert any(step.decision.neighbours for step in found)


@pytest.mark.parametrize("agent", CARRYING)
def test_notes_are_taken_over_and_the_original_untouched(tmp_path: Path, agent: str) -> None:
    choices = {"agent": agent, "seed": 6, **LONG}
    first = play(tmp_path / "first", with_model(), **choices)
    before = content(tmp_path / "first")
    opener, longer = Opener(talks), Opener(talks)
    second = play(
        tmp_path / "second", Access(opener=opener), start=str(tmp_path / "first"), **choices
    )
    assert content(tmp_path / "first") == before
    assert notes_of(second)[:4] == notes_of(first)
    assert len(notes_of(second)) == 8
    play(tmp_path / "longer", Access(opener=longer), **choices | {"episodes": 5})
    assert advice(opener.requests, 0) == advice(longer.requests, 4) != ""


@pytest.mark.parametrize("agent", [*CARRYING, "jitrl", "jitrl-in-prompt"])
def test_frozen_stores_nothing_and_learns_nothing(tmp_path: Path, agent: str) -> None:
    choices = {"agent": agent, "seed": 6, **LONG}
    first = play(tmp_path / "first", with_model(), **choices)
    opener = Opener(talks)
    frozen = play(
        tmp_path / "frozen",
        Access(opener=opener),
        start=str(tmp_path / "first"),
        frozen=True,
        **choices,
    )
    assert {request.purpose.role for request in opener.requests} == {"act"}
    assert len(frozen.episodes) == 4
    assert not any(played.unlearned for played in frozen.episodes)
    assert [note for _, note in notes_of(frozen) if note is not None] == [
        note for _, note in notes_of(first) if note is not None
    ]
    if agent in CARRYING:
        assert len({advice(opener.requests, n).split("Shown")[0] for n in range(4)}) == 1
        assert advice(opener.requests, 3)
    if arms.make(agent).stores:
        assert stored(tmp_path / "frozen") == stored(tmp_path / "first")


def test_a_frozen_run_broken_off_is_continued_to_the_byte(tmp_path: Path) -> None:
    play(tmp_path / "first", **LONG)
    choices = {"start": str(tmp_path / "first"), "frozen": True, **LONG}
    play(tmp_path / "whole", **choices)
    for name in ("add_step", "add_episode"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunFolder, name, _after(2, getattr(RunFolder, name)))
            with pytest.raises(KeyboardInterrupt):
                play(tmp_path / name, **choices)
        play(tmp_path / name, resume=True, **choices)
        assert log_of(tmp_path / name) == log_of(tmp_path / "whole")


def _after(times, call):
    left = [times]

    def calling(*given, **named):
        result = call(*given, **named)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return result

    return calling


@pytest.mark.parametrize(
    ("agent", "where"),
    [
        ("jitrl", "_copy"),
        ("jitrl", "replace_file"),
        ("jitrl", "carried_line"),
        ("jitrl-in-prompt", "carried_line"),
        ("evotest", "carried_line"),
        ("evotest", "replace_file"),
    ],
)
def test_a_run_killed_while_it_copies_begins_with_all_of_it(
    tmp_path: Path, agent: str, where: str
) -> None:
    choices = {"agent": agent, "seed": 6, **LONG}
    play(tmp_path / "first", with_model(), **choices)
    choices |= {"start": str(tmp_path / "first")}
    play(tmp_path / "whole", with_model(), **choices)
    if agent != "jitrl" or where != "carried_line":  # which has no notes
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(beginnings, where, _after(1, getattr(beginnings, where)))
            with pytest.raises(KeyboardInterrupt):
                play(tmp_path / "run", with_model(), **choices)
    play(tmp_path / "run", with_model(), resume=True, **choices)
    assert kept(tmp_path / "run") == kept(tmp_path / "whole")


@pytest.mark.parametrize("episodes", [1, 3])
def test_a_copy_cut_short_in_the_middle_is_made_again(tmp_path: Path, episodes: int) -> None:
    play(tmp_path / "first", **LONG)
    choices = {"start": str(tmp_path / "first"), **LONG}
    play(tmp_path / "whole", **choices)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteMemory, "append", _after(episodes, SqliteMemory.append))
        with pytest.raises(KeyboardInterrupt):
            play(tmp_path / "run", **choices)
    assert not (tmp_path / "run" / STARTED).exists()
    for end in ("", "-wal", "-shm"):  # as a process leaves them that was killed
        (tmp_path / "run" / f"memory.db.new{end}").write_bytes(b"torn" * 1000)
    play(tmp_path / "run", resume=True, **choices)
    assert stored(tmp_path / "run") == stored(tmp_path / "whole")
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    assert list((tmp_path / "run").glob("*.new*")) == []


def test_a_start_that_is_not_finished_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "add_episode", _after(3, RunFolder.add_episode))
        play(tmp_path / "first", **LONG)
    with pytest.raises(BadRun, match="has 1 episodes still to play: finish it first"):
        play(tmp_path / "second", start=str(tmp_path / "first"), **LONG)
    assert not (tmp_path / "second").exists()
    play(tmp_path / "first", resume=True, **LONG)
    play(tmp_path / "second", start=str(tmp_path / "first"), **LONG)


def test_a_start_that_goes_on_meanwhile_is_what_it_was(tmp_path: Path) -> None:
    play(tmp_path / "first", **LONG)
    choices = {"start": str(tmp_path / "first"), "steps": 8}
    play(tmp_path / "second", episodes=1, **choices)
    play(tmp_path / "whole", episodes=3, **choices)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "add_episode", _after(1, RunFolder.add_episode))
        play(tmp_path / "first", resume=True, **LONG | {"episodes": 6})
    play(tmp_path / "second", resume=True, episodes=3, **choices)
    assert log_of(tmp_path / "second") == log_of(tmp_path / "whole")


def name_of(start: Path | None, **choices: object) -> str:
    given = {"start": None if start is None else str(start), "steps": 8, **choices}
    wanted = Configuration("corridor:3", **given)  # type: ignore[arg-type]
    return describe_run(wanted, Path("run"), open_world(wanted), lambda: 0.0).run


def test_runs_that_begin_with_something_else_have_other_names(tmp_path: Path) -> None:
    play(tmp_path / "a", **LONG)
    play(tmp_path / "b", seed=1, **LONG)
    play(tmp_path / "longer", **LONG | {"episodes": 5})
    names = [name_of(start) for start in (None, *(tmp_path / n for n in ("a", "b", "longer")))]
    names.append(name_of(tmp_path / "a", frozen=True))
    assert len(set(names)) == 5
    moved = (tmp_path / "a").rename(tmp_path / "moved")
    assert name_of(moved) == names[1]


def test_a_run_is_not_continued_with_another_start(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        play(tmp_path / name, seed=seed, **LONG)
    play(tmp_path / "run", start=str(tmp_path / "a"), **LONG)
    for start in (None, str(tmp_path / "b")):
        with pytest.raises(BadRun, match="another start"):
            play(tmp_path / "run", start=start, resume=True, **LONG)
    with pytest.raises(BadRun, match="another frozen"):
        play(tmp_path / "run", start=str(tmp_path / "a"), frozen=True, resume=True, **LONG)
    moved = (tmp_path / "a").rename(tmp_path / "moved")
    play(tmp_path / "run", start=str(moved), resume=True, **LONG | {"episodes": 5})


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"agent": "static", "start": "first"}, "carries nothing"),
        ({"start": "first", "memory": "m.db"}, "shared memory"),
        ({"frozen": True}, "needs a start, or a memory"),
    ],
)
def test_what_makes_no_sense_is_refused(choices: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        Configuration("corridor:3", **choices)  # type: ignore[arg-type]


def test_a_start_must_have_what_is_carried(tmp_path: Path) -> None:
    play(tmp_path / "static", agent="static", **LONG)
    play(tmp_path / "memory", with_model(), agent="memory", **LONG)
    with pytest.raises(InvalidValue, match="a run with a memory, not of static"):
        play(tmp_path / "run", start=str(tmp_path / "static"), **LONG)
    with pytest.raises(InvalidValue, match="of a run of evotest, not of memory"):
        play(
            tmp_path / "run", with_model(), agent="evotest", start=str(tmp_path / "memory"), **LONG
        )
    with pytest.raises(BadRun, match="no run folder"):
        play(tmp_path / "run", start=str(tmp_path / "nowhere"), **LONG)
    assert not (tmp_path / "run").exists()


def test_starts_follow_on_each_other(tmp_path: Path) -> None:
    choices: dict[str, object] = {"agent": "evotest", **LONG}
    for name, start in (("a", None), ("b", "a"), ("c", "b")):
        at = None if start is None else str(tmp_path / start)
        last = play(tmp_path / name, with_model(), start=at, **choices)
    assert len(notes_of(last)) == 12
    assert notes_of(last)[:8] == notes_of(read(tmp_path / "b"))


def test_several_processes_share_what_a_run_begins_with(tmp_path: Path) -> None:
    suite = {**SUITE, "steps": 7, "preset": "paper"}
    first = play(tmp_path / "first", **suite)
    wanted = Configuration(  # type: ignore[arg-type]
        start=str(tmp_path / "first"), frozen=True, workers=2, **suite
    )
    several = play_parts(wanted, tmp_path / "several", open_world(wanted))
    one = play(tmp_path / "one", start=str(tmp_path / "first"), frozen=True, **suite)
    assert stored(tmp_path / "several") == [e.id for e in first.episodes]
    assert several.manifest.begins == first.manifest.run
    assert [e.score for e in several.episodes] == [e.score for e in one.episodes]
    assert [e.kl for e in several.episodes] == [e.kl for e in one.episodes]
    assert any(e.kl for e in one.episodes)
    assert not list((tmp_path / "several").glob("part-*/memory.db*"))
    again = play_parts(wanted, tmp_path / "several", open_world(wanted), resume=True)
    assert again.episodes == several.episodes


def test_routines_reach_tasks_that_the_run_before_did_not_have(tmp_path: Path) -> None:
    play(tmp_path / "first", with_model(), agent="awm", **{**SUITE, "attempts": 12, "steps": 8})
    opener = Opener(talks)
    choices = {**SUITE, "world": "locks:2", "attempts": 1, "steps": 8}
    play(
        tmp_path / "second",
        Access(opener=opener),
        agent="awm",
        start=str(tmp_path / "first"),
        frozen=True,
        **choices,
    )
    assert advice(opener.requests, 0).startswith("Routines that worked:")


def test_what_a_run_begins_with_is_lines_of_notes(tmp_path: Path) -> None:
    play(tmp_path / "first", with_model(), agent="memory", **LONG)
    choices = {"agent": "memory", "start": str(tmp_path / "first"), **LONG}
    play(tmp_path / "second", with_model(), **choices)
    lines = [json.loads(x) for x in (tmp_path / "second" / STARTED).read_bytes().splitlines()]
    assert [line["episode"] for line in lines] == [0, 1, 2, 3]
    assert {line["task"] for line in lines} == {"corridor:3"}
