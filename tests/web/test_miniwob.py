"""MiniWoB++ in a real Chromium: tasks open, act and score, and some are learned."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from writing_kit import Writing

from jitrl import Learner
from jitrl.agents.player import Played, play
from jitrl.bench.folder import read
from jitrl.errors import InvalidValue, UnknownName
from jitrl.memory import open as open_memory
from jitrl.records import Observation
from jitrl.scores.prior import Prior
from jitrl.seeds import generator
from jitrl.testing import check_world
from jitrl.worlds import Suite, make
from jitrl.worlds.browser.proposals import NOTHING
from jitrl.worlds.browser.slots import Slots
from jitrl.worlds.browser.world import BrowserWorld

# one of each kind: buttons, links, tabs, lists, fields, dates, mails, searches, trees, tables ...
TASKS = [
    "bisect-angle",
    "book-flight-nodelay",
    "choose-date-nodelay",
    "choose-list",
    "click-button",
    "click-button-sequence",
    "click-checkboxes",
    "click-checkboxes-large",
    "click-checkboxes-soft",
    "click-checkboxes-transfer",
    "click-collapsible-2-nodelay",
    "click-collapsible-nodelay",
    "click-color",
    "click-dialog",
    "click-dialog-2",
    "click-link",
    "click-menu",
    "click-option",
    "click-pie-nodelay",
    "click-scroll-list",
    "click-shades",
    "click-shape",
    "click-tab",
    "click-tab-2",
    "click-tab-2-hard",
    "click-test",
    "click-test-2",
    "click-widget",
    "copy-paste",
    "email-inbox",
    "email-inbox-forward-nl",
    "enter-date",
    "enter-password",
    "enter-text",
    "enter-text-dynamic",
    "enter-time",
    "find-word",
    "focus-text",
    "focus-text-2",
    "form-sequence",
    "grid-coordinate",
    "guess-number",
    "login-user",
    "login-user-popup",
    "multi-layouts",
    "navigate-tree",
    "read-table",
    "search-engine",
    "simple-arithmetic",
    "social-media",
    "text-editor",
    "use-autocomplete",
]


FEW = ("bisect-angle", "click-shape", "find-word", "grid-coordinate", "click-pie-nodelay")
"""They are drawn, or have a single thing to do: a mouse is needed for the rest."""


@pytest.fixture(scope="module")
def world() -> Iterator[Suite]:
    opened = make(f"miniwob:{','.join(TASKS)}")
    assert isinstance(opened, Suite)
    yield opened
    opened.close()


def test_there_are_more_than_a_hundred_tasks_and_an_unknown_one_is_named() -> None:
    opened = make("miniwob:all")
    assert isinstance(opened, Suite)
    assert len(opened.tasks) > 120
    with pytest.raises(InvalidValue, match="each task once, not click-test twice"):
        make("miniwob:click-test, focus-text,click-test")
    with pytest.raises(UnknownName, match="did you mean login-user or login-user-popup, actual"):
        make("miniwob:logn-user")


INERT = "mouse_click(300, 200)"
"""Beside every task there is a strip where a click does nothing."""
UNSEEN = ("navigate-tree",)
"""A change of the page there, an empty folder that opens, is no change of its text."""


def looks(shown: Observation) -> list[str]:
    """Return a page as a reader sees it: without the ids of its elements, and what is noted."""
    lines = [line for line in shown.text.splitlines() if not line.startswith("Note: ")]
    return [re.sub(r"\[\w+\] ", "", line) for line in lines]


def done(shown: Observation) -> list[str]:
    return shown.state["history"].splitlines()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_opens_acts_and_scores(world: Suite, name: str) -> None:
    shown = world.reset(7, f"miniwob:{name}", limit=4)
    assert shown.state["task"].strip()
    assert shown.state["url"] == f"miniwob/{name}"
    rng = generator(7, 0, name)
    steps = 0
    assert name in FEW or shown.actions != (NOTHING,)
    before, shown = shown, world.step(INERT)
    assert done(shown) == ([] if looks(shown) == looks(before) else [INERT])
    while shown.actions:
        before, action = shown, shown.actions[int(rng.integers(len(shown.actions)))]
        shown = world.step(action)
        steps += 1
        assert shown.reward in (0.0, 1.0) and shown.score == shown.reward
        # only what changed the page is part of the history
        changed = done(shown) != done(before)
        assert done(shown) == [*done(before), *([action] if changed else [])]
        assert changed == (looks(shown) != looks(before)) or name in UNSEEN
    assert 1 <= steps <= 3
    assert shown.terminated or shown.truncated


def test_the_pages_own_verdict_is_the_reward(world: Suite) -> None:
    shown = world.reset(3, "miniwob:click-test-2")
    assert shown.state["task"] == "Click button ONE."
    assert world.step('click(button("TWO"))').score == 0.0
    world.reset(3, "miniwob:click-test-2")
    after = world.step('click(button(task("click button _ $")))')
    assert (after.score, after.terminated) == (1.0, True)


def test_the_world_keeps_the_contract() -> None:
    check_world(lambda: make("miniwob:click-test-2"), steps=4)


LEARNED = [("enter-text", 10, 4), ("login-user", 12, 6)]
"""Task, episodes, steps of each. Twice the steps that are needed, and the first seed, 0.

