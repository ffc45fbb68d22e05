"""Studies that play worlds as another package would bring them."""

from plugin_kit import plugin

__all__ = ["plugin"]
