"""A real PostgreSQL server for the tests: started once for each worker, a schema for each test."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

SUPERUSER = "postgres"
_SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0777",
    "fsync": "off",
    "max_connections": "60",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}


class Server:
    """A server with a folder and a Unix socket of its own."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="jitrl-pg-"))
        self.data = self.folder / "data"
        self.somebody = {}
        if os.geteuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            self.somebody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            shutil.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            for folder in (self.folder, BIN):
                _reachable(folder)
        self.run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", SUPERUSER, "-N")
        lines = [f"{name} = {value}" for name, value in _SETTINGS.items()]
        lines.append(f"unix_socket_directories = '{self.folder}'")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(lines) + "\n")
        self.start()

    def run(self, program, *arguments):
        """Run one of the server's programs on its folder."""
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [BIN / program, "-D", self.data, *arguments],
                **self.somebody,
                cwd=self.folder,
                stdout=said,
                stderr=said,
                timeout=60,
                check=False,
            )
            said.seek(0)
            assert done.returncode == 0, said.read()

    def start(self):
        self.run("pg_ctl", "start", "-w", "-l", str(self.folder / "log"))

    def stop(self, mode="fast"):
        self.run("pg_ctl", "stop", "-w", "-m", mode)

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def address(
        self, schema="public", user=SUPERUSER, password="", folder=None, database=SUPERUSER
    ):
        secret = f":{password}" if password else ""
        host = quote(str(folder or self.folder), safe="")
        options = quote(f"-csearch_path={schema}", safe="")
        return f"postgresql://{user}{secret}@/{database}?host={host}&options={options}"

    @contextmanager
    def connected(self, schema="public", **options):
        with psycopg.connect(self.address(schema, **options), autocommit=True) as db:
            yield db

    def sql(self, schema, query, *values):
        """Return the rows that a statement gives to the superuser, in a schema."""
        with self.connected(schema) as db:
            cursor = db.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []


class Cable:
    """A way to the server that can be cut: it counts what clients send, and calls `sent` with it.

    sent  called with each message and its number, counted over all clients, before it is passed on;
          what it returns is done: "cut" before the message arrives, "late" when the answer is there
          but not passed on, None goes on. A cut cable is whole again for the next connection.
    """

    def __init__(self, server, sent=lambda number, said: None):
        self.folder = Path(tempfile.mkdtemp(prefix="jitrl-cable-"))
        self.sent = sent
        self.count = 0
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._wake, self._woken = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._wake.close()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._woken.close()
        shutil.rmtree(self.folder)

    def _accept(self):
        while self._listener in select.select([self._listener, self._woken], [], [])[0]:
            client = self._listener.accept()[0]
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        with client, server, suppress(ConnectionError):
            server.connect(str(self._server.folder / ".s.PGSQL.5432"))
            self._pass_on(client, server)

    def _pass_on(self, client, server):
        late = False
        while True:
            ready = select.select([client, server, self._woken], [], [])[0]
            if self._woken in ready:
                return
            end, other = (client, server) if client in ready else (server, client)
            said = end.recv(1 << 20)
            if not said or (late and end is server):
                return
            if end is client:
                self.count += 1
                what = self.sent(self.count, said)
                if what == "cut":
                    return
                late = what == "late"
            other.sendall(said)


def _programs():
    """Return the folder of the server's programs: those of pgserver, or else Debian's newest."""
    brought = find_spec("pgserver")
    if brought is not None:
        return Path(brought.submodule_search_locations[0]) / "pginstall" / "bin"
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parts[-2]))


def _reachable(path):
    """Let other users in as far as a folder."""
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o1:
            folder.chmod(folder.stat().st_mode | 0o1)


BIN = _programs()
