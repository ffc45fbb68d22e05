"""Logging in through a site's page, once: what the browser then holds is kept for later attempts.

A site shows whether it worked: there is a page that only a user sees. It is asked for before each
attempt, without opening it, so that a login that has expired is noticed and made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jitrl.errors import WorldError
from jitrl.worlds.browser.arena.sites import Account, variable

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

__all__ = ["LOGINS", "Login", "Logins", "inside", "log_in"]


@dataclass(frozen=True, slots=True)
class Login:
    """How a user logs in at a site, and where one sees that it worked.

    form                path of the page with the form
    username, password  labels of its fields, as a reader of the screen hears them
    button              name of the button that sends it
    inside              path of a page that only a user sees; {username} is put in
    shows               a text on it that nobody else sees; "" where others are sent elsewhere
    exact               the labels are these and no more: no "Email address" for "Email"
    """

    form: str
    username: str
    password: str
    button: str
    inside: str
    shows: str = ""
    exact: bool = False


# Facts about WebArena's images: Magento, its admin, Postmill, GitLab.
LOGINS: Mapping[str, Login] = MappingProxyType(
    {
        "shopping": Login(
            "/customer/account/login/", "Email", "Password", "Sign In", "/wishlist/", exact=True
        ),
        "shopping_admin": Login("", "Username", "Password", "Sign in", "/dashboard", "Dashboard"),
        "reddit": Login(
            "/login", "Username", "Password", "Log in", "/user/{username}/account", "Delete"
        ),
        "gitlab": Login("/users/sign_in", "Username or email", "Password", "Sign in", "/-/profile"),
    }
)


def inside(context: BrowserContext, address: str, login: Login, account: Account) -> bool:
    """Say whether what a browser context holds is logged in at a site.

    Raises WorldError where the site does not answer.
    """
    wanted = address + login.inside.format(username=account.username)
    try:
        response = context.request.get(wanted)
        there, shown = response.url, response.text()
    except Exception as error:
        why = str(error).strip().splitlines()[0]
        raise WorldError(f"{wanted} does not answer: {why}") from error
    if login.shows:
        return bool(response.ok and login.shows in shown)
    return bool(response.ok and _place(there) == _place(wanted))


def log_in(
    context: BrowserContext,
    site: str,
    address: str,
    login: Login,
    account: Account,
    patience: float = 10.0,
) -> None:
    """Log in through the site's page, in a tab of its own.

    patience  seconds to wait until the site knows the user
    Raises WorldError, with site and user, where it does not work.
    """
    failed = f"no login at {site} ({address}) as {account.username!r}"
    names = f"{variable(site)}_USERNAME and {variable(site)}_PASSWORD"
    page = context.new_page()
    try:
        page.goto(address + login.form)
        page.get_by_label(login.username, exact=login.exact).fill(account.username)
        page.get_by_label(login.password, exact=login.exact).fill(account.password)
        page.get_by_role("button", name=login.button).click()
        page.wait_for_load_state()
        sent = time.monotonic()
        while not inside(context, address, login, account):
            again = page.locator("input[type=password]:visible").count()  # the form, once more
            if time.monotonic() - sent > (patience / 5 if again else patience):
                raise WorldError(f"{failed}: the site refuses it; check {names}")
            page.wait_for_timeout(250)
    except WorldError:
        raise
    except Exception as error:
        why = str(error).strip().splitlines()[0]
        raise WorldError(f"{failed}: its form cannot be used: {why}") from error
    finally:
        page.close()


class Logins:
    """Logins of a benchmark's sites, and the folder where what browsers hold is kept.

    A file there holds cookies of users: nobody but its owner may read it. Any number of processes
    may share the folder: one of them logs in at a site, the others wait, and use that login too.

    patience  seconds to wait until a site knows the user who has logged in
    """

    def __init__(
        self,
        folder: Path,
        addresses: Mapping[str, str],
        accounts: Mapping[str, Account],
        logins: Mapping[str, Login] = LOGINS,
        patience: float = 10.0,
    ) -> None:
        self._folder = folder
        self._addresses = addresses
        self._accounts = accounts
        self._logins = logins
        self._patience = patience

    def sites(self, sites: Iterable[str]) -> tuple[str, ...]:
        """Return those of some sites where one logs in."""
        return tuple(sorted({s for s in sites if s in self._logins and s in self._addresses}))

    def state(self, sites: Iterable[str]) -> dict[str, Any] | None:
        """Return what a browser held after logging in at these sites, None if nothing is kept."""
        try:
            kept = json.loads(self.path(sites).read_bytes())
        except (FileNotFoundError, ValueError):
            return None  # never written, or damaged: it is made again
        return kept if isinstance(kept, dict) else None

    def ensure(self, context: BrowserContext, sites: Iterable[str]) -> tuple[str, ...]:
        """Log in where a context is not logged in yet, and keep what it holds then.

        Returns the sites where that was needed. Raises WorldError where it does not work.
        """
        wanted = self.sites(sites)
        if not self._missing(context, wanted):
            return ()
        with self._alone(wanted):
            for site in self._missing(context, wanted):
                self._adopt(context, site)
            missing = self._missing(context, wanted)
            for site in missing:
                log_in(context, site, *self._at(site), self._patience)
            # One login may have put an end to another: sites on one host share their cookies.
            for site in self._missing(context, wanted) if missing else ():
                raise WorldError(
                    f"the login at {site} is lost when logging in at {', '.join(missing)}: "
                    "give each site a host name of its own"
                )
            for kept in {wanted, *((site,) for site in missing)}:
                self._keep(context, kept)
        return missing

    def path(self, sites: Iterable[str]) -> Path:
        """Return the file that keeps the logins of some sites."""
        wanted = self.sites(sites)
        parts = [(s, self._addresses[s], self._accounts[s].username) for s in wanted]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        return self._folder / f"{'.'.join(wanted)}-{digest}.json"

    def _at(self, site: str) -> tuple[str, Login, Account]:
        if site not in self._accounts:
            raise WorldError(f"no account at {site}: set {variable(site)}_USERNAME and _PASSWORD")
        return self._addresses[site], self._logins[site], self._accounts[site]

    def _missing(self, context: BrowserContext, sites: Iterable[str]) -> tuple[str, ...]:
        return tuple(site for site in sites if not inside(context, *self._at(site)))

    def _adopt(self, context: BrowserContext, site: str) -> None:
        """Give a context the cookies of the last login at a site, whoever made it."""
        host = urlsplit(self._addresses[site]).hostname or ""
        kept = (self.state([site]) or {}).get("cookies", [])
        context.add_cookies([cookie for cookie in kept if _reaches(cookie["domain"], host)])

    @contextmanager
    def _alone(self, sites: Iterable[str]) -> Iterator[None]:
        """Be the only process that logs in at some sites; the locks end with whoever holds them."""
        with ExitStack() as stack:
            for site in sites:  # in alphabetical order: nobody waits for somebody who waits
                with self._kept():
                    lock = os.open(
                        self.path([site]).with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600
                    )
                    stack.callback(os.close, lock)
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _keep(self, context: BrowserContext, sites: Iterable[str]) -> None:
        path = self.path(sites)
        with self._kept():
            # mkstemp's files are their owner's alone; the name changes when it is whole.
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".json")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(context.storage_state(), file)
            Path(name).replace(path)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Make the folder; say in one line why something cannot be kept there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            yield
        except OSError as error:
            why = error.strerror or error
            raise WorldError(f"logins cannot be kept in {str(self._folder)!r}: {why}") from error


def _reaches(domain: str, host: str) -> bool:
    """Say whether a cookie of a domain is sent to a host."""
    return f".{host}".endswith(f".{domain.lstrip('.')}")


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc, parts.path.rstrip("/")
