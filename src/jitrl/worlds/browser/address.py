"""Addresses without what tells one thing from another of its kind: ids, hashes, dates, titles.

http://127.0.0.1:7770/orders/000017/?page=2   ->   shopping/orders/<id>/?page
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from socket import inet_aton
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

__all__ = ["normalised", "on_site", "outside"]

_PORTS = {"http": "80", "https": "443"}

_LONGEST = 300  # characters
_POST = 4  # where the title of a forum's post stands in /f/FORUM/ID/TITLE

_UUID = re.compile(
    r"(?<![0-9a-f])[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE
)
_TIME = r"(?:[T ]\d{2}[:.]?\d{2}(?:[:.]?\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)"
_DATE = re.compile(
    rf"(?<!\d)(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}{_TIME}?|\d{{1,2}}[-.]\d{{1,2}}[-.]\d{{4}}"
    rf"|(?:19|20)\d{{6}}{_TIME}|(?:19|20)\d\d-(?:0[1-9]|1[0-2]))(?!\d)"
)
# Digits alone are a number, unless they are as many as those of SHA-1 or SHA-256. Letters alone
# are a hash from eight on, in one case: only one English word is so long ("fabaceae").
_HASHES = (
    r"(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}|[0-9a-f]{40}|[0-9a-f]{64}"
    r"|(?-i:[a-f]{8,64}|[A-F]{8,64})"
)
_HASH = re.compile(_HASHES, re.IGNORECASE)
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}\.?")
_LAST = r"(?=$|\.[a-z]{2,5}$)"  # the end, but for a file's ending
_ENDS_IN_NUMBER = re.compile(rf"(?:^|(?<=[-_~.=]))\d+{_LAST}")
_ENDS_IN_HASH = re.compile(rf"(?:^|(?<=[-_~.=]))(?:{_HASHES}){_LAST}", re.IGNORECASE)
_TITLED = re.compile(rf"^(?:\d+|<id>|(<date>))-(?=[^\W\d]).*?{_LAST}")  # 12-foo-bar
_TITLE = re.compile(r"[^-]+(?:-+[^-]+){2,}")  # three words or more


def normalised(url: str, sites: Mapping[str, str]) -> str:
    """Return an address with its site's label and placeholders; equal for pages of one kind.

    sites  label -> address; a page elsewhere is known by its host. Query parameters are kept by
           name, in alphabetical order; a fragment only where it is a route ("#/", "#!"). What
           goes beyond 300 characters is cut off.
    """
    return _whole(url, sites)[:_LONGEST]


def _whole(url: str, sites: Mapping[str, str]) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<invalid address>"
    site = on_site(url, sites)
    path = parts.path
    if site is not None:
        label, rest = site
        path = re.split("[?#]", rest, maxsplit=1)[0]
    elif parts.scheme == "file":
        label, path = "file", "/" + path.rpartition("/")[2]  # of this machine only the page
    elif not parts.netloc:
        return url.partition("?")[0][:80]  # about:blank, data: ...
    else:
        label = _host(parts)
    names = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
    query = f"?{'&'.join(names)}" if names else ""
    route = ""
    if parts.fragment.startswith(("/", "!")):
        route = "#" + _path(parts.fragment)
    return label + (_path(path) or ("" if parts.scheme == "file" else "/")) + query + route


def outside(urls: Iterable[str], sites: Mapping[str, str]) -> str | None:
    """Return the first address that is on no host of the sites, None where all are.

    The rule of WebArena's guard: a page without a host (about:blank, blob:, data:) is allowed, one
    that could not be opened is not.
    """
    hosts = {"", "newtab", *(_netloc(address) for address in sites.values())}
    return next((url for url in urls if _netloc(url) not in hosts), None)


def _netloc(url: str) -> str:
    """Return host and port of an address, "" where it has none."""
    try:
        return _host(urlsplit(url))
    except ValueError:
        return "<invalid address>"


def on_site(url: str, sites: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the label of the site that an address is on, and what follows the site's address."""
    plain = _plain(url)
    best: tuple[int, str] | None = None
    for label, address in sites.items():
        base = _plain(address).rstrip("/")
        begins = base and (plain == base or plain.startswith((base + "/", base + "?", base + "#")))
        if begins and (best is None or len(base) > best[0]):
            best = (len(base), label)
    return None if best is None else (best[1], plain[best[0] :])


def _plain(url: str) -> str:
    """Return an address as browsers write it: scheme and host small, no port that goes without
    saying, no name and password; "" for what is none.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    if not parts.netloc:
        return parts.geturl()
    return parts._replace(netloc=_host(parts)).geturl()


def _host(parts: SplitResult) -> str:
    """Return host and port as a browser writes them: 127.1:08000 is 127.0.0.1:8000."""
    host = parts.netloc.rpartition("@")[2].lower()
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    port = port.lstrip("0") if port.isdigit() else port
    standard = port in ("", _PORTS.get(parts.scheme))
    return _name(name) if standard else f"{_name(name)}:{port}"


def _name(host: str) -> str:
    """Return the name or number of a host as a browser writes it."""
    with suppress(ValueError, OSError):  # what is no host stays as it is
        if host.startswith("["):
            six = IPv6Address(host.strip("[]"))
            mapped = six.ipv4_mapped
            return f"[{six.compressed}]" if mapped is None else f"[{_mapped(mapped)}]"
        if _NUMERIC.fullmatch(host):
            return str(IPv4Address(inet_aton(host)))
        return host.encode("idna").decode() or host
    return host


def _mapped(four: IPv4Address) -> str:
    number = int(four)
    return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"


def _path(path: str) -> str:
    parts = [_segment(unquote(segment)) for segment in path.split("/")]
    told = ["<title>" if _is_title(parts, i) else part for i, part in enumerate(parts)]
    return "/".join(told)


def _is_title(parts: list[str], i: int) -> bool:
    """Say whether a part of a path is the title of the thing that the part before it names.

    Below a post of a forum (/f/FORUM/ID) that is any word, but for the "-" where there is none;
    elsewhere three words or more, since a page of a thing is called so as well ("edit").
    """
    if not parts[i] or parts[i] == "-" or parts[i - 1] not in ("<id>", "<date>"):
        return False
    return (i == _POST and parts[1] == "f") or bool(_TITLE.fullmatch(parts[i]))


def _segment(segment: str) -> str:
    segment = segment.partition(";")[0]  # of ";jsessionid=..." nothing is kept
    if _DATE.fullmatch(segment):
        return "<date>"
    if _UUID.fullmatch(segment):
        return "<id>"
    if _HASH.fullmatch(segment):
        return "<hash>"
    segment = _DATE.sub("<date>", _UUID.sub("<id>", segment))
    segment = _TITLED.sub(lambda found: found[1] or "<id>", segment)
    return _ENDS_IN_NUMBER.sub("<id>", _ENDS_IN_HASH.sub("<hash>", segment))
