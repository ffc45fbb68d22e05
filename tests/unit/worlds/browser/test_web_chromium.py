"""A browser that shall be seen needs a display that answers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from jitrl.errors import WorldError
from jitrl.worlds.browser.chromium import find


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("named", [None, "", ":", "hello", ":9071", ":9071.0", "localhost:99999"])
def test_without_a_display_that_answers_it_is_one_line_with_the_way_on(named, monkeypatch):
    if named is not None:
        monkeypatch.setenv("DISPLAY", named)
    with pytest.raises(WorldError) as error:
        find(sys.executable, visible=True)
    assert (
        str(error.value) == f"no display answers (DISPLAY is {named or ''!r}): leave --visible out"
    )
    assert find(sys.executable) == Path(sys.executable)


def test_an_x_server_of_a_host_is_asked_at_its_port(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1] - 6000
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{number}.0")
        assert find(sys.executable, visible=True) == Path(sys.executable)


def test_an_x_server_of_this_machine_is_asked_at_its_socket(monkeypatch):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0/tmp/.X11-unix/X9072")
        server.listen()
        monkeypatch.setenv("DISPLAY", ":9072")
        assert find(sys.executable, visible=True) == Path(sys.executable)


def test_a_wayland_compositor_is_asked_at_its_socket(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "wayland-1"))
        server.listen()
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-1")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert find(sys.executable, visible=True) == Path(sys.executable)
