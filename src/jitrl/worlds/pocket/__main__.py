"""For a person: `python -m jitrl.worlds.pocket` starts the pocket web, and says where it is.

python -m jitrl.worlds.pocket [FIRST PORT]   start it; Ctrl-C ends it
python -m jitrl.worlds.pocket tasks          write the task file anew
python -m jitrl.worlds.pocket table          print the table of tasks that docs/pocket-web.md shows
"""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import closing

from jitrl.errors import InvalidValue, JitrlError
from jitrl.worlds.pocket.pocket import Pocket
from jitrl.worlds.pocket.server import HOST, SITES
from jitrl.worlds.pocket.tasks import FILE, tasks, written
from jitrl.worlds.pocket.tasks.table import table

__all__ = ["main"]


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        rule = "must be the number of the first port, `tasks` or `table`"
        raise InvalidValue("argument", word, rule)
    return int(word)


def _check_free(first: int) -> None:
    """Raise InvalidValue for the first port of a pocket web that cannot be had."""
    for port in range(first, first + len(SITES)):
        with closing(socket.socket()) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HOST, port))
            except OSError as error:
                rule = f"cannot be had ({error.strerror}): name another first port, or none for any"
                raise InvalidValue("port", port, rule) from error


def _serve(port: int) -> None:
    for name in (signal.SIGINT, signal.SIGTERM):  # in the background a shell switches Ctrl-C off
        signal.signal(name, signal.default_int_handler)
    web = Pocket(port=port)
    if port:
        _check_free(port)
    with web:
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
        if arguments in (["-h"], ["--help"]):
            sys.stdout.write(f"{__doc__}\n")
        elif arguments == ["tasks"]:
            FILE.write_text(written(), encoding="utf-8")
            sys.stdout.write(f"{FILE}: {len(tasks())} tasks\n")
        elif arguments == ["table"]:
            sys.stdout.write(table())
        elif len(arguments) > 1:
            raise InvalidValue("arguments", arguments, "must be one at most: see --help")
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
