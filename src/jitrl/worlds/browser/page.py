"""What a page shows, from its accessibility tree: elements, texts, and how to name them again.

An element is named by its role and accessible name; one without a name, by the first text in it;
a field without one, by the text that stands before it in the same block (the label of many a form).
Where that is not enough to tell it from others, by an element that encloses it, or else by its
place among those alike.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jitrl.worlds.browser.language import as_role

__all__ = ["Node", "Page", "pack", "read_tree", "tidy", "unpack"]

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
_LONGEST = 2000  # characters of a text
_FAR = 12  # elements that enclose another and may tell it, innermost first


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
    parent: Node | None = field(default=None, repr=False)
    labelled: bool = True
    value: str = ""
    states: tuple[str, ...] = ()
    visible: bool = True
    clickable: bool = False
    editable: bool = False
    title: str = ""
    children: list[Node] = field(default_factory=list, repr=False)

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below, in the order of the page."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack += reversed(node.children)

    @property
    def around(self) -> str:
        """The title of the nearest element around it that has one, or ""."""
        outer = self.parent
        while outer is not None and not outer.title:
            outer = outer.parent
        return "" if outer is None else outer.title

    @property
    def options(self) -> tuple[str, ...]:
        """What can be selected in it."""
        options = (n for n in self.walk() if n.role == "option" and "disabled" not in n.states)
        return tuple(dict.fromkeys(n.name for n in options if n.name))


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
        """Every element by BrowserGym's id; the parts of a field, as of a date, share its id."""
        return {node.bid: node for node in reversed(self.nodes) if node.bid}

    @cached_property
    def _places(self) -> Mapping[int, int]:
        return {id(node): place for place, node in enumerate(self.nodes)}

    @cached_property
    def _alike(self) -> Mapping[tuple[str, str], list[int]]:
        """Role and name -> the places of the elements that have them."""
        result: dict[tuple[str, str], list[int]] = {}
        for place, node in enumerate(self.nodes):
            if node.bid:
                result.setdefault((node.role, node.name), []).append(place)
        return result

    @cached_property
    def _spans(self) -> Mapping[tuple[str, str], list[tuple[int, int]]]:
        """Role and title -> the stretches of nodes that elements so called enclose, outermost."""
        ends = list(range(1, len(self.nodes) + 1))
        for place in reversed(range(len(self.nodes))):
            parent = self.nodes[place].parent
            if parent is not None:
                above = self._places[id(parent)]
                ends[above] = max(ends[above], ends[place])
        result: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for place, node in enumerate(self.nodes):
            if node.title:
                spans = result.setdefault((node.role, node.title), [])
                if not spans or spans[-1][1] <= place:
                    spans.append((place + 1, ends[place]))
        return result

    @cached_property
    def _outer(self) -> Sequence[Node | None]:
        """Of each node, the innermost element that encloses it and has a title."""
        result: list[Node | None] = []
        for node in self.nodes:
            above = node.parent
            titled = above is None or above.title
            result.append(above if titled else result[self._places[id(above)]])
        return result

    def distinguish(self, node: Node) -> tuple[Node | None, int | None]:
        """Return what else names an element: an enclosing one, its place among those alike there,
        or on the page.
        """
        alike, place = self._named(node.role, node.name), self._places[id(node)]
        if len(alike) == 1:
            return None, None
        nearest: tuple[Node, int] | None = None
        outer = self._outer[place]
        for _ in range(_FAR):
            if outer is None:
                break
            inside = self._named(node.role, node.name, (outer.role, outer.title))
            if len(inside) == 1:
                return outer, None
            if nearest is None and len(inside) < len(alike):
                nearest = outer, inside.index(place) + 1
            outer = self._outer[self._places[id(outer)]]
        return nearest or (None, alike.index(place) + 1)

    def find(
        self, role: str, name: str, within: tuple[str, str] | None, nth: int | None
    ) -> Node | None:
        """Return the one element that is meant; None where it is absent, or not the only one."""
        found = self._named(role, name, within)
        if nth is not None:
            return self.nodes[found[nth - 1]] if 1 <= nth <= len(found) else None
        return self.nodes[found[0]] if len(found) == 1 else None

    def _named(self, role: str, name: str, within: tuple[str, str] | None = None) -> Sequence[int]:
        """Return the places of what has that role and name, within an element so called."""
        alike = self._alike.get((role, name), [])
        if within is None or not alike:
            return alike
        known = self._enclosed.get((role, name, *within))
        if known is None:
            known = self._enclosed[role, name, *within] = []
            for start, end in self._spans.get(within, ()):
                known += alike[bisect_left(alike, start) : bisect_left(alike, end)]
        return known

    @cached_property
    def _enclosed(self) -> dict[tuple[str, ...], list[int]]:
        """What `_named` found, since many elements ask for the same."""
        return {}

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
    result: list[Node] = []
    seen: set[str] = set()
    for root in [number for number in raw if number not in inner] or list(raw)[:1]:
        _add(raw, extra, root, result, seen)
    nodes = tuple(result)
    first = _first(nodes, lambda node: node.name if node.role == _TEXT else "")
    for node in nodes:
        _name(node, first[id(node)])
    first = _first(nodes, lambda node: node.name)
    for node in nodes:
        if node.role in _ENCLOSING or (node.clickable and node.children):
            node.title = _title(node, first)[:_NAME]
    return nodes


