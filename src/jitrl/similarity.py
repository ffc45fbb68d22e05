"""How similar two states are: the definition, slow and obviously right.

A state is a few named text fields. A field's text is cut into words, its n-grams of words are
compared by Jaccard similarity, and the fields are averaged by weight. (Eq. 24)

- A text shorter than n words is one n-gram, the whole text. Two empty texts have similarity 1, an
  empty and a non-empty one 0.
- A field absent on both sides is left out, and the weights of the others count in proportion;
  absent on one side it scores 0.
- A field that the specification does not name is compared like `UNNAMED`.
- Where no field that is present has a weight, the similarity is 1.

The index of a memory (`jitrl.memory.index`) must give the same numbers to the last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jitrl.records import State

Gram = tuple[str, ...]
_OPENING = "\"'`([{\u201c\u201d\u2018\u2019\u201e\u00ab\u00bb\u00bf\u00a1"
_CLOSING = ".,;:!?\u2026\"'`)]}\u201c\u201d\u2018\u2019\u00ab\u00bb"


@dataclass(frozen=True, slots=True)
class Field:
    """How one field of a state is compared.

    name      of the field
    weight    >= 0: its share in the average, relative to the other fields
    n         >= 1: words in an n-gram
    multiset  count repeated n-grams as often as they occur (Jaccard of multisets), or once
    minimum   a state whose field is less similar than this is no neighbour: similarity 0
    exact     the texts must be equal, or the similarity is 0
    """

    name: str
    weight: float = 1.0
    n: int = 1
    multiset: bool = True
    minimum: float | None = None
    exact: bool = False


UNNAMED = Field("", weight=0.7, n=4)
"""How a field is compared that the specification does not name."""


def words(text: str) -> list[str]:
    """Cut a text into words: split at white space, lower case, without punctuation at the edges.

    Prices, dates, signed or compared numbers survive; a word of punctuation alone is kept.

    >>> words('Pay $3.50 (or "more") by 2026-11-23, please: -10 !')
    ['pay', '$3.50', 'or', 'more', 'by', '2026-11-23', 'please', '-10', '!']
    """
    return [word.lstrip(_OPENING).rstrip(_CLOSING) or word for word in text.casefold().split()]


def grams(text: str, n: int) -> Counter[Gram]:
    """Return the n-grams of words of a text with their number of occurrences.

    >>> grams("to be or not to be", 2).most_common(1)
    [(('to', 'be'), 2)]
    """
    sequence = words(text)
    if not sequence:
        return Counter()
    if len(sequence) <= n:
        return Counter([tuple(sequence)])
    return Counter(tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1))


def jaccard(a: str, b: str, n: int, multiset: bool) -> float:
    """Return the size of the intersection over the size of the union of the texts' n-grams."""
    left, right = grams(a, n), grams(b, n)
    if not multiset:
        left, right = Counter(set(left)), Counter(set(right))
    union = (left | right).total()
    return (left & right).total() / union if union else 1.0


def specification(fields: Sequence[Field], names: Iterable[str]) -> list[Field]:
    """Return the fields to compare: those specified, in order, then the unnamed ones, by name."""
    named = {field.name for field in fields}
    return [*fields, *(replace(UNNAMED, name=name) for name in sorted(set(names) - named))]


def similarity(a: State, b: State, fields: Sequence[Field]) -> float:
    """Return the similarity of two states in [0, 1]; symmetric, and 1 for equal states.

    >>> kitchen, cellar = State(room="a dark wet kitchen"), State(room="a dark wet cellar")
    >>> similarity(kitchen, cellar, [Field("room", n=1)])
    0.6
    """
    total = weight = 0.0
    for field in specification(fields, {*a, *b}):
        if field.name not in a and field.name not in b:
            continue
        if field.name not in a or field.name not in b:
            score = 0.0
            equal = False
        else:
            score = jaccard(a[field.name], b[field.name], field.n, field.multiset)
            equal = a[field.name] == b[field.name]
        if (field.exact and not equal) or (field.minimum is not None and score < field.minimum):
            return 0.0
        total += field.weight * score
        weight += field.weight
    return total / weight if weight else 1.0
