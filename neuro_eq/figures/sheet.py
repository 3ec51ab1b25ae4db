"""Pages: one picture by itself, or the six most useful ones of a run on a sheet; and the files that they become."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from neuro_eq.atomic import replacing
from neuro_eq.errors import FileError, SpecError, did_you_mean
from neuro_eq.figures.choice import Choice, LackingError
from neuro_eq.figures.energy import energy_descent, energy_page
from neuro_eq.figures.learning import learning_curve, learning_page, steps_per_epoch
from neuro_eq.figures.overlay import phases_overlaid
from neuro_eq.figures.plane import plane_page, state_plane
from neuro_eq.figures.residual import residual_per_step
from neuro_eq.figures.style import INK, page_margins
from neuro_eq.figures.weights import weight_images, weights_page
from neuro_eq.trajectory import Trajectory, open_trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel: TypeAlias = "Callable[[Axes, Trajectory, Choice], None]"
Page: TypeAlias = "Callable[[Figure, Trajectory, Choice], None]"

SHEET, ALL = "sheet", "all"
ON_A_SHEET = 6


@dataclass(frozen=True)
class Kind:
    """One picture: as a panel of the sheet, and on a page of its own."""

    panel: Panel
    page: Page | None = None
    """The panel alone where not given."""
    size: tuple[float, float] = (7.5, 5.0)
    """Of the page, in inches."""


PICTURES: dict[str, Kind] = {
    "learning": Kind(learning_curve, learning_page, (11.0, 4.8)),
    "residual": Kind(residual_per_step),
    "energy": Kind(energy_descent, energy_page, (12.0, 4.8)),
    "pca": Kind(state_plane, plane_page, (12.0, 5.2)),
    "phases": Kind(phases_overlaid),
    "weights": Kind(weight_images, weights_page, (6.0, 5.3)),
    "steps": Kind(steps_per_epoch),
}
"""In the order in which a sheet shows them; the last fill in where a file lacks an earlier one."""

KINDS = (SHEET, *PICTURES, ALL)


def draw_run(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """The sheet of a run: learning curve, residual, energy, states, phases and weights, as far as the file has them.

    Raises:
        FileError: the trajectory cannot be read or the picture cannot be written.
    """
    return draw(source, target)


def draw(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    kind: str = SHEET,
    choice: Choice = Choice(),
) -> Path:
    """Draw one picture of a trajectory file.

    Args:
        source: the file, complete or a ``.part``.
        target: the image to write; its ending says in which format (png, pdf, svg).
        kind: ``"sheet"``, or one of ``learning``, ``residual``, ``energy``, ``pca``, ``phases``, ``weights`` and
            ``steps``.
        choice: which sample, population, epoch and weights.

    Raises:
        FileError: the trajectory cannot be read, lacks what the picture needs, or the picture cannot be written.
        SpecError: there is no such kind, sample, population or epoch.
    """
    if kind not in (SHEET, *PICTURES):
        raise SpecError(f'no picture "{kind}"' + did_you_mean(kind, (SHEET, *PICTURES)), "kind")
    with open_trajectory(source) as trajectory:
        trajectory.check()
        figure = sheet(trajectory, choice) if kind == SHEET else page(trajectory, kind, choice)
    return _save(figure, Path(target))


def draw_all(
    source: str | os.PathLike[str], target: str | os.PathLike[str], choice: Choice = Choice()
) -> tuple[list[Path], list[FileError]]:
    """Every picture of a file, each under the target's name with its kind put in: ``run-energy.png``.

    Returns:
        The images, and for every picture that the file holds nothing for, the reason.

    Raises:
        FileError, SpecError: as :func:`draw`; and there is nothing at all to draw.
    """
    target = Path(target)
    drawn: list[Path] = []
    without: list[FileError] = []
    with open_trajectory(source) as trajectory:
        trajectory.check()
        for kind in (SHEET, *PICTURES):
            try:
                figure = sheet(trajectory, choice) if kind == SHEET else page(trajectory, kind, choice)
            except LackingError as reason:
                if kind == SHEET:
                    raise
                without.append(reason)
            else:
                drawn.append(_save(figure, target.with_name(f"{target.stem}-{kind}{target.suffix or '.png'}")))
    return drawn, without


def page(trajectory: Trajectory, kind: str, choice: Choice = Choice()) -> Figure:
    """One picture on a page of its own.

    Raises:
        LackingError: the file does not hold what it is drawn from.
    """
    # A Figure of its own needs no pyplot, no window and no global state.
    from matplotlib.figure import Figure

    picture = PICTURES[kind]
    figure = Figure(figsize=picture.size)
    page_margins(figure, *picture.size)
    if picture.page is None:
        picture.panel(figure.subplots(), trajectory, choice)
    else:
        picture.page(figure, trajectory, choice)
    _headline(figure, trajectory, 10.0)
    return figure


def sheet(trajectory: Trajectory, choice: Choice = Choice()) -> Figure:
    """Up to six pictures of a run on one sheet.

    Raises:
        LackingError: the file holds nothing that can be drawn.
    """
    figure, names = _sheet_of(trajectory, choice, tuple(PICTURES), ON_A_SHEET)
    if not names:
        raise LackingError(
            trajectory, SHEET, "it holds no metrics and no relaxation; record a run by train(…, record=…)"
        )
    if len(names) < ON_A_SHEET:
        figure, _ = _sheet_of(trajectory, choice, names, len(names))
    return figure


def _sheet_of(
    trajectory: Trajectory, choice: Choice, names: tuple[str, ...], places: int
) -> tuple[Figure, tuple[str, ...]]:
    """The first pictures that can be drawn, at so many places, and which they are."""
    from matplotlib.figure import Figure

    columns = 2 if places == 4 else min(places, 3)
    lines = -(-places // columns)
    width, height = 5.2 * columns, 0.9 + 4.1 * lines
    figure = Figure(figsize=(width, height))
    # Fixed margins: a layout that is computed takes longer than all the drawing.
    figure.subplots_adjust(
        left=0.8 / width, right=1 - 1.25 / width, bottom=0.65 / height, top=1 - 1.2 / height, wspace=0.62, hspace=0.48
    )
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    drawn: list[str] = []
    for name in names:
        if len(drawn) == places:
            break
        try:
            PICTURES[name].panel(grid[len(drawn)], trajectory, choice)
        except LackingError:
            grid[len(drawn)].clear()
        else:
            drawn.append(name)
    for axes in grid[len(drawn) :]:
        axes.remove()
    _headline(figure, trajectory, 15.0)
    return figure, tuple(drawn)


def _headline(figure: Figure, trajectory: Trajectory, size: float) -> None:
    width, height = figure.get_size_inches()
    figure.suptitle(
        _title(trajectory), color=INK, fontsize=size, x=0.8 / width, y=1 - 0.18 / height, ha="left", va="top"
    )


def _title(trajectory: Trajectory) -> str:
    attrs = trajectory.attrs
    words = []
    if "spec" in attrs:
        on = f" on {str(attrs['data']).partition(':')[0]}" if "data" in attrs else ""
        words.append((trajectory.spec.name or "network") + on)
        words.append(f"{attrs.get('backend', '?')} {attrs.get('dtype', '?')}, seed {attrs.get('seed', '?')}")
    else:
        words.append(trajectory.path.name)
    if not trajectory.complete:
        words.append("not finished")
    return " · ".join(words)


def _save(figure: Figure, target: Path) -> Path:
    try:
        with replacing(target) as file:
            figure.savefig(file, dpi=150, format=target.suffix[1:] or "png")
    except ValueError as error:
        raise FileError(f"{target}: cannot write the picture ({error})") from None
    return target