def _first(nodes: Sequence[Node], told: Callable[[Node], str]) -> Mapping[int, str]:
    """Return, by each node's identity, what it or else the first below it tells."""
    result: dict[int, str] = {}
    for node in reversed(nodes):
        below = (result[id(child)] for child in node.children)
        result[id(node)] = told(node) or next(filter(None, below), "")
    return result


def _title(node: Node, first: Mapping[int, str]) -> str:
    """Return what an element that encloses others is called: its name, or the first text in it."""
    if node.name and node.role not in _NAMED_BY_CONTENT:
        return node.name
    return next(filter(None, (first[id(child)] for child in node.children)), node.name)


def _add(
    raw: Mapping[str, Any],
    extra: Mapping[str, Mapping[str, Any]],
    root: str,
    result: list[Node],
    seen: set[str],
) -> None:
    """Append the nodes below `root`, which may be nested deeper than Python's stack."""
    stack: list[tuple[str, Node | None, int]] = [(root, None, 0)]
    while stack:
        number, parent, depth = stack.pop()
        if number not in raw or number in seen:
            continue
        seen.add(number)
        given = raw[number]
        role = str(given.get("role", {}).get("value") or "")
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
    return tidy(given.get("name", {}).get("value"))


def tidy(value: object) -> str:
    """Return a value as text in one line; half a character, which no action may hold, is "?"."""
    if value is None:
        return ""
    return " ".join(str(value).encode("utf-8", "replace").decode().split())


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
    editable = role in EDITABLE or (bid != "" and bool(properties.get("editable")))
    return Node(
        bid=bid,
        role=as_role(role),
        name=_told(given)[: _LONGEST if role == _TEXT else _NAME].strip(),
        depth=depth,
        parent=parent,
        value=tidy(given.get("value", {}).get("value")),
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


def _name(node: Node, within: str) -> None:
    """Give a nameless element that can be acted upon the name of a text nearby.

    within  the first text in it
    """
    if node.name or not node.clickable:
        return
    node.labelled = False
    if within and not node.editable:
        node.name = within[:_NAME].strip()
        return
    if not node.editable and node.role not in _CONTROLS:
        return
    place: Node | None = node
    while place is not None and place.parent is not None:
        siblings = place.parent.children
        for before in reversed(siblings[: siblings.index(place)]):
            label = _label(before)
            if label is not None:
                node.name = label[:_NAME].strip()
                return
        if place.parent.role not in _PLAIN:
            return
        place = place.parent


def _label(before: Node) -> str | None:
    """Return the text at the end of what stands before a field; None where there is nothing.

    "" where something else that can be acted upon comes last: what is further up belongs to that.
    """
    label: str | None = None
    stack = [before]
    while stack:
        node = stack.pop()
        if node.role == _TEXT and node.name:
            label = node.name
        elif node.clickable:
            label = ""
        if not (node.editable or node.role in _CONTROLS):  # the text in a field is its value
            stack += reversed(node.children)
    return label


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
