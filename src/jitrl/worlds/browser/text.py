"""A page as text for a model, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jitrl.worlds.browser.page import Node, Page

__all__ = ["shown"]

_CHARACTERS = 4  # of a token, about
_LONG, _SHORT = 300, 80  # characters of a text that stands alone
_OUTLINE = frozenset({"heading", "dialog", "alert", "alertdialog", "status", "row", "cell"})


def shown(page: Page, tokens: int) -> str:
    """Return the page, one node a line, indented: `[12] button "Submit" disabled`.

    What does not fit into `tokens` (about four characters each) is left out step by step: texts
    outside the window, everything outside it that cannot be acted upon, long texts; what is then
    too much is cut off at the end, and the last line says so.
    """
    steps: list[tuple[Callable[[Node], bool], int]] = [
        (lambda node: True, _LONG),
        (lambda node: node.visible or node.clickable or node.role in _OUTLINE, _LONG),
        (lambda node: node.visible or node.clickable, _SHORT),
        (lambda node: node.visible and (node.clickable or node.role in _OUTLINE), _SHORT),
    ]
    limit = tokens * _CHARACTERS
    for keep, longest in steps:
        lines = list(_lines(page, keep, longest))
        if sum(map(len, lines)) + len(lines) <= limit:
            return "\n".join(lines)
    kept: list[str] = []
    for line in lines:
        limit -= len(line) + 1
        if limit < 60:
            break
        kept.append(line)
    return "\n".join([*kept, f"({len(lines) - len(kept)} more lines: scroll to see them)"])


def _lines(page: Page, keep: Callable[[Node], bool], longest: int) -> Iterator[str]:
    for node in page.nodes:
        if keep(node) and (line := _line(node, longest)):
            yield "  " * min(node.depth, 8) + line


def _line(node: Node, longest: int) -> str:
    """Return the line of a node; "" for one that says nothing of its own."""
    if node.role == "StaticText":
        above = node.parent
        if above is not None and above.clickable and node.name in above.name:
            return ""
        return _cut(node.name, longest)
    if not node.clickable and not (node.bid and node.labelled and node.name):
        return ""
    if node.role in ("generic", "StaticText") and not node.clickable:
        return ""
    words = [f"[{node.bid}] {node.role}"]
    if node.name and node.labelled:
        words.append(f'"{_cut(node.name, longest)}"')
    elif node.name:
        words.append(f'("{_cut(node.name, longest)}")')
    if node.value and node.value != node.name:
        words.append(f'value="{_cut(node.value, longest)}"')
    return " ".join([*words, *node.states])


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
