"""`jitrl doctor`: what a run of WebArena's tasks would find, before it is begun."""

from __future__ import annotations

from typing import Annotated

import typer

from jitrl.cli.screen import console, say, show_table
from jitrl.worlds.browser.arena.doctor import KINDS, Finding, examine


def doctor(
    benchmark: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")] = KINDS[0],
    chromium: Annotated[
        str | None, typer.Option(help="Path of a Chromium.", show_default="found")
    ] = None,
    logins: Annotated[bool, typer.Option(help="Try the logins, in a browser.")] = True,
) -> None:
    """Show which sites answer, which logins work, what is missing, and what to do about it.

    Exit code 1 where something that was tried does not work.
    """
    found = examine(benchmark, program=chromium, log_in=logins)
    rows = [(f.what, _state(f), f.said) for f in found]
    show_table(console(), ("what", "state", "what it means"), rows)
    say("")
    for finding in found:
        if finding.remedy:
            say(f"{finding.what}: {finding.remedy}")
    if any(finding.works is False for finding in found):
        raise typer.Exit(1)


def _state(finding: Finding) -> str:
    if finding.missing:
        return "MISSING"
    return {True: "works", False: "FAILS", None: "-"}[finding.works]
