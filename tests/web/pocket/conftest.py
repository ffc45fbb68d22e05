from __future__ import annotations

from collections.abc import Iterator

import pytest

from jitrl.worlds.pocket.pocket import Pocket


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pocket]:
    with Pocket(tmp_path_factory.mktemp("web")) as pocket:
        yield pocket
