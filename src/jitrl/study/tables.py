"""The tables of a study's report. Pure, from what was read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jitrl.bench.tables import Table, estimated
from jitrl.study import statistics
from jitrl.study.hindsight import Hindsight
from jitrl.study.plan import Stage
from jitrl.study.results import Entry, Study
from jitrl.study.statistics import Difference, Turned, average, difference, final, holm, mean
from jitrl.update import Floats

Part = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Compared:
    """An arm against the baseline: in one world, or in all of them ("all worlds")."""

    world: str
    arm: str
    average: Difference
    final: Difference


def scores(study: Study) -> Table:
    """Return how each arm did in each world, with the figure of the paper where it has one."""
    paper = study.plan.paper
    more = ("paper",) if paper else ()
    columns = ("world", "arm", "seeds", "episodes", "average", "final", "area", "best", *more)
    rows = []
    for stage in study.stages():
        for entry in study.of_world(stage.label):
            found, last = (mean([part(entry.scores)], entry.within) for part in (average, final))
            area = "?" if math.isnan(entry.best) else f"{found.mean / entry.best:.3f}"
            figure = paper.get(entry.world, {}).get(entry.arm)
            rows.append(
                (
                    *(entry.world, entry.arm, str(len(entry.runs)), str(len(entry.played))),
                    *(estimated(found), estimated(last), area),
                    f"{np.nanmax(entry.scores):g}",
                    *(["" if figure is None else f"{figure:g}"] if paper else []),
                )
            )
    return Table(columns, rows)


def compared(study: Study) -> list[Compared]:
    """Return each arm against the baseline, in each world and in all, corrected as one family."""
    base = study.plan.baseline
    found = []
    for arm in study.plan.arms[1:]:
        pairs = [
            (study.entries[world, arm], study.entries[world, base])
            for world in (stage.label for stage in study.stages())
            if (world, arm) in study.entries and (world, base) in study.entries
        ]
        for ours, theirs in pairs:
            found.append((ours.world, arm, [(ours, theirs)], False))
        if len(pairs) > 1 and all(not math.isnan(ours.best) for ours, _ in pairs):
            found.append(("all worlds", arm, pairs, True))
    averages, finals = (
        holm([_difference(pairs, part, scaled) for _, _, pairs, scaled in found])
        for part in (average, final)
    )
    return [
        Compared(world, arm, one, last)
        for (world, arm, _, _), one, last in zip(found, averages, finals, strict=True)
    ]


def differences(study: Study, compared: Sequence[Compared]) -> Table:
    """Return the paired differences to the baseline, and what they show."""
    columns = ("world", "arm", "pairs", "average", "final", "p (Holm)", "what it shows")
    rows = [
        (
            one.world,
            f"{one.arm} \u2212 {study.plan.baseline}",
            str(one.average.estimate.n),
            _signed(one.average),
            _signed(one.final),
            "?" if math.isnan(one.average.adjusted) else f"{one.average.adjusted:.3g}",
            one.average.verdict,
        )
        for one in compared
    ]
    return Table(columns, rows)


def costs(study: Study) -> Table:
    """Return what each arm took, and what a point more than the baseline cost."""
    columns = (
        *("world", "arm", "calls/episode", "tokens/episode", "dollars", "s/episode"),
        "dollars a point more",
    )
    rows = []
    for stage in study.stages():
        base = study.entries.get((stage.label, study.plan.baseline))
        for entry in study.of_world(stage.label):
            cost, n = entry.cost, max(len(entry.played), 1)
            seconds = [played.seconds.get("total", math.nan) for played in entry.played]
            dollars = "unknown" if cost.dollars is None else f"{cost.dollars:.4f}"
            point = "" if base is None or entry is base else _point(entry, base)
            rows.append(
                (
                    *(entry.world, entry.arm, f"{cost.usage.calls / n:.1f}"),
                    *(f"{cost.tokens / n:,.0f}", dollars, f"{np.nanmean(seconds):.2f}", point),
                )
            )
    return Table(columns, rows)


def memory(study: Study) -> Table:
    """Return what memory did to decisions: how far it moved them, and whether for the better."""
    columns = (
        *("world", "arm", "KL/step (nats)", "turned", "right", "wrong", "equal", "untold"),
        "right, of those that can be told",
    )
    rows = []
    for stage in study.stages():
        entries = study.of_world(stage.label)
        if not any(played.changed for entry in entries for played in entry.played):
            continue
        seen = Hindsight(run for entry in entries for run in entry.runs.values())
        for entry in entries:
            steps = max(sum(played.steps for played in entry.played), 1)
            changed = sum(played.changed for played in entry.played)
            turned = [seen.turned(run) for run in entry.runs.values()]
            found = _sum(turned)
            rows.append(
                (
                    *(entry.world, entry.arm),
                    f"{sum(played.kl for played in entry.played) / steps:.3f}",
                    f"{changed / steps:.1%}",
                    *(str(n) for n in (found.right, found.wrong, found.equal, found.untold)),
                    estimated(statistics.helped(turned)),
                )
            )
    return Table(columns, rows)


def views(study: Study, compared: Sequence[Compared]) -> list[tuple[str, Table]]:
    """Return what goes beyond the average: memory from elsewhere, forgetting, order; if planned."""
    tables = [
        ("Held out: a frozen memory of another world", _carried(study, compared, frozen=True)),
        ("Carried over: begun with what was learned elsewhere", _carried(study, compared)),
    ]
    for key, title, parts in (
        ("replays", "Forgetting: played again at the end, minus when it was learned", final),
        ("reorders", "Order: the same tasks in another order, minus the first", average),
    ):
        tables.append((title, _between(study, key, parts)))
    return [(title, table) for title, table in tables if table.rows]


def _carried(study: Study, compared: Sequence[Compared], *, frozen: bool = False) -> Table:
    """Return the differences to the baseline in the worlds that begin with another's memory.

    Of another world, or of the same one that another model has played.
    """
    stages = {
        stage.label: stage
        for stage in study.stages()
        if stage.start is not None and stage.frozen == frozen and stage.replays is None
    }
    rows = [
        (
            *(one.world, one.arm, _learned(study, stage, one.arm)),
            *(_signed(one.average), one.average.verdict),
        )
        for one in compared
        if (stage := stages.get(one.world)) is not None
    ]
    return Table(("world", "arm", "learned in", "average", "what it shows"), rows)


def _learned(study: Study, stage: Stage, arm: str) -> str:
    """Return the world that a memory comes from, and the model there, if it was another."""
    here, there = (study.entries.get((str(label), arm)) for label in (stage.label, stage.start))
    models = [
        None if entry is None else next(iter(entry.runs.values())).configuration.model
        for entry in (here, there)
    ]
    by = "" if models[0] == models[1] or models[1] is None else f", by {models[1]}"
    return f"{stage.start}{by}"


def _between(study: Study, key: str, take: Part) -> Table:
    """Return how each arm did in a world minus how it did in the one that it points at."""
    places, found = [], []
    for stage in study.stages():
        other = getattr(stage, key)
        for entry in study.of_world(stage.label) if other is not None else []:
            before = study.entries.get((other, entry.arm))
            if before is None:
                continue
            ours = average(entry.scores) if key == "replays" else take(entry.scores)
            theirs = take(before.scores)
            if key == "reorders":  # other tasks stand at each place: seeds alone are paired
                ours, theirs = (one.mean(axis=1, keepdims=True) for one in (ours, theirs))
            if ours.shape != theirs.shape:
                continue
            places.append((stage.label, entry.arm))
            found.append(difference([ours], [theirs]))
    rows = [
        (*place, _signed(one), _way(one)) for place, one in zip(places, holm(found), strict=True)
    ]
    return Table(("world", "arm", "difference", "what it shows"), rows)


def _signed(found: Difference) -> str:
    """Return a difference with its interval, which one between equal runs does not need."""
    if found.identical:
        return "0"
    return estimated(found.estimate, signed=True, digits=3)


def _way(found: Difference) -> str:
    verdict = found.verdict
    return verdict.replace("helps", "higher").replace("harms", "lower")


def _difference(pairs: Sequence[tuple[Entry, Entry]], take: Part, scaled: bool) -> Difference:
    """Return ours minus theirs; `scaled`: as shares of the highest score."""
    ours, theirs = (
        [take(_together(pair)[side]) / (pair[side].best if scaled else 1.0) for pair in pairs]
        for side in (0, 1)
    )
    most = 1.0 if scaled else pairs[0][0].best
    return difference(ours, theirs, None if math.isnan(most) else (-most, most))


def _together(pair: tuple[Entry, Entry]) -> tuple[Floats, Floats]:
    """Return the scores of the attempts that both have played, as far as both have got."""
    width = min(entry.scores.shape[2] for entry in pair)
    ours, theirs = (entry.scores[:, :, :width] for entry in pair)
    both = np.isnan(ours) | np.isnan(theirs)
    return np.where(both, np.nan, ours), np.where(both, np.nan, theirs)


def _point(ours: Entry, theirs: Entry) -> str:
    """Return what a point more cost, run by run."""
    if ours.cost.dollars is None or theirs.cost.dollars is None or not ours.cost.usage.calls:
        return ""
    seeds = sorted(ours.runs.keys() & theirs.runs.keys())
    prices = [np.array([[one.dollars(seed)] for seed in seeds]) for one in (ours, theirs)]
    gains = _difference([(ours, theirs)], average, False)
    found = statistics.price_per_point(difference([prices[0]], [prices[1]]), gains)
    if math.isnan(found.mean):
        return "no gain"
    ends = [f"{end:.4f}" if math.isfinite(end) else "unbounded" for end in (found.low, found.high)]
    return f"{found.mean:.4f} [{', '.join(ends)}]"


def _sum(found: Sequence[Turned]) -> Turned:
    names = ("right", "wrong", "equal", "untold")
    return Turned(*(sum(getattr(one, name) for one in found) for name in names))
