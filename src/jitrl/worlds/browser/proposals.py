"""The actions that can be had without a model: the page's elements, and the task's own words.

Every element can be clicked; every field can be filled with each parameter of the task's text, and
sent; every option can be selected. Where the user reads messages, an answer is what stands beside a
label on the page.
"""

from __future__ import annotations

from collections.abc import Iterator

from jitrl.worlds.browser.grammar import Grammar
from jitrl.worlds.browser.language import Action, Lookup, Text, Value, write
from jitrl.worlds.browser.page import Node

__all__ = ["proposals"]

_OPTIONS = 30  # of one element, at most
_ANSWERS = 20  # labels, at most
_SELECTS = ("combobox", "listbox", "PopUpButton")
NOTHING = write(Action("noop", ()))


def proposals(grammar: Grammar) -> tuple[str, ...]:
    """Return the actions, each once and executable, in the order of the page; at least one."""
    found = dict.fromkeys(write(action) for action in _all(grammar))
    result = tuple(action for action in found if grammar.executable(action))
    return result or (NOTHING,)


def _all(grammar: Grammar) -> Iterator[Action]:
    values = [grammar.slots.typed(value) for value in grammar.slots.parameters]
    for node in grammar.page.elements:
        if "disabled" not in node.states:
            yield from _of(grammar, node, values)
    if grammar.messages:
        yield from _answers(grammar)


def _of(grammar: Grammar, node: Node, values: list[Text]) -> Iterator[Action]:
    target: Value = grammar.target(node)
    if node.role == "option" and _opened(node):
        return
    if node.role in _SELECTS and node.options and not node.editable:
        for option in node.options[:_OPTIONS]:
            yield Action("select_option", (target, grammar.slots.named(option)))
        if node.role != "listbox":
            return
    yield Action("click", (target,))
    if node.editable:
        for value in values:
            yield Action("fill", (target, value))
        if node.value:
            yield Action("press", (target, Text(("Enter",))))


def _opened(node: Node) -> bool:
    """Say whether an option is in a menu of the browser's own, where it cannot be clicked.

    A list may be of the page's making, and takes clicks.
    """
    outer = node.parent
    while outer is not None and outer.role not in _SELECTS:
        outer = outer.parent
    return outer is not None and outer.role != "listbox" and not outer.editable


def _answers(grammar: Grammar) -> Iterator[Action]:
    for label in list(grammar.page.pairs)[:_ANSWERS]:
        yield Action("send_msg_to_user", (Text((Lookup("beside", label),)),))
    yield Action("send_msg_to_user", (Text(("Done.",)),))
    yield Action("report_infeasible", (Text(("This cannot be done here.",)),))
