"""For a person: `python -m jitrl.worlds.pocket` starts the pocket web, and says where it is.

python -m jitrl.worlds.pocket [FIRST PORT]   start it; Ctrl-C ends it
python -m jitrl.worlds.pocket tasks          write the task file anew
python -m jitrl.worlds.pocket table          print the table of tasks that docs/pocket-web.md shows
"""

from __future__ import annotations

import signal
import sys

from jitrl.errors import InvalidValue, JitrlError
from jitrl.worlds.pocket.pocket import Pocket
from jitrl.worlds.pocket.tasks import FILE, tasks, written
from jitrl.worlds.pocket.tasks.table import table

__all__ = ["main"]


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise InvalidValue(
            "argument", word, "must be the number of the first port, `tasks` or `table`"
        )
    return int(word)


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
        if arguments == ["tasks"]:
            FILE.write_text(written(), encoding="utf-8")
            sys.stdout.write(f"{FILE}: {len(tasks())} tasks\n")
        elif arguments == ["table"]:
            sys.stdout.write(table())
        else:
            _serve(_port(arguments[0]) if arguments else 0)
    except KeyboardInterrupt:
        return 130
    except JitrlError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
