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
    beside(LABEL)   what stands on the page beside a label
    site(LABEL)     the address of a site

`write` is the only way to write an action, so that equal actions are equal texts.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from jitrl.errors import InvalidValue

__all__ = ["ACTIONS", "Action", "Lookup", "Target", "Text", "parse", "write"]

_LONGEST = 20_000  # characters of an action
_LOOKUPS = ("task", "beside", "site")


@dataclass(frozen=True, slots=True)
class Lookup:
    """A part of a text that is looked up: kind "task", "beside" or "site"; `nth` from 1."""

    kind: str
    key: str
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
    kind: str  # "element", "text", "number", "texts", "flag"
    optional: bool = False


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
_CLICK = ("bid:element", "button:text?", "modifiers:texts?")
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
    try:
        tree = ast.parse(written.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidValue("action", written, 'must be one call such as click("12")') from error
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise InvalidValue("action", written, 'must be one call such as click("12")')
    name = tree.func.id
    if name not in ACTIONS:
        raise InvalidValue("action", name, f"must be one of: {', '.join(ACTIONS)}")
    return _Reader(written).action(name, tree)


class _Reader:
    """Reads the arguments of one action."""

    def __init__(self, written: str) -> None:
        self._written = written

    def action(self, name: str, call: ast.Call) -> Action:
        parameters = ACTIONS[name]
        given: dict[str, ast.expr] = {}
        if len(call.args) > len(parameters):
            raise self._wrong(f"has too many arguments: {signature(name)}")
        for parameter, node in zip(parameters, call.args, strict=False):
            given[parameter.name] = node
        known = {parameter.name for parameter in parameters}
        for keyword in call.keywords:
            if keyword.arg not in known or keyword.arg in given:
                raise self._wrong(f"has an argument {keyword.arg!r} too many: {signature(name)}")
            given[keyword.arg] = keyword.value
        plain: list[Value] = []
        named: dict[str, Value] = {}
        for parameter in parameters:
            if parameter.name not in given:
                if not parameter.optional:
                    raise self._wrong(f"lacks the argument {parameter.name!r}: {signature(name)}")
                continue
            value = self._value(parameter, given[parameter.name])
            if parameter.optional:
                named[parameter.name] = value
            else:
                plain.append(value)
        return Action(name, tuple(plain), MappingProxyType(named))

    def _value(self, parameter: Parameter, node: ast.expr) -> Value:
        if parameter.kind == "element":
            return self._target(node)
        if parameter.kind == "text":
            return self._text(node)
        if parameter.kind == "texts":
            if isinstance(node, ast.List | ast.Tuple):
                return [self._text(part) for part in node.elts]
            return self._text(node)
        value = self._literal(node)
        if parameter.kind == "flag" and isinstance(value, bool):
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if parameter.kind == "number" and number and abs(value) < 1e6:
            return value  # type: ignore[no-any-return]
        raise self._wrong(f"has {value!r} for {parameter.name!r}, which must be a {parameter.kind}")

    def _literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise self._wrong("may only have literals, elements and lookups in it") from error

    def _target(self, node: ast.expr) -> Target:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int):
            return Target("", bid=str(node.value))
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise self._wrong('needs an element, such as "12" or button("Submit")')
        if node.func.id in _LOOKUPS or len(node.args) > 1:
            raise self._wrong("names an element by one text, its accessible name")
        within, nth = None, None
        for keyword in node.keywords:
            if keyword.arg == "within":
                within = self._target(keyword.value)
            elif keyword.arg == "nth":
                nth = self._nth(keyword.value)
            else:
                raise self._wrong(f"knows no {keyword.arg!r} of an element: within, nth")
        name = self._text(node.args[0]) if node.args else Text(("",))
        return Target(node.func.id, name, within, nth)

    def _text(self, node: ast.expr) -> Text:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return Text((node.value,))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return Text((str(node.value),))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return joined(*self._text(node.left).parts, *self._text(node.right).parts)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind, arguments = node.func.id, [self._literal(part) for part in node.args]
            if kind in _LOOKUPS and len(arguments) == 1 and isinstance(arguments[0], str):
                nth = [self._nth(k.value) for k in node.keywords if k.arg == "nth"]
                return Text((Lookup(kind, arguments[0], *nth),))
        raise self._wrong("needs a text in quotes")

    def _nth(self, node: ast.expr) -> int:
        value = self._literal(node)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
            raise self._wrong(f"has nth={value!r}, which must count from 1")
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
    return repr(value)


def _written_target(target: Target) -> str:
    if target.bid is not None:
        return json.dumps(target.bid)
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
    return f"{part.kind}({json.dumps(part.key, ensure_ascii=False)}{nth})"
