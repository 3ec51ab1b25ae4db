"""What the figures of experiments share, in the style of all figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro_eq.figures.style import CYCLE, INK, MUTED, SMALL, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neuro_eq.experiments.machinery.results import Cell


def blank(width: float, height: float) -> Figure:
    """An empty page, in inches, that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def line(
    axes: Axes, x: Sequence[float] | np.ndarray, runs: np.ndarray, label: str, color: str, logarithmic: bool = False
) -> None:
    """The mean of some runs over x, with a band of one standard deviation where there are several.

    Args:
        runs: ``(runs, x)``.
        logarithmic: for an axis of logarithms, of which mean and band are then taken; what has none is left out.
    """
    values = np.array(runs, dtype=float)
    if logarithmic:
        values = np.log(np.where(values > 0, values, np.nan))
    values[~np.isfinite(values)] = np.nan
    known = np.isfinite(values).sum(axis=0)
    mean, sd = (np.full(len(x), np.nan) for _ in range(2))
    mean[known > 0] = np.nanmean(values[:, known > 0], axis=0)
    sd[known > 1] = np.nanstd(values[:, known > 1], axis=0, ddof=1)
    middle, low, high = (np.exp(v) if logarithmic else v for v in (mean, mean - sd, mean + sd))
    axes.plot(x, middle, color=color, lw=1.8, marker="o", ms=3.5, label=label)
    if len(values) > 1:
        axes.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
    if logarithmic:
        axes.set_yscale("log")


def courses(cell: Cell, name: str) -> np.ndarray:
    """``(runs, epochs)`` a curve of every run that kept it; what one that ended early lacks is not a number."""
    kept = [run.arrays[name] for run in cell.runs if name in run.arrays]
    return side_by_side([np.asarray(curve, float) for curve in kept]).T if kept else np.zeros((0, 0))


def side_by_side(places: Sequence[np.ndarray]) -> np.ndarray:
    """``(runs, x)`` from the runs of every place, of which some may have fewer: what is missing is not a number."""
    table = np.full((max(len(runs) for runs in places), len(places)), np.nan)
    for i, runs in enumerate(places):
        table[: len(runs), i] = runs
    return table


def key(axes: Axes, beside: bool = False, of: Axes | None = None) -> None:
    """A plain legend, beside the panel where its lines leave no room, or of another panel's lines in an empty one."""
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if beside else {}
    if of is not None:
        handles, labels = of.get_legend_handles_labels()
        place |= {"handles": handles, "labels": labels, "loc": "center left"}
    axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, **place)


def grouped(
    axes: Axes,
    groups: Sequence[str],
    series: Mapping[str, Sequence[np.ndarray]],
    title: str,
    detail: str,
    what: str,
    *,
    bars: bool = False,
    logarithmic: bool = False,
) -> None:
    """Values side by side, each a dot, with a mark at the mean of those that belong together.

    Args:
        groups: words along the axis.
        series: for each colour, the values of every group.
        bars: bars up to the mean, for what begins at nought.
    """
    dress(axes, title, detail, "", what)
    width = 0.8 / max(len(series), 1)
    for i, (word, parts) in enumerate(series.items()):
        places = np.arange(len(groups)) + (i - (len(series) - 1) / 2.0) * width
        color = CYCLE[i % len(CYCLE)]
        means = [float(np.nanmean(v)) if np.isfinite(v).any() else np.nan for v in parts]
        if bars:
            axes.bar(places, means, width=0.9 * width, color=color, alpha=0.75, label=word, lw=0)
        else:
            axes.plot(places, means, ls="none", marker="_", ms=12, mew=2.2, color=color, label=word)
        for place, values in zip(places, parts, strict=True):
            axes.plot(np.full(len(values), place), values, ".", color=INK if bars else color, ms=4, alpha=0.6)
    if logarithmic:
        axes.set_yscale("log")
    axes.set_xticks(np.arange(len(groups)), groups, rotation=25, ha="right", rotation_mode="anchor", fontsize=SMALL)


def nothing(axes: Axes, text: str) -> None:
    """A panel that has nothing to show says why."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=MUTED, fontsize=SMALL)
    axes.set_axis_off()
