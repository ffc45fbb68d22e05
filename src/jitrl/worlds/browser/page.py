"""What a page shows, from its accessibility tree: elements, texts, and how to name them again.

An element is named by its role and accessible name; one without a name, by the first text in it;
a field without one, by the text that stands before it in the same block (the label of many a form).
Where that is not enough to tell it from others, by an element that encloses it, or else by its
place among those alike.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Node", "Page", "pack", "read_tree", "unpack"]

_DROPPED = frozenset({"InlineTextBox", "ListMarker", "LineBreak"})
_TEXT = "StaticText"
# Blocks that only hold others: they are not shown, and name nothing.
_PLAIN = frozenset(
    {"generic", "none", "presentation", "paragraph", "LabelText", "Section", "MenuListPopup"}
    | {"RootWebArea", "rowgroup", "group", "div"}
)
_ENCLOSING = frozenset(
    {"row", "listitem", "article", "dialog", "alertdialog", "form", "navigation", "main", "search"}
    | {"banner", "contentinfo", "complementary", "region", "group", "figure", "table", "tabpanel"}
    | {"menu", "toolbar", "treeitem", "DescriptionList"}
)
# Their accessible name is all that is in them, prices and dates included.
_NAMED_BY_CONTENT = frozenset({"row", "listitem", "article", "treeitem"})
INTERACTIVE = frozenset(
    {"button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox"}
    | {"option", "menuitem", "menuitemcheckbox", "menuitemradio", "tab", "switch", "slider"}
    | {"spinbutton", "treeitem", "gridcell", "PopUpButton", "Date", "DateTime", "InputTime"}
    | {"ColorWell", "DisclosureTriangle"}
)
_CONTROLS = frozenset(
    {"checkbox", "radio", "combobox", "listbox", "switch", "slider", "PopUpButton", "ColorWell"}
)
EDITABLE = frozenset({"textbox", "searchbox", "spinbutton", "Date", "DateTime", "InputTime"})
_STATES = ("checked", "disabled", "expanded", "pressed", "selected", "required", "readonly")
_NAME = 160  # characters of a name


@dataclass(eq=False, slots=True)
class Node:
    """A node of the page that is shown: an element, or a text.

    bid        BrowserGym's id; "" for what has none
    role       as Chromium says, made an identifier ("doc-subtitle" is doc_subtitle)
    name       accessible name; where it has none, the first text within, or before a field
    labelled   the name is its own, not a text nearby
    value      of a field, or of a control with a value
    states     "checked", "expanded=false" ...
    visible    in the window
    clickable  it can be acted upon
    title      what it is called as something that encloses others; "" for what is not
    """

    bid: str
    role: str
    name: str
    depth: int
    parent: Node | None = None
    labelled: bool = True
    value: str = ""
    states: tuple[str, ...] = ()
    visible: bool = True
    clickable: bool = False
    editable: bool = False
    title: str = ""
    children: list[Node] = field(default_factory=list, repr=False)

    def enclosing(self) -> Iterator[Node]:
        """Yield the elements that enclose this one and have a title, innermost first."""
        node = self.parent
        while node is not None:
            if node.title:
                yield node
            node = node.parent

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below, in the order of the page."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack += reversed(node.children)

    @property
    def options(self) -> tuple[str, ...]:
        """What can be selected in it."""
        return tuple(dict.fromkeys(n.name for n in self.walk() if n.role == "option" and n.name))


@dataclass(frozen=True)
class Page:
    """A page at one moment.

    url, title   of the active tab
    tabs         address of each tab; `tab` is the number of the active one
    nodes        all nodes, in the order of the page
    """

    url: str
    title: str
    tabs: tuple[str, ...]
    tab: int
    nodes: tuple[Node, ...]

    @cached_property
    def elements(self) -> tuple[Node, ...]:
        """The nodes that can be acted upon."""
        return tuple(node for node in self.nodes if node.bid and node.clickable)

    @cached_property
    def by_bid(self) -> Mapping[str, Node]:
        """Every element by BrowserGym's id."""
        return {node.bid: node for node in self.nodes if node.bid}

    @cached_property
    def _alike(self) -> Mapping[tuple[str, str], list[Node]]:
        result: dict[tuple[str, str], list[Node]] = {}
        for node in self.nodes:
            if node.bid:
                result.setdefault((node.role, node.name), []).append(node)
        return result

    def named(self, role: str, name: str) -> Sequence[Node]:
        """Return the elements of that role and name, in the order of the page."""
        return self._alike.get((role, name), [])

    def distinguish(self, node: Node) -> tuple[Node | None, int | None]:
        """Return what else names an element: an enclosing one, its place among those alike there,
        or on the page.
        """
        alike = self.named(node.role, node.name)
        if len(alike) == 1:
            return None, None
        nearest: tuple[Node, int] | None = None
        for outer in node.enclosing():
            inside = [n for n in alike if _encloses(n, outer.role, outer.title)]
            if len(inside) == 1:
                return outer, None
            if nearest is None and len(inside) < len(alike):
                nearest = outer, inside.index(node) + 1
        return nearest or (None, alike.index(node) + 1)

    def find(
        self, role: str, name: str, within: tuple[str, str] | None, nth: int | None
    ) -> Node | None:
        """Return the one element that is meant; None where it is absent, or not the only one."""
        found = list(self.named(role, name))
        if within is not None:
            found = [node for node in found if _encloses(node, *within)]
        if nth is not None:
            return found[nth - 1] if nth <= len(found) else None
        return found[0] if len(found) == 1 else None

    @cached_property
    def pairs(self) -> Mapping[str, str]:
        """Label -> the text that stands beside it: terms with definitions, rows of two cells.

        A label that stands there more than once is left out.
        """
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            for label, value in _pairs(node):
                if label and value and len(label) <= _NAME:
                    found.setdefault(label.rstrip(": "), []).append(value)
        return {label: values[0] for label, values in found.items() if len(values) == 1}

    @cached_property
    def fingerprint(self) -> str:
        """What tells this page from another; where the focus is, or what is seen, is no part."""
        content = [[n.role, n.name, n.value, *n.states] for n in self.nodes]
        told = json.dumps([self.url, self.tabs, self.tab, content], ensure_ascii=False)
        return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _encloses(node: Node, role: str, title: str) -> bool:
    return any(outer.role == role and outer.title == title for outer in node.enclosing())


