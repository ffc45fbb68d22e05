"""The curves of a study, a panel for each world: the mean of each arm with its 95 % band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jitrl.bench.figure import COLOURS, STATIC, Kind, painted, window, wrapped
from jitrl.bench.statistics import smoothed
from jitrl.study.results import Entry, Study
from jitrl.study.statistics import mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 25  # of a band


def draw(study: Study, kind: Kind, *, narrow: bool = False) -> bytes:
    """Return the picture; raises MissingExtra where matplotlib or scipy is not installed.

    narrow  made for a phone
    """
    stages = list(study.stages())
    columns = 1 if narrow or len(stages) == 1 else 2
    rows = -(-len(stages) // columns)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, stage in zip(panels, stages, strict=False):
            _panel(axes, stage.label, study.of_world(stage.label), study.plan.arms)
        for axes in panels[len(stages) :]:
            axes.set_axis_off()
        handles = {
            label: line
            for axes in panels
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=2 if narrow else 4,
            frameon=False,
        )

    return painted(paint, (4.6, 3.6 * rows) if narrow else (4.9 * columns, 3.4 * rows), kind)


def _panel(axes: Axes, world: str, entries: list[Entry], arms: tuple[str, ...]) -> None:
    axes.set_title(wrapped(world, 40), loc="left", fontweight="bold", fontsize=10.5)
    for entry in entries:
        place = arms.index(entry.arm)
        colour = STATIC if place == 0 else COLOURS[(place - 1) % len(COLOURS)]
        style = "--" if place == 0 else ("-", ":", "-.")[(place - 1) // len(COLOURS) % 3]
        whole = ~np.isnan(entry.scores).all(axis=(0, 1))
        scores = entry.scores[:, :, whole]
        over = window(scores.shape[2])
        curve = smoothed(np.nanmean(scores, axis=(0, 1)), over)
        counted = np.flatnonzero(whole) + 1
        axes.plot(
            counted,
            curve,
            color=colour,
            ls=style,
            lw=1.8,
            label=entry.arm,
            zorder=3 if place == 0 else 2,
        )
        at = np.unique(np.linspace(0, scores.shape[2] - 1, _POINTS).astype(int))
        smooth = smoothed(scores, over)
        ends = [mean([smooth[:, :, place]], entry.within) for place in at]
        low, high = ([getattr(one, end) for one in ends] for end in ("low", "high"))  # nan: no band
        axes.fill_between(counted[at], low, high, color=colour, alpha=0.12, linewidth=0)
    suite = entries[0].suite
    axes.set_xlabel("attempt" if suite else "episode")
    axes.set_ylabel("success" if suite else "score")
    if suite:
        axes.set_ylim(-0.02, 1.02)
    axes.locator_params(axis="x", integer=True)
