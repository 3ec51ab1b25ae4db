"""The activities of one sample, free and then nudged both ways, on one axis of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.figures.choice import (
    Choice,
    LackingError,
    Phase,
    label_of,
    last_step,
    phases,
    population,
    sample_in_full,
    sample_name,
    sample_row,
)
from neuro_eq.figures.style import FAINT, EndLabel, dress, label_ends, short_numbers, whole_numbers, words
from neuro_eq.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 10
"""Units that can be told apart in one panel."""

APART = 0.01
"""Lines that end closer than this share of the panel's height cannot be named one by one."""


def phases_overlaid(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """A population's activities from the start to the free fixed point, and from there under each nudge.

    Of a large population, the ten units that the nudge moves most.

    Raises:
        LackingError: no relaxation was recorded.
    """
    row = sample_row(trajectory, choice, "phases")
    p = population(trajectory, choice)
    shown = phases(trajectory, np.array([row]))
    activity = trajectory.activities(p.name, slice(row, row + 1))[0]
    activity = activity.reshape(*activity.shape[:2], -1)
    paths = {phase: activity[phase.place, : last_step(activity[phase.place]) + 1] for phase in shown}
    paths = {phase: path for phase, path in paths.items() if len(path)}
    if not paths:
        raise LackingError(trajectory, "phases", f"{sample_name(trajectory, row)} has no recorded step")
    units = _moved_most(paths)
    some = f"the {len(units)} of {p.size} units that move most, " if len(units) < p.size else ""
    dress(axes, f"Activities of {p.name}", some + sample_in_full(trajectory, row), "step", "activity")
    behind = 0
    for phase, path in paths.items():
        step = behind * (not phase.free) + trajectory.steps[: len(path)]
        axes.plot(step, path[:, units], color=phase.color, ls=phase.dashes, lw=1.6, label=phase.name)
        if phase.free:
            behind = int(step[-1])
    if behind and len(paths) > 1:
        axes.axvline(behind, color=FAINT, lw=1, zorder=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.12 * (high - low))
    short_numbers(axes)
    whole_numbers(axes)
    words(axes, [(phase.name, phase.color) for phase in paths])
    label_ends(axes, _unit_names(axes, trajectory, row, p.name, units, paths))


def _moved_most(paths: dict[Phase, np.ndarray]) -> np.ndarray:
    """Units in their order; a free phase alone is judged by how far its units travel."""
    ends = np.stack([path[-1] for path in paths.values()])
    moved = np.ptp(ends, axis=0) if len(ends) > 1 else np.ptp(next(iter(paths.values())), axis=0)
    order = np.argsort(-np.nan_to_num(moved), kind="stable")
    return np.sort(order[:FEW])


def _unit_names(
    axes: Axes,
    trajectory: Trajectory,
    row: int,
    population: str,
    units: np.ndarray,
    paths: dict[Phase, np.ndarray],
) -> list[EndLabel]:
    """Each unit once, at the end of the last phase in which its line ends apart from all others."""
    last = [path for phase, path in paths.items() if not phase.free] or list(paths.values())
    colors = [phase.color for phase in paths if not phase.free] or [phase.color for phase in paths]
    shape = trajectory.spec.shapes[population]
    low, high = axes.get_ylim()
    every = np.concatenate([path[-1, units] for path in last])
    label = label_of(trajectory, row)
    cost = trajectory.spec.cost
    one_a_class = cost is not None and cost.kind == "squared_error" and cost.population == population
    right = label if one_a_class else None
    names: dict[int, EndLabel] = {}
    for path, color in zip(last, colors, strict=True):
        for unit in units:
            end = float(path[-1, unit])
            if unit not in names and np.sum(np.abs(every - end) < APART * (high - low)) == 1:
                names[unit] = EndLabel(end, _unit(int(unit), shape) + (", the label" if unit == right else ""), color)
    return list(names.values())


def _unit(unit: int, shape: tuple[int, ...]) -> str:
    """Its place on the population's own axes."""
    return "unit " + ", ".join(str(int(place)) for place in np.unravel_index(unit, shape))
