"""Actions as text: calls with Python literals, read by Python's own parser.

    click(button("Submit"))
    fill(textbox("Username"), task("the username _ and the"))
    click(link("Edit", within=row(task("order _ $"))))
    click(link("Reviews", nth=2))
    goto(site("shopping") + "/cart")
    send_msg_to_user(beside("Price"))

An element is its accessibility role, called with its accessible name; `within` names an element
that encloses it, `nth` counts from 1 among those alike, in the order of the page. A text is a
literal, or parts joined by +, of which some are looked up when the action is executed:

    task(CONTEXT)   what stands in the task's text between these words (see `slots`)
    beside(LABEL)   what stands on the page beside a label, which may be task(...) itself
    site(LABEL)     the address of a site

`write` is the only way to write an action, so that equal actions are equal texts.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from jitrl.errors import InvalidValue

__all__ = ["ACTIONS", "Action", "Lookup", "Target", "Text", "as_role", "parse", "write"]

_LONGEST = 20_000  # characters of an action
_LOOKUPS = ("task", "beside", "site")
_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STRING = re.compile(  # one that is not closed goes to the end
    r"""(?P<prefix>(?<!\w)\w{0,3})(?P<quote>\"{3}|'{3}|"|')"""
    r"""(?P<inner>(?:\\.|(?!(?P=quote))[^\\])*)(?P<end>(?P=quote)|\\?\Z)""",
    re.DOTALL,
)
_BACKSLASH = re.compile(r"\\([4-7][0-7]{2}|.)", re.DOTALL)
_ESCAPES = frozenset("\n\r\\'\"abfnrtv01234567xNuU")


@dataclass(frozen=True, slots=True)
class Lookup:
    """A part of a text that is looked up: kind "task", "beside" or "site"; `nth` from 1.

    key  words, a label ("beside": or a "task" lookup of one), or the label of a site
    """

    kind: str
    key: str | Lookup
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Text:
    """A text as parts; a plain one has a single literal part."""

    parts: tuple[str | Lookup, ...]

    @property
    def literal(self) -> str | None:
        """The text, where nothing in it has to be looked up."""
        return None if any(isinstance(p, Lookup) for p in self.parts) else "".join(self.parts)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Target:
    """An element of the page.

    name  its accessible name, or what else tells it (`jitrl.worlds.browser.page`)
    bid   BrowserGym's volatile id, as a model writes it; then nothing else is known
    """

    role: str
    name: Text = Text(("",))
    within: Target | None = None
    nth: int | None = None
    bid: str | None = None


