"""A real PostgreSQL server for the tests: started once for each worker, a schema for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
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
        self.user = None
        if os.geteuid() == 0:  # it refuses to run as root
            self.user = _unprivileged()
            shutil.chown(self.folder, self.user)
            self.folder.chmod(0o755)
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
                user=self.user,
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

    def address(self, schema="public", user=SUPERUSER, password="", folder=None, database=SUPERUSER):
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


def _programs():
    """Return the folder of the server's programs: those of pgserver, or else Debian's newest."""
    brought = find_spec("pgserver")
    if brought is not None:
        return Path(brought.submodule_search_locations[0]) / "pginstall" / "bin"
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parts[-2]))


def _unprivileged():
    """Return a user that the server can run as, who may read its programs."""
    for folder in BIN.parents:
        folder.chmod(folder.stat().st_mode | 0o1)
    return "nobody"


BIN = _programs()
