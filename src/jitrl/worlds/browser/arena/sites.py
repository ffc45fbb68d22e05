"""Where WebArena's sites are, and who logs in there: from options, variables, a file, or defaults.

    address   option `sites`, else $WA_SHOPPING, $WA_SHOPPING_ADMIN, $WA_REDDIT ...
    account   option `accounts`, else $WA_SHOPPING_USERNAME and $WA_SHOPPING_PASSWORD ..., else a
              TOML file (option `accounts_file`, else $WA_ACCOUNTS), else WebArena's public ones

An account is never written anywhere, and its password is not shown when it is printed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from jitrl.checks import text, texts
from jitrl.errors import InvalidValue, WorldError

__all__ = ["ACCOUNTS", "SITES", "Account", "accounts", "addresses", "placeholder", "variable"]

SITES = ("shopping", "shopping_admin", "reddit", "gitlab", "wikipedia", "map", "homepage")
"""WebArena's sites, by their labels in its task file; the homepage only links to the others."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs in at a site."""

    username: str
    password: str = field(repr=False)


# Published by WebArena with its images. The last one is the shop's own administrator, whom its
# evaluator asks about orders and reviews; nobody logs in with it through a page.
ACCOUNTS: Mapping[str, Account] = MappingProxyType(
    {
        "shopping": Account("emma.lopez@gmail.com", "Password.123"),
        "shopping_admin": Account("admin", "admin1234"),
        "reddit": Account("MarvelsGrantMan136", "test1234"),
        "gitlab": Account("byteblaze", "hello1234"),
        "shopping_site_admin": Account("admin", "admin1234"),
    }
)


_PORTS = {"http": 80, "https": 443}


def variable(site: str) -> str:
    """Return the environment variable that holds a site's address: "WA_SHOPPING"."""
    return f"WA_{site.upper()}"


def placeholder(site: str) -> str:
    """Return what stands for a site's address in a task file: "__SHOPPING__"."""
    return f"__{site.upper()}__"


def addresses(
    needed: Iterable[str],
    known: Iterable[str] = SITES,
    given: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
    without: Callable[[Sequence[str]], str] = lambda lacking: "",
) -> dict[str, str]:
    """Return label -> address, without a slash at its end, of the known sites that have one.

    Host names are in small letters and usual ports left out, as a browser shows them.

    without  says how to do without the sites that lack one

    Raises WorldError where a needed site has none, InvalidValue for what is no address.
    """
    wanted, labels = list(dict.fromkeys(needed)), list(known)
    chosen = texts("sites", given or {})
    for label in chosen:
        if label not in labels:
            raise InvalidValue("sites", label, f"must name one of: {', '.join(labels)}")
    found: dict[str, str] = {}
    for label in labels:
        address = chosen.get(label) or environment.get(variable(label), "")
        if address:
            found[label] = _address(label, address)
    lacking = [label for label in wanted if label not in found]
    if lacking:
        names = [variable(label) for label in lacking]
        raise WorldError(
            f"no address for {', '.join(lacking)}: set {', '.join(names)}, for instance "
            f"{names[0]}=http://127.0.0.1:7770{without(lacking)}"
        )
    return found


def accounts(
    given: Mapping[str, Mapping[str, str]] | None = None,
    file: str | Path | None = None,
    environment: Mapping[str, str] = os.environ,
    defaults: Mapping[str, Account] = ACCOUNTS,
) -> dict[str, Account]:
    """Return label -> account. `given` and the file hold `username` and `password` of each label.

    What is given wins over variables, they over the file, it over the defaults; name by name, so
    that one may set a password only. Raises InvalidValue for what is no account, WorldError for a
    file that cannot be read.
    """
    path = file or environment.get("WA_ACCOUNTS") or None
    written = _read(Path(path)) if path is not None else {}
    chosen = {label: _parts(label, parts) for label, parts in (given or {}).items()}
    found: dict[str, Account] = {}
    for label in dict.fromkeys((*defaults, *written, *chosen)):
        default = defaults.get(label)
        parts = {"username": default.username, "password": default.password} if default else {}
        parts |= written.get(label, {})
        for part in ("username", "password"):
            if value := environment.get(f"{variable(label)}_{part.upper()}"):
                parts[part] = value
        parts |= chosen.get(label, {})
        if len(parts) < 2:
            raise InvalidValue("account", label, "must have a username and a password")
        found[label] = Account(**parts)
    return found


def _address(label: str, address: str) -> str:
    """Return an address as a browser shows it, which rules about URLs are compared with."""
    try:
        parts = urlsplit(address.strip())
        port, usable = parts.port, parts.scheme in _PORTS and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        rule = "must be an address such as http://127.0.0.1:7770"
        raise InvalidValue(variable(label), address, rule)
    host = parts.netloc.lower()
    if port == _PORTS[parts.scheme]:
        host = host.removesuffix(f":{port}")
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise WorldError(f"accounts cannot be read from {str(path)!r}: {why}") from error
    return {label: _parts(label, parts) for label, parts in content.items()}


def _parts(label: str, parts: object) -> dict[str, str]:
    if not isinstance(parts, Mapping) or not set(parts) <= {"username", "password"}:
        # The value is not shown: it may hold a password.
        raise InvalidValue("account", label, "must be given as username and password")
    return {part: text(f"{part} of {label}", value) for part, value in parts.items()}
