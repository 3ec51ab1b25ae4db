"""One sheet for a report: errors over β, engines against their tolerances, residuals step by step, contraction."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.checking.report import Report, Row, Section, Verdict
from neuro_eq.errors import FileError
from neuro_eq.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRONG = "#b3261e"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
LEAST = 1e-8
"""Shares of a tolerance below this, zero among them, are drawn at this: exact is exact."""


def draw_report(report: Report, target: str | os.PathLike[str]) -> Path:
    """Draw a report into one image file.

    Raises:
        FileError: it cannot be written.
    """
    figure = sheet(report)
    target = Path(target)
    part = target.with_name(target.name + ".part")
    try:
        figure.savefig(part, dpi=150, format=target.suffix[1:] or "png")
        part.replace(target)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        raise FileError(f"{target}: cannot write the picture ({getattr(error, 'strerror', None) or error})") from None
    return target


def sheet(report: Report) -> Figure:
    """The four panels; one that has nothing to show says why."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8))
    axes = figure.subplots(2, 2)
    figure.subplots_adjust(left=0.1, right=0.975, bottom=0.075, top=0.885, wspace=0.32, hspace=0.36)
    _errors(axes[0, 0], report)
    _engines(axes[0, 1], report)
    _residuals(axes[1, 0], report)
    _contraction(axes[1, 1], report)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_color(INK)
    missed = len(report.missed)
    verdict = "all within their tolerances" if report.ok else f"{missed} of {report.judged} missed"
    figure.text(0.1, 0.955, f"{report.network}: {verdict}", fontsize=13, color=INK if report.ok else WRONG)
    figure.text(0.1, 0.93, f"{report.samples} samples ({report.inputs}), seed {report.seed}", fontsize=9, color=MUTED)
    return figure


