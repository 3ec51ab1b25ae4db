"""``neuro_eq plot``: pictures of a trajectory file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """\
Examples:

  neuro_eq plot runs/…/trajectory.h5               six pictures on one sheet

  neuro_eq plot runs/…/trajectory.h5 --kind all    an image for each kind

  neuro_eq plot runs/…/trajectory.h5 --kind energy --epoch 3

  neuro_eq plot runs/…/trajectory.h5 -k phases --population hidden1 -o h.pdf
"""


def add_to(app: typer.Typer) -> None:
    """Put the command into the program."""
    app.command("plot", epilog=EXAMPLES)(plot)


def plot(
    file: Annotated[Path, typer.Argument(metavar="FILE.h5", help="A trajectory file, complete or a .part.")],
    kind: Annotated[
        str,
        typer.Option("--kind", "-k", help="sheet, learning, residual, energy, pca, phases, weights, steps or all."),
    ] = "sheet",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Image to write (png, pdf, svg); beside the file by default.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", help="For energy and phases: which sample.", show_default="the one that the nudge moves most"
        ),
    ] = None,
    population: Annotated[
        str | None,
        typer.Option(
            "--population", help="For phases, pca and weights: which population.", show_default="the cost's, or all"
        ),
    ] = None,
    epoch: Annotated[
        int | None,
        typer.Option(
            "--epoch", help="Of a training run.", show_default="the last in which the nudge moved half of the samples"
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Parameters as .npz.", show_default="weights.npz beside the file"),
    ] = None,
) -> None:
    """Draw how a run learned, how its samples settled and what its weights look like."""
    from neuro_eq.errors import SpecError, did_you_mean
    from neuro_eq.figures import ALL, KINDS, SHEET, Choice, draw, draw_all

    if kind not in KINDS:
        raise SpecError(f'no picture "{kind}"' + did_you_mean(kind, KINDS), "--kind")
    choice = Choice(sample=sample, population=population, epoch=epoch, weights=weights)
    if kind != ALL:
        print(draw(file, out or beside(file, "" if kind == SHEET else f"-{kind}"), kind, choice))
        return
    drawn, without = draw_all(file, out or beside(file, ""), choice)
    for path in drawn:
        print(path)
    for reason in without:
        print(f"left out: {reason}", file=sys.stderr)


def beside(file: Path, ending: str) -> Path:
    """Where the picture of a file goes when no place is named: ``run.h5`` and ``run.h5.part`` give ``run.png``."""
    stem = file.name.removesuffix(".part").removesuffix(".h5")
    return file.with_name(f"{stem}{ending}.png")
