"""The accounts of the pocket web: those that WebArena's sites have, so that what logs in there
logs in here as well. They guard nothing: every server listens on loopback only.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCOUNTS", "Account"]


@dataclass(frozen=True, slots=True)
class Account:
    """A name and a password; `page` is the path of the page that asks for them."""

    name: str
    password: str
    page: str


ACCOUNTS = {
    "shopping": Account("emma.lopez@gmail.com", "Password.123", "/customer/account/login/"),
    "shopping_admin": Account("admin", "admin1234", "/login/"),
    "wikipedia": Account("Robin", "heron-heron", "/login/"),
    "gitlab": Account("byteblaze", "hello1234", "/users/sign_in"),
}
"""Label of a site -> the account that visitors use there."""
