"""Learning curves as pictures, drawn by matplotlib, which is imported when it is needed."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jitrl.bench.statistics import Group, band, labels, smoothed
from jitrl.bench.suites import attempts, bounds, by_attempt
from jitrl.errors import MissingExtra
from jitrl.update import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["png", "svg"]

# Okabe and Ito's colours, which the colour-blind can tell apart; grey is for static
STATIC = "#6b7280"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "svg.hashsalt": "jitrl",
    "svg.fonttype": "path",
    "text.parse_math": False,
}


_MARKED = 12  # attempts that are few enough to be marked one by one


def window(episodes: int) -> int:
    """Return over how many episodes the curve of a run that long is averaged."""
    return max(1, min(5, episodes // 4))


def draw(groups: Sequence[Group], kind: Kind, *, narrow: bool = False) -> bytes:
    """Return a picture with a panel per world: the mean over seeds, and its 95 % interval.

    narrow  made for a phone. Raises MissingExtra where matplotlib is not installed.
    """
    named = [(world, list(panel)) for world, panel in groupby(groups, _world)]
    width, height = (4.6, 4.4) if narrow else (8.4, 4.4)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(named), 1, squeeze=False)[:, 0]
        for axes, (world, panel) in zip(panels, named, strict=True):
            _panel(axes, world, panel, narrow)

    return painted(paint, (width, height * len(named)), kind)


def painted(paint: Callable[[Figure], None], size: tuple[float, float], kind: Kind) -> bytes:
    """Return the picture that `paint` makes of an empty figure, of a size in inches.

    Raises MissingExtra where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("pictures need matplotlib: pip install 'jitrl[report]'") from error
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained", h_pad=0.12)
        paint(figure)
        picture = io.BytesIO()
        date: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 150}
        figure.savefig(picture, format=kind, **date)
    return picture.getvalue()


def _world(group: Group) -> str:
    return group.configuration.world


def _panel(axes: Axes, world: str, groups: list[Group], narrow: bool) -> None:
    if not all(group.verdict for group in groups):
        axes.set_title(wrapped(world, 40 if narrow else 80), loc="left", fontweight="bold")
        axes.text(0.5, 0.5, "no verdict on attempts: nothing to draw", ha="center")
        axes.set_axis_off()
        return
    colours = iter(COLOURS * len(groups))
    suite, top, longest = groups[0].suite, 0.0, 1
    for group, label in zip(groups, labels(groups), strict=True):
        static = group.configuration.agent == "static"
        colour = STATIC if static else next(colours)
        scores = _scores(group)
        counted = np.arange(scores.shape[1]) + 1
        if suite:
            counted = np.array(attempts(group), dtype=int) + 1
        longest = max([longest, *counted])
        over = window(scores.shape[1])
        curves = smoothed(scores, over)
        mean = curves.mean(axis=0)
        seeds = len(group.seeds)
        name = wrapped(f"{label} ({seeds} seed{'s' * (seeds > 1)})", 32 if narrow else 60)
        ends = bounds(group, over) if suite else band(curves) if seeds > 1 else None
        if ends is not None:
            axes.fill_between(counted, *ends, color=colour, alpha=0.18, linewidth=0)
            top = max(top, float(ends[1].max(initial=0.0)))
        else:
            axes.plot(counted, scores[0], ".", color=colour, alpha=0.4, markersize=5)
            top = max(top, float(scores.max(initial=0.0)))
        marked = "o" if suite and len(counted) <= _MARKED else None
        axes.plot(counted, mean, "--" if static else "-", color=colour, lw=2, label=name)
        axes.plot(counted, mean, ls="", marker=marked, color=colour, markersize=5)
        top = max(top, float(mean.max(initial=0.0)))
    unit = "attempt" if suite else "episode"
    what = "success" if suite else "score"
    title = wrapped(f"{world}: {what} by {unit}", 40 if narrow else 80)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11.5)
    caption = _caption(groups)
    axes.set_xlabel(f"{unit}\n{caption}" if narrow else f"{unit}   {caption}")
    if suite:
        axes.set_ylabel("share of tasks that succeed")
        axes.set_ylim(-0.02, 1.02)
    else:
        _limits(axes, groups, top)
        axes.set_ylabel("score at the end of the episode")
        if axes.get_ylim()[0] > 0 or all(group.scores().min() >= 0 for group in groups):
            axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, longest + 0.5)
    axes.locator_params(axis="x", integer=True)
    legend = axes.legend(loc="best", framealpha=0.85, edgecolor="none", fontsize=9.5)
    legend.set_in_layout(False)


def _scores(group: Group) -> Floats:
    """Return what is drawn, shape (seeds, episodes), or (seeds, attempts) of a suite."""
    return by_attempt(group) if group.suite else group.scores()


def wrapped(text: str, width: int) -> str:
    """Return a text on at most three lines."""
    return textwrap.fill(text, width, max_lines=3, placeholder=" \u2026")


def _limits(axes: Axes, groups: list[Group], top: float) -> None:
    """Show the world's highest score as a line, or in words where it lies far above the curves."""
    best = groups[0].runs[0].manifest.max_score
    if best is None:
        return
    if best <= 3 * top:
        axes.axhline(best, color="#111827", lw=1, ls=":")
        axes.annotate(
            f"highest possible: {best:g}",
            (1, best),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color="#374151",
        )
    else:
        axes.annotate(
            f"highest possible: {best:g}",
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            fontsize=9,
            color="#374151",
        )


def _caption(groups: list[Group]) -> str:
    widths = sorted({window(_scores(group).shape[1]) for group in groups})
    mean = "mean of the last " + " or ".join(str(width) for width in widths)
    over = "seeds"
    if groups[0].suite:
        over = "tasks" if all(len(group.seeds) == 1 for group in groups) else "tasks and seeds"
    known = any(len(group.seeds) > 1 or len(group.runs[0].manifest.tasks) > 1 for group in groups)
    shaded = f"; shaded: 95 % interval over {over}" if known else ""
    return f"({mean}{shaded})" if widths != [1] or shaded else ""
