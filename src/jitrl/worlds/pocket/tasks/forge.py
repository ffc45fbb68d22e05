"""Tasks on the Git host."""

from __future__ import annotations

from jitrl.worlds.pocket.content import code
from jitrl.worlds.pocket.tasks.judging import (
    FORGE,
    Template,
    Values,
    Verdict,
    address,
    answer,
    at,
    content,
    rows,
    text,
)

__all__ = ["TEMPLATES"]


def _project(name: str) -> code.Repository:
    (found,) = (each for each in code.repositories() if each.name == name)
    return found


def _issue(values: Values) -> code.Issue:
    (found,) = (
        each for each in _project(values["project"]).issues if each.title == values["title"]
    )
    return found


def _file(values: Values) -> Verdict:
    return address(f"{at(FORGE)}/{values['project']}/blob/main/{values['file']}")


def _issue_fact(values: Values) -> Verdict:
    found = _issue(values)
    facts = {"Author": code.PEOPLE[found.author], "Assignee": code.PEOPLE[found.assignee]}
    facts |= {"Label": found.label, "Opened on": f"{found.opened:%-d %B %Y}"}
    return answer(facts[values["label"]])


def _about(values: Values) -> Verdict:
    found = _project(values["project"])
    facts = {
        "Licence": found.licence,
        "Commits": str(len(found.commits)),
        "Open issues": str(sum(issue.state == "Open" for issue in found.issues)),
    }
    return answer(facts[values["label"]])


def _created(values: Values) -> Verdict:
    page = content("last", text("h1"), values["title"])
    url = address(f"{at(FORGE)}/{values['project']}/-/issues")
    return url | {
        "eval_types": ["url_match", "program_html"],
        "program_html": page["program_html"],
    }


def _invited(values: Values) -> Verdict:
    row = "[row.cells[0].innerText, row.cells[1].innerText].join(' ')"
    listed = f"[...document.querySelectorAll('.members tr')].map(row => {row})"
    return content(
        f"{at(FORGE)}/{values['project']}/-/project_members",
        f"{listed}.join('; ')",
        f"{values['user']} {values['role']}",
    )


def _closed(values: Values) -> Verdict:
    number = _issue(values).number
    url = f"{at(FORGE)}/{values['project']}/-/issues/{number}"
    state = "document.querySelector('.facts tr[data-label=\"State\"] td').outerText"
    return content(url, state, "Closed", exact=True)


def _status(values: Values) -> Verdict:
    row = "document.querySelector('.facts tr[data-label=\"Status\"] td').outerText"
    return content(f"{at(FORGE)}/-/profile", row, values["status"], exact=True)


TEMPLATES = (
    Template(
        FORGE,
        'Open the file "{{file}}" of the project "{{project}}".',
        _file,
        rows(
            "file project",
            "tides.py | tide-tables",
            "rings.py | bird-ringer",
            "fares.py | ferry-timetable",
            "oven.py | loaf-calculator",
        ),
    ),
    Template(
        FORGE,
        'In the project "{{project}}", what is the "{{label}}" of the issue "{{title}}"?',
        _issue_fact,
        rows(
            "project label title",
            "tide-tables | Assignee | Crash when the file is empty",
            "bird-ringer | Author | Say where the numbers come from",
            "ferry-timetable | Label | Wrong result on leap days",
            "loaf-calculator | Assignee | Add an option for output as JSON",
        ),
    ),
    Template(
        FORGE,
        'According to "About", what is the "{{label}}" of the project "{{project}}"?',
        _about,
        rows(
            "label project",
            "Licence | tide-tables",
            "Commits | loaf-calculator",
            "Open issues | bird-ringer",
        ),
    ),
    Template(
        FORGE,
        'Create an issue in the project "{{project}}" with the title "{{title}}".',
        _created,
        rows(
            "project title",
            "ferry-timetable | Winter boats are missing",
            "tide-tables | Add the harbour of Rye",
            "loaf-calculator | Rye needs more water",
        ),
    ),
    Template(
        FORGE,
        'Invite "{{user}}" to the project "{{project}}" as a "{{role}}".',
        _invited,
        rows(
            "user project role",
            "samir | bird-ringer | Developer",
            "keiko | ferry-timetable | Reporter",
            "rowan | loaf-calculator | Maintainer",
            "dmarsh | tide-tables | Developer",
        ),
    ),
    Template(
        FORGE,
        'Close the issue "{{title}}" of the project "{{project}}".',
        _closed,
        rows(
            "title project",
            "Say where the numbers come from | tide-tables",
            "Crash when the file is empty | loaf-calculator",
            "Wrong result on leap days | ferry-timetable",
        ),
    ),
    Template(
        FORGE,
        'Set the "Status" of my profile to "{{status}}".',
        _status,
        rows("status", "Out at sea", "Back on Monday", "Baking bread"),
    ),
)
