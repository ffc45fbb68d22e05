"""Worlds as another package would bring them, on every node of the clusters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from plugin_kit import installed


@pytest.fixture(scope="session", autouse=True)
def plugin() -> Iterator[None]:
    """Install them before any node is started."""
    with installed():
        yield
