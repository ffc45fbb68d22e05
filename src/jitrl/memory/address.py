"""Addresses of memories on a PostgreSQL server, without the driver: what may be shown of them."""

from __future__ import annotations

import os
import re
from typing import TypeGuard
from urllib.parse import unquote

from jitrl.errors import MemoryUnavailable

_HOST = r"(?:\[[^]@/?#\s]*\]|[^]\[:,@/?#\s]*)(?::\d*)?"
_URL = re.compile(  # no part may hold what ends it: what is shown of it never holds a password
    r"(?P<start>postgres(?:ql)?://)"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^:@/?#\s]*))?@)?"
    rf"(?P<place>{_HOST}(?:,{_HOST})*(?:/[^:@/?#\s]*)?)(?:\?(?P<parameters>[^@?#\s]*))?"
)
_SECRETS = ("password", "sslpassword")


def remote(address: object) -> TypeGuard[str]:
    """Return whether this is the address of a server rather than a path."""
    return isinstance(address, str) and re.match(r"(?i)postgres(ql)?:", address) is not None


def shown(address: str | os.PathLike[str]) -> str:
    """Return an address without the passwords in it; raises MemoryUnavailable for a bad URL.

    >>> shown("postgresql://ann:secret@db.example/zork?sslmode=require&sslpassword=secret")
    'postgresql://ann@db.example/zork?sslmode=require'
    """
    if not remote(address):
        return os.fspath(address)
    found = _parts(address)
    user = "" if found["user"] is None else f"{found['user']}@"
    kept = [given for given in _parameters(found) if not _secret(given)]
    return f"{found['start']}{user}{found['place']}" + (f"?{'&'.join(kept)}" if kept else "")


def holds_password(address: str) -> bool:
    """Return whether a password stands in an address; raises MemoryUnavailable for a bad URL.

    >>> holds_password("postgresql://ann:secret@/zork"), holds_password("postgresql://ann@/zork")
    (True, False)
    """
    found = _parts(address)
    return bool(found["password"]) or any(map(_secret, _parameters(found)))


def _parts(address: str) -> re.Match[str]:
    found = _URL.fullmatch(address)
    if found is None:  # nobody knows where the password is in it, so it is not quoted
        raise MemoryUnavailable(
            "the memory's address is no URL of PostgreSQL: write postgresql://user@host/database, "
            "and %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # within a part"
        )
    return found


def _parameters(found: re.Match[str]) -> list[str]:
    return [given for given in (found["parameters"] or "").split("&") if given]


def _secret(parameter: str) -> bool:
    return unquote(parameter.partition("=")[0]) in _SECRETS
