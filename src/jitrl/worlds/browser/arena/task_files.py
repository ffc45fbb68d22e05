"""WebArena's task files: read, chosen from, and filled with the addresses of the sites."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitrl.errors import InvalidValue, WorldError
from jitrl.worlds.browser.arena.sites import placeholder

__all__ = ["Config", "TaskFile", "choose", "fill", "needs_grader", "read", "sites_of"]

Config = Mapping[str, Any]
"""One task as its file describes it."""

_RANGE = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The tasks of a file by their numbers, in its order, and the SHA-256 of its bytes."""

    tasks: Mapping[int, Config]
    digest: str


def read(path: Path, number: str = "task_id", needs: Sequence[str] = ("start_url",)) -> TaskFile:
    """Read a task file: a JSON list of objects with sites, intent, eval and what `needs` names.

    number  the key that holds a task's number

    Raises WorldError for a file that is no such list.
    """
    wanted = (number, "sites", "intent", "eval", *needs)
    try:
        content = path.read_bytes()
        listed = json.loads(content)
        tasks = {task[number]: task for task in listed}
        lacking = [key for task in listed for key in wanted if key not in task]
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = getattr(error, "strerror", None) or error
        raise WorldError(f"no tasks can be read from {str(path)!r}: {why}") from error
    if not listed or lacking or len(tasks) != len(listed):
        why = f"a task lacks {lacking[0]!r}" if lacking else "it is empty or repeats a number"
        raise WorldError(f"no tasks can be read from {str(path)!r}: {why}")
    return TaskFile(tasks, hashlib.sha256(content).hexdigest())


def choose(
    which: str, tasks: Mapping[int, Config], named: Mapping[str, Sequence[int]] | None = None
) -> tuple[int, ...]:
    """Return the numbers of the tasks that `which` names, in the file's order.

    which  parts with commas between: "all", "17", "40-60", "site:shopping", "template:222",
           "odd", "even" (by their numbers: "site:map,-odd" is half of a site), "graded" (those
           whose score can depend on a grader), or one of the `named` sets; with a
           minus before it ("all,-site:map") a part says what is left out, wherever it stands. Sets
           may overlap; numbers and ranges name each task once
    Raises InvalidValue for a part that names no task or repeats one, and where no task is left.
    """
    sets = {"all": tuple(tasks), **(named or {})}
    sets |= {name: [n for n in tasks if n % 2 == r] for name, r in (("even", 0), ("odd", 1))}
    if graded := [number for number, task in tasks.items() if needs_grader(task)]:
        sets["graded"] = graded
    chosen: set[int] = set()
    left_out: set[int] = set()
    once: set[int | str] = set()
    for part in (part.strip() for part in which.split(",")):
        found = _part(part.removeprefix("-"), tasks, sets)
        if not found:
            raise InvalidValue("tasks", part, _rule(part.removeprefix("-"), tasks, sets))
        names = found if _RANGE.fullmatch(part) else (part,)
        for name in once.intersection(names):
            raise InvalidValue("tasks", which, f"must name each task once, not {name} twice")
        once.update(names)
        (left_out if part.startswith("-") else chosen).update(found)
    if not chosen:
        rule = "must name tasks, and not only what is left out"
        raise InvalidValue("tasks", which, f"{rule}: all,{which.strip()}")
    if chosen <= left_out:
        raise InvalidValue("tasks", which, "must name more tasks than it leaves out")
    return tuple(number for number in tasks if number in chosen - left_out)


def _rule(part: str, tasks: Mapping[int, Config], sets: Iterable[str]) -> str:
    """Return what a part that names no task must be."""
    if part.startswith("site:"):
        sites = sorted({site for task in tasks.values() for site in task["sites"]})
        return f"must name one of the sites {', '.join(sites)}"
    match = _RANGE.fullmatch(part)
    if match is not None and match[2] and int(match[1]) > int(match[2]):
        return f"must go up: {match[2]}-{match[1]}"
    known = ", ".join([*sets, "site:NAME", "template:N"])
    rule = f"must name tasks in {min(tasks)}-{max(tasks)}: numbers, ranges, {known}"
    return f"{rule}; with a minus before it, to be left out"


def _part(
    part: str, tasks: Mapping[int, Config], sets: Mapping[str, Sequence[int]]
) -> Sequence[int]:
    if part in sets:
        return sets[part]
    kind, colon, value = part.partition(":")
    if colon and kind == "site":
        return [n for n, task in tasks.items() if value in task["sites"]]
    if colon and kind == "template":
        return [n for n, task in tasks.items() if str(task.get("intent_template_id")) == value]
    match = _RANGE.fullmatch(part)
    if match is None:
        return ()
    first, last = int(match[1]), int(match[2] or match[1])
    # A range that ends beyond the file is a mistake; one that starts before it may be 0-811.
    return [n for n in tasks if first <= n <= last] if last <= max(tasks) else ()


def fill(config: Config, addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return a task with the placeholders of sites replaced by their addresses, in every text."""

    def filled(text: str) -> str:
        for label, address in addresses.items():
            text = text.replace(placeholder(label), address)
        return text

    return {key: _walk(value, filled) for key, value in config.items()}


def sites_of(config: Config, known: Sequence[str]) -> tuple[str, ...]:
    """Return the sites that a task needs an address of: those it lists, and those it refers to."""
    written = json.dumps(config)
    return tuple(
        label for label in known if label in config["sites"] or placeholder(label) in written
    )


def needs_grader(config: Config) -> bool:
    """Say whether a task's score can depend on what a grader, a language model, says."""
    rules = config["eval"]
    if not isinstance(rules, Mapping):
        return False  # WebArena-Verified's: they ask nobody
    targets = rules.get("program_html") or ()
    return "fuzzy_match" in (rules.get("reference_answers") or {}) or any(
        "fuzzy_match" in target["required_contents"] for target in targets
    )


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    match value:
        case str():
            return change(value)
        case list():
            return [_walk(part, change) for part in value]
        case dict():
            return {key: _walk(part, change) for key, part in value.items()}
        case _:
            return value