def _pairs(node: Node) -> Iterator[tuple[str, str]]:
    """Yield (label, value) of a row of two cells, or of the terms of a list of definitions."""
    if node.role == "row":
        cells = [c for c in node.children if c.role in ("cell", "rowheader", "gridcell")]
        if len(cells) == 2:
            yield _inner(cells[0]), _inner(cells[1])
    term = ""
    for child in node.children:
        if child.role in ("term", "DescriptionListTerm"):
            term = _inner(child)
        elif child.role in ("definition", "DescriptionListDetail") and term:
            yield term, _inner(child)
            term = ""


def _inner(node: Node) -> str:
    """Return the text of a node: its texts joined, or its name."""
    texts = [n.name for n in node.walk() if n.role == _TEXT]
    return " ".join(texts) if texts else node.name


def read_tree(tree: Mapping[str, Any], extra: Mapping[str, Mapping[str, Any]]) -> tuple[Node, ...]:
    """Return the nodes of BrowserGym's merged accessibility tree, in the order of the page.

    tree   as Chromium's Accessibility.getFullAXTree returns it, with "browsergym_id"
    extra  id -> visibility, clickable ... of the DOM
    """
    raw = {node["nodeId"]: node for node in tree["nodes"]}
    inner = {child for node in raw.values() for child in node.get("childIds", ())}
    roots = [number for number in raw if number not in inner]
    result: list[Node] = []
    for root in roots:
        _add(raw, extra, root, result)
    nodes = tuple(result)
    for node in nodes:
        _name(node)
    for node in nodes:
        if node.role in _ENCLOSING or (node.clickable and node.children):
            node.title = _title(node)
    return nodes


def _title(node: Node) -> str:
    """Return what an element that encloses others is called: its name, or the first text in it."""
    if node.name and node.role not in _NAMED_BY_CONTENT:
        return node.name
    return next((n.name for n in node.walk() if n is not node and n.name), node.name)


