"""Secrets are taken out of an episode before it is stored."""

from __future__ import annotations

from jitrl.records import Episode


class Redaction:
    """Leaves everything as it is."""

    def episode(self, episode: Episode) -> Episode:
        """Return the episode without its secrets."""
        return episode


DEFAULT = Redaction()
