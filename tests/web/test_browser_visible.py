"""A browser that shall be seen is started without `--headless`; any other with it."""

from __future__ import annotations

import shlex
import socket
from contextlib import closing
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from web_site_kit import open_world

from jitrl.worlds.browser.chromium import find

_FIRST_X_PORT = 6000


@pytest.mark.parametrize("visible", [True, False])
def test_the_command_line_of_chromium_says_whether_it_is_seen(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: bool
) -> None:
    told, program = tmp_path / "told", tmp_path / "chromium"
    program.write_text(  # what it is told is written down; it runs without a window all the same
        f'#!/bin/sh\nprintf "%s\\n" "$@" >> {shlex.quote(str(told))}\n'
        f'exec {shlex.quote(str(find()))} "$@" --headless\n'
    )
    program.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as display:
        number = display.getsockname()[1] - _FIRST_X_PORT
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{number}")
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        with closing(open_world(server, chromium=program, visible=visible)) as world:
            assert world.reset(1).actions
    lines = told.read_text().splitlines()
    assert "--remote-debugging-pipe" in lines  # it was Playwright who started it
    assert any(line.startswith("--headless") for line in lines) is not visible
