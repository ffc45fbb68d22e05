"""The command line: `jitrl run`, `demo`, `bench`, `judge`, `report`, `explain`, `doctor`, `memory`
and `models`.

A failure is one line on stderr: exit code 2 where the input was wrong, 1 where something went wrong
while running, 130 after Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from jitrl._version import __version__
from jitrl.cli import bench, doctor, govern, look, memory, models, play, upkeep
from jitrl.cli.screen import failure

app = typer.Typer(
    name="jitrl",
    help="Agents on frozen models that learn from their own experience, without a weight update.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
memory_app = typer.Typer(help="Look into a memory, bound it, clean it.", no_args_is_help=True)
app.add_typer(memory_app, name="memory")
app.command()(play.run)
app.command()(play.demo)
app.command()(bench.bench)
app.command()(play.judge)
app.command()(look.report)
app.command()(look.explain)
app.command()(doctor.doctor)
_OF_A_MEMORY: dict[str, tuple[Callable[..., None], ...]] = {
    "Look": (
        memory.stats,
        memory.show,
        memory.neighbours,
        memory.snapshots,
        memory.diff,
        upkeep.verify,
    ),
    "Govern": (
        govern.snapshot,
        govern.rollback,
        govern.quarantine,
        govern.release,
        govern.forget,
        govern.cap,
    ),
    "Keep and hand on": (
        upkeep.export,
        upkeep.import_,
        upkeep.merge,
        upkeep.repair,
        upkeep.vacuum,
    ),
}
for panel, commands in _OF_A_MEMORY.items():
    for command in commands:
        memory_app.command(command.__name__.strip("_"), rich_help_panel=panel)(command)
models_app = typer.Typer(help="Look at language models.", no_args_is_help=True)
app.add_typer(models_app, name="models")
models_app.command()(models.probe)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jitrl {__version__}")
        raise typer.Exit


@models_app.callback()
def _models() -> None:
    """Keep `probe` a command of its own, though it is the only one."""


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before the command."""


def main() -> None:
    """Run the command line, and end the process with its exit code.

    Who ends it (`kill`, a terminal that is closed) lets it close its worlds first, as Ctrl-C does.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # not every system has both
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        app()
    except Exception as error:
        if (code := failure(error)) is None:
            raise  # not ours: a defect, to be seen whole
        sys.exit(code)
