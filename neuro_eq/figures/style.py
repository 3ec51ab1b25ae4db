"""How every picture looks: a palette that survives colour-blindness, plain axes, words at the ends of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase
    from matplotlib.ticker import Locator

INK, MUTED, FAINT = "#222222", "#7a7a7a", "#e4e4e4"

# Okabe and Ito (2008): told apart with every common colour-blindness.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#882255", "#7f6000", "#332288", "#117733")
"""The same, and four of Tol's that keep their distance from them: one colour a class or a term."""

FREE, PLUS, MINUS = BLUE, VERMILLION, GREEN
"""The free phase, β > 0 and β < 0, in every picture."""

DIVERGING = "RdBu_r"

TITLE, TEXT, SMALL = 11.5, 10.0, 9.0
"""Font sizes in points."""


@dataclass(frozen=True)
class EndLabel:
    """A word that stands where its line ends, and so needs no legend.  ``y`` is in data coordinates."""

    y: float
    text: str
    color: str


def dress(axes: Axes, title: str, detail: str, x: str = "", y: str = "") -> None:
    """Title, a line that says of what, axis labels, and nothing that carries no data."""
    axes.set_title(title, fontsize=TITLE, color=INK, loc="left", pad=22)
    axes.annotate(
        detail, (0.0, 1.0), (0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=SMALL, color=MUTED
    )
    axes.set_xlabel(x, fontsize=TEXT, color=INK)
    axes.set_ylabel(y, fontsize=TEXT, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, color=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)


def whole_numbers(axes: Axes) -> None:
    """Ticks at whole numbers only: there is no epoch 2.5."""
    low, high = axes.get_xlim()
    if high - low < 1:
        middle = round((low + high) / 2)
        axes.set_xlim(middle - 0.5, middle + 0.5)
    axes.xaxis.set_major_locator(_whole())


def _whole() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def units_on_both_axes(axes: Axes) -> None:
    """Ticks at whole units, as a matrix has them."""
    axes.xaxis.set_major_locator(_whole())
    axes.yaxis.set_major_locator(_whole())


def short_numbers(axes: Axes) -> None:
    """Tick labels that are short however large the numbers, without a power of ten set apart above the panel."""
    from matplotlib.ticker import FuncFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "−")))


def page_margins(figure: FigureBase, width: float, height: float) -> None:
    """Margins in inches: words at line ends need the same room on every page, and a layout that is computed takes
    longer than all the drawing."""
    figure.subplots_adjust(
        left=0.8 / width, right=1 - 1.3 / width, bottom=0.65 / height, top=1 - 1.0 / height, wspace=0.5, hspace=0.5
    )


def note(axes: Axes, text: str, color: str = MUTED) -> None:
    """A remark inside the panel, at its lower left."""
    axes.annotate(
        text, (0.0, 0.0), (6, 6), xycoords="axes fraction", textcoords="offset points", fontsize=TEXT, color=color
    )


def label_ends(axes: Axes, labels: Sequence[EndLabel]) -> None:
    """Words at the right edge, moved apart where they would cover each other.  Call it when the limits are final."""
    shown = [label for label in labels if np.isfinite(label.y)]
    if not shown:
        return
    to_axes = axes.transData + axes.transAxes.inverted()
    x = axes.get_xlim()[0]
    wanted = np.array([to_axes.transform((x, label.y))[1] for label in shown])
    places = apart(np.clip(wanted, 0.0, 1.0), 1.2 * TEXT / 72.0 / _height_in_inches(axes))
    for label, place in zip(shown, places, strict=True):
        axes.annotate(
            label.text, (1.0, place), (4, 0), xycoords="axes fraction", textcoords="offset points", color=label.color,
            fontsize=TEXT, ha="left", va="center", annotation_clip=False,
        )  # fmt: skip


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Places at least ``gap`` from one another, in the order of ``wanted`` and close to it."""
    order = np.argsort(wanted, kind="stable")
    # With i·gap taken off, places that keep their distance are places that do not fall: isotonic regression, whose
    # solution is found by pooling neighbours that are out of order.
    pools: list[tuple[float, int]] = []
    for value in wanted[order] - gap * np.arange(len(order)):
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, many), (other, more) = pools[-2:]
            pools[-2:] = [((one * many + other * more) / (many + more), many + more)]
    found = np.empty(len(order))
    found[order] = np.concatenate([np.full(many, value) for value, many in pools]) + gap * np.arange(len(order))
    return found


def words(axes: Axes, entries: Sequence[tuple[str, str]], *, top: bool = True) -> None:
    """Coloured words in a row, right-aligned inside the panel: a legend that is read as a sentence."""
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

    row: list[Artist] = [TextArea(text, textprops={"color": color, "fontsize": TEXT}) for text, color in entries]
    box = AnchoredOffsetbox(
        "upper right" if top else "lower right", child=HPacker(children=row, pad=0, sep=8), frameon=True, pad=0.1
    )
    # A line that passes behind them leaves them legible.
    box.patch.set(facecolor="white", edgecolor="none", alpha=0.85)
    axes.add_artist(box)


def colour_bar(axes: Axes, figure: FigureBase, image: object, label: str) -> None:
    """A slim scale beside an image."""
    inset = axes.inset_axes((1.03, 0.0, 0.035, 1.0))
    bar = figure.colorbar(image, cax=inset)  # type: ignore[arg-type]
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, colors=INK, color=MUTED)
    bar.set_label(label, fontsize=TEXT, color=INK)


def _height_in_inches(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes that belong to no figure cannot be drawn"
    return float(axes.bbox.height / figure.dpi)
