"""A site that was down: the attempt is no result, and is made when the run goes on."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from web_site_kit import site

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.bench.runner import open_world, run
from jitrl.cli import main
from jitrl.worlds import make
from jitrl.worlds.browser.process import BrowserProcess


def test_a_site_that_was_down_takes_no_attempt_away(tmp_path: Path) -> None:
    with closing(socket.socket()) as nobody:  # holds a port on which nobody listens
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        wanted = Configuration(
            f"web:http://127.0.0.1:{port}/",
            preset="web",
            steps=1,
            options={"goal": "Press 'Change'", "settle": 0},
        )

        def play() -> Run:
            with closing(open_world(wanted)) as world:
                return run(wanted, tmp_path / "run", world, resume=True)

        down = play()
    assert (down.episodes, len(down.unbegun)) == ([], 1)
    assert (down.unbegun[0].steps, "could not begin" in down.unbegun[0].reason) == (0, True)
    with site(port):
        up = play()
    assert up.unbegun == ()
    assert [(one.number, one.id, one.steps) for one in up.episodes] == [(0, down.unbegun[0].id, 1)]


def test_a_page_that_hangs_as_it_opens_is_not_opened_in_a_second_browser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []
    begin = BrowserProcess.__init__

    def counted(self: BrowserProcess, *given: Any) -> None:
        begin(self, *given)
        started.append(self._process.pid)

    monkeypatch.setattr(BrowserProcess, "__init__", counted)
    with site() as server:
        world = make(
            f"web:http://127.0.0.1:{server.server_port}/stuck",
            goal="Wait",
            settle=0,
            step_timeout=1,
        )
        with closing(world):
            seen = world.reset(1)
    assert (seen.truncated, "timed out" in seen.reason, len(started)) == (True, True, 1)


Cli = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    """Call `jitrl run` on a site that is down; (exit code, lines on stderr)."""

    def call(*more: str) -> tuple[int, list[str]]:
        with closing(socket.socket()) as nobody:
            nobody.bind(("127.0.0.1", 0))
            address = f"web:http://127.0.0.1:{nobody.getsockname()[1]}/"
            words = ["jitrl", "run", address, "--steps", "1", "--out", str(tmp_path / "run"), *more]
            words += ["--option", "goal=Wait", "--option", "settle=0"]
            monkeypatch.setattr("sys.argv", words)
            with pytest.raises(SystemExit) as ended:
                main()
        return int(ended.value.code or 0), capsys.readouterr().err.strip().splitlines()

    return call


def test_a_site_that_stays_down_ends_the_run_with_the_way_on(down: Cli) -> None:
    code, said = down("--attempts", "3")
    assert (code, len(said)) == (1, 3)
    assert "nobody judges web:" in said[0]
    assert "cannot begin, nor could the 2 attempts before" in said[1]
    assert said[2].startswith("jitrl: 0 finished episodes kept; continue with: jitrl run web:")
    assert said[2].endswith("--resume")


def test_what_a_run_will_cost_is_asked_in_no_attempt(
    down: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    code, said = down("--attempts", "2", "--model", "openai/x", "--base-url", "http://127.0.0.1:1")
    assert (code, len(said)) == (1, 2)  # with the estimate there would be three in a row
    assert "2 attempts never began" in said[1]
