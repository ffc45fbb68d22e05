"""Tests that take a `device` run on the processor and, where there is one, on a GPU."""

from __future__ import annotations

import pytest
from local_kit import DEVICES


@pytest.fixture(params=DEVICES)
def device(request):
    """A device as torch names it."""
    return request.param
