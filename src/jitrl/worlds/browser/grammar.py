"""From what an agent wrote to what is remembered, and to what can be executed on the page at hand.

    click("12")   as a model writes it   ->   click(link("Edit", within=row(task("order _ $"))))
    the same      on another page        ->   click('a7')   for BrowserGym, or not executable there

What is remembered holds no id of this page, no value that only stood in this task's text, and no
address of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jitrl.errors import InvalidValue
from jitrl.worlds.browser.address import on_site
from jitrl.worlds.browser.language import (
    ACTIONS,
    Action,
    Lookup,
    Target,
    Text,
    Value,
    joined,
    parse,
    signature,
    write,
)
from jitrl.worlds.browser.page import Node, Page
from jitrl.worlds.browser.slots import Slots

__all__ = ["Grammar"]

_EDITED = frozenset({"fill", "clear"})
_FILES = frozenset({"upload_file", "mouse_upload_file"})
_MESSAGES = frozenset({"send_msg_to_user", "report_infeasible"})


@dataclass(frozen=True)
class Grammar:
    """Reads actions on one page in one task: the `reader` of an Observation.

    page, slots, sites  what is at hand
    messages            the user reads messages
    uploads             a folder whose files may be uploaded, None for no uploading
    note                what the benchmark says of the form of answers
    """

    page: Page
    slots: Slots
    sites: Mapping[str, str]
    messages: bool = True
    uploads: str | Path | None = None
    note: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grammar):
            return NotImplemented
        mine, theirs = (
            (g.page.fingerprint, g.slots.text, dict(g.sites), g.messages) for g in (self, other)
        )
        return mine == theirs

    def __hash__(self) -> int:
        return hash((self.page.fingerprint, self.slots.text))

    @property
    def guide(self) -> str:
        """How actions are written here, for a model."""
        names = [name for name in ACTIONS if self._offered(name)]
        return (
            "An action is one call; elements are named by the id in brackets, as a text:\n"
            + "\n".join(signature(name) for name in names)
            + '\nFor instance: click("12"), fill("a51", "two words"), '
            'select_option("48", "blue"), press("7", "Enter")'
            + (', send_msg_to_user("the answer").' if self.messages else ".")
            + (f"\n{self.note}" if self.note else "")
        )

    def read(self, written: str) -> str:
        """Return what was written as it is remembered; raises InvalidValue for what cannot be.

        An element is remembered in one form, whether it was named by its id or by its name.
        """
        action = parse(written)
        parameters = ACTIONS[action.name]
        plain = [p for p in parameters if not p.optional]
        arguments = tuple(
            self._remembered(action.name, p.name, value, written)
            for p, value in zip(plain, action.arguments, strict=True)
        )
        result = write(Action(action.name, arguments, action.named))
        self.call(result)
        return result

    def executable(self, action: str) -> bool:
        """Say whether a remembered action can be executed here."""
        try:
            self.call(action)
        except InvalidValue:
            return False
        return True

    def written(self, action: str) -> str:
        """Return a remembered action with the ids of this page: its `call`."""
        return self.call(action)

    def call(self, action: str) -> str:
        """Return the call of BrowserGym that executes a remembered action on this page.

        Raises InvalidValue where something that it names is absent, or not the only one.
        """
        parsed = parse(action)
        if not self._offered(parsed.name):
            raise InvalidValue("action", action, f"cannot be used here: {parsed.name}")
        values = [self._resolved(value, action) for value in parsed.arguments]
        named = {name: self._resolved(value, action) for name, value in parsed.named.items()}
        self._check(parsed, values, action)
        if parsed.name in _FILES:
            values[-1] = self._files(values[-1], action)
        parts = [repr(v) for v in values] + [f"{name}={v!r}" for name, v in named.items()]
        return f"{parsed.name}({', '.join(parts)})"

    def told(self, action: str) -> str:
        """Return the words of an executable action: names of its elements, and its texts."""
        parsed = parse(action)
        words: list[str] = []
        for value in (*parsed.arguments, *parsed.named.values()):
            if isinstance(value, Target):
                node = self._element(value, action)
                words += [node.name, node.around]
                if parsed.name == "press":  # it sends what stands there
                    words.append(node.value)
            elif isinstance(value, Text):
                words.append(self._said(value, action))
            elif isinstance(value, list):
                words += [self._told(part, action) for part in value]
        return " ".join(words)

    def text(self, text: Text) -> str | None:
        """Return what a text says here; None where something in it has nothing to hold."""
        parts = [part if isinstance(part, str) else self._looked_up(part) for part in text.parts]
        return None if None in parts else "".join(part or "" for part in parts)

    def _said(self, text: Text, action: str) -> str:
        """Return a text with the labels that it stands beside."""
        labels = [self._label(p) for p in text.parts if isinstance(p, Lookup)]
        return " ".join([self._told(text, action), *(label for label in labels if label)])

    def beside(self, label: str) -> Text:
        """Return the text beside a label, which may be a parameter of the task."""
        slot = self.slots.named(label)
        whole = len(slot.parts) == 1 and isinstance(slot.parts[0], Lookup)
        return Text((Lookup("beside", slot.parts[0] if whole else label),))

    def target(self, node: Node) -> Target:
        """Return how an element of this page is remembered."""
        outer, nth = self.page.distinguish(node)
        within = None
        if outer is not None:
            within = Target(outer.role, self.slots.named(outer.title))
        return Target(node.role, self.slots.named(node.name), within, nth)

    def _offered(self, name: str) -> bool:
        if name in _FILES:
            return self.uploads is not None
        return self.messages or name not in _MESSAGES

    def _remembered(self, action: str, parameter: str, value: Value, written: str) -> Value:
        if isinstance(value, Target):
            if value.bid is None:
                return self.target(self._element(value, written))
            node = self.page.by_bid.get(value.bid)
            if node is None:
                raise InvalidValue("action", written, f"names no element of this page: {value.bid}")
            return self.target(node)
        if isinstance(value, list):
            return [self._remembered(action, parameter, part, written) for part in value]
        if isinstance(value, Text) and value.literal is not None:
            return self._text(action, parameter, value.literal)
        return value

    def _text(self, action: str, parameter: str, literal: str) -> Text:
        if parameter == "url":
            site = on_site(literal, self.sites)
            if site is None:
                return self.slots.typed(literal)
            label, rest = site
            return joined(Lookup("site", label), *self.slots.named(rest).parts)
        if action == "send_msg_to_user":
            beside = [label for label, told in self.page.pairs.items() if told == literal]
            if len(beside) == 1:
                return self.beside(beside[0])
        if parameter in ("key", "key_comb", "reason"):
            return Text((literal,))
        return self.slots.typed(literal)

    def _resolved(self, value: Value, action: str) -> Any:
        if isinstance(value, Target):
            return self._element(value, action).bid
        if isinstance(value, Text):
            return self._told(value, action)
        if isinstance(value, list):
            return [self._told(part, action) for part in value]
        return value

    def _element(self, target: Target, action: str) -> Node:
        if target.bid is not None:
            raise InvalidValue("action", action, "names an element by an id: use read()")
        within = None
        if target.within is not None:
            within = (target.within.role, self._told(target.within.name, action))
        name = self._told(target.name, action)
        node = self.page.find(target.role, name, within, target.nth)
        if node is None:
            raise InvalidValue("action", action, f"names no single element here: {name!r}")
        if "disabled" in node.states:
            raise InvalidValue("action", action, f"names an element that is disabled: {name!r}")
        return node

    def _told(self, text: Text, action: str) -> str:
        told = self.text(text)
        if told is None:
            raise InvalidValue("action", action, "finds nothing here for a text that it looks up")
        return told

    def _looked_up(self, part: Lookup) -> str | None:
        if part.kind == "task":
            return self.slots.filled(part)
        if part.kind == "beside":
            label = self._label(part)
            return None if label is None else self.page.pairs.get(label)
        address = self.sites.get(str(part.key))
        return None if address is None else address.rstrip("/")

    def _label(self, part: Lookup) -> str | None:
        """Return the label that a text stands beside."""
        if part.kind != "beside":
            return None
        return part.key if isinstance(part.key, str) else self.slots.filled(part.key)

    def _files(self, named: str | list[str], action: str) -> list[str]:
        """Return the paths of files to upload, by their names in the folder for it."""
        assert self.uploads is not None
        paths = [
            _inside(self.uploads, name) for name in (named if isinstance(named, list) else [named])
        ]
        if None in paths:
            raise InvalidValue("action", action, f"uploads no file of {str(self.uploads)!r}")
        return [str(path) for path in paths]

    def _check(self, parsed: Action, values: list[Any], action: str) -> None:
        """Raise InvalidValue for what would fail, or may not be done, on this page."""
        node = self.page.by_bid.get(str(values[0])) if values else None
        if parsed.name in _EDITED and node is not None and not node.editable:
            raise InvalidValue("action", action, "fills an element that takes no text")
        if parsed.name == "select_option" and node is not None and node.options:
            wanted = values[1] if isinstance(values[1], list) else [values[1]]
            if missing := [option for option in wanted if option not in node.options]:
                raise InvalidValue("action", action, f"selects what is no option: {missing[0]!r}")
        if parsed.name == "goto" and _scheme(values[0]) not in ("http", "https"):
            raise InvalidValue("action", action, "may only go to http and https addresses")
        if parsed.name == "tab_focus" and values[0] not in range(len(self.page.tabs)):
            raise InvalidValue("action", action, f"has tabs 0 to {len(self.page.tabs) - 1} only")
        if parsed.name == "noop" and not 0 <= parsed.named.get("wait_ms", 0) <= 10_000:  # type: ignore[operator]
            raise InvalidValue("action", action, "may wait for 0 to 10000 ms")


def _inside(folder: str | Path, name: str) -> Path | None:
    """Return the path of a file in a folder; None where it is none, or lies elsewhere."""
    try:
        inside = Path(folder).resolve()
        path = (inside / name).resolve()
        return path if path.is_relative_to(inside) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a null, a link to itself
        return None


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""
