"""Pictures of a recorded run.

:func:`draw` turns a trajectory file into an image.  Each picture is also a function of its own, which takes a
matplotlib ``Axes``, a :class:`~neuro_eq.trajectory.Trajectory` and a :class:`Choice`, to be put into figures of
one's own:

    with ne.open_trajectory("run.h5") as run:
        residual_per_step(axes, run, Choice(epoch=3))
"""

from __future__ import annotations

from neuro_eq.figures.choice import Choice, LackingError
from neuro_eq.figures.energy import energy_descent, energy_of_terms
from neuro_eq.figures.learning import learning_curve, steps_per_epoch
from neuro_eq.figures.overlay import phases_overlaid
from neuro_eq.figures.plane import state_plane
from neuro_eq.figures.residual import residual_per_step
from neuro_eq.figures.sheet import ALL, KINDS, PICTURES, SHEET, draw, draw_all, draw_run, page, sheet
from neuro_eq.figures.weights import weight_images

__all__ = [
    "ALL",
    "KINDS",
    "PICTURES",
    "SHEET",
    "Choice",
    "LackingError",
    "draw",
    "draw_all",
    "draw_run",
    "energy_descent",
    "energy_of_terms",
    "learning_curve",
    "page",
    "phases_overlaid",
    "residual_per_step",
    "sheet",
    "state_plane",
    "steps_per_epoch",
    "weight_images",
]
