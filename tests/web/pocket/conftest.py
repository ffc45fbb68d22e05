from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from pocket_kit import CHROMIUM, FLAGS

from jitrl.worlds.pocket.pocket import Pocket


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pocket]:
    with Pocket(tmp_path_factory.mktemp("web")) as pocket:
        yield pocket


@pytest.fixture(scope="module")  # a browser that stays open would be in the way of other modules
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()
