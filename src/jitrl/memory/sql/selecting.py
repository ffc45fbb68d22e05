"""Which episodes a selection means, looked up row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from jitrl.memory.contract import Selection
from jitrl.memory.sql import rows, tables
from jitrl.memory.sql.rows import Line
from jitrl.memory.sql.schema import Sql


class Chooser:
    """Says of each episode whether it is meant, and remembers which states hold the text."""

    def __init__(self, selection: Selection) -> None:
        self._wanted = selection
        self._escaped = json.dumps(selection.text or "")[1:-1]
        self._states: dict[int, bool] = {}

    def meant(self, db: Sql, line: Line) -> bool:
        """Return whether all that is asked for holds."""
        wanted = self._wanted
        return (
            wanted.id in (None, line.id)
            and wanted.task in (None, line.task)
            and wanted.run in (None, line.run)
            and wanted.source in (None, line.source)
            and (wanted.since is None or line.stored >= wanted.since)
            and (wanted.until is None or line.stored < wanted.until)
            and (wanted.text is None or self._holds_text(db, line))
        )

    def _holds_text(self, db: Sql, line: Line) -> bool:
        steps = tables.steps(db, line)
        actions = {row[2] for row in steps}
        objects = {line.provenance}.union(*((row[5], row[6]) for row in steps))
        states: set[int] = {row[1] for row in steps}
        if line.final_state is not None:
            states.add(line.final_state)
        return (
            self._among((line.id, line.task, *actions))
            or any(self._inside(stored, line.number) for stored in objects)
            or any(self._in_state(db, number) for number in states)
        )

    def _among(self, texts: Iterable[str]) -> bool:
        return any((self._wanted.text or "") in text for text in texts)

    def _inside(self, stored: str, number: int) -> bool:
        """Look into the names and texts of a JSON object."""
        if self._escaped not in stored:  # what is in a text is so in its escaped form
            return False
        try:
            value = rows.mapping(stored, object)
        except (TypeError, ValueError, RecursionError) as error:
            raise rows.Damage(f"episode {number}: {error}") from error
        return self._among((*value, *(held for held in value.values() if isinstance(held, str))))

    def _in_state(self, db: Sql, number: int) -> bool:
        if number not in self._states:
            state = tables.sure_state(db, number)
            self._states[number] = self._among((*state, *state.values()))
        return self._states[number]


def chosen(db: Sql, selection: Selection, upto: int) -> Iterator[Line]:
    """Iterate over the episodes that are meant, within one transaction."""
    chooser = Chooser(selection)
    for line in tables.every_line(db, upto):
        if chooser.meant(db, line):
            yield line
