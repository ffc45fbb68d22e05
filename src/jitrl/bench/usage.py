"""What a run's model calls used, read from its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from jitrl.bench.folder import CALLS, Run
from jitrl.models.ledger import Ledger, Total

_COLUMNS = ("calls for", "calls", "input", "cached", "output", "dollars", "calls/step", "in/step")


def usage_rows(run: Run) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and rows of a table: a row per role, then all of it.

    Per step means per step of the finished episodes. Raises BadRun for a damaged file.
    """
    roles: dict[str, Total] = {}
    ledgers = _ledgers(run)
    for ledger in ledgers:
        for role, used in ledger.roles.items():
            roles[role] = roles.get(role, Total()) + used
    steps = sum(episode.steps for episode in run.episodes)
    rows = [_row(role, used, steps) for role, used in sorted(roles.items())]
    return _COLUMNS, [*rows, _row("all", _total(ledgers), steps)]


def total(run: Run) -> Total:
    """Return what all model calls of a run used, its parts' as well."""
    return _total(_ledgers(run))


def spent(path: Path) -> Total:
    """Return what the model calls used that are told in a run's own folder, if there is one."""
    return Ledger.read(path / CALLS).total if (path / CALLS).exists() else Total()


def _ledgers(run: Run) -> list[Ledger]:
    paths = (part.path / CALLS for part in run.folders)
    return [Ledger.read(path) for path in paths if path.exists()]


def _total(ledgers: Iterable[Ledger]) -> Total:
    return sum((ledger.total for ledger in ledgers), Total())


def _row(name: str, found: Total, steps: int) -> tuple[str, ...]:
    used = found.usage
    dollars = "unknown" if found.dollars is None else f"{found.dollars:.4f}"
    per_step = [f"{count / steps:.2f}" if steps else "" for count in (used.calls, used.input)]
    return (
        name,
        f"{used.calls:,}",
        f"{used.input:,}",
        f"{used.cached:,}",
        f"{used.output:,}",
        dollars,
        *per_step,
    )
