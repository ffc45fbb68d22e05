"""The tasks as a table for a reader: one row for each template."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from jitrl.worlds.pocket.tasks import tasks

__all__ = ["table"]

_KINDS = {"string_match": "answer", "url_match": "address", "program_html": "page"}


def table() -> str:
    """Return the table in Markdown, with a line break at its end."""
    grouped = groupby(tasks(), key=lambda task: task["intent_template_id"])
    rows = [_row(number, list(group)) for number, group in grouped]
    head = ["| template | tasks | site | intent | judged by |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _row(number: int, group: list[dict[str, Any]]) -> str:
    first, last = group[0]["task_id"], group[-1]["task_id"]
    kinds = dict.fromkeys(kind for task in group for kind in task["eval"]["eval_types"])
    impossible = sum(_impossible(task) for task in group)
    judged = " and ".join(_KINDS[kind] for kind in kinds)
    note = f" ({impossible} cannot be done)" if impossible else ""
    intent = group[0]["intent_template"]
    return _cells(number, f"{first}-{last}", group[0]["sites"][0], intent, judged + note)


def _impossible(task: dict[str, Any]) -> bool:
    return bool(task["eval"].get("reference_answer_raw_annotation") == "N/A")


def _cells(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
