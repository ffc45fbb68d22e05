"""The wiki: Skerra, an island that does not exist."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

from jitrl.worlds.pocket.content import choose, day, draw

__all__ = ["KINDS", "Article", "Edit", "articles"]

KINDS = {
    "Towns": "Aldervik, Brannhaven, Corriemouth, Dunmarrow, Eskerby, Fennholm, Garrow, Hollinsay",
    "Rivers": "Arn Water, Brathe, Long Culm, Dovey Burn, Elmet, Little Culm",
    "Hills": "Ben Tarrow, Cairn Hesk, Great Lum, Skelpie Top, Tor Marrick, Windy Neb",
    "Birds": "Ash Petrel, Skerran Dipper, Bell Plover, Marsh Linnet, Stone Tern, Lesser Auk",
    "People": "Ingrid Vale, Matthew Orrin, Sunniva Rask, Peter Dunmore, Hanne Brook, Aled Coyle",
}
REGIONS = ("Northreach", "Midland", "the Skerries", "Southmark")
EDITORS = ("Robin", "Heather", "Bramble", "Sorrel", "Linnet")
SUMMARIES = ("wording", "more detail", "spelling", "a source added", "tidied up")


@dataclass(frozen=True, slots=True)
class Edit:
    """One version of an article: number 1 is the first."""

    number: int
    author: str
    made: date
    summary: str


@dataclass(frozen=True, slots=True)
class Article:
    """A page of the wiki: facts are shown in a table of label and value."""

    title: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    text: str
    edits: tuple[Edit, ...]

    @property
    def address(self) -> str:
        """Return the last part of the address of its page."""
        return self.title.replace(" ", "_")

    def fact(self, label: str) -> str:
        """Return the value beside a label."""
        return dict(self.facts)[label]


def _names(kind: str) -> list[str]:
    return KINDS[kind].split(", ")


def _town(name: str) -> tuple[dict[str, str], str]:
    river, hill = choose(_names("Rivers"), "at", name), choose(_names("Hills"), "under", name)
    facts = {
        "Region": choose(REGIONS, "region", name),
        "Population": f"{draw(1100, 48000, 'population', name):,}",
        "Founded": str(draw(1080, 1790, "founded", name)),
        "Mayor": choose(_names("People"), "mayor", name),
        "Market day": choose(("Monday", "Tuesday", "Thursday", "Saturday"), "market", name),
    }
    text = (
        f"{name} is a town of Skerra, in {facts['Region']}. It lies on the [[{river}]], in "
        f"sight of [[{hill}]].\n\nIts fair brings visitors from the whole island. The mayor is "
        f"[[{facts['Mayor']}]]."
    )
    return facts, text


def _river(name: str) -> tuple[dict[str, str], str]:
    source, mouth = choose(_names("Hills"), "source", name), choose(_names("Towns"), "mouth", name)
    facts = {
        "Length": f"{draw(9, 140, 'length', name)} km",
        "Source": source,
        "Mouth": mouth,
        "Bridges": str(draw(2, 31, "bridges", name)),
    }
    return facts, (
        f"The {name} is a river of Skerra. It rises on [[{source}]] and reaches the sea at "
        f"[[{mouth}]].\n\nSalmon run in it from April to June."
    )


def _hill(name: str) -> tuple[dict[str, str], str]:
    climber = choose(_names("People"), "climber", name)
    facts = {
        "Height": f"{draw(410, 1390, 'height', name):,} m",
        "First ascent": str(draw(1801, 1909, "ascent", name)),
        "First climber": climber,
        "Rock": choose(("granite", "slate", "gabbro", "sandstone"), "rock", name),
    }
    return facts, (
        f"{name} is a hill of Skerra. The first to stand on it was [[{climber}]].\n\n"
        "Mist is common on its north side, and the path is marked with cairns."
    )


def _bird(name: str) -> tuple[dict[str, str], str]:
    town = choose(_names("Towns"), "colony", name)
    facts = {
        "Wingspan": f"{draw(18, 140, 'wingspan', name)} cm",
        "Eggs": str(draw(1, 9, "eggs", name)),
        "Colony": town,
        "Status": choose(("common", "scarce", "rare", "protected"), "bird", name),
    }
    return facts, (
        f"The {name} is a bird of Skerra. The largest colony breeds near [[{town}]].\n\n"
        "It feeds at low tide and nests under stones."
    )


def _person(name: str) -> tuple[dict[str, str], str]:
    town = choose(_names("Towns"), "born", name)
    facts = {
        "Born": str(draw(1931, 1989, "year", name)),
        "Birthplace": town,
        "Occupation": choose(("surveyor", "poet", "shipwright", "botanist"), "work", name),
        "Instrument": choose(("fiddle", "tin whistle", "accordion", "harp"), "plays", name),
    }
    return facts, (
        f"{name} is a {facts['Occupation']} from [[{town}]].\n\nThe collected letters fill "
        f"{draw(2, 12, 'letters', name)} volumes."
    )


_WRITERS = {"Towns": _town, "Rivers": _river, "Hills": _hill, "Birds": _bird, "People": _person}


def _edits(title: str) -> tuple[Edit, ...]:
    count = draw(2, 5, "edits", title)
    days = sorted(day(1, 700, "edited", title, n) for n in range(count))
    return tuple(
        Edit(
            number=n + 1,
            author=choose(EDITORS, "editor", title, n),
            made=days[n],
            summary=choose(SUMMARIES, "summary", title, n) if n else "first version",
        )
        for n in range(count)
    )


@cache
def articles() -> tuple[Article, ...]:
    """Return all articles, by kind."""
    found = []
    for kind, writer in _WRITERS.items():
        for title in _names(kind):
            facts, text = writer(title)
            found.append(Article(title, kind, tuple(facts.items()), text, _edits(title)))
    return tuple(found)
