"""torch and transformers, imported when they are needed and not before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jitrl.errors import MissingExtra

__all__ = ["libraries", "without_bars"]


def libraries() -> tuple[Any, Any]:
    """Return torch and transformers; raises MissingExtra where either is not installed."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra(
            "local models need torch and transformers: pip install 'jitrl[local]'"
        ) from error
    return torch, transformers


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars of its own."""
    _, transformers = libraries()
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
