"""How training went, epoch by epoch: accuracy and cost, and the steps that settling took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.figures.choice import Choice, LackingError
from neuro_eq.figures.style import BLUE, FREE, INK, PLUS, VERMILLION, EndLabel, dress, label_ends, whole_numbers
from neuro_eq.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, TEST = BLUE, VERMILLION
LOGARITHMIC = 30.0
"""A cost that changes by more than this factor is shown on a logarithmic axis."""


def learning_curve(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """Accuracy on the training and the test samples, or the cost where there is no accuracy.

    Raises:
        LackingError: the file holds neither.
    """
    if _known(trajectory, "test_accuracy") or _known(trajectory, "train_accuracy"):
        _accuracy(axes, trajectory)
    else:
        _cost(axes, trajectory)


def learning_page(figure: Figure, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """Accuracy and cost side by side; one of them where the file has no other."""
    drawn = [
        draw
        for draw, names in ((_accuracy, ("test_accuracy", "train_accuracy")), (_cost, ("test_cost", "train_cost")))
        if any(_known(trajectory, name) for name in names)
    ]
    for axes, draw in zip(figure.subplots(1, max(len(drawn), 1), squeeze=False)[0], drawn or [_cost], strict=True):
        draw(axes, trajectory)


def steps_per_epoch(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """Mean steps per sample to the fixed point, free and nudged.

    Raises:
        LackingError: the file holds no epochs.
    """
    shown = [
        (name, word, color)
        for name, word, color in (("free_steps", "free", FREE), ("nudged_steps", "nudged", PLUS))
        if _known(trajectory, name)
    ]
    if not shown:
        raise LackingError(trajectory, "steps", "it holds no steps per epoch; train(…, record=…) records them")
    dress(axes, "Steps to the fixed point", "of the training samples", "epoch", "mean steps per sample")
    ends = [_line(axes, trajectory, name, color, word, 1.0, ".0f", "") for name, word, color in shown]
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    label_ends(axes, ends)


def _accuracy(axes: Axes, trajectory: Trajectory) -> None:
    dress(axes, "Accuracy", "of the training and the test samples", "epoch", "accuracy (%)")
    ends = [
        _line(axes, trajectory, name, color, word, 100.0, ".1f", " %")
        for name, word, color in (("test_accuracy", "test", TEST), ("train_accuracy", "train", TRAIN))
        if _known(trajectory, name)
    ]
    if all(len(line.get_xdata()) == 1 for line in axes.get_lines()):  # type: ignore[arg-type]
        axes.set_ylim(0.0, 100.0)
    whole_numbers(axes)
    label_ends(axes, ends)


def _cost(axes: Axes, trajectory: Trajectory) -> None:
    ends = []
    if _known(trajectory, "test_cost") or _known(trajectory, "train_cost"):
        dress(axes, "Cost", "of the training and the test samples", "epoch", "mean cost per sample")
        for name, word, color in (("test_cost", "test", TEST), ("train_cost", "train", TRAIN)):
            if _known(trajectory, name):
                ends.append(_line(axes, trajectory, name, color, word, 1.0, ".3g", ""))
    elif _known(trajectory, "cost"):
        dress(axes, "Cost", "of each batch", "index", "mean cost per sample")
        ends.append(_line(axes, trajectory, "cost", INK, "", 1.0, ".3g", ""))
    else:
        raise LackingError(
            trajectory, "learning", "it holds no accuracy and no cost; train(…, record=…) records them every epoch"
        )
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    if values.min() > 0 and values.max() > LOGARITHMIC * values.min():
        axes.set_yscale("log")
    elif 0 < 2 * values.min() < values.max():
        axes.set_ylim(bottom=0.0)
    whole_numbers(axes)
    label_ends(axes, ends)


def _line(
    axes: Axes, trajectory: Trajectory, name: str, color: str, word: str, scale: float, form: str, unit: str
) -> EndLabel:
    index, values = trajectory.metrics[name]
    known = np.isfinite(values)
    axes.plot(index[known], scale * values[known], color=color, lw=2, marker="o", ms=4 if known.sum() < 40 else 0)
    last = scale * values[known][-1]
    return EndLabel(float(last), f"{word} {last:{form}}{unit}".strip(), color)


def _known(trajectory: Trajectory, name: str) -> bool:
    return name in trajectory.metrics and bool(np.isfinite(trajectory.metrics[name][1]).any())
