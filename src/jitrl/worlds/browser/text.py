"""A page as text for a model, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jitrl.worlds.browser.page import Node, Page

__all__ = ["cut", "shown"]

_CHARACTERS = 4  # of a token, about
_WHOLE, _LONG, _SHORT = 2000, 300, 80  # characters of a text that stands alone
_LAST = 60  # characters of the last line, at most
_OUTLINE = frozenset({"heading", "dialog", "alert", "alertdialog", "status", "row", "cell"})


def shown(page: Page, tokens: int) -> str:
    """Return the page, one node a line, indented: `[12] button "Submit" disabled`.

    What does not fit into `tokens` (about four characters each) is left out step by step: the ends
    of long texts, texts outside the window, everything outside it that cannot be acted upon; what
    is then too much is cut off at the end. The last line says how many lines are left out.
    """
    steps: list[tuple[Callable[[Node], bool], int]] = [
        (lambda node: True, _WHOLE),
        (lambda node: True, _LONG),
        (lambda node: node.visible or node.clickable or node.role in _OUTLINE, _LONG),
        (lambda node: node.visible or node.clickable, _SHORT),
        (lambda node: node.visible and (node.clickable or node.role in _OUTLINE), _SHORT),
    ]
    limit, total = tokens * _CHARACTERS, 0
    for keep, longest in steps:
        lines = list(_lines(page, keep, longest))
        total = total or len(lines)
        room = limit - (_LAST if len(lines) < total else 0)
        if sum(map(len, lines)) + len(lines) <= room:
            kept = lines
            break
    else:
        kept = list(_first(lines, limit - _LAST))
    if len(kept) < total:
        kept.append(f"({total - len(kept)} more lines: scroll to see them)")
    return "\n".join(kept)


def _first(lines: list[str], room: int) -> Iterator[str]:
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            return
        yield line


def _lines(page: Page, keep: Callable[[Node], bool], longest: int) -> Iterator[str]:
    for node in page.nodes:
        if keep(node) and (line := _line(node, longest)):
            yield "  " * min(node.depth, 8) + line


def _line(node: Node, longest: int) -> str:
    """Return the line of a node; "" for one that says nothing of its own."""
    if node.role == "StaticText":
        above = node.parent
        said = "" if above is None or not _line(above, longest) else f"{above.name}\n{above.value}"
        return "" if node.name in said else cut(node.name, longest)
    if not node.clickable and not (node.bid and node.labelled and node.name):
        return ""
    if node.role in ("generic", "StaticText") and not node.clickable:
        return ""
    words = [f"[{node.bid}] {node.role}"]
    if node.name and node.labelled:
        words.append(f'"{cut(node.name, longest)}"')
    elif node.name:
        words.append(f'("{cut(node.name, longest)}")')
    if node.value and node.value != node.name:
        words.append(f'value="{cut(node.value, longest)}"')
    return " ".join([*words, *node.states])


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters; one that is cut off ends in dots."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
