"""One site as a process: `python -m jitrl.worlds.pocket.server SITE FOLDER PORT`.

It fills its data, says `ready PORT` on standard output, and serves on loopback until its standard
input ends or whoever started it is gone: a server never outlives its parent, and FOLDER is removed
then. Port 0 means any.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from jitrl.errors import JitrlError, UnknownName, WorldError

__all__ = ["DATA", "FIRST", "SESSIONS", "SITES", "Site", "main"]

ROOM = "jitrl.worlds.pocket.sites"
DATA, FIRST, SESSIONS = "data.db", "first.db", "sessions"
HOST = "127.0.0.1"
PAGES = Path(__file__).parent / "sites"


@dataclass(frozen=True, slots=True)
class Site:
    """What makes a site.

    app    its Django application, a module of this room
    urls   its addresses, a module of the application
    data   the folder of its data; two sites may share one
    fills  it fills that folder when it starts
    """

    app: str
    urls: str
    data: str
    fills: bool = True


SITES = {
    "shopping": Site("shop", "urls", "shop"),
    "shopping_admin": Site("shop", "back", "shop", fills=False),
    "wikipedia": Site("wiki", "urls", "wiki"),
    "gitlab": Site("forge", "urls", "forge"),
}
"""WebArena's label of a site -> what serves it here."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request; no name is ever looked up."""

    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass  # Django reports what went wrong


def configure(name: str, folder: Path, port: int) -> None:
    """Set Django up for one site. Cookies are named by port: browsers share them between ports."""
    import django
    from django.conf import settings

    site = SITES[name]

    settings.configure(
        SECRET_KEY="nothing is secret in the pocket web",
        ALLOWED_HOSTS=[HOST, "localhost"],
        ROOT_URLCONF=f"{ROOM}.{site.app}.{site.urls}",
        INSTALLED_APPS=[
            f"{ROOM}.{site.app}",
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
        ],
        MIGRATION_MODULES=dict.fromkeys(("admin", "auth", "contenttypes", "sessions")),
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / site.data / DATA,
                "OPTIONS": {
                    "timeout": 20,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA synchronous=OFF",
                },
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [PAGES / "templates"],
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                        f"{ROOM}.{site.app}.views.context",
                    ]
                },
            }
        ],
        STATIC_URL="/static/",
        STATICFILES_DIRS=[PAGES / "static"],
        SESSION_ENGINE="django.contrib.sessions.backends.file",
        SESSION_FILE_PATH=str(folder / SESSIONS / name),
        SESSION_COOKIE_NAME=f"session{port}",
        CSRF_COOKIE_NAME=f"csrf{port}",
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        USE_TZ=False,
        USE_THOUSAND_SEPARATOR=False,
    )
    django.setup()


def _fill(site: Site, folder: Path) -> None:
    """Make the tables, write the content, and keep a copy for `Pocket.reset`."""
    from django.core.management import call_command
    from django.db import connection, transaction

    call_command("migrate", run_syncdb=True, verbosity=0)
    fill: Callable[[Path], None] = import_module(f"{ROOM}.{site.app}.fill").fill
    with transaction.atomic():
        fill(folder / site.data)
    connection.close()
    (folder / site.data / FIRST).write_bytes((folder / site.data / DATA).read_bytes())


def _application(site: Site, folder: Path) -> Any:
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.handlers.wsgi import WSGIHandler

    pages = StaticFilesHandler(WSGIHandler())
    if site.app == "forge":
        return import_module(f"{ROOM}.forge.application").beside(pages, folder / site.data)
    return pages


def _end_with_parent(folder: Path) -> None:
    """End when the parent is gone, and leave no data: the last site that ends removes all."""
    parent = os.getppid()
    while os.getppid() == parent:
        ready, _, _ = select.select([sys.stdin], [], [], 1.0)
        if ready and not os.read(sys.stdin.fileno(), 1024):
            break
    rmtree(folder, ignore_errors=True)
    os._exit(0)


def main(name: str, where: str, port: str = "0") -> None:
    """Serve one site until the parent is gone.

    Raises UnknownName for a site that is not there, WorldError for a port that is taken.
    """
    if name not in SITES:
        raise UnknownName("site", name, sorted(SITES))
    site, folder = SITES[name], Path(where)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    for made in (folder / site.data, folder / SESSIONS / name):
        made.mkdir(parents=True, exist_ok=True)
    try:
        server = _Server((HOST, int(port)), _Handler)
    except OSError as error:
        raise WorldError(
            f"port {port} cannot be had ({error.strerror}): name another first port, or none"
        ) from error
    configure(name, folder, server.server_port)
    if site.fills:
        _fill(site, folder)
    server.set_app(_application(site, folder))
    sys.stdout.write(f"ready {server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except JitrlError as failure:
        sys.exit(str(failure))
