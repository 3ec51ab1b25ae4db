"""Pictures of a recorded run.  Every function opens a trajectory file and writes one image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro_eq.errors import FileError
from neuro_eq.trajectory import Trajectory, open_trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED = "#222222", "#999999"
FREE, PLUS, MINUS = "#1b6ca8", "#c8553d", "#588157"


def draw_run(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Learning curve, steps, the way to the fixed point, and one sample's free and nudged phases, on one sheet.

    Raises:
        FileError: the trajectory cannot be read or the picture cannot be written.
    """
    with open_trajectory(source) as trajectory:
        figure = _sheet(trajectory)
    target = Path(target)
    part = target.with_name(target.name + ".part")
    try:
        figure.savefig(part, dpi=150, format=target.suffix[1:] or "png")
        part.replace(target)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        raise FileError(f"{target}: cannot write the picture ({getattr(error, 'strerror', None) or error})") from None
    return target


def _sheet(trajectory: Trajectory) -> Figure:
    # A Figure of its own needs no pyplot, no window and no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.2))
    axes = figure.subplots(2, 2)
    # Fixed margins: a layout that is computed takes longer than all the drawing.
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.08, top=0.9, wspace=0.22, hspace=0.32)
    _learning_curve(axes[0, 0], trajectory)
    _steps(axes[0, 1], trajectory)
    _way_to_the_fixed_point(axes[1, 0], trajectory)
    _phases(axes[1, 1], trajectory)
    backend, dtype = trajectory.attrs.get("backend", "?"), trajectory.attrs.get("dtype", "?")
    name = trajectory.spec.name or "network"
    figure.suptitle(f"{name} on {backend}, {dtype}, seed {trajectory.attrs.get('seed', '?')}", color=INK)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _learning_curve(axis: Axes, trajectory: Trajectory) -> None:
    metrics = trajectory.metrics
    axis.set_title("learning curve")
    if "test_accuracy" not in metrics or not np.any(np.isfinite(metrics["test_accuracy"][1])):
        _line(axis, metrics, "test_cost", "test", PLUS)
        _line(axis, metrics, "train_cost", "train", FREE)
        axis.set_ylabel("cost")
    else:
        for name, label, color in (("test_accuracy", "test", PLUS), ("train_accuracy", "train", FREE)):
            epoch, value = metrics[name]
            axis.plot(epoch, 100 * value, color=color, label=label, marker=".", ms=4)
        axis.set_ylabel("accuracy (%)")
    axis.set_xlabel("epoch")
    _legend(axis)


def _steps(axis: Axes, trajectory: Trajectory) -> None:
    axis.set_title("steps to the fixed point")
    _line(axis, trajectory.metrics, "free_steps", "free phase", FREE)
    _line(axis, trajectory.metrics, "nudged_steps", "nudged phases", PLUS)
    axis.set_xlabel("epoch")
    axis.set_ylabel("mean steps per sample")
    axis.set_ylim(bottom=0)
    _legend(axis)


def _way_to_the_fixed_point(axis: Axes, trajectory: Trajectory) -> None:
    """RMS distance of the potentials to where the free phase ended, first and last recorded epoch."""
    axis.set_title("free phase: distance to its fixed point")
    free = _free_phase(trajectory)
    if free is None:
        return
    distance = _distance(trajectory, free)
    rows = _rows_by_epoch(trajectory, len(distance))
    for epoch, color in ((min(rows), MUTED), (max(rows), FREE)):
        for i, row in enumerate(rows[epoch]):
            shown = distance[row] > 0
            axis.plot(
                trajectory.steps[shown], distance[row][shown], color=color, lw=1,
                label=f"epoch {epoch}" if i == 0 and epoch >= 0 else None,
            )  # fmt: skip
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("RMS of u − u*")
    _legend(axis)


def _phases(axis: Axes, trajectory: Trajectory) -> None:
    """The activities that the cost looks at, of one sample, free and then nudged both ways."""
    population = trajectory.spec.cost.population if trajectory.spec.cost else trajectory.spec.free[-1].name
    free = _free_phase(trajectory)
    if free is None:
        return
    activity = trajectory.activities(population)
    row = _most_nudged(trajectory.fixed_activities(population), free)
    epoch = trajectory.equilibrium.get("epoch", np.full(len(activity), -1))[row]
    axis.set_title(f"{population} of sample {row}, free then nudged" + (f" (epoch {epoch})" if epoch >= 0 else ""))
    units = activity[row].reshape(*activity.shape[1:3], -1)[:, :, :10]
    last = _last_step(units[free])
    axis.plot(trajectory.steps[: last + 1], units[free][: last + 1], color=FREE, lw=1)
    for phase, beta in enumerate(trajectory.betas):
        if beta == 0:
            continue
        end = _last_step(units[phase])
        when = trajectory.steps[last] + trajectory.steps[: end + 1]
        axis.plot(when, units[phase][: end + 1], color=PLUS if beta > 0 else MINUS, lw=1)
        axis.plot([], [], color=PLUS if beta > 0 else MINUS, label=f"β = {beta:+g}")
    axis.plot([], [], color=FREE, label="free")
    axis.set_xlabel("step")
    axis.set_ylabel("activity")
    _legend(axis)


def _free_phase(trajectory: Trajectory) -> int | None:
    found = np.flatnonzero(trajectory.betas == 0)
    return int(found[0]) if found.size else None


def _distance(trajectory: Trajectory, free: int) -> np.ndarray:
    """``(sample, step)`` RMS over all free units."""
    total: Any = 0.0
    units = 0
    for p in trajectory.spec.free:
        states = trajectory.states(p.name)[:, free]
        fixed = trajectory.fixed_states(p.name)[:, free]
        total = total + np.sum((states - fixed[:, None]) ** 2, axis=tuple(range(2, states.ndim)))
        units += p.size
    return np.sqrt(total / units)


def _rows_by_epoch(trajectory: Trajectory, rows: int) -> dict[int, list[int]]:
    epochs = trajectory.equilibrium.get("epoch", np.full(rows, -1))
    found: dict[int, list[int]] = {}
    for row, epoch in enumerate(epochs):
        found.setdefault(int(epoch), []).append(row)
    return found


def _most_nudged(fixed: np.ndarray, free: int) -> int:
    """The recorded sample that the nudge moves furthest: one that is fitted shows three equal lines."""
    moved = np.abs(fixed - fixed[:, free : free + 1]).reshape(len(fixed), -1)
    return int(np.argmax(np.nan_to_num(moved).max(axis=1)))


def _last_step(values: np.ndarray) -> int:
    """Index of the last step that was recorded."""
    recorded = np.flatnonzero(np.isfinite(values).any(axis=1))
    return int(recorded[-1]) if recorded.size else 0


def _line(axis: Axes, metrics: dict[str, tuple[np.ndarray, np.ndarray]], name: str, label: str, color: str) -> None:
    if name in metrics:
        epoch, value = metrics[name]
        axis.plot(epoch, value, color=color, label=label, marker=".", ms=4)


def _legend(axis: Axes) -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False)
