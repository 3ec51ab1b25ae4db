"""``neuro_eq plot``: a picture of a trajectory file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Put the command into the program."""
    app.command(
        "plot", epilog="Example:  neuro_eq plot runs/digits-layered_hopfield-numba-seed0/trajectory.h5 -o run.png"
    )(plot)


def plot(
    file: Annotated[Path, typer.Argument(metavar="FILE.h5", help="A trajectory file, complete or a .part.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Image to write (png, pdf, svg); beside the file by default.")
    ] = None,
) -> None:
    """Draw the learning curve, the steps, the way to the fixed point, and a sample's free and nudged phases."""
    from neuro_eq.figures import draw_run

    target = out or file.with_suffix(".png")
    print(draw_run(file, target))
