"""Arms that play a world as another package would bring it."""

from __future__ import annotations

from plugin_kit import plugin

__all__ = ["plugin"]