def _errors(axis: Axes, report: Report) -> None:
    axis.set_title("error of the gradient, float64", loc="left")
    curves = [curve for curve in report.curves if any(np.isfinite(curve.errors))]
    if not curves:
        _empty(axis, "no gradient to compare")
        return
    anchors: dict[int, float] = {}
    for i, curve in enumerate(curves):
        # Methods that agree lie on each other: the later ones are thinner and their marks hollow.
        colour, wide = COLOURS[i % len(COLOURS)], 2.6 - 1.8 * i / max(1, len(curves) - 1)
        seen = np.isfinite(curve.errors) & (np.array(curve.errors) > 0)
        betas, errors = np.array(curve.betas)[seen], np.array(curve.errors)[seen]
        axis.plot(
            betas, errors, color=colour, marker="o", ms=2.0 + 2.2 * wide, mfc="white", lw=wide, label=curve.method
        )
        if curve.expected and betas.size:
            anchors.setdefault(curve.expected, 0.45 * errors[0] / betas[0] ** curve.expected)
    span = np.array([min(curves[0].betas), max(curves[0].betas)])
    for power, level in anchors.items():
        axis.plot(span, level * span**power, color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=0)
        axis.annotate(
            f"β{_SUPERSCRIPT.get(power, f'^{power}')}" if power > 1 else "β", (span[0], level * span[0] ** power),
            xytext=(-4, -3), textcoords="offset points", ha="right", va="center", color=MUTED, fontsize=9,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("β")
    axis.set_ylabel("relative to the exact gradient")
    axis.set_xlim(span[0] / 1.5, span[1] * 1.3)
    axis.legend(frameon=False, fontsize=8.5)


_SUPERSCRIPT = {2: "²", 3: "³", 4: "⁴", 6: "⁶", 8: "⁸"}


def _engines(axis: Axes, report: Report) -> None:
    axis.set_title("engines", loc="left")
    rows = [
        row for row in report.rows
        if row.section in (Section.FIXED_POINTS, Section.ENGINES) and row.share is not None
    ]  # fmt: skip
    groups = list(dict.fromkeys(row.group for row in rows))
    if not groups:
        _empty(axis, "no engine but the reference")
        return
    for section, marker, colour, lift in (
        (Section.FIXED_POINTS, "o", COLOURS[0], 0.13),
        (Section.ENGINES, "D", COLOURS[1], -0.13),
    ):
        own = [row for row in rows if row.section is section]
        if not own:
            continue
        axis.scatter(
            [_drawn(row) for row in own], [len(groups) - 1 - groups.index(row.group) + lift for row in own],
            marker=marker, s=26, color=[WRONG if row.verdict is Verdict.MISSED else colour for row in own],
            alpha=0.8, lw=0,
        )  # fmt: skip
        name = "fixed points" if section is Section.FIXED_POINTS else "gradients"
        axis.scatter([], [], marker=marker, s=26, color=colour, lw=0, label=name)
    axis.axvline(1.0, color=INK, lw=1)
    axis.set_xscale("log")
    right = max(3.0, 3.0 * max(_drawn(row) for row in rows))
    axis.set_xlim(LEAST / 2.5, right)
    axis.set_yticks(range(len(groups)), groups[::-1])
    axis.set_ylim(-0.6, len(groups) - 0.4)
    axis.set_xlabel("error / tolerance (exact at the left edge)")
    # Above the axis nothing can be in its way.
    axis.legend(frameon=False, fontsize=8.5, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0)
    axis.grid(axis="y", color="#eeeeee", zorder=0)
    axis.set_axisbelow(True)


def _drawn(row: Row) -> float:
    assert row.share is not None, "rows without a share are left out"
    return float(np.clip(row.share, LEAST, 1e8))


def _residuals(axis: Axes, report: Report) -> None:
    axis.set_title("residual, step by step", loc="left")
    if not report.traces:
        _empty(axis, "nothing settled")
        return
    for trace, colour in zip(report.traces, COLOURS, strict=False):
        steps = np.arange(len(trace.median))
        median, largest = (_positive(np.array(values)) for values in (trace.median, trace.largest))
        axis.plot(steps, median, color=colour, lw=1.5, label=f"{trace.phase}, median to largest")
        axis.fill_between(steps, median, largest, color=colour, alpha=0.2, lw=0)
        if trace.tolerance is not None and trace is report.traces[0]:
            axis.axhline(trace.tolerance, color=INK, lw=0.8, ls=":")
            axis.annotate(
                "tolerance", (1, trace.tolerance), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                color=INK, fontsize=8.5,
            )  # fmt: skip
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("RMS of drive − u")
    axis.set_xlim(left=0)
    axis.legend(frameon=False, fontsize=8.5)


def _positive(values: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _contraction(axis: Axes, report: Report) -> None:
    axis.set_title("does it contract? one dot a sample", loc="left")
    if report.constants is None:
        _empty(axis, "no Lipschitz constant")
        return
    kinds = [
        ("‖Dρ'‖₂", report.constants.response),
        ("one step", report.constants.step),
        ("spectral\nradius", report.constants.radius),
    ]
    for level, (_, values) in enumerate(kinds[::-1]):
        shown = np.array(values)
        spread = np.linspace(-0.16, 0.16, len(shown)) if len(shown) > 1 else np.zeros(1)
        colours = np.where(shown < 1.0, COLOURS[0], WRONG)
        axis.scatter(shown, level + spread, s=28, color=list(colours), alpha=0.8, lw=0)
    axis.axvline(1.0, color=INK, lw=1)
    axis.set_yticks(range(3), [name for name, _ in kinds[::-1]])
    axis.set_ylim(-0.6, 2.6)
    top = max(float(np.max(values)) for _, values in kinds)
    axis.set_xlim(0, max(1.1, 1.05 * top))
    axis.set_xlabel("below 1 it contracts")
    axis.grid(axis="y", color="#eeeeee", zorder=0)
    axis.set_axisbelow(True)


def _empty(axis: Axes, why: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.text(0.5, 0.5, why, ha="center", va="center", color=MUTED, transform=axis.transAxes)
