"""The actions that can be had without a model: the page's elements, and the task's own words.

Every element can be clicked; every field can be filled with each parameter of the task's text, and
sent; every option can be selected. Where the user reads messages, an answer is what stands beside a
label on the page. Of a page with more than 500 elements those in the window come first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from jitrl.worlds.browser.grammar import Grammar
from jitrl.worlds.browser.language import Action, Text, Value, write
from jitrl.worlds.browser.page import Node
from jitrl.worlds.browser.slots import Slots

__all__ = ["proposals"]

_WORD = re.compile(r"\w+")
_SHORT = 4  # characters of a word that says something
_IDLE, _DONE = 0.1, 1 / 3
_ELEMENTS = 500  # of one page, at most
_OPTIONS = 30  # of one element, at most
_ANSWERS = 20  # labels, at most
_SELECTS = ("combobox", "listbox", "PopUpButton")
NOTHING = write(Action("noop", ()))


def proposals(
    grammar: Grammar, done: Collection[str] = (), idle: Collection[str] = ()
) -> dict[str, float]:
    """Return action -> weight, each executable, in the order of the page; at least one.

    done  actions of this attempt: they weigh a third
    idle  actions that changed nothing on this page: they weigh a tenth

    The weight is (1 + w) ** 2, where w counts the words of the task that the action has in the
    name of its element, of what encloses it, and in its text. Short words do not count, unless
    they are part of a parameter.
    """
    wanted = _words(grammar.slots)
    found: dict[str, float] = {}
    for action in _all(grammar):
        text = write(action)
        if text not in found and grammar.executable(text):
            weight = (1 + len(wanted & set(_WORD.findall(grammar.told(text).lower())))) ** 2
            found[text] = weight * (_IDLE if text in idle else _DONE if text in done else 1.0)
    return found or {NOTHING: 1.0}


def _words(slots: Slots) -> set[str]:
    """Return the words of a task that say what it is about."""
    words = {word for word in _WORD.findall(slots.text.lower()) if len(word) >= _SHORT}
    return words.union(*(_WORD.findall(value.lower()) for value in slots.parameters))


def _all(grammar: Grammar) -> Iterator[Action]:
    values = [grammar.slots.typed(value) for value in grammar.slots.parameters]
    free = [node for node in grammar.page.elements if "disabled" not in node.states]
    if len(free) > _ELEMENTS:  # first those in the window; in the order of the page all the same
        kept = {id(node) for node in sorted(free, key=lambda node: not node.visible)[:_ELEMENTS]}
        free = [node for node in free if id(node) in kept]
    for node in free:
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
            if grammar.text(value) != node.value:
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
        yield Action("send_msg_to_user", (grammar.beside(label),))
    yield Action("send_msg_to_user", (Text(("Done.",)),))
    yield Action("report_infeasible", (Text(("This cannot be done here.",)),))
