from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from jitrl.agents.player import Played
from jitrl.bench.configuration import Configuration
from jitrl.bench.plan import plan
from jitrl.cli.progress import arms_display, run_display
from jitrl.cli.screen import clean, facts, one_line, show_table, table
from jitrl.worlds import Task

CONFIGURATION = Configuration("corridor:5", episodes=2, steps=7)


def played(number: int, score: float) -> Played:
    return Played(number, f"run-{number}", score, 0.0, 7, False, 0.25, 1, 1, {})


def screen(terminal: bool, width: int = 160) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, markup=False, highlight=False
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_is_shown_with_score_mean_and_kl(terminal: bool) -> None:
    console = screen(terminal)
    with run_display(console, 7, plan(CONFIGURATION, ())) as listener:
        listener.begun([played(0, 3.0)], 2)
        listener.stepped(1, 4, 5.0)
        listener.played(played(1, 5.0))
    text = shown(console)
    assert "score 5   mean 4.00   KL spent 0.50 nats   ETA 0 s" in text
    assert ("\x1b" in text) == terminal


def test_on_a_narrow_screen_a_run_still_tells_which_episode_it_is_at() -> None:
    console = screen(True, width=80)
    wanted = plan(replace(CONFIGURATION, episodes=3000), ())
    with run_display(console, 50, wanted) as listener:
        listener.begun([played(n, 3.0) for n in range(1500)], 3000)
        listener.stepped(1500, 11, 5.0)
    plain = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", shown(console))
    assert "finished 1500/3000 episode 1499: score 3   mean 3.00   ETA ? step 12/50" in plain


def test_an_attempt_is_shown_with_its_task_and_what_went_wrong() -> None:
    console = screen(False)
    tasks = (Task("w:0"), Task("w:1"))
    wanted = plan(Configuration("w:x", attempts=2), tasks)
    with run_display(console, 7, wanted) as listener:
        listener.begun([], 4)
        listener.played(replace(played(1, 1.0), task="w:0"))
        listener.played(replace(played(2, 0.0), task="w:1", reason="crash:\x1b[2J gone"))
    text = shown(console)
    assert "finished 1/4   episode 1: w:0, attempt 1: success   success so far 100.0%" in text
    assert "w:1, attempt 0: failure (crash:\ufffd[2J gone)   success so far 50.0%" in text
    assert "\x1b" not in text


def test_an_attempt_without_a_verdict_is_no_failure() -> None:
    console = screen(False)
    wanted = plan(Configuration("w:x"), (Task("w:0", verdict=False),))
    with run_display(console, 7, wanted) as listener:
        listener.begun([], 1)
        listener.played(replace(played(0, 0.0), task="w:0"))
    assert "finished 1/1   episode 0: w:0, attempt 0: over, without a verdict" in shown(console)
    assert "success" not in shown(console)


def test_while_an_attempt_without_a_verdict_is_made_no_score_is_shown() -> None:
    for task, told in ((Task("w:0"), True), (Task("w:0", verdict=False), False)):
        console = screen(True)
        with run_display(console, 7, plan(Configuration("w:x"), (task,))) as listener:
            listener.begun([], 1)
            listener.stepped(0, 2, 0.0)
        assert "step 3/7" in shown(console)
        assert ("score 0" in shown(console)) == told


@pytest.mark.parametrize("terminal", [True, False])
def test_an_attempt_that_never_began_is_shown_and_not_counted(terminal: bool) -> None:
    console = screen(terminal)
    wanted = plan(Configuration("w:x", attempts=2), (Task("w:0"), Task("w:1")))
    unbegun = replace(played(0, 0.0), task="w:0", steps=0, unbegun=True, reason="the site is down")
    with run_display(console, 7, wanted) as listener:
        listener.begun([], 4)
        listener.played(unbegun)
        if not terminal:
            assert "success so far ?" in shown(console)
        listener.played(replace(unbegun, number=1))
        listener.played(replace(played(2, 1.0), task="w:1"))
        listener.played(replace(played(3, 1.0), task="w:1"))
    text = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", shown(console))
    if not terminal:
        assert "w:0, attempt 1: never began (the site is down)" in text
    assert "success so far 100.0%" in text
    assert "ETA 0 s" in text
    assert "finished 2/4" in text


def test_a_table_that_does_not_fit_becomes_a_list() -> None:
    columns, rows = ("difference", "mean score"), [["jitrl - static", "0.1 [0.0, 0.2]"]] * 2
    for width, lines in ((80, 3), (29, 5)):
        console = screen(False, width=width)
        show_table(console, columns, rows)
        text = shown(console)
        assert len(text.splitlines()) == lines
        assert text.count("jitrl - static") == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_both_arms_of_a_demo_are_shown(terminal: bool) -> None:
    console = screen(terminal)
    static = Configuration("corridor:5", "static", episodes=2)
    with arms_display(console, [static, CONFIGURATION]) as on_episode:
        for number in range(2):
            on_episode(static, played(number, 1.0))
            on_episode(CONFIGURATION, played(number, 2.0))
    text = shown(console)
    for said in (
        ("with memory", "without memory") if terminal else ("jitrl, seed 0", "static, seed")
    ):
        assert said in text
    assert ("\x1b" in text) == terminal


def test_what_a_world_prints_cannot_control_the_terminal() -> None:
    console = screen(True)
    hostile = "\x1b]0;owned\x07\x1b[2J\rnice [bold]room[/bold]"
    console.print(clean(hostile))
    console.print(table(("a",), [(hostile,), (one_line(hostile),)]))
    console.print(facts([("room", hostile)]))
    text = shown(console)
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert text.count("nice [bold]room[/bold]") == 4


def test_a_long_text_is_cut_to_its_first_words() -> None:
    assert one_line("one\ntwo  three", 9).plain == "one two\u2026"
