"""Somebody who visits a web site without a browser: keeps cookies, fills in forms."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

PATIENCE = 30
Form = Mapping[str, str] | Sequence[tuple[str, str]]
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Visitor:
    """Visits one site or, as browsers do, several on one host with one set of cookies."""

    def __init__(self, address: str, cookies: CookieJar | None = None) -> None:
        self.address = address
        self.url = address
        self.status = 0
        self.cookies = CookieJar() if cookies is None else cookies
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self.cookies))

    def get(self, path: str, form: Form | None = None) -> str:
        """Return the text of a page; `url` and `status` say what answered."""
        data = None if form is None else urlencode(form).encode()
        try:
            with self._opener.open(self.address + path, data, PATIENCE) as answer:
                self.url, self.status = answer.url, answer.status
                return str(answer.read().decode(errors="replace"))
        except HTTPError as error:
            self.url, self.status = error.url, error.code
            return error.read().decode(errors="replace")

    def submit(self, page: str, action: str, **fields: str) -> str:
        """Open a page, then send its form to `action`; return what came back."""
        token = _TOKEN.search(self.get(page))
        assert token is not None, f"no form on {page}"
        return self.get(action, {"csrfmiddlewaretoken": token[1], **fields})


def connected(address: str) -> socket.socket:
    """Return a connection to a server: reading from it ends when the server does."""
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port), PATIENCE)


def ended(connection: socket.socket) -> bool:
    """Wait until the other side is gone; raise TimeoutError if it stays."""
    with connection:
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True
