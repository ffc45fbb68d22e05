"""Pages in the form of Chromium's accessibility tree, as BrowserGym merges it.

`page(node("button", "Go", text("Go")))` is a page; `pages` draws random ones.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from jitrl.worlds.browser.page import Page, read_tree

URL = "http://127.0.0.1:7770/orders/17"
_STATES = ("checked", "disabled", "expanded", "pressed", "selected", "required", "readonly")


@dataclass
class Given:
    """A node to be: `more` holds value, states, bid, ignored, visible, clickable, frame."""

    role: str
    name: str
    children: tuple[Given, ...]
    more: Mapping[str, Any] = field(default_factory=dict)


def node(role: str, name: str = "", *children: Given, **more: Any) -> Given:
    return Given(role, name, children, more)


def text(told: str, **more: Any) -> Given:
    return Given("StaticText", told, (Given("InlineTextBox", told, (), {}),), more)


def link(name: str, **more: Any) -> Given:
    return node("link", name, text(name), **more)


def button(name: str, **more: Any) -> Given:
    return node("button", name, text(name), **more)


def field_(name: str, value: str = "", **more: Any) -> Given:
    """A field; its value is a text inside it, as Chromium has it."""
    inner = (text(value),) if value else ()
    return node("textbox", name, *inner, value=value, editable="plaintext", **more)


def select(name: str, *options: str, **more: Any) -> Given:
    popup = node("MenuListPopup", "", *(node("option", option) for option in options), bid="")
    return node("combobox", name, popup, value=options[0], **more)


def row(*cells: Given | str) -> Given:
    """A row of a table, named by its content."""
    made = [
        node("cell", cell, text(cell)) if isinstance(cell, str) else node("cell", cell.name, cell)
        for cell in cells
    ]
    return node("row", " ".join(cell.name for cell in made), *made)


def tree(*given: Given, title: str = "A page") -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the tree as BrowserGym gives it, and what it knows of the DOM.

    Every node but texts has an id, counted in the order of the page ("a1" in the frame "a"),
    unless it is told another.
    """
    nodes: list[dict[str, Any]] = []
    extra: dict[str, dict[str, Any]] = {}
    numbers, bids = itertools.count(1), itertools.count(1)
    root = Given("RootWebArea", title, given, {"bid": ""})
    stack: list[tuple[Given, dict[str, Any] | None, str]] = [(root, None, "")]
    while stack:
        one, parent, frame = stack.pop()
        made, bid = _made(one, str(next(numbers)), frame, bids)
        nodes.append(made)
        if bid:
            visible = 1.0 if one.more.get("visible", True) else 0.0
            clickable = bool(one.more.get("clickable"))
            extra[bid] = {"visibility": visible, "clickable": clickable, "bbox": None}
        if parent is not None:
            made["parentId"] = parent["nodeId"]
            parent["childIds"].append(made["nodeId"])
        frame = one.more.get("frame", frame)
        stack += [(child, made, frame) for child in reversed(one.children)]
    return {"nodes": nodes}, extra


def _made(one: Given, number: str, frame: str, bids: Iterator[int]) -> tuple[dict[str, Any], str]:
    made: dict[str, Any] = {
        "nodeId": number,
        "ignored": bool(one.more.get("ignored")),
        "role": {"type": "role", "value": one.role},
        "name": {"type": "computedString", "value": one.name},
        "properties": [
            {"name": name, "value": {"type": "token", "value": one.more[name]}}
            for name in (*_STATES, "editable", "focused")
            if name in one.more
        ],
        "childIds": [],
    }
    if one.more.get("value") not in (None, ""):
        made["value"] = {"type": "string", "value": one.more["value"]}
    plain = one.role in ("StaticText", "InlineTextBox")
    bid = one.more.get("bid", "" if plain else None)
    bid = f"{frame}{next(bids)}" if bid is None else bid
    if bid:
        made["browsergym_id"] = bid
    return made, bid


def page(*given: Given, url: str = URL, tabs: tuple[str, ...] = (), tab: int = 0) -> Page:
    nodes = read_tree(*tree(*given))
    return Page(url=url, title="A page", tabs=tabs or (url,), tab=tab, nodes=nodes)


def recorded() -> Mapping[str, Page]:
    """Pages of MiniWoB++, as Chromium and BrowserGym told them."""
    told = json.loads(Path(__file__).with_name("web_pages.json").read_text("utf-8"))
    return {
        name: Page(URL, name, (URL,), 0, read_tree(one["tree"], one["extra"]))
        for name, one in told.items()
    }


NAMES = [
    "",
    "Go",
    "Edit",
    "O'Brien",
    'say "no"',
    "a) [12] b]",
    "Order 000017",
    "Ann Lee",
    "naïve 🛶",
    "x" * 200,
    "half \ud800",
]
_ROLES = ["button", "link", "textbox", "checkbox", "combobox", "option", "generic", "paragraph"]
_ROLES += ["row", "cell", "listitem", "form", "dialog", "main", "doc-subtitle", "none", "Iframe"]


@st.composite
def _leaf(draw: st.DrawFn) -> Given:
    name = draw(st.sampled_from(NAMES))
    if draw(st.integers(0, 2)) == 0:
        return text(name)
    more: dict[str, Any] = {}
    for key, values in (
        ("value", ["17", "Ann Lee", "a, b"]),
        ("disabled", [True]),
        ("visible", [False]),
        ("clickable", [True]),
        ("ignored", [True]),
    ):
        if draw(st.integers(0, 3)) == 0:
            more[key] = draw(st.sampled_from(values))
    return node(draw(st.sampled_from(_ROLES)), name, **more)


def _with(leaf: Given, children: list[Given]) -> Given:
    return Given(leaf.role, leaf.name, tuple(children), leaf.more)


trees = st.recursive(
    _leaf(), lambda inner: st.builds(_with, _leaf(), st.lists(inner, max_size=4)), max_leaves=25
)
pages = st.lists(trees, max_size=4).map(lambda given: page(*given))
