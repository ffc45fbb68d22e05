"""A site that was down: the attempt is no result, and is made when the run goes on."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

from web_site_kit import site

from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import Run
from jitrl.bench.runner import open_world, run


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
