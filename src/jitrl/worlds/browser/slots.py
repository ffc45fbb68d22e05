"""What of a task's text an action used, so that it is used again from another task's text.

A task such as 'Enter the username "bob" and the password "x1"' has parameters: here two quoted
words. An action that typed one of them is remembered with a slot instead, named by the words
around it, `the username _ and the`; between the same words of another task stands what to type
there. `^` and `$` are the ends of the text, `*` is a neighbouring parameter.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

from jitrl.worlds.browser.language import Lookup, Text, joined

__all__ = ["Slots"]

_REACH = 2  # words of context on either side
_LONGEST = 12  # items that a slot may hold
_HIGHEST = 5  # slots of one context
_SHORTEST = 3  # characters of a parameter that is sought inside a longer name
_GAP = " _ "  # between the words of a context; no word is one underscore

# No pattern may look far ahead from every character: a text may be long. Hence the bounds.
_QUOTED = (
    r'(?<!\w)"[^"\n]*"(?!\w)|“[^“”\n]*”'
    r"|(?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w))+'(?!\w)|(?<!\w)‘(?:[^‘’\n]|(?<=\w)’(?=\w))+’(?!\w)"
)
_ADDRESS = (
    r"https?://[^\s\"'<>]+[^\s\"'<>.,;:!?)]"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+|(?<!\w)[@#]\w+"
)
_NUMBERED = (
    r"(?<![\w@#$€£])[+-]?[@#$€£]?(?=\w)"
    r"(?:[^\W_]|[_.,:/%@+-](?=\w)){0,60}\d(?:[^\W_]|[_.,:/%@+-](?=\w))*%?"
)
_LARGE = "A-ZÀ-ÖØ-ÞΑ-ΩЀ-Я"
# The 's of "Bob's" is no part of the name.
_CAPITAL = rf"[{_LARGE}]\w*(?:(?![’'][sS]\b)[’'&-]\w+)*"
_NAME = rf"(?<!\w){_CAPITAL}(?:[^\S\n]+(?:of\s+|of\s+the\s+|&\s+)?{_CAPITAL})*"
_PARAMETER = re.compile(f"(?P<quoted>{_QUOTED})|{_ADDRESS}|{_NUMBERED}|(?P<name>{_NAME})")
_WORD = re.compile(r"\w+(?:['’.-]\w+)*")


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
        self._keys = [item.key for item in self._items]
        self._begins = {item.start: place for place, item in enumerate(self._items)}
        self._closes = {item.end: place for place, item in enumerate(self._items)}
        self._after, self._before = self._contexts()
        self._found: dict[str, list[str]] = {}

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The values of the parameters, in their order, each once."""
        found = (self.text[i.start : i.end] for i in self._items if i.key == "*")
        return tuple(dict.fromkeys(value for value in found if value.strip()))

    def typed(self, value: str) -> Text:
        """Return a typed value as a slot, if it stands in the task's text; else as it is."""
        slot = self._slot(value)
        return Text((value,)) if slot is None else Text((slot,))

    def named(self, name: str) -> Text:
        """Return a name on the page with slots for the parameters that are in it.

        A shorter parameter than three characters only counts where it is the whole name.
        """
        slot = self._slot(name, parameters=True)
        if slot is not None:
            return Text((slot,))
        within = [v for v in self.parameters if len(v) >= _SHORTEST and v in name]
        if not within:
            return Text((name,))
        within.sort(key=len, reverse=True)
        parts: list[str | Lookup] = []
        place = 0
        for found in re.finditer(rf"(?<!\w)(?:{'|'.join(map(re.escape, within))})(?!\w)", name):
            slot = self._slot(found.group(), parameters=True)
            if slot is not None:
                parts += [name[place : found.start()], slot]
                place = found.end()
        return joined(*parts, name[place:])

    def filled(self, slot: Lookup) -> str | None:
        """Return what the task's text has for a slot, None where it has nothing."""
        key = str(slot.key)
        if key not in self._found:
            left, found, right = key.partition(_GAP)
            self._found[key] = self._between(left.split(), right.split()) if found else []
        values = self._found[key]
        return values[slot.nth - 1] if slot.nth <= len(values) else None

    def _slot(self, value: str, *, parameters: bool = False) -> Lookup | None:
        """Return a slot that this text fills with `value`, None where there is none.

        parameters  only one that begins and ends with a parameter
        """
        for rank, first, last in sorted(self._places(value)):
            if parameters and rank > 1:
                return None
            left = " ".join(self._keys[max(0, first - _REACH) : first]) or "^"
            right = " ".join(self._keys[last + 1 : last + 1 + _REACH]) or "$"
            for nth in range(1, _HIGHEST + 1):
                slot = Lookup("task", left + _GAP + right, nth)
                if self.filled(slot) == value:
                    return slot
        return None

    def _places(self, value: str) -> list[tuple[int, int, int]]:
        """Return where the text has a value, as (rank, first item, last item).

        rank  0 for a parameter, 1 for what begins and ends with one, 2 for other words
        """
        result = []
        start = self.text.find(value) if value.strip() else -1
        while start >= 0:
            first = self._begins.get(start)
            last = self._closes.get(start + len(value))
            if first is not None and last is not None and first <= last < first + _LONGEST:
                ends = self._keys[first], self._keys[last]
                result.append((2 if ends != ("*", "*") else int(first < last), first, last))
            start = self.text.find(value, start + 1)
        return result

    def _contexts(self) -> tuple[dict[tuple[str, ...], list[int]], ...]:
        """Return which items follow some words, and before which places others stand."""
        after: dict[tuple[str, ...], list[int]] = {(): [0]}
        before: dict[tuple[str, ...], list[int]] = {(): [len(self._items)]}
        for place in range(len(self._items) + 1):
            for length in range(1, _REACH + 1):
                if place >= length:
                    after.setdefault(tuple(self._keys[place - length : place]), []).append(place)
                if place + length <= len(self._items):
                    before.setdefault(tuple(self._keys[place : place + length]), []).append(place)
        return after, before

    def _between(self, left: list[str], right: list[str]) -> list[str]:
        """Return what stands between the words of a context, in the order of the text."""
        starts = self._after.get(tuple(w for w in left if w != "^"), [])
        ends = self._before.get(tuple(w for w in right if w != "$"), [])
        if len(ends) < len(starts):  # only those near an end
            near = (
                starts[bisect_left(starts, e - _LONGEST) : bisect_left(starts, e)] for e in ends
            )
            starts = sorted({start for found in near for start in found})
        values: list[str] = []
        for start in starts:
            place = bisect_left(ends, start + 1)
            if place < len(ends) and ends[place] - start <= _LONGEST:
                first, last = self._items[start], self._items[ends[place] - 1]
                values.append(self.text[first.start : last.end])
            if len(values) == _HIGHEST:
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
    end = place
    while end and text[end - 1].isspace():
        end -= 1
    return end == 0 or "\n" in text[end:place] or (end < place and text[end - 1] in ".!?:")


def _words(text: str, start: int, end: int) -> list[_Item]:
    found = _WORD.finditer(text, start, end)
    return [
        _Item(word.group().lower(), word.start(), word.end())
        for word in found
        if word.group() != "_"
    ]