def _add(
    raw: Mapping[str, Any],
    extra: Mapping[str, Mapping[str, Any]],
    root: str,
    result: list[Node],
) -> None:
    """Append the nodes below `root`, which may be nested deeper than Python's stack."""
    stack: list[tuple[str, Node | None, int]] = [(root, None, 0)]
    seen = set()
    while stack:
        number, parent, depth = stack.pop()
        if number not in raw or number in seen:
            continue
        seen.add(number)
        given = raw[number]
        role = str(given["role"].get("value") or "")
        if role in _DROPPED:
            continue
        if not given.get("ignored") and (role != _TEXT or _told(given)):
            node = _node(given, role, extra, parent, depth)
            result.append(node)
            if parent is not None:
                parent.children.append(node)
            parent, depth = node, depth + (role not in _PLAIN)
        stack += [(child, parent, depth) for child in reversed(given.get("childIds", ()))]


def _told(given: Mapping[str, Any]) -> str:
    return " ".join(str(given.get("name", {}).get("value") or "").split())


def _node(
    given: Mapping[str, Any],
    role: str,
    extra: Mapping[str, Mapping[str, Any]],
    parent: Node | None,
    depth: int,
) -> Node:
    bid = str(given.get("browsergym_id") or "")
    more = extra.get(bid, {})
    properties = {p["name"]: p["value"].get("value") for p in given.get("properties", ())}
    value = given.get("value", {}).get("value")
    editable = role in EDITABLE or (bid != "" and bool(properties.get("editable")))
    return Node(
        bid=bid,
        role=re.sub(r"\W", "_", role) or "element",
        name=_told(given)[:_NAME],
        depth=depth,
        parent=parent,
        value="" if value is None else " ".join(str(value).split()),
        states=_states(properties),
        visible=bool(more.get("visibility", 1.0)) if bid else parent is None or parent.visible,
        clickable=bool(bid) and (role in INTERACTIVE or editable or bool(more.get("clickable"))),
        editable=editable and not properties.get("readonly"),
    )


def _states(properties: Mapping[str, Any]) -> tuple[str, ...]:
    result = []
    for name in _STATES:
        value = properties.get(name)
        if name == "expanded" and value is not None:
            result.append(f"expanded={str(value).lower()}")
        elif value not in (None, False, "false", ""):
            result.append(name if value in (True, "true") else f"{name}={value}")
    return tuple(result)


def _name(node: Node) -> None:
    """Give a nameless element that can be acted upon the name of a text nearby."""
    if node.name or not node.clickable:
        return
    node.labelled = False
    within = next((n.name for n in node.walk() if n.role == _TEXT and n.name), "")
    if within and not node.editable:
        node.name = within[:_NAME]
        return
    if not node.editable and node.role not in _CONTROLS:
        return
    place: Node | None = node
    while place is not None and place.parent is not None:
        siblings = place.parent.children
        for before in reversed(siblings[: siblings.index(place)]):
            texts = [n.name for n in before.walk() if n.role == _TEXT and n.name]
            if texts:
                node.name = texts[-1][:_NAME]
                return
            if any(n.clickable for n in before.walk()):
                return  # the text further up belongs to that
        if place.parent.role not in _PLAIN:
            return
        place = place.parent


def pack(nodes: Sequence[Node]) -> list[list[Any]]:
    """Return nodes as JSON values; `unpack` is the way back."""
    place = {id(node): i for i, node in enumerate(nodes)}
    return [
        [
            None if node.parent is None else place[id(node.parent)],
            node.bid,
            node.role,
            node.name,
            node.depth,
            node.labelled,
            node.value,
            list(node.states),
            node.visible,
            node.clickable,
            node.editable,
            node.title,
        ]
        for node in nodes
    ]


def unpack(rows: Sequence[Sequence[Any]]) -> tuple[Node, ...]:
    """Return the nodes that `pack` described."""
    result: list[Node] = []
    for (
        parent,
        bid,
        role,
        name,
        depth,
        labelled,
        value,
        states,
        visible,
        click,
        edit,
        title,
    ) in rows:
        above = None if parent is None else result[parent]
        node = Node(
            bid=bid,
            role=role,
            name=name,
            depth=depth,
            parent=above,
            labelled=labelled,
            value=value,
            states=tuple(states),
            visible=visible,
            clickable=click,
            editable=edit,
            title=title,
        )
        result.append(node)
        if above is not None:
            above.children.append(node)
    return tuple(result)
