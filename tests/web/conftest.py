"""A browser, the small site of the tests, and its first page as a world: once for each module."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from pocket_kit import chromium
from web_site_kit import open_world, site

from jitrl.worlds.browser.world import BrowserWorld


@pytest.fixture(scope="module")  # a browser that stays open would be in the way of other modules
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with site() as running:
        yield running


@pytest.fixture(scope="module")
def world(server: ThreadingHTTPServer) -> Iterator[BrowserWorld]:
    opened = open_world(server)
    yield opened
    opened.close()
