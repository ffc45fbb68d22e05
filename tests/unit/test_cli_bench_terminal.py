"""`jitrl bench` in a process of its own, on a real terminal."""

from __future__ import annotations

import re
from pathlib import Path

from arms_kit import talking
from plugin_kit import plugin
from terminal_kit import terminal

from jitrl.bench.folder import read

__all__ = ["plugin"]
PLAN = """
episodes = {episodes}
steps = 3
seeds = 2
[[world]]
name = "corridor:9"
[[arm]]
agent = "static"
[[arm]]
agent = "jitrl"
"""


def frames(seen: str) -> list[list[str]]:
    """Return the lines of each table that was drawn, without control codes."""
    plain = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", seen)
    drawn = re.split(r"(?=world +arm +runs|\n *arm +runs)", plain)[1:]
    return [[" ".join(line.split()) for line in one.splitlines() if line.strip()] for one in drawn]


def test_a_study_is_shown_with_its_arms_the_time_that_is_left_and_money(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('["openai/scripted"]\ninput = 400.0\noutput = 400.0\n')
    words = ("bench", "plan.toml", "--out", "out", "--prices", "prices.toml")
    with talking() as server:
        model = f'model = "openai/scripted"\nbase_url = "{server.url}"\nscores = "stated"\n'
        (tmp_path / "plan.toml").write_text(model + PLAN.format(episodes=2))
        with terminal(tmp_path, *words) as screen:
            code, seen = screen.end()
    assert code == 0, seen
    first, last = frames(seen)[0], frames(seen)[-1]
    assert first[1:3] == ["corridor:9 static 0/2 0/4 0", "corridor:9 jitrl 0/2 0/4 0"]
    assert re.fullmatch(r"0/4 runs ETA \? \$0 of at most \$\d+\.\d\d spent", first[3])
    table = [line for line in last if line.startswith("corridor:9")]
    for line, arm in zip(table, ("static", "jitrl"), strict=True):
        assert re.fullmatch(rf"corridor:9 {arm} 2/2 4/4 \d\.\d\d \d+\.\d{{4}}", line), line
    money = r"4/4 runs ETA 0 s \$(\d+\.\d+) of at most \$(\d+\.\d\d) spent"
    (told,) = [match for line in last if (match := re.fullmatch(money, line))]
    assert 0 < float(told[1]) <= float(told[2])
    assert last[-1].startswith("played in ")


def test_a_study_that_goes_on_shows_what_is_there(tmp_path: Path) -> None:
    for episodes, told in ((2, "0/2 0/4 0"), (3, "0/2 4/6"), (3, "2/2 6/6")):
        (tmp_path / "plan.toml").write_text(PLAN.format(episodes=episodes))
        with terminal(tmp_path, "bench", "plan.toml") as screen:
            code, seen = screen.end()
        assert code == 0, seen
        first, last = frames(seen)[0], frames(seen)[-1]
        assert first[1].startswith(f"corridor:9 static {told}"), first
        assert any(line.startswith("4/4 runs ETA 0 s") for line in last), last


def test_a_low_screen_shows_the_arms_alone(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN.format(episodes=2))
    with terminal(tmp_path, "bench", "plan.toml", height=9) as screen:
        code, seen = screen.end()
    assert code == 0, seen
    assert "world  " not in seen
    assert any(line.startswith("jitrl 2/2 4/4") for line in frames(seen)[-1])


def test_ctrl_c_leaves_the_terminal_as_it_was_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN.format(episodes=2000))
    with terminal(tmp_path, "bench", "plan.toml", "--workers", "1") as screen:
        screen.until("ETA 1")
        screen.interrupt()
        code, seen = screen.end()
    assert code == 130, seen
    assert "Traceback" not in seen
    assert seen.count("jitrl: interrupted: finished episodes are kept; continue with: jitrl") == 1
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l") >= 0  # the cursor is shown again
    assert 0 < len(read(tmp_path / "studies/plan/runs/corridor-9/static-0").episodes) < 2000
