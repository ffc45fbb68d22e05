"""What of a task's text an action used, so that it is used again from another task's text.

A task such as 'Enter the username "bob" and the password "x1"' has parameters: here two quoted
words. An action that typed one of them is remembered with a slot instead, named by the words
around it, `the username _ and the`; between the same words of another task stands what to type
there. `^` and `$` are the ends of the text, `*` is a neighbouring parameter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jitrl.worlds.browser.language import Lookup, Text, joined

__all__ = ["Slots"]

_REACH = 2  # words of context on either side
_LONGEST = 12  # items that a slot may hold
_HIGHEST = 5  # slots of one context
_SHORTEST = 3  # characters of a parameter that is sought inside a longer name

_QUOTED = r'"[^"\n]+"|“[^”\n]+”|(?<!\w)\'[^\'\n]+\'(?!\w)|(?<!\w)‘[^’\n]+’(?!\w)'
_NUMBERED = r"(?<![\w@#$€£])[@#$€£]?(?:[^\W_]|[_.,:/%@+-](?=\w))*\d(?:[^\W_]|[_.,:/%@+-](?=\w))*%?"
_ADDRESS = r"https?://[^\s\"'<>]+[^\s\"'<>.,;:!?)]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|[@#]\w+"
_NAME = r"[A-Z][\w’'&-]*(?:\s+(?:of\s+|the\s+|and\s+|&\s+)?[A-Z][\w’'&-]*)*"
_PARAMETER = re.compile(f"(?P<quoted>{_QUOTED})|{_ADDRESS}|{_NUMBERED}|(?P<name>{_NAME})")
_WORD = re.compile(r"\w+(?:['’.-]\w+)*")
_SENTENCE = re.compile(r"(?:^|[.!?:]\s+|\n\s*)$")


@dataclass(frozen=True, slots=True)
class _Item:
    """A word of the task's text, or a parameter: key "*". `start:end` is its value."""

    key: str
    start: int
    end: int


class Slots:
    """The parameters of one task's text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._items = _items(text)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The values of the parameters, in their order, each once."""
        found = (self.text[i.start : i.end] for i in self._items if i.key == "*")
        return tuple(dict.fromkeys(found))

    def typed(self, value: str) -> Text:
        """Return a typed value as a slot, if it stands in the task's text; else as it is."""
        slot = self._slot(value)
        return Text((value,)) if slot is None else Text((slot,))

    def named(self, name: str) -> Text:
        """Return a name on the page with slots for the parameters that are in it.

        A shorter parameter than three characters only counts where it is the whole name.
        """
        if name in self.parameters:
            return self.typed(name)
        for value in sorted(self.parameters, key=len, reverse=True):
            if len(value) < _SHORTEST or value not in name:
                continue
            found = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", name)
            slot = self._slot(value) if found else None
            if found and slot is not None:
                before, after = self.named(name[: found.start()]), self.named(name[found.end() :])
                return joined(*before.parts, slot, *after.parts)
        return Text((name,))

    def filled(self, slot: Lookup) -> str | None:
        """Return what the task's text has for a slot, None where it has nothing."""
        left, found, right = slot.key.partition("_")
        if not found:
            return None
        values = self._between(left.split(), right.split())
        return values[slot.nth - 1] if slot.nth <= len(values) else None

    def _slot(self, value: str) -> Lookup | None:
        """Return a slot that this text fills with `value`, None where there is none."""
        keys = [item.key for item in self._items]
        for first, item in enumerate(self._items):
            if not self.text.startswith(value, item.start) or not value.strip():
                continue
            end = item.start + len(value)
            last = next((i for i, it in enumerate(self._items) if it.end == end), None)
            if last is None or last < first or last - first >= _LONGEST:
                continue
            left = " ".join(keys[max(0, first - _REACH) : first]) or "^"
            right = " ".join(keys[last + 1 : last + 1 + _REACH]) or "$"
            for nth in range(1, _HIGHEST + 1):
                slot = Lookup("task", f"{left} _ {right}", nth)
                if self.filled(slot) == value:
                    return slot
        return None

    def _between(self, left: list[str], right: list[str]) -> list[str]:
        """Return what stands between the words of a context, in the order of the text."""
        keys = [item.key for item in self._items]
        left, right = [w for w in left if w != "^"], [w for w in right if w != "$"]
        values = []
        starts = [0] if not left else range(len(left), len(keys))
        for start in starts:
            if left and keys[start - len(left) : start] != left:
                continue
            ends = range(start + 1, min(start + _LONGEST, len(keys)) + 1)
            if not right:
                ends = range(len(keys), len(keys) + 1) if start < len(keys) else range(0)
            for end in ends:
                if end - start <= _LONGEST and keys[end : end + len(right)] == right:
                    values.append(self.text[self._items[start].start : self._items[end - 1].end])
                    break
        return values


def _items(text: str) -> list[_Item]:
    """Return words and parameters in order; a quoted parameter is without its quotes."""
    result: list[_Item] = []
    place = 0
    for found in _PARAMETER.finditer(text):
        start, end = found.span()
        if found["name"] is not None and _begins_sentence(text, start):
            # the first word of a sentence is written large anyway: the rest may be a name
            first = _WORD.match(text, start)
            start = end if first is None else first.end()
            while start < end and not text[start].isalnum():
                start += 1
            if start >= end or not text[start].isupper():
                continue
        result += _words(text, place, start)
        inner = (start + 1, end - 1) if found["quoted"] else (start, end)
        result.append(_Item("*", *inner))
        place = end
    return result + _words(text, place, len(text))


def _begins_sentence(text: str, place: int) -> bool:
    return _SENTENCE.search(text[:place]) is not None


def _words(text: str, start: int, end: int) -> list[_Item]:
    found = _WORD.finditer(text, start, end)
    return [_Item(word.group().lower(), word.start(), word.end()) for word in found]
