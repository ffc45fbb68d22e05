"""The tasks of the pocket web, in the format of WebArena's own task file.

Answers are computed from the content, never typed in. `tasks.json` is what `tasks` returns;
write it anew with `python -m jitrl.worlds.pocket tasks`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jitrl.worlds.pocket.tasks import admin, forge, shop, wiki
from jitrl.worlds.pocket.tasks.judging import Template, Values, at

__all__ = ["FILE", "TEMPLATES", "tasks", "written"]

FILE = Path(__file__).parent.parent / "tasks.json"
TEMPLATES = (*shop.TEMPLATES, *admin.TEMPLATES, *wiki.TEMPLATES, *forge.TEMPLATES)


def _filled(intent: str, values: Values) -> str:
    for name, value in values.items():
        intent = intent.replace(f"{{{{{name}}}}}", value)
    return intent


def _entries() -> Iterable[tuple[int, Template, Values]]:
    for number, template in enumerate(TEMPLATES):
        for values in template.instances:
            yield number, template, values


def tasks() -> list[dict[str, Any]]:
    """Return all tasks, in the order of their numbers."""
    return [
        {
            "sites": [template.site],
            "task_id": task_id,
            "require_login": template.login,
            "storage_state": f"./.auth/{template.site}_state.json" if template.login else None,
            "start_url": at(template.site),
            "geolocation": None,
            "intent_template": template.intent,
            "instantiation_dict": dict(values),
            "intent": _filled(template.intent, values),
            "require_reset": False,
            "eval": template.judge(values),
            "intent_template_id": number,
        }
        for task_id, (number, template, values) in enumerate(_entries())
    ]


def written() -> str:
    """Return the task file as text."""
    return json.dumps(tasks(), indent=1, ensure_ascii=False) + "\n"
