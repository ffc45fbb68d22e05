"""Who signs in at the pocket web: the accounts that WebArena's sites have, so that what logs in
there logs in here as well. They guard nothing: every server listens on loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jitrl.worlds.browser.arena import sites
from jitrl.worlds.browser.arena.sites import Account

__all__ = ["ACCOUNTS", "FORMS", "SALT"]

SALT = "the same on every machine"
"""Long enough for Django, which would store a password anew at the first login otherwise: a reset
would then end the session."""

_THEIRS = ("shopping", "shopping_admin", "gitlab", "shopping_site_admin")
ACCOUNTS: Mapping[str, Account] = MappingProxyType(
    {label: sites.ACCOUNTS[label] for label in _THEIRS}
    | {"wikipedia": Account("Robin", "heron-heron")}
)
"""Label of a site -> the account that visitors use there; the site admin is the admin as WebArena's
evaluators call him when they ask the shop about orders.
"""

FORMS: Mapping[str, str] = MappingProxyType(
    {
        "shopping": "/customer/account/login/",
        "shopping_admin": "/login/",
        "wikipedia": "/login/",
        "gitlab": "/users/sign_in",
    }
)
"""Label of a site -> path of the page where one signs in."""
