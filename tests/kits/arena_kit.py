"""Sites on loopback for tests of WebArena's tasks: pages, a login, and a record of what was asked.

Each stands on a port of its own. A site's login looks as `jitrl.worlds.browser.arena.LOGINS` says,
so what is tested is our way through it; the applications themselves are not WebArena's.
"""

from __future__ import annotations

import html
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from jitrl.worlds.browser.arena.logins import LOGINS, Login
from jitrl.worlds.browser.arena.sites import ACCOUNTS, Account

FORM = """<form method=post action="{action}">
<label>{username} <input name=username></label>
<label>{password} <input name=password type=password></label>
<button>{button}</button></form>"""


class Stand:
    """A running site.

    pages     path -> HTML, for everybody; what is posted elsewhere is redirected
    json      path -> what it answers as JSON
    cookies   path -> the cookie that an answer to a post there sets
    asked     (method, path with query, body) of every request, in order
    sessions  what the cookies of users hold; clear it, and every login has expired
    single    a login puts an end to those before it
    gate      where all of so many first requests for the page of users wait for each other
    sent      set when somebody has sent the form
    answers   while it is not set, the form has no answer
    """

    def __init__(self, label: str, cookie: str = "") -> None:
        self.label = label
        self.cookie = cookie or f"session_{label}"
        self.login: Login | None = LOGINS.get(label)
        self.account = ACCOUNTS.get(label, Account("", ""))
        self.pages = {"/": f"<title>{label}</title><h1>Welcome to {label}</h1>"}
        self.json: dict[str, object] = {}
        self.cookies: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.sessions: set[str] = set()
        self.logged_in = 0
        self.single = False
        self.gate: threading.Barrier | None = None
        self.sent, self.answers = threading.Event(), threading.Event()
        self.answers.set()
        stand = self

        class Handler(_Handler):
            site = stand

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.base = "/admin" if label == "shopping_admin" else ""
        self.address = f"http://{self.host}{self.base}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def gather(self, parties: int) -> None:
        """Let nobody see whether he is logged in before so many want to know."""
        self.gate = threading.Barrier(parties, lambda: setattr(self, "gate", None))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def visited(self) -> list[str]:
        """Paths of the pages that were opened, in order."""
        return [path for method, path, _ in self.asked if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    site: Stand
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())

    def _answer(self, body: str) -> None:
        site = self.site
        path = urlsplit(self.path).path.removeprefix(site.base) or "/"
        site.asked.append((self.command, self.path, body))
        if site.login and self.command == "POST" and path == "/sent":
            self._log_in({name: values[0] for name, values in parse_qs(body).items()})
        elif site.login and path == self._inside():
            self._show_inside()
        elif site.login and path == (site.login.form or "/"):
            self._send(self._form())
        elif path in site.json:
            self._send(json.dumps(site.json[path]), kind="application/json")
        elif path in site.pages:
            self._send(site.pages[path])
        elif self.command == "POST":
            self._redirect(site.base + path + "/done", site.cookies.get(path, ""))
        else:
            self._send(f"<h1>Nothing at {html.escape(path)}</h1>", 404)

    def _inside(self) -> str:
        assert self.site.login is not None
        return self.site.login.inside.format(username=self.site.account.username)

    def _form(self) -> str:
        login = self.site.login
        assert login is not None
        return FORM.format(
            action=self.site.base + "/sent",
            username=login.username,
            password=login.password,
            button=login.button,
        )

    def _log_in(self, fields: dict[str, str]) -> None:
        account = self.site.account
        self.site.sent.set()
        assert self.site.answers.wait(60)
        if (fields["username"], fields["password"]) != (account.username, account.password):
            self._send("<p>Wrong name or password</p>" + self._form())
            return
        token = secrets.token_hex(8)
        if self.site.single:
            self.site.sessions.clear()
        self.site.sessions.add(token)
        self.site.logged_in += 1
        self._redirect(self.site.base + "/", f"{self.site.cookie}={token}; Path=/")

    def _show_inside(self) -> None:
        login = self.site.login
        assert login is not None
        if (gate := self.site.gate) is not None:
            gate.wait(60)
        cookies = SimpleCookie(self.headers.get("Cookie", ""))
        held = cookies[self.site.cookie].value if self.site.cookie in cookies else ""
        if held in self.site.sessions:
            self._send(f"<h1>{login.shows or 'Yours'}</h1>")
        elif login.shows:
            self._send(self._form())  # as Magento's admin: no redirect
        else:
            self._redirect(self.site.base + login.form)

    def _redirect(self, to: str, cookie: str = "") -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()

    def _send(self, content: str, status: int = 200, kind: str = "text/html") -> None:
        encoded = content.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)


@contextmanager
def stands(*labels: str) -> Iterator[dict[str, Stand]]:
    """Run a site for each label."""
    with ExitStack() as stack:
        running = {}
        for label in labels:
            running[label] = Stand(label)
            stack.callback(running[label].close)
        yield running


def task(number: int, **changes: object) -> dict[str, object]:
    """A task in WebArena's format; what is not given is as simple as it can be."""
    rules = {
        "eval_types": ["string_match"],
        "reference_answers": {"exact_match": "42"},
        "reference_url": "",
        "program_html": [],
        **changes.pop("eval", {}),  # type: ignore[dict-item]
    }
    return {
        "sites": ["reddit"],
        "task_id": number,
        "require_login": False,
        "start_url": "__REDDIT__",
        "geolocation": None,
        "intent": f"Task {number}",
        "intent_template_id": 7,
        "eval": rules,
        **changes,
    }


def page_content(*targets: tuple[str, str, object]) -> dict[str, object]:
    """Rules that judge page content: (url, locator, what the content must include) each."""
    return {
        "eval_types": ["program_html"],
        "reference_answers": None,
        "program_html": [
            {
                "url": url,
                "locator": locator,
                "required_contents": wanted
                if isinstance(wanted, dict)
                else {"must_include": [wanted]},
            }
            for url, locator, wanted in targets
        ],
    }


def written(folder: Path, *tasks: dict[str, object]) -> Path:
    """The path of a task file with these tasks."""
    path = folder / "tasks.json"
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return path
