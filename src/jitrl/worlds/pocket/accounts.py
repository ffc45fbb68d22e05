"""The accounts of the pocket web: those that WebArena's sites have, so that what logs in there
logs in here as well. They guard nothing: every server listens on loopback only.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCOUNTS", "SALT", "Account"]

SALT = "the same on every machine"
"""Long enough for Django, which would store a password anew at the first login otherwise: a reset
would then end the session."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who signs in; `page` is the path of the page that asks for it."""

    username: str
    password: str
    page: str


ACCOUNTS = {
    "shopping": Account("emma.lopez@gmail.com", "Password.123", "/customer/account/login/"),
    "shopping_admin": Account("admin", "admin1234", "/login/"),
    "wikipedia": Account("Robin", "heron-heron", "/login/"),
    "gitlab": Account("byteblaze", "hello1234", "/users/sign_in"),
    "shopping_site_admin": Account("admin", "admin1234", "/login/"),
}
"""Label of a site -> the account that visitors use there; the last is the admin as WebArena's
evaluators call him when they ask the shop about orders.
"""