With memory the last four all succeed, without it none do. Of seeds 1 and 2 as many succeed with
memory but for two of seed 1 at login-user, and one or none without.
"""


@pytest.mark.parametrize(("name", "episodes", "steps"), LEARNED)
def test_memory_learns_in_ten_episodes_what_the_same_seed_without_it_does_not(
    world: Suite, name: str, episodes: int, steps: int
) -> None:
    task = f"miniwob:{name}"

    async def attempts(learner: Learner, numbers: range) -> list[Played]:
        prior = Prior(3)
        return [
            await play(world, learner, prior, steps=steps, number=number, task=task)
            for number in numbers
        ]

    with Learner(None, "web", frozen=True) as static:  # each attempt is as if it were the first
        without = asyncio.run(attempts(static, range(episodes - 4, episodes)))
    with Learner(None, "web") as learner:
        played = asyncio.run(attempts(learner, range(episodes)))
        stored = list(learner.memory.episodes())
    ours, theirs = (sum(one.success for one in found[-4:]) for found in (played, without))
    assert ours >= theirs + 3
    assert played[0].kl == 0 and sum(one.kl for one in played) > 0
    assert [episode.id for episode in stored] == [one.id for one in played]
    # what was typed and clicked is remembered by words around it, from whatever task it came
    texts = {step.action for episode in stored for step in episode.steps}
    values = {value for e in stored for value in Slots(e.steps[0].state["task"]).parameters}
    assert any("task(" in text for text in texts)
    assert not any(f'"{value}"' in text for text in texts for value in values)


def test_the_step_that_wins_is_remembered_with_its_reward(world: Suite) -> None:
    wrong, right = 'click(button("TWO"))', 'click(button(task("click button _ $")))'
    with Learner(None, "web", seed=1) as learner:
        for number, written in enumerate((wrong, 'click(button("ONE"))')):
            source = Writing(written)
            asyncio.run(
                play(world, learner, source, steps=4, number=number, task="miniwob:click-test-2")
            )
        last = [episode.steps[-1] for episode in learner.memory.episodes()]
    assert [(step.action, step.reward) for step in last] == [(wrong, 0.0), (right, 1.0)]


def test_an_attempt_that_breaks_off_has_no_verdict_least_of_all_an_older_one(world: Suite) -> None:
    assert isinstance(world, BrowserWorld)
    world.reset(3, "miniwob:click-test-2")
    assert world.step('click(button("ONE"))').score == 1.0
    world.reset(4, "miniwob:click-test-2")
    process = world._process
    assert process is not None and process._browser is not None
    os.kill(process._browser.process, signal.SIGKILL)
    shown = world.step('click(button("ONE"))')
    assert (shown.score, shown.reward, shown.truncated) == (0.0, 0.0, True)
    assert shown.reason


TWO = "miniwob:click-test,enter-text"


def test_processes_that_share_a_memory_play_and_resume_real_tasks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jitrl.cli", "run", TWO, "--steps", "2"]
    command += ["--workers", "2", "--out", str(tmp_path / "run"), "--order", "passes"]
    for attempts in ("1", "2"):
        more = ["--attempts", attempts, *(["--resume"] if attempts == "2" else [])]
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, cwd=tmp_path, timeout=200
        )
        assert done.returncode == 0, done.stderr
    run = read(tmp_path / "run")
    assert sorted(p.task for p in run.episodes) == [
        *2 * ["miniwob:click-test"],
        *2 * ["miniwob:enter-text"],
    ]
    with closing(open_memory(tmp_path / "run" / "memory.db")) as memory:
        assert len({episode.id for episode in memory.episodes()}) == 4
