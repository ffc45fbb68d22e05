"""Tasks in the wiki."""

from __future__ import annotations

from jitrl.worlds.pocket.content import land
from jitrl.worlds.pocket.tasks.judging import (
    NOBODY,
    WIKI,
    Template,
    Values,
    Verdict,
    address,
    answer,
    at,
    content,
    rows,
    said,
)

__all__ = ["TEMPLATES"]


def _wiki_fact(values: Values) -> Verdict:
    for article in land.articles():
        if article.title == values["title"]:
            return answer(article.fact(values["label"]))
    return said(NOBODY, exact_match=NOBODY)


def _at_mouth(values: Values) -> Verdict:
    found = {article.title: article for article in land.articles()}
    return answer(found[found[values["river"]].fact("Mouth")].fact(values["label"]))


def _history(values: Values) -> Verdict:
    return address(f"{at(WIKI)}/wiki/{values['title'].replace(' ', '_')}/history")


def _page_fact(values: Values) -> Verdict:
    (found,) = (article for article in land.articles() if article.title == values["title"])
    first, last = found.edits[0], found.edits[-1]
    facts = {"Page creator": first.author, "Latest editor": last.author}
    return answer((facts | {"Number of edits": str(len(found.edits))})[values["label"]])


def _edited(values: Values) -> Verdict:
    row = f"document.querySelector('.box tr[data-label=\"{values['label']}\"] td').outerText"
    return content("last", row, values["value"], exact=True)


TEMPLATES = (
    Template(
        WIKI,
        'According to the wiki, what is the "{{label}}" of "{{title}}"?',
        _wiki_fact,
        rows(
            "label title",
            "Population | Eskerby",
            "Height | Cairn Hesk",
            "Length | Long Culm",
            "Wingspan | Stone Tern",
            "Occupation | Sunniva Rask",
            "Mayor | Garrow",
            "Founded | Little Wexby",
        ),
        login=False,
    ),
    Template(
        WIKI,
        'What is the "{{label}}" of the town at the "Mouth" of the river "{{river}}"?',
        _at_mouth,
        rows("label river", "Population | Dovey Burn", "Founded | Brathe", "Mayor | Arn Water"),
        login=False,
    ),
    Template(
        WIKI,
        'Show me the "History" of the wiki article "{{title}}".',
        _history,
        rows("title", "Dovey Burn", "Bell Plover", "Hollinsay"),
        login=False,
    ),
    Template(
        WIKI,
        'What does the "Page information" of the wiki article "{{title}}" say is its "{{label}}"?',
        _page_fact,
        rows(
            "label title",
            "Page creator | Windy Neb",
            "Number of edits | Brannhaven",
            "Latest editor | Marsh Linnet",
        ),
        login=False,
    ),
    Template(
        WIKI,
        'In the wiki, change the "{{label}}" of "{{title}}" to "{{value}}". Your username is '
        '"Robin", your password "heron-heron".',
        _edited,
        rows(
            "label title value",
            "Bridges | Elmet | 14 and a ford",
            "Market day | Fennholm | Friday",
            "Height | Great Lum | 1,002 m",
        ),
        login=False,
    ),
)
