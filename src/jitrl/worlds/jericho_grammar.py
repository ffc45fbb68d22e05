"""The grammar inside a story file: which templates mean the same action.

    templates(story, texts, width, better)   merge what the game itself cannot tell apart

"pick up OBJ", "pick OBJ up" and "take OBJ" end in one action of the game; trying each is waste. The
tables are read as the Z-Machine Standard (the dictionary, section 13) and the Inform Technical
Manual (grammar versions 1 and 2) describe them; Infocom's own games have a third form. A table that
cannot be read costs time, never actions: its templates stay apart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Template", "templates"]

_log = logging.getLogger(__name__)
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    " \n0123456789.,!?_#'\"/\\-:()",
)
_VERB, _PREPOSITION = 0x01, 0x08  # flags of a dictionary entry, Inform
_INFOCOM_VERB = 0x40
_NUMBER = 8  # Inform's token for a number: no noun can fill it
_MULTI = frozenset({2, 3, 4, 5})  # Inform's tokens that take "all"
_INFOCOM_MANY = 0x04

_Slot = tuple[int, ...]
_Token = frozenset[str] | _Slot  # the words that may stand there, or a slot for a thing
_Line = tuple[int, list[_Token]]


@dataclass(frozen=True, slots=True)
class Template:
    """A template ("put OBJ in OBJ"); `many`: whether its first thing may be "all"."""

    text: str
    many: bool


def templates(
    story: bytes,
    texts: Iterable[str],
    width: int,
    better: Callable[[str], tuple[int, int, int, str]],
) -> list[Template]:
    """Return one template for each action of the game that `texts` can express.

    Of several with the same action and kinds of slot the least by the key `better` is kept. `width`
    is the number of characters that the game's dictionary keeps of a word.
    """
    try:
        lines = _Story(story, width).grammar()
    except (IndexError, ValueError) as error:
        _log.warning("the grammar of this game cannot be read (%s): searching takes longer", error)
        lines = {}
    groups: dict[object, list[str]] = {}
    many: dict[str, bool] = {}
    for text in texts:
        verb, *rest = text.split()
        line = _match(rest, lines.get(verb[:width], []), width)
        slots = [token for token in line[1] if isinstance(token, tuple)] if line else []
        if any(_is_number(slot) for slot in slots):
            continue
        many[text] = line is None or (bool(slots) and _takes_all(slots[0]))
        key: object = (line[0], *slots) if line and slots else text
        groups.setdefault(key, []).append(text)
    kept = {min(group, key=better) for group in groups.values()}
    return [Template(text, many[text]) for text in sorted(kept)]


def _is_number(slot: _Slot) -> bool:
    return slot[-1] == _NUMBER and slot[0] == 1


def _takes_all(slot: _Slot) -> bool:
    if slot[0] == 0:
        return bool(slot[-1] & _INFOCOM_MANY)
    return slot[0] == 1 and slot[-1] in _MULTI


def _match(words: list[str], lines: list[_Line], width: int) -> _Line | None:
    for line in lines:
        if len(line[1]) == len(words) and all(
            isinstance(token, tuple) if word == "OBJ" else word[:width] in token
            for word, token in zip(words, line[1], strict=True)
        ):
            return line
    return None


class _Story:
    """A story file, as far as its dictionary and its grammar go."""

    def __init__(self, story: bytes, width: int) -> None:
        self._story = story
        self._infocom = story[0] <= 3
        start = self._word(0x08)
        start += 1 + story[start]
        size, count = story[start], self._word(start + 1)
        letters = 4 if self._infocom else 6
        self._words: dict[int, str] = {}
        self._data: dict[str, tuple[int, int, int]] = {}
        for at in range(start + 3, start + 3 + size * count, size):
            word = self._text(at, letters)[:width]
            flags, one, two = story[at + letters : at + letters + 3]
            self._words[at] = word
            self._data[word] = (flags, one, two)

    def grammar(self) -> dict[str, list[_Line]]:
        """Return the lines of each verb: the action's number, and what follows the verb."""
        table = self._word(0x0E)
        verbs: dict[str, int] = {}
        for word, (flags, one, two) in self._data.items():
            if flags & (_INFOCOM_VERB if self._infocom else _VERB):
                # Infocom's two low bits say whose datum comes first: 1 is the verb's
                verbs[word] = 255 - (two if self._infocom and flags & 3 != 1 else one)
        starts = [self._word(table + 2 * n) for n in range(max(verbs.values()) + 1)]
        in_eights = all(a + 1 + 8 * self._story[a] == b for a, b in pairwise(starts))
        if self._infocom:
            read = self._infocom_lines
        else:
            read = self._first_lines if in_eights else self._second_lines
        return {verb: list(read(starts[number])) for verb, number in verbs.items()}

    def _infocom_lines(self, at: int) -> Iterator[_Line]:
        for n in range(self._story[at]):
            line = self._story[at + 1 + 8 * n : at + 9 + 8 * n]
            tokens: list[_Token] = []
            for k in (0, 1):
                if line[1 + k]:
                    tokens.append(self._prepositions(line[1 + k]))
                if line[0] > k:
                    tokens.append((0, line[3 + k], line[5 + k]))
            yield line[7], tokens

    def _first_lines(self, at: int) -> Iterator[_Line]:
        for n in range(self._story[at]):
            line = self._story[at + 1 + 8 * n : at + 9 + 8 * n]
            tokens: list[_Token] = []
            slots = 0
            for token in line[1:7]:
                if token >= 180:
                    tokens.append(self._prepositions(token))
                elif slots < line[0]:
                    slots += 1
                    tokens.append((1, token))
            yield line[7], tokens

    def _second_lines(self, at: int) -> Iterator[_Line]:
        count, at = self._story[at], at + 1
        for _ in range(count):
            action, at = self._word(at), at + 2
            tokens: list[_Token] = []
            while self._story[at] != 15:
                kind, data = self._story[at], self._word(at + 1)
                at += 3
                if kind & 15 != 2:
                    tokens.append((kind & 15, data))
                    continue
                words = frozenset({self._words.get(data, "")})
                before = tokens[-1] if tokens else None
                if kind & 0x10 and isinstance(before, frozenset):
                    tokens[-1] = before | words  # "in"/"inside": either word may stand here
                else:
                    tokens.append(words)
            at += 1
            yield action, tokens

    def _prepositions(self, number: int) -> frozenset[str]:
        def datum(flags: int, one: int, two: int) -> int:
            return one if self._infocom and flags & 3 == 0 else two

        return frozenset(
            word
            for word, data in self._data.items()
            if data[0] & _PREPOSITION and datum(*data) == number
        )

    def _word(self, at: int) -> int:
        return self._story[at] << 8 | self._story[at + 1]

    def _text(self, at: int, size: int) -> str:
        """Decode a dictionary word of `size` bytes."""
        codes = [
            self._word(at + k) >> shift & 31 for k in range(0, size, 2) for shift in (10, 5, 0)
        ]
        out, alphabet, k = "", 0, 0
        while k < len(codes):
            code, k = codes[k], k + 1
            if code in (4, 5):
                alphabet = code - 3
                continue
            if alphabet == 2 and code == 6 and k + 1 < len(codes):
                out += chr(codes[k] << 5 | codes[k + 1])
                k += 2
            elif code >= 6:
                out += _ALPHABETS[alphabet][code - 6]
            alphabet = 0
        return out
