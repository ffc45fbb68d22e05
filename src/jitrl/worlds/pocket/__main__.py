"""The pocket web for a person: a shop, its admin, a wiki and a Git host on loopback.

python -m jitrl.worlds.pocket         start it on ports that are free, say where and with which
                                      accounts; Ctrl-C ends it, and nothing is kept
python -m jitrl.worlds.pocket 8100    the same on port 8100 and the three after it
python -m jitrl.worlds.pocket tasks   write the task file anew
python -m jitrl.worlds.pocket table   print the table of tasks that docs/pocket-web.md shows
"""

from __future__ import annotations

import signal
import sys

from jitrl.errors import InvalidValue, JitrlError
from jitrl.worlds.pocket.pocket import PORTS, Pocket
from jitrl.worlds.pocket.tasks import FILE, tasks, written
from jitrl.worlds.pocket.tasks.table import table

__all__ = ["main"]


def _port(arguments: list[str]) -> int:
    """Return the first port, 0 for any where none is named."""
    if not arguments:
        return 0
    words = " ".join(arguments)
    if not (words.isascii() and words.isdigit() and int(words) in PORTS):
        rule = f"must be the number of the first port, {PORTS[0]} to {PORTS[-1]}, or left out"
        raise InvalidValue("argument", words, f"{rule}, or be `tasks`, `table` or `--help`")
    return int(words)


def _serve(port: int) -> None:
    for name in (signal.SIGINT, signal.SIGTERM):  # in the background a shell switches Ctrl-C off
        signal.signal(name, signal.default_int_handler)
    with Pocket(port=port) as web:
        for site, address in web.addresses.items():
            account = web.accounts[site]
            sys.stdout.write(f"{site:<15} {address:<24} {account.username}  {account.password}\n")
        sys.stdout.write(f"trouble         {web.addresses['shopping']}/trouble/\n")
        sys.stdout.write("Ctrl-C ends it; nothing is kept.\n")
        sys.stdout.flush()
        signal.pause()


def main(arguments: list[str]) -> int:
    """Do what the arguments say; return the exit status."""
    try:
        if arguments in (["--help"], ["-h"]):
            sys.stdout.write(str(__doc__))
        elif arguments == ["tasks"]:
            FILE.write_text(written(), encoding="utf-8")
            sys.stdout.write(f"{FILE}: {len(tasks())} tasks\n")
        elif arguments == ["table"]:
            sys.stdout.write(table())
        else:
            _serve(_port(arguments))
    except KeyboardInterrupt:
        return 130
    except JitrlError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
