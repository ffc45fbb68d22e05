"""Addresses without what tells one thing from another of its kind: ids, hashes, dates.

http://127.0.0.1:7770/orders/000017/?page=2   ->   shopping/orders/<id>/?page
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["normalised", "site_of"]

_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-.]\d{1,2}[-.]\d{4}")
_HASH = re.compile(r"(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_ENDS_IN_NUMBER = re.compile(r"(?<=[-_~.=])\d+(?=$|\.[a-z]{2,5}$)")


def normalised(url: str, sites: Mapping[str, str]) -> str:
    """Return an address with its site's label and placeholders; equal for pages of one kind.

    sites  label -> address; a page elsewhere is known by its host. Query parameters are kept by
           name, in alphabetical order; a fragment only where it is a route ("#/", "#!").
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<invalid address>"
    label = site_of(url, sites)
    path = parts.path
    if label is not None:
        path = path[len(urlsplit(sites[label]).path.rstrip("/")) :]
    elif parts.scheme == "file":
        label, path = "file", "/" + path.rpartition("/")[2]  # of this machine only the page
    elif not parts.netloc:
        return url.partition("?")[0][:80]  # about:blank, data: ...
    else:
        label = parts.netloc
    names = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
    query = f"?{'&'.join(names)}" if names else ""
    route = ""
    if parts.fragment.startswith(("/", "!")):
        route = "#" + _path(parts.fragment)
    return label + (_path(path) or ("" if parts.scheme == "file" else "/")) + query + route


def site_of(url: str, sites: Mapping[str, str]) -> str | None:
    """Return the label of the site that an address is on: the one with the longest match."""
    best: tuple[int, str] | None = None
    for label, address in sites.items():
        base = address.rstrip("/")
        begins = base and (url == base or url.startswith((base + "/", base + "?", base + "#")))
        if begins and (best is None or len(base) > best[0]):
            best = (len(base), label)
    return None if best is None else best[1]


def _path(path: str) -> str:
    return "/".join(_segment(unquote(segment)) for segment in path.split("/"))


def _segment(segment: str) -> str:
    if _UUID.fullmatch(segment) or _NUMBER.fullmatch(segment):
        return "<id>"
    if _DATE.fullmatch(segment):
        return "<date>"
    if _HASH.fullmatch(segment):
        return "<hash>"
    segment = _DATE.sub("<date>", _UUID.sub("<id>", segment))
    return _ENDS_IN_NUMBER.sub("<id>", segment)
