"""How a task is written: its template, its parameters, and what its evaluator is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ADMIN",
    "FORGE",
    "NOBODY",
    "SHOP",
    "WIKI",
    "Template",
    "Values",
    "Verdict",
    "address",
    "answer",
    "at",
    "content",
    "impossible",
    "rows",
    "said",
    "text",
    "verdict",
]

Values = Mapping[str, str]
Verdict = dict[str, Any]

SHOP, ADMIN, WIKI, FORGE = "shopping", "shopping_admin", "wikipedia", "gitlab"
NOBODY = "N/A"


@dataclass(frozen=True, slots=True)
class Template:
    """Tasks that differ only in their parameters.

    site       where it is done; `login`: as somebody who is signed in there
    intent     its text, with {{parameter}}
    judge      the parameters of an instance -> its `eval`
    instances  the parameters of each
    """

    site: str
    intent: str
    judge: Callable[[Values], Verdict]
    instances: tuple[Values, ...]
    login: bool = True


def verdict(*kinds: str, **parts: Any) -> Verdict:
    """Return an `eval` of these kinds; what is not given is empty."""
    empty: Verdict = {"reference_answers": None, "reference_url": "", "program_html": []}
    return {"eval_types": list(kinds), **empty, **parts}


def answer(text: str) -> Verdict:
    """Judge by an answer that must be exactly this."""
    return said(text, exact_match=text)


def said(note: str, **reference: Any) -> Verdict:
    """Judge by what the answer is, or includes."""
    return verdict(
        "string_match",
        reference_answers=reference,
        string_note="",
        reference_answer_raw_annotation=note,
    )


def impossible(why: str) -> Verdict:
    """Judge by whether it was seen that it cannot be done."""
    return said(NOBODY, fuzzy_match=NOBODY) | {"string_note": why}


def address(url: str) -> Verdict:
    """Judge by where the agent ends."""
    return verdict("url_match", reference_url=url, url_note="GOLD in PRED")


def content(url: str, locator: str, *required: str, exact: bool = False) -> Verdict:
    """Judge by what stands on a page: one that is opened, or the "last" of the agent."""
    wanted = {"exact_match": required[0]} if exact else {"must_include": list(required)}
    target = {"url": url, "locator": locator, "required_contents": wanted}
    return verdict("program_html", program_html=[target])


def at(site: str) -> str:
    """Return what stands for the address of a site."""
    return f"__{site.upper()}__"


def text(selector: str) -> str:
    """Return the locator of the text of an element."""
    return f"document.querySelector('{selector}').outerText"


def rows(names: str, *rows: str) -> tuple[Values, ...]:
    """Return parameters from rows of values between bars.

    >>> rows("a b", "1 | two words")
    ({'a': '1', 'b': 'two words'},)
    """
    return tuple(
        dict(zip(names.split(), (value.strip() for value in row.split("|")), strict=True))
        for row in rows
    )
