"""A small web site on loopback with everything that can go wrong on a page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from jitrl.records import Observation
from jitrl.worlds import make
from jitrl.worlds.browser.world import BrowserWorld

GOAL = 'Find the price of "Blue Mug" and type "Ann" as the name.'
_PAGE = "<!doctype html><html lang=en><title>{title}</title><main>{body}</main></html>"

PAGES = {
    "/": (
        "Start",
        """
        <h1>Start</h1>
        <nav aria-label="Places"><a href="/shop">Shop</a> <a href="/item/12?colour=red">Item</a>
        <a href="/tab" target="_blank">In a new tab</a> <a href="/file">Download</a>
        <a href="http://localhost:{port}/elsewhere">Leave</a></nav>
        <button onclick="while (true) {{}}">Hang</button>
        <button onclick="alert('Look out: &quot;x&quot;')">Alert</button>
        <button onclick="document.title = confirm('Sure?') ? 'yes' : 'no'">Confirm</button>
        <button onclick="document.title = prompt('Who?', 'Ann') ?? 'nobody'">Prompt</button>
        <button onclick="fetch('/never')">Nothing</button>
        <button onclick="document.getElementById('out').textContent = 'Changed'">Change</button>
        <button onclick="window.open('/tab')">Open</button>
        <button disabled>Off</button>
        <p id=out>Unchanged</p>
        <label>Name <input id=name></label>
        <dl><dt>Price</dt><dd>$12.50</dd></dl>""",
    ),
    "/stuck": ("Stuck", "<script>while (true) {{}}</script>"),
    "/shop": ("Shop", "<h1>Shop</h1><a href='/'>Back home</a>"),
    "/tab": ("Tab", "<h1>Another tab</h1>"),
    "/elsewhere": ("Elsewhere", "<h1>Another host</h1>"),
    "/front": (
        "Front",
        """<button onclick="document.title = 'went'">Go</button>
        <a target=_blank href="/pushy">Open</a>
        <button onclick="for (let i = 0; i < 30; i++) open('/tab')">Open thirty</button>
        <button onclick="setTimeout(() => {{ const it = open('/tab');
            setTimeout(() => it.close(), 60) }}, 60)">Open and close</button>""",
    ),
    "/pushy": (
        "Pushy",
        """<button onclick="document.title = 'bought'">Buy</button> <a>There</a>
        <script>setInterval(() => dispatchEvent(new Event("focus")), 20)</script>""",
    ),
    "/windows": (
        "Windows",
        """<button onclick="document.title = 'went'">Go</button><script>setInterval(() => {{
            const it = open("/tab");
            setTimeout(() => it.close(), 100);
        }}, 150)</script>""",
    ),
    "/untitled": ("", "<button onclick=\"document.title = 'went'\">Go</button>"),
    "/marked": (
        "Marked",
        """<button bid="12" onclick="document.title = 'one'">One</button>
        <button bid="12">Two</button> <button bid='a") or ("'>Three</button>""",
    ),
    "/restless": (
        "Restless",
        """<button onclick="document.title = 'went'">Go</button><script>setInterval(() => {{
            document.querySelectorAll("iframe").forEach(frame => frame.remove());
            const frame = document.createElement("iframe");
            frame.src = "/tab?" + Math.random();
            document.body.append(frame);
        }}, 250)</script>""",
    ),
    "/long": (
        "Long",
        """<button onclick="history.pushState({{}}, '', '/long/' + 'word-'.repeat(9999))">
        Go</button>""",
    ),
    "/many": (
        "Many",
        """<div id=all></div><script>
        all.innerHTML = Array.from({{length: 3000}}, (_, i) => `<button>b${{i}}</button>`).join("")
        </script>""",
    ),
    "/unsaved": (
        "Unsaved",
        """<button onclick="document.title = 'edited'">Edit</button> <a href="/shop">Shop</a>
        <script>addEventListener("beforeunload", event => event.preventDefault())</script>""",
    ),
    "/upload": ("Upload", "<input type=file aria-label=File>"),
    "/mugs": (
        "Mugs",
        """<table><tr><th>Red Mug</th><td><a href="/item/1">Edit</a></td></tr>
        <tr><th>Blue Mug</th><td><a href="/item/2">Edit</a></td></tr></table>""",
    ),
    "/mugs/turned": (
        "Mugs",
        """<table><tr><th>Blue Mug</th><td><a href="/item/2">Edit</a></td></tr>
        <tr><th>Green Mug</th><td><a href="/item/3">Edit</a></td></tr></table>""",
    ),
    "/late": (
        "Late",
        """<a href="/slow">Slow</a> <a href="/slow?half">In halves</a>
        <form action="/slow"><input name=word aria-label=Word></form>""",
    ),
    "/slow": ("Slow", "<h1>Here at last</h1>"),
}
LATE = 1.5
"""Seconds that /slow takes: before it answers or, with ?half, between its halves."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.visited.append(self.path)  # type: ignore[attr-defined]
        if path == "/file":
            self._send(b"some bytes", "application/octet-stream", 'attachment; filename="a b.bin"')
        elif path in PAGES or path.startswith("/item/"):
            title, body = PAGES.get(path, ("Item", "<h1>Item</h1>"))
            port = self.server.server_address[1]
            text = _PAGE.format(title=title, body=body.format(port=port))
            self._send(text.encode(), "text/html; charset=utf-8", late=path == "/slow")
        else:
            self.send_error(404)

    def _send(
        self, content: bytes, kind: str, disposition: str = "", *, late: bool = False
    ) -> None:
        half = len(content) // 2 if self.path.endswith("?half") else 0
        if late and not half:
            threading.Event().wait(LATE)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if disposition:
            self.send_header("Content-Disposition", disposition)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):  # a page may be gone by now
            self.wfile.write(content[:half])
            self.wfile.flush()
            if late and half:
                threading.Event().wait(LATE)
            self.wfile.write(content[half:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def site(port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """Yield a server on 127.0.0.1; `visited` lists the paths that were asked for.

    port  0: any that is free
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.visited = []  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def address(server: ThreadingHTTPServer) -> str:
    """Return the address of a site."""
    return f"http://127.0.0.1:{server.server_address[1]}"


def open_world(server: ThreadingHTTPServer, path: str = "/", **options: object) -> BrowserWorld:
    """Open a page of it as a world."""
    opened = make(f"web:{address(server)}{path}", goal=GOAL, **options)
    assert isinstance(opened, BrowserWorld)
    return opened


def ended(shown: Observation) -> bool:
    """Say whether an attempt is over, without success."""
    return (shown.terminated or shown.truncated) and not shown.actions and shown.score == 0.0
