"""Steps and episodes of a run as lines of strict JSON, and back.

JSON has no nan and no infinity: nan is written as null, the infinities as "inf" and "-inf".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jitrl.agents.carrier import Note
from jitrl.agents.player import Played
from jitrl.records import ActionValue, Decision, Experience, Observation, State, Values

PLACE = re.compile(rb'\{"episode":(\d+),"id":"[^"]*","t":(\d+),')
"""What the line of a step begins with: its episode and its place in it."""
_NEIGHBOUR = ("episode", "t", "similarity", "action", "return", "task")


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One step of a run, as its line tells it.

    episode, id, t  the episode's number, the id under which it is stored, the step's place in it
    decision        neighbours without their states, which are to be found where they come from
    reward, score   of this step, and the world's score after it
    start_score     the world's score when the episode began
    terminated      the world ended with this step
    text            what the world printed after it
    opening         what the world had printed before it; kept with the first step of an episode
    reason          what went wrong with this step, where something did
    """

    episode: int
    id: str
    t: int
    decision: Decision
    reward: float
    score: float
    start_score: float
    terminated: bool
    text: str = ""
    opening: str = ""
    reason: str = ""


def dumps(value: object) -> str:
    """Return one line of strict JSON; raises ValueError for a number that is not finite."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def step_line(
    number: int, id: str, t: int, first: Observation, decision: Decision, after: Observation
) -> str:
    """Return the line of one step: the decision, and what the world made of it.

    first  what the world showed when the episode began
    """
    begin = {"opening": first.text} if t == 0 else {}
    wrong = {"reason": after.reason} if after.reason else {}
    return dumps(
        {
            "episode": number,
            "id": id,
            "t": t,
            "action": decision.action,
            "reward": after.reward,
            "score": after.score,
            "start_score": first.score,
            "terminated": after.terminated,
            "state": dict(decision.state),
            "before": dict(decision.before),
            "after": dict(decision.after),
            "kl": plain(decision.kl),
            "beta": decision.beta,
            "temperature": decision.temperature,
            "V": plain(decision.values.V),
            "values": {
                action: plain([value.Q, value.n, value.uncertainty, value.advantage])
                for action, value in decision.values.actions.items()
            },
            "neighbours": [
                [step.episode, step.t, step.similarity, step.action, step.return_, step.task]
                for step in decision.neighbours
            ],
            "joined": decision.joined,
            "abstained": decision.abstained,
            "changed": decision.changed,
            **({"without": decision.without} if decision.changed else {}),
            "guarantee": decision.guarantee,
            "outside": plain(decision.outside),
            "samples": decision.samples,
            "text": after.text,
            **begin,
            **wrong,
        }
    )


def judged_line(
    number: int, id: str, scores: Sequence[float | None], provenance: Mapping[str, str]
) -> str:
    """Return the line of what a judge made of an episode: a score a step, None for none."""
    line = {"episode": number, "id": id, "scores": list(scores), "provenance": dict(provenance)}
    return dumps(line)


def read_judged(line: str | bytes) -> tuple[int, list[float | None]]:
    """Return the episode and the scores of one line; raises as `read_step` for another line."""
    got = json.loads(line)
    return int(got["episode"]), [None if s is None else number(s) for s in got["scores"]]


def carried_line(number: int, id: str, task: str, note: Note) -> str:
    """Return the line of what is carried on, in words, from an episode."""
    return dumps({"episode": number, "id": id, "task": task, "note": note})


def read_carried(line: str | bytes) -> tuple[int, str, Note]:
    """Return the episode, its task and the note of one line; raises as `read_step`."""
    got = json.loads(line)
    if not isinstance(got["task"], str) or not isinstance(got["note"], dict | None):
        raise TypeError(f"no note of an episode: {got!r}")
    return int(got["episode"]), got["task"], got["note"]


def step_prefix(number: int, id: str, t: int) -> bytes:
    """Return what the line of that step, and no other, begins with."""
    return (dumps({"episode": number, "id": id, "t": t})[:-1] + ",").encode()


def read_step(line: str | bytes) -> LoggedStep:
    """Return the step of one line; raises ValueError, KeyError or TypeError for another line."""
    got = json.loads(line)
    values = {
        action: ActionValue(number(Q), n, number(uncertainty), number(advantage))
        for action, (Q, n, uncertainty, advantage) in got["values"].items()
    }
    decision = Decision(
        state=State(**got["state"]),
        action=got["action"],
        before={action: number(p) for action, p in got["before"].items()},
        after={action: number(p) for action, p in got["after"].items()},
        kl=number(got["kl"]),
        beta=number(got["beta"]),
        temperature=number(got["temperature"]),
        values=Values(number(got["V"]), values),
        neighbours=tuple(_neighbour(row) for row in got["neighbours"]),
        joined=tuple(got["joined"]),
        abstained=got["abstained"],
        changed=got["changed"],
        without=got.get("without", "") if got["changed"] else got["action"],
        guarantee=got["guarantee"],
        outside=number(got.get("outside")),
        samples=got.get("samples", 0),
    )
    return LoggedStep(
        episode=got["episode"],
        id=got["id"],
        t=got["t"],
        decision=decision,
        reward=number(got["reward"]),
        score=number(got["score"]),
        start_score=number(got["start_score"]),
        terminated=got["terminated"],
        text=got.get("text", ""),
        opening=got.get("opening", ""),
        reason=got.get("reason", ""),
    )


def episode_line(played: Played) -> str:
    """Return the line of one finished episode, or of an attempt that never began."""
    told = asdict(played)
    for name in ("unbegun", "unlearned"):  # which is told where it is so
        if not told[name]:
            del told[name]
    return dumps(plain(told))


def read_episode(line: str | bytes) -> Played:
    """Return the episode of one line; raises ValueError, KeyError or TypeError for another line."""
    got = json.loads(line)
    for name in ("score", "start_score", "kl"):
        got[name] = number(got[name])
    for name in ("number", "steps", "changed", "abstained"):
        if not isinstance(got[name], int):
            raise TypeError(f"{name} is no whole number: {got[name]!r}")
    for name in ("task", "reason"):
        if not isinstance(got.get(name, ""), str):
            raise TypeError(f"{name} is no text: {got[name]!r}")
    if not isinstance(got.get("unlearned", False), bool):
        raise TypeError(f"unlearned is neither true nor false: {got['unlearned']!r}")
    if not isinstance(unbegun := got.get("unbegun", False), bool) or (unbegun and got["steps"]):
        raise TypeError(f"unbegun does not fit {got['steps']} steps: {unbegun!r}")
    got["seconds"] = {name: number(spent) for name, spent in got["seconds"].items()}
    return Played(**got)


def plain(value: object) -> object:
    """Return the value in terms of JSON: nan as None, infinities as texts, tuples as lists."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {key: plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    return value


def number(value: object) -> float:
    """Return the float that JSON value stands for; raises TypeError or ValueError for no number."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"no number: {value!r}")
    return float(value)


def _neighbour(row: list[Any]) -> Experience:
    got = dict(zip(_NEIGHBOUR, row, strict=True))
    return Experience(
        similarity=number(got["similarity"]),
        state=State(),
        action=got["action"],
        return_=number(got["return"]),
        episode=got["episode"],
        t=got["t"],
        task=got["task"],
    )
