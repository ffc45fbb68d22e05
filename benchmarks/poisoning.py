"""How far poisoned episodes move the decisions of a learner that shares its memory.

    python benchmarks/poisoning.py [--seeds 20] [--attacks one split ...] [--out FILE]

A memory of 100 honest episodes by 20 runs: a chain of four rooms with four actions each, of which
one leads on (reward 0.25), one ends the episode, two do nothing; twelve steps; the base policy is
near uniform. The runs learned apart and were merged, or (--together) shared the memory all along.
Then n episodes are added that nobody played: in the first, third ... the action that ends it earns
1e6 in every room, in the others the one that leads on earns -1e6.

    one        all from one source
    split      from as many sources as episodes, up to ten
    impostor   all under the name of an honest run
    lookalike  one source; rooms spelt a little otherwise (similarity 1), newer than the honest ones
    alone      one source; rooms that nobody else ever visited, and that are decided in

Decisions are then taken with each bound, and compared with those of the same learner with the
honest memory alone. Averages over the rooms; 95 % intervals (Student's t) over the seeds. No model.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jitrl import Candidate, Learner, State
from jitrl.bench.statistics import interval
from jitrl.memory import SqliteMemory
from jitrl.records import Decision, Episode, Step
from jitrl.seeds import generator
from jitrl.update import kl

ROOMS, STEPS, RUNS, EPISODES = 4, 12, 20, 5
LEVELS = (0, 1, 5, 10, 50)
KINDS = ("on", "worst", "idle", "wait")
CLIP: dict[str, object] = {"reward_range": (0.0, 0.25), "return_range": (0.0, 1.0)}
SHARED: dict[str, object] = {**CLIP, "source_share": 0.25}
ARMS: dict[str, dict[str, object]] = {
    "no bounds": {},
    "clip": CLIP,
    "share 0.5": {"source_share": 0.5},
    "share 0.25": {"source_share": 0.25},
    "KL 0.1": {"kl_budget": 0.1},
    "KL 0.5": {"kl_budget": 0.5},
    "clip, share 0.25": SHARED,
    "clip, share 0.25, KL 0.1": {**SHARED, "kl_budget": 0.1},
    "clip, share 0.25, KL 0.5": {**SHARED, "kl_budget": 0.5},
    "clip, k = None": {**CLIP, "k": None},
    "clip, share 0.25, k = None": {**SHARED, "k": None},
    "clip, share 0.25, KL 0.5, k = None": {**SHARED, "kl_budget": 0.5, "k": None},
}
METRICS = {
    "worst": "probability of the worst action",
    "moved": "total variation from the decision with the honest memory",
    "divergence": "KL in nats from the decision with the honest memory",
    "base": "KL in nats from the base policy",
    "regret": "regret: probability of getting through, the best policy's less this one's",
}


@dataclass(frozen=True)
class Chain:
    """Rooms in a row, each with an action of every kind, and a base policy."""

    states: tuple[State, ...]
    actions: tuple[Mapping[str, str], ...]  # kind -> action
    base: tuple[tuple[Candidate, ...], ...]


def chain(seed: int, name: str) -> Chain:
    """Return a chain whose words and base policy are drawn from the seed."""
    rng = generator(seed, 0, f"chain {name}")
    states, actions, base = [], [], []
    for i in range(ROOMS):
        words = " ".join(f"w{n}" for n in rng.integers(0, 10_000, 30))
        states.append(State(room=f"{name} {i} {words}", inventory="a lamp", history="look"))
        actions.append({kind: f"{kind} {name} {i}" for kind in KINDS})
        order = rng.permutation(list(actions[-1].values()))
        base.append(tuple(Candidate(str(a), float(rng.normal(0.0, 0.3))) for a in order))
    return Chain(tuple(states), tuple(actions), tuple(base))


def play(learner: Learner, where: Chain, number: int) -> None:
    """Play one episode."""
    with learner.episode(number=number) as episode:
        room = 0
        for _ in range(STEPS):
            action = episode.choose(where.states[room], where.base[room]).action
            on = action == where.actions[room]["on"]
            over = action == where.actions[room]["worst"] or (on and room == ROOMS - 1)
            episode.record(0.25 * on, terminated=over)
            room += on
            if over:
                return


def honest(seed: int, preset: str, where: Chain, together: bool) -> list[Episode]:
    """Return the episodes of runs, in order, each with a memory of its own or all with one."""
    memory = SqliteMemory(None)
    result: list[Episode] = []
    for run in range(RUNS):
        if not together:
            memory = SqliteMemory(None)
        told = {"run": f"run {run}"}
        learner = Learner(memory, preset, seed=1000 * seed + run, provenance=told)
        for i in range(EPISODES):
            play(learner, where, run * EPISODES + i)
        result += memory.episodes(after=len(result) if together else 0)
    return result


def lies(n: int, where: Chain, source: Callable[[int], str], spelt: bool) -> list[Episode]:
    """Return n episodes that nobody played; `spelt`: in rooms that only look like the honest ones.

    source  who tells the i-th of them
    """
    result = []
    for i in range(n):
        commas = "," * (i // 2 % 12 + 1) if spelt else ""
        kind, reward = ("on", -1e6) if i % 2 else ("worst", 1e6)
        steps = tuple(
            Step(
                State(**{**state, "room": state["room"] + commas}),
                actions[kind],
                reward,
                behaviour_logprob=0.0,
                before={},
                after={},
                changed=False,
                preset="default",
                seed=0,
            )
            for state, actions in zip(where.states, where.actions, strict=True)
        )
        result.append(Episode(f"lie {i}", "", steps, True, provenance={"run": source(i)}))
    return result


ATTACKS: dict[str, tuple[Callable[[int], str], bool]] = {
    "one": (lambda i: "attacker", False),
    "split": (lambda i: f"attacker {i % 10}", False),
    "impostor": (lambda i: "run 0", False),
    "lookalike": (lambda i: "attacker", True),
    "alone": (lambda i: "attacker", False),
}


def decisions(
    episodes: Sequence[Episode], seed: int, preset: str, where: Chain, bounds: Mapping[str, object]
) -> list[Decision]:
    """Return what a learner that reads these episodes decides in each room."""
    memory = SqliteMemory(None)
    for episode in episodes:
        memory.append(episode)
    learner = Learner(memory, preset, seed=seed, frozen=True, **bounds)  # type: ignore[arg-type]
    return [
        learner.episode(number=10_000 + room).choose(where.states[room], where.base[room])
        for room in range(ROOMS)
    ]


def value(where: Chain, policies: Sequence[Mapping[str, float]]) -> float:
    """Return the probability of getting through within the steps of an episode."""
    through = np.zeros(ROOMS + 1)
    through[ROOMS] = 1.0
    for _ in range(STEPS):
        later = through.copy()
        for room, (actions, p) in enumerate(zip(where.actions, policies, strict=True)):
            stay = p[actions["idle"]] + p[actions["wait"]]
            through[room] = p[actions["on"]] * later[room + 1] + stay * later[room]
    return float(through[0])


def measured(where: Chain, found: Sequence[Decision], before: Sequence[Decision]) -> list[float]:
    """Return the metrics of the decisions, in their order; `before`: with the honest memory."""
    rows = []
    for decision, reference, actions in zip(found, before, where.actions, strict=True):
        p = np.array(list(decision.after.values()))
        q = np.array([reference.after[action] for action in decision.after])
        rows.append(
            [
                decision.after[actions["worst"]],
                0.5 * float(np.abs(p - q).sum()),
                kl(np.log(p), np.log(q)),
                decision.kl,
            ]
        )
    regret = 1.0 - value(where, [decision.after for decision in found])
    return [*np.mean(rows, axis=0).tolist(), regret]


Found = dict[tuple[str, str, int], list[list[float]]]  # attack, bound, n -> metrics of each seed


def attacked(names: Sequence[str], preset: str, seeds: int, together: bool) -> Found:
    """Return what every attack does under every bound."""
    result: Found = {}
    for seed in range(seeds):
        rooms, cellars = chain(seed, "room"), chain(seed, "cellar")
        told = honest(seed, preset, rooms, together)
        for name, (arm, bounds) in itertools.product(names, ARMS.items()):
            where = cellars if name == "alone" else rooms
            source, spelt = ATTACKS[name]
            before = decisions(told, seed, preset, where, bounds)
            for n in LEVELS:
                lied = lies(n, where, source, spelt)
                found = decisions([*told, *lied], seed, preset, where, bounds) if n else before
                result.setdefault((name, arm, n), []).append(measured(where, found, before))
    return result


def table(name: str, preset: str, found: Found, metrics: Sequence[str]) -> str:
    """Return the tables of an attack, one for each metric, as Markdown."""
    lines = []
    for column, (metric, words) in enumerate(METRICS.items()):
        if metric not in metrics:
            continue
        lines += [f"`{preset}`, attack *{name}*, {words}:", ""]
        lines += [f"| {metric} | " + " | ".join(f"{n} %" for n in LEVELS) + " |"]
        lines += ["|---" * (len(LEVELS) + 1) + "|"]
        for arm in ARMS:
            cells = []
            for n in LEVELS:
                at = interval([seed[column] for seed in found[name, arm, n]])
                spread = "" if math.isnan(at.low) else f" ± {at.high - at.mean:.2f}"
                cells.append(f"{at.mean:.2f}{spread}")
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Attack, and print the tables."""
    parser = argparse.ArgumentParser(description="Attack a shared memory, and print the tables.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--presets", nargs="*", default=["default", "paper"])
    parser.add_argument("--attacks", nargs="*", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--metrics", nargs="*", default=list(METRICS), choices=list(METRICS))
    parser.add_argument("--together", action="store_true", help="the honest runs shared the memory")
    parser.add_argument("--out", type=Path, help="a file for the tables as well")
    given = parser.parse_args()
    tables = []
    for preset in given.presets:
        found = attacked(given.attacks, preset, given.seeds, given.together)
        for name in given.attacks:
            tables.append(table(name, preset, found, given.metrics))
            print(tables[-1], flush=True)
    if given.out is not None:
        given.out.write_text("\n".join(tables))


if __name__ == "__main__":
    main()
