"""What a run's model calls used, read from its folder."""

from __future__ import annotations

from jitrl.bench.folder import CALLS, Run
from jitrl.models.ledger import Ledger, Total

_COLUMNS = ("calls for", "calls", "input", "cached", "output", "dollars", "calls/step", "in/step")


def usage_rows(run: Run) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and rows of a table: a row per role, then all of it.

    Per step means per step of the finished episodes. Raises BadRun for a damaged file.
    """
    roles: dict[str, Total] = {}
    every = Total()
    for path in (part.path / CALLS for part in run.folders):
        if path.exists():
            ledger = Ledger.read(path)
            every += ledger.total
            for role, total in ledger.roles.items():
                roles[role] = roles.get(role, Total()) + total
    steps = sum(episode.steps for episode in run.episodes)
    rows = [_row(role, total, steps) for role, total in sorted(roles.items())]
    return _COLUMNS, [*rows, _row("all", every, steps)]


def _row(name: str, total: Total, steps: int) -> tuple[str, ...]:
    used = total.usage
    dollars = "unknown" if total.dollars is None else f"{total.dollars:.4f}"
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
