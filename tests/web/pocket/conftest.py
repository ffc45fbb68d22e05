from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pocket_kit import chromium

from jitrl.worlds.pocket.pocket import Pocket


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pocket]:
    with Pocket(tmp_path_factory.mktemp("web")) as pocket:
        yield pocket


@pytest.fixture(scope="module")  # a browser that stays open would be in the way of other modules
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened
