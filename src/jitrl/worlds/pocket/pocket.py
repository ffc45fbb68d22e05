"""The sites together: started, put back to the beginning, ended."""

from __future__ import annotations

import select
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from shutil import rmtree, which
from types import MappingProxyType, TracebackType

from jitrl.errors import InvalidValue, WorldError
from jitrl.worlds.browser.arena.sites import Account
from jitrl.worlds.browser.world import needs
from jitrl.worlds.children import command, environment
from jitrl.worlds.pocket.accounts import ACCOUNTS
from jitrl.worlds.pocket.server import DATA, FIRST, SESSIONS, SITES

__all__ = ["PACKAGES", "PORTS", "Pocket", "lacking"]

PORTS = range(1024, 65536 - len(SITES) + 1)
"""That the first site may have, the others following."""
PATIENCE = 60.0
"""Seconds until all sites must be there; they take two or three."""
PACKAGES = ("django", "klaus", "dulwich")
"""What the sites are made with, and the extra `pocket` brings."""


def lacking() -> dict[str, str]:
    """Return the program that is missing, with the command that installs it on Debian."""
    # klaus asks it for the history of a file
    return {} if which("git") else {"git": "apt-get install git"}


class Pocket:
    """A shop, its admin, a wiki and a Git host on loopback, with data of their own.

    >>> with Pocket() as web:  # doctest: +SKIP
    ...     web.addresses["shopping"]
    'http://127.0.0.1:40121'

    folder     where the data lies, in a folder of its own that `close` removes; None: among the
               temporary files
    port       of the first site, the others follow in the order of `addresses`; 0 means any
    addresses  WebArena's label of each site -> its address, without a slash at the end
    accounts   label -> the account that visitors use there
    """

    def __init__(self, folder: Path | str | None = None, port: int = 0) -> None:
        if port and port not in PORTS:
            raise InvalidValue("port", port, f"must be 0, or lie in [{PORTS[0]}, {PORTS[-1]}]")
        self.accounts: Mapping[str, Account] = ACCOUNTS
        self.addresses: Mapping[str, str] = {}
        self._inside = None if folder is None else Path(folder)
        self._port = port
        self._folder: Path | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Pocket:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Pocket:
        """Start the sites and wait until each serves; return self.

        Raises MissingExtra without the packages, WorldError if a site does not come up (with what
        it said) or if the sites run already.
        """
        if self._folder is not None:
            raise WorldError("this pocket web runs already: close it before it is started again")
        needs(*PACKAGES, extra="pocket", beside=lacking())
        if self._inside is not None:
            self._inside.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="pocket-", dir=self._inside))
        try:
            for number, site in enumerate(SITES):
                self._processes[site] = self._open(site, self._port and self._port + number)
            end = time.monotonic() + PATIENCE
            self.addresses = MappingProxyType({site: self._ready(site, end) for site in SITES})
        except BaseException:
            self.close()
            raise
        return self

    def reset(self) -> None:
        """Put all data back to the beginning. Whoever is signed in stays so.

        Pages that are open are not told: they show what was until they are loaded again.
        """
        folder = self._running()
        for data in {site.data for site in SITES.values()}:
            with (
                closing(sqlite3.connect(folder / data / FIRST)) as first,
                closing(sqlite3.connect(folder / data / DATA, timeout=20)) as now,
            ):
                now.execute("PRAGMA synchronous=OFF")  # nothing here outlives a power failure
                first.backup(now)

    def expire(self, site: str | None = None) -> None:
        """End every session of a site, or of all: its visitors must sign in again."""
        folder = self._running()
        if site is not None and site not in SITES:
            raise InvalidValue("site", site, f"must be one of: {', '.join(SITES)}")
        for label in SITES if site is None else [site]:
            for session in (folder / SESSIONS / label).iterdir():
                if "_out_" not in session.name:  # Django is still writing it
                    session.unlink(missing_ok=True)

    def close(self) -> None:
        """End every process that was started and remove the data; twice is harmless."""
        for process in self._processes.values():
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        self.addresses = {}
        if self._folder is not None:
            if self._folder.exists():  # the last site that ends removes it too
                rmtree(self._folder)
            self._folder = None

    @property
    def files(self) -> Path:
        """The folder of its own that `close` removes. Raises WorldError where nothing runs."""
        return self._running()

    def _running(self) -> Path:
        if self._folder is None:
            raise WorldError("this pocket web does not run: start it first")
        return self._folder

    def _open(self, site: str, port: int) -> subprocess.Popen[bytes]:
        """Start the process of a site; what it says goes to a file beside its data.

        It gets a session of its own, so that Ctrl-C reaches us alone, and we end it.
        """
        folder = self._running()
        with (folder / f"{site}.log").open("wb") as said:
            return subprocess.Popen(
                command("jitrl.worlds.pocket.server", site, str(folder), str(port)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
                env=environment(),
            )

    def _ready(self, site: str, end: float) -> str:
        """Wait until a site serves; return its address."""
        stream = self._processes[site].stdout
        assert stream is not None  # asked for in _open
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([stream], [], [], max(0.0, end - time.monotonic()))[0]:
                raise WorldError(f"{site} did not start within {PATIENCE:g} s; {self._said(site)}")
            piece = stream.read1(256)  # type: ignore[attr-defined]  # a buffered reader has it
            if not piece:
                raise WorldError(f"{site} ended as it started; {self._said(site)}")
            line += piece
        return f"http://127.0.0.1:{line.split()[-1].decode()}"

    def _said(self, site: str) -> str:
        """Return the end of what a site said, in one line."""
        text = (self._running() / f"{site}.log").read_text(errors="replace")
        return f"it said: {' '.join(text.split())[-600:] or 'nothing'}"
