"""An episode as one line of strict JSON, and back: the same to the last bit, or refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from jitrl.checks import count, finite, text
from jitrl.errors import InvalidValue
from jitrl.records import Episode, State, Step

_EPISODE = ("id", "task", "steps", "terminated", "final_state", "provenance")
_STEP = (
    *("state", "action", "reward", "behaviour_logprob", "before", "after"),
    *("changed", "preset", "seed", "judged"),
)
_T = TypeVar("_T")


def dumps(episode: Episode) -> str:
    """Return an episode as one line, without a line break; names keep their order.

    Raises InvalidValue for what `loads` would refuse.
    """
    value = {
        "id": text("id", episode.id),
        "task": text("task", episode.task),
        "steps": [_of_step(f"steps[{t}]", step) for t, step in enumerate(episode.steps)],
        "terminated": bool(episode.terminated),
        "final_state": _or_none(_texts, "final_state", episode.final_state),
        "provenance": _texts("provenance", episode.provenance),
    }
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def loads(line: str | bytes) -> Episode:
    """Return the episode of one line.

    Raises InvalidValue, which names the place, for anything but what `dumps` writes: other keys,
    a key twice, another type, a number that is not finite.
    """
    value = exactly("episode", strict(line), _EPISODE)
    return Episode(
        id=text("id", value["id"]),
        task=text("task", value["task"]),
        steps=tuple(
            _step(f"steps[{t}]", held) for t, held in enumerate(_of(list, "steps", value["steps"]))
        ),
        terminated=_of(bool, "terminated", value["terminated"]),
        final_state=_or_none(_state, "final_state", value["final_state"]),
        provenance=_texts("provenance", value["provenance"]),
    )


def strict(line: str | bytes) -> object:
    """Return what a JSON text says; raises InvalidValue for a key twice, or what is no JSON.

    A number may be nan or infinite: whoever takes it checks it, and knows its place.
    """
    try:
        text = line.decode() if isinstance(line, bytes) else line
        return json.loads(text, object_pairs_hook=_object)
    except InvalidValue:
        raise
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError, too
        raise InvalidValue("line", line[:80], f"must be strict JSON ({error})") from error


def exactly(name: str, value: object, keys: Collection[str]) -> dict[str, Any]:
    """Return `value` if it is an object with these keys and no others."""
    held: dict[str, Any] = _of(dict, name, value)
    if held.keys() != set(keys):
        odd = sorted(held.keys() ^ set(keys))
        raise InvalidValue(name, odd, f"must have the keys {', '.join(keys)} and no others")
    return held


def _of_step(name: str, step: Step) -> dict[str, object]:
    return {
        "state": _texts(f"{name}.state", step.state),
        "action": text(f"{name}.action", step.action),
        "reward": finite(f"{name}.reward", step.reward),
        "behaviour_logprob": finite(f"{name}.behaviour_logprob", step.behaviour_logprob),
        "before": _numbers(f"{name}.before", step.before),
        "after": _numbers(f"{name}.after", step.after),
        "changed": bool(step.changed),
        "preset": text(f"{name}.preset", step.preset),
        "seed": count(f"{name}.seed", step.seed),
        "judged": _or_none(finite, f"{name}.judged", step.judged),
    }


def _step(name: str, value: object) -> Step:
    held = exactly(name, value, _STEP)
    return Step(
        state=_state(f"{name}.state", held["state"]),
        action=text(f"{name}.action", held["action"]),
        reward=finite(f"{name}.reward", held["reward"]),
        behaviour_logprob=finite(f"{name}.behaviour_logprob", held["behaviour_logprob"]),
        before=_numbers(f"{name}.before", held["before"]),
        after=_numbers(f"{name}.after", held["after"]),
        changed=_of(bool, f"{name}.changed", held["changed"]),
        preset=text(f"{name}.preset", held["preset"]),
        seed=count(f"{name}.seed", held["seed"]),
        judged=_or_none(finite, f"{name}.judged", held["judged"]),
    )


def _state(name: str, value: object) -> State:
    return State(**_texts(name, value))


def _texts(name: str, value: object) -> dict[str, str]:
    return _each(text, name, value)


def _numbers(name: str, value: object) -> dict[str, float]:
    return _each(finite, name, value)


def _each(of: Callable[[str, Any], _T], name: str, value: object) -> dict[str, _T]:
    """Return an object with its keys and its values checked."""
    if not isinstance(value, Mapping):
        raise InvalidValue(name, value, "must be an object")
    found = {}
    for key, held in value.items():
        text(f"a name in {name}", key)
        try:
            found[key] = of(name, held)
        except InvalidValue as error:
            raise InvalidValue(f"{name}[{key[:40]!r}]", error.value, error.rule) from error
    return found


def _or_none(of: Callable[[str, Any], _T], name: str, value: object) -> _T | None:
    return None if value is None else of(name, value)


def _of(kind: type[_T], name: str, value: object) -> _T:
    if not isinstance(value, kind):
        what = {dict: "an object", list: "a list", bool: "true or false"}
        raise InvalidValue(name, value, f"must be {what[kind]}")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    held = dict(pairs)
    if len(held) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise InvalidValue("key", twice, "must be there once in an object")
    return held
