"""The Git host: repositories, issues, members."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache

from jitrl.worlds.pocket.content import choose, day, draw

__all__ = ["PEOPLE", "ROLES", "Commit", "Issue", "Repository", "repositories"]

PEOPLE = {
    "byteblaze": "Byte Blaze",
    "annika": "Annika Holt",
    "dmarsh": "Dylan Marsh",
    "keiko": "Keiko Abe",
    "rowan": "Rowan Teague",
    "samir": "Samir Haddad",
}
ROLES = ("Guest", "Reporter", "Developer", "Maintainer")
LABELS = ("bug", "question", "idea", "documentation")
_REPOSITORIES = {
    "tide-tables": ("High and low water for small harbours", "harbours.csv, tides.py, moon.py"),
    "bird-ringer": ("A notebook for ringing stations", "stations.csv, rings.py, export.py"),
    "ferry-timetable": (
        "Which boat leaves when and where",
        "boats.csv, timetable.py, fares.py",
    ),
    "loaf-calculator": ("Flour, water, salt and patience", "flours.csv, loaf.py, oven.py"),
}
_TITLES = (
    "Wrong result on leap days",
    "Say where the numbers come from",
    "Crash when the file is empty",
    "Add an option for output as JSON",
    "Rounding differs from the printed table",
    "Does it work on Python 3.13?",
    "Typo in the first paragraph",
    "Sort the list by name",
)
_CHANGES = ("Fix rounding", "Explain the columns", "Check for empty input", "Shorter names")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: the files it writes, by name."""

    author: str
    made: datetime
    message: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue; state "Open" or "Closed"."""

    number: int
    title: str
    author: str
    assignee: str
    label: str
    state: str
    opened: date


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with what stands around it; members by role."""

    name: str
    description: str
    commits: tuple[Commit, ...]
    issues: tuple[Issue, ...]
    members: tuple[tuple[str, str], ...]
    licence: str


def _issues(name: str) -> tuple[Issue, ...]:
    return tuple(
        Issue(
            number=number,
            title=title,
            author=choose(list(PEOPLE)[1:], "author", name, title),
            assignee=choose(list(PEOPLE), "assignee", name, title),
            label=choose(LABELS, "label", name, title),
            state="Open" if draw(1, 3, "state", name, title) > 1 else "Closed",
            opened=day(3, 400, "opened", name, number),
        )
        for number, title in enumerate(_TITLES, 1)
    )


def _source(name: str, file: str, version: int) -> str:
    if file.endswith(".csv"):
        rows = [f"row{n},{draw(1, 999, name, file, n)}" for n in range(4 + version)]
        return "\n".join(["name,value", *rows]) + "\n"
    part = file.removesuffix(".py")
    return (
        f'"""Part of {name}: {part}."""\n\nLIMIT = {draw(10, 99, name, file, version)}\n\n\n'
        f"def {part}(values):\n    return [value for value in values if value < LIMIT]\n"
    )


def _commits(name: str, licence: str) -> tuple[Commit, ...]:
    description, files = _REPOSITORIES[name]
    count = draw(4, 6, "commits", name)
    days = sorted(day(10, 600, "commit", name, n) for n in range(count))
    found = []
    for n in range(count):
        changed = {file: _source(name, file, n) for file in files.split(", ")}
        message = "First version"
        if n:
            file = choose(files.split(", "), "changes", name, n)
            changed = {file: changed[file]}
            message = f"{choose(_CHANGES, 'message', name, n)} in {file}"
        else:
            changed["README.md"] = f"# {name}\n\n{description}.\n"
            changed["LICENSE"] = f"{licence}\n"
        author = choose(list(PEOPLE), "committer", name, n)
        moment = datetime.combine(days[n], time(9 + n))
        found.append(Commit(author, moment, message, tuple(changed.items())))
    return tuple(found)


@cache
def repositories() -> tuple[Repository, ...]:
    """Return all repositories; the account of the visitors maintains each."""
    found = []
    for name, (description, _) in _REPOSITORIES.items():
        licence = choose(("MIT", "Apache-2.0", "BSD-3-Clause", "GPL-3.0"), "licence", name)
        others = [user for user in PEOPLE if draw(0, 2, "member", name, user) == 0]
        members = [("byteblaze", "Maintainer")] + [
            (user, choose(ROLES, "role", name, user)) for user in others if user != "byteblaze"
        ]
        found.append(
            Repository(
                name, description, _commits(name, licence), _issues(name), tuple(members), licence
            )
        )
    return tuple(found)