Value = Target | Text | int | float | bool | None | list[Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of an action: its name, what it is, and the value that need not be written."""

    name: str
    kind: str  # "element", "text", "number", "texts" (one or several), "list" (of texts), "flag"
    optional: bool = False

    @property
    def default(self) -> Value:
        """What is meant where an optional one is not written."""
        return _DEFAULTS[self.name]


@dataclass(frozen=True, slots=True)
class Action:
    """A call: the name of the action and its arguments, in the order of its parameters."""

    name: str
    arguments: tuple[Value, ...] = ()
    named: MappingProxyType[str, Value] = field(default_factory=lambda: MappingProxyType({}))


def _parameters(*names: str) -> tuple[Parameter, ...]:
    """Return parameters from words such as "bid:element" and "button:text?"."""
    result = []
    for word in names:
        name, _, kind = word.partition(":")
        result.append(Parameter(name, kind.rstrip("?"), kind.endswith("?")))
    return tuple(result)


_MOUSE = ("x:number", "y:number")
_CLICK = ("bid:element", "button:text?", "modifiers:list?")
_DEFAULTS: Mapping[str, Value] = {
    "button": Text(("left",)),
    "modifiers": [],
    "wait_ms": 1000,
    "enable_autocomplete_menu": False,
}
_CHOICES = {
    "button": ("left", "middle", "right"),
    "modifiers": ("Alt", "Control", "ControlOrMeta", "Meta", "Shift"),
}
ACTIONS: MappingProxyType[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "noop": _parameters("wait_ms:number?"),
        "send_msg_to_user": _parameters("text:text"),
        "report_infeasible": _parameters("reason:text"),
        "scroll": _parameters("delta_x:number", "delta_y:number"),
        "fill": _parameters("bid:element", "value:text", "enable_autocomplete_menu:flag?"),
        "check": _parameters("bid:element"),
        "uncheck": _parameters("bid:element"),
        "select_option": _parameters("bid:element", "options:texts"),
        "click": _parameters(*_CLICK),
        "dblclick": _parameters(*_CLICK),
        "hover": _parameters("bid:element"),
        "press": _parameters("bid:element", "key_comb:text"),
        "focus": _parameters("bid:element"),
        "clear": _parameters("bid:element"),
        "drag_and_drop": _parameters("from_bid:element", "to_bid:element"),
        "upload_file": _parameters("bid:element", "file:texts"),
        "scroll_at": _parameters(*_MOUSE, "dx:number", "dy:number"),
        "mouse_move": _parameters(*_MOUSE),
        "mouse_up": _parameters(*_MOUSE, "button:text?"),
        "mouse_down": _parameters(*_MOUSE, "button:text?"),
        "mouse_click": _parameters(*_MOUSE, "button:text?"),
        "mouse_dblclick": _parameters(*_MOUSE, "button:text?"),
        "mouse_drag_and_drop": _parameters(
            "from_x:number", "from_y:number", "to_x:number", "to_y:number"
        ),
        "mouse_upload_file": _parameters(*_MOUSE, "file:texts"),
        "keyboard_down": _parameters("key:text"),
        "keyboard_up": _parameters("key:text"),
        "keyboard_press": _parameters("key:text"),
        "keyboard_type": _parameters("text:text"),
        "keyboard_insert_text": _parameters("text:text"),
        "go_back": (),
        "go_forward": (),
        "goto": _parameters("url:text"),
        "new_tab": (),
        "tab_close": (),
        "tab_focus": _parameters("index:number"),
    }
)
"""Every action of BrowserGym, with its parameters."""


def parse(written: str) -> Action:
    """Return the action that a text writes; elements may be given by BrowserGym's ids.

    Raises InvalidValue, which says what is wrong, for anything else.
    """
    if not isinstance(written, str) or len(written) > _LONGEST:
        raise InvalidValue("action", written, f"must be a text of at most {_LONGEST} characters")
    source = _escaped(written.strip())
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidValue("action", written, 'must be one call such as click("12")') from error
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise InvalidValue("action", written, 'must be one call such as click("12")')
    name = tree.func.id
    if name not in ACTIONS:
        raise InvalidValue("action", name, f"must be one of: {', '.join(ACTIONS)}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            _check(node, written)
    return _Reader(written, source).action(name, tree)


def as_role(text: str) -> str:
    """Return the role by which elements of an accessibility role are named: "doc_subtitle"."""
    role = re.sub(r"[^A-Za-z0-9_]", "_", text)
    plain = _ROLE.fullmatch(role) and not keyword.iskeyword(role) and role not in _LOOKUPS
    return role if plain else "element"


def _escaped(source: str) -> str:
    """Double the backslashes that escape nothing, as in "\\d": Python reads them so, but warns."""

    def mended(found: re.Match[str]) -> str:
        if "r" in found["prefix"].lower():
            return found.group()
        inner = _BACKSLASH.sub(
            lambda b: b.group() if b[1] in _ESCAPES else "\\" + b.group(), found["inner"]
        )
        return f"{found['prefix']}{found['quote']}{inner}{found['end']}"

    return _STRING.sub(mended, source) if "\\" in source else source


def _check(node: ast.Constant, written: str) -> None:
    """Raise InvalidValue for text that is no Unicode, or a number that is too long to be written.

    A character that was escaped as two halves, the way of JSON, is made whole.
    """
    value = node.value
    if isinstance(value, int) and value.bit_length() > 64:
        raise InvalidValue("action", written, "has too long a number in it")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        try:
            node.value = value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise InvalidValue("action", written, "has half a character in it") from error


class _Reader:
    """Reads the arguments of one action; `source` is what Python's parser read."""

    def __init__(self, written: str, source: str) -> None:
        self._written = written
        self._source = source

    def action(self, name: str, call: ast.Call) -> Action:
        given = self._given(name, call)
        plain: list[Value] = []
        named: dict[str, Value] = {}
        for parameter in ACTIONS[name]:
            if parameter.name not in given:
                if not parameter.optional:
                    raise self._wrong(f"lacks the argument {parameter.name!r}: {signature(name)}")
                continue
            value = self._value(parameter, given[parameter.name])
            if not parameter.optional:
                plain.append(value)
            elif value != parameter.default:
                named[parameter.name] = value
        return Action(name, tuple(plain), MappingProxyType(named))

    def _given(self, name: str, call: ast.Call) -> dict[str, ast.expr]:
        parameters = ACTIONS[name]
        given: dict[str, ast.expr] = {}
        if len(call.args) > len(parameters):
            raise self._wrong(f"has too many arguments: {signature(name)}")
        for parameter, node in zip(parameters, call.args, strict=False):
            given[parameter.name] = node
        known = {parameter.name for parameter in parameters}
        for keyword_ in call.keywords:
            if keyword_.arg not in known or keyword_.arg in given:
                raise self._wrong(f"has an argument {keyword_.arg!r} too many: {signature(name)}")
            given[keyword_.arg] = keyword_.value
        return given

    def _value(self, parameter: Parameter, node: ast.expr) -> Value:
        if parameter.kind == "element":
            return self._target(node)
        if parameter.kind in ("text", "texts", "list"):
            value = self._texts(parameter, node)
            if parameter.name in _CHOICES:
                self._choice(parameter.name, value)
            return value
        literal = self._literal(node)
        if parameter.kind == "flag" and isinstance(literal, bool):
            return literal
        number = isinstance(literal, int | float) and not isinstance(literal, bool)
        if parameter.kind == "number" and number and abs(literal) < 1e6:
            whole = isinstance(literal, float) and literal.is_integer()
            return int(literal) if whole else literal
        raise self._wrong(f"needs a {parameter.kind} for {parameter.name!r}")

    def _texts(self, parameter: Parameter, node: ast.expr) -> Text | list[Text]:
        if parameter.kind == "text" or not isinstance(node, ast.List | ast.Tuple):
            text = self._text(node)
            return [text] if parameter.kind == "list" else text
        several = [self._text(part) for part in node.elts]
        return several[0] if parameter.kind == "texts" and len(several) == 1 else several

    def _choice(self, name: str, value: Text | list[Text]) -> None:
        for text in value if isinstance(value, list) else [value]:
            if text.literal not in _CHOICES[name]:
                raise self._wrong(f"knows for {name!r} only: {', '.join(_CHOICES[name])}")

    def _literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise self._wrong("may only have literals, elements and lookups in it") from error

    def _target(self, node: ast.expr) -> Target:
        if isinstance(node, ast.Constant) and type(node.value) in (str, int):
            return Target("", bid=str(node.value))
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise self._wrong('needs an element, such as "12" or button("Submit")')
        role, given = node.func.id, {k.arg: k.value for k in node.keywords}
        if as_role(role) != role or len(node.args) > 1:
            raise self._wrong("names an element by one text, its accessible name")
        if len(given) < len(node.keywords) or not given.keys() <= {"within", "nth"}:
            raise self._wrong("knows only these of an element, once: within, nth")
        name = self._text(node.args[0]) if node.args else Text(("",))
        within = self._target(given["within"]) if "within" in given else None
        if within is not None and within.bid is not None:
            raise self._wrong('names what encloses an element by its role: within=row("...")')
        return Target(role, name, within, self._nth(given["nth"]) if "nth" in given else None)

    def _text(self, node: ast.expr) -> Text:
        """Return a text; numbers are kept as they were written, 10.50 with its zero."""
        minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        number = node.operand if isinstance(node, ast.UnaryOp) and minus else node
        if isinstance(number, ast.Constant) and isinstance(number.value, int | float):
            told = ast.get_source_segment(self._source, number) or ""
            return Text((f"-{told}" if minus else told,))
        parts: list[str | Lookup] = []
        stack = [node]
        while stack:  # a sum may be nested deeper than Python's stack
            part = stack.pop()
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
                stack += [part.right, part.left]
            else:
                parts.append(self._part(part))
        return joined(*parts)

    def _part(self, node: ast.expr) -> str | Lookup:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind, given = node.func.id, [k.arg for k in node.keywords]
            if kind in _LOOKUPS and len(node.args) == 1 and given in ([], ["nth"]):
                nth = [self._nth(k.value) for k in node.keywords]
                return Lookup(kind, self._key(kind, node.args[0]), *nth)
        raise self._wrong("needs a text in quotes")

    def _key(self, kind: str, node: ast.expr) -> str | Lookup:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if kind == "beside" and isinstance(node, ast.Call):
            inner = self._part(node)
            if isinstance(inner, Lookup) and inner.kind == "task":
                return inner
        raise self._wrong("needs a text in quotes")

    def _nth(self, node: ast.expr) -> int:
        value = self._literal(node)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
            raise self._wrong("must count nth from 1")
        return value

    def _wrong(self, rule: str) -> InvalidValue:
        return InvalidValue("action", self._written, rule)


def joined(*parts: str | Lookup) -> Text:
    """Return a text of parts; literals that follow one another are one."""
    result: list[str | Lookup] = []
    for part in parts:
        if isinstance(part, str) and result and isinstance(result[-1], str):
            result[-1] += part
        elif part != "":
            result.append(part)
    return Text(tuple(result) or ("",))


def signature(name: str) -> str:
    """Return how an action is called: `click(bid, button=..., modifiers=...)`."""
    parts = [f"{p.name}=..." if p.optional else p.name for p in ACTIONS[name]]
    return f"{name}({', '.join(parts)})"


def write(action: Action) -> str:
    """Return the text of an action; `parse` is the way back."""
    parts = [_written(value) for value in action.arguments]
    parts += [f"{name}={_written(value)}" for name, value in action.named.items()]
    return f"{action.name}({', '.join(parts)})"


def _written(value: Value) -> str:
    if isinstance(value, Target):
        return _written_target(value)
    if isinstance(value, Text):
        return " + ".join(_written_part(part) for part in value.parts)
    if isinstance(value, list):
        return f"[{', '.join(_written(part) for part in value)}]"
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))
    return repr(value)


def _written_target(target: Target) -> str:
    if target.bid is not None:
        return json.dumps(target.bid, ensure_ascii=False)
    parts = [] if target.name == Text(("",)) else [_written(target.name)]
    if target.within is not None:
        parts.append(f"within={_written_target(target.within)}")
    if target.nth is not None:
        parts.append(f"nth={target.nth}")
    return f"{target.role}({', '.join(parts)})"


def _written_part(part: str | Lookup) -> str:
    if isinstance(part, str):
        return json.dumps(part, ensure_ascii=False)
    nth = "" if part.nth == 1 else f", nth={part.nth}"
    return f"{part.kind}({_written_part(part.key)}{nth})"
