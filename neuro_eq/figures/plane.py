"""The states of all recorded samples in the plane in which they differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from neuro_eq.figures.choice import (
    Choice,
    LackingError,
    Phase,
    epoch_of,
    label_of,
    last_step,
    phases,
    population,
    rows,
    sample_name,
)
from neuro_eq.figures.style import CYCLE, INK, MUTED, SMALL, TEXT, dress, short_numbers, words
from neuro_eq.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENOUGH = 3
"""Fixed points that span a plane of their own; with fewer, the states on the way span it."""

SOME = 6
"""With more samples than this, they are named by their number alone."""

NOTICED = 0.04
"""A sample that the nudge moves by less than this share of the longest way is not named."""

CROWD = 30
"""With more samples than this, lines are thin and only classes are named."""


@dataclass(frozen=True)
class Plane:
    """Two orthonormal directions through a mean, and the share of the variance that each holds."""

    mean: Float[np.ndarray, " units"]
    directions: Float[np.ndarray, "2 units"]
    shares: Float[np.ndarray, " 2"]

    def of(self, states: Float[np.ndarray, "*rows units"]) -> Float[np.ndarray, "*rows 2"]:
        """Coordinates in the plane."""
        return (states - self.mean) @ self.directions.T


def principal_plane(points: Float[np.ndarray, "points units"]) -> Plane:
    """The first two principal components; what does not exist, as with two points, is a direction of share 0."""
    mean = points.mean(axis=0)
    _, values, directions = np.linalg.svd(points - mean, full_matrices=False)
    two = np.zeros((2, points.shape[1]))
    two[: min(2, len(directions))] = directions[:2]
    # The sign of a component is free; fixed here, so that pictures of one run at two times can be compared.
    largest = np.argmax(np.abs(two), axis=1)
    two *= np.where(two[[0, 1], largest] < 0, -1.0, 1.0)[:, None]
    squares = np.zeros(2)
    squares[: min(2, len(values))] = values[:2] ** 2
    total = float(np.sum(values**2))
    return Plane(mean, two, squares / total if total > 0 else squares)


def state_plane(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """Trajectories of the potentials through the first two principal components of the fixed points.

    Free phases are solid and end in a dot, nudged ones dashed or dotted and end in a triangle that points up for
    β > 0, down for β < 0.  A population narrows the states to its own.

    Raises:
        LackingError: no relaxation was recorded.
    """
    those, states = _states(trajectory, choice)
    shown = phases(trajectory, those)
    plane = _plane(states, shown)
    what = "all free populations" if choice.population is None else choice.population
    dress(axes, f"States of {what}", _detail(trajectory, those), *_names(plane))
    colors = _colors(trajectory, those)
    for i, row in enumerate(those):
        for phase in shown:
            _path(axes, plane.of(_recorded(states[i, phase.place])), phase, colors[i], crowded=len(those) > CROWD)
        _name(
            axes,
            plane,
            trajectory,
            states[i],
            row,
            shown,
            colors[i],
            crowded=len(those) > CROWD,
            short=len(those) > SOME,
        )
    axes.margins(0.25, 0.2)
    short_numbers(axes)
    _key(axes, shown)


def plane_page(figure: Figure, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """The plane of all samples, and beside it what the nudge does to each, seen from its own free fixed point."""
    those, states = _states(trajectory, choice)
    shown = phases(trajectory, those)
    if not any(phase.free for phase in shown) or len(shown) < 2:
        state_plane(figure.subplots(), trajectory, choice)
        return
    whole, near = figure.subplots(1, 2)
    state_plane(whole, trajectory, choice)
    free = next(phase for phase in shown if phase.free)
    moved = states - np.stack([_end(u[free.place]) for u in states])[:, None, None]
    ends = [_end(u[phase.place]) for u in moved for phase in shown if not phase.free]
    ends = [end for end in ends if np.isfinite(end).all()]
    plane = principal_plane(np.stack([*ends, *(-end for end in ends)]))
    dress(near, "Moved by the nudge", "potentials minus those of the free phase", *_names(plane))
    near.axhline(0.0, color=MUTED, lw=0.6)
    near.axvline(0.0, color=MUTED, lw=0.6)
    colors = _colors(trajectory, those)
    reach = max(float(np.linalg.norm(plane.of(end))) for end in ends)
    for i in range(len(those)):
        for phase in shown:
            if not phase.free:
                _path(near, plane.of(_recorded(moved[i, phase.place])), phase, colors[i], crowded=len(those) > CROWD)
        first = next(phase for phase in shown if not phase.free)
        if np.linalg.norm(plane.of(_end(moved[i, first.place]))) > NOTICED * reach:
            _name(
                near, plane, trajectory, moved[i], those[i], [first], colors[i],
                crowded=len(those) > CROWD, short=len(those) > SOME,
            )  # fmt: skip
    near.margins(0.25, 0.2)
    short_numbers(near)
    _key(near, [phase for phase in shown if not phase.free])


def _states(trajectory: Trajectory, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and their potentials ``(sample, phase, step, units)``."""
    those = rows(trajectory, choice, "pca")
    names = (
        [p.name for p in trajectory.spec.free] if choice.population is None else [population(trajectory, choice).name]
    )
    span = slice(int(those[0]), int(those[-1]) + 1)
    parts = [trajectory.states(name, span)[those - those[0]] for name in names]
    states = np.concatenate([u.reshape(*u.shape[:3], -1) for u in parts], axis=3).astype(np.float64)
    if not np.isfinite(states).any():
        raise LackingError(trajectory, "pca", "none of its states is finite")
    return those, states


def _plane(states: np.ndarray, shown: list[Phase]) -> Plane:
    ends = np.stack([_end(u[phase.place]) for u in states for phase in shown])
    ends = ends[np.isfinite(ends).all(axis=1)]
    if len(states) >= ENOUGH and len(ends) >= ENOUGH:
        return principal_plane(ends)
    every = states[np.isfinite(states).all(axis=3)]
    return principal_plane(every)


def _end(path: np.ndarray) -> np.ndarray:
    return path[last_step(path)]


def _recorded(path: np.ndarray) -> np.ndarray:
    return path[: last_step(path) + 1]


def _path(axes: Axes, points: np.ndarray, phase: Phase, color: str, *, crowded: bool) -> None:
    if not len(points):
        return
    axes.plot(
        points[:, 0], points[:, 1], color=color, ls=phase.dashes, lw=0.6 if crowded else 1.4,
        alpha=0.5 if crowded else 0.9, label=phase.name,
    )  # fmt: skip
    axes.plot(*points[-1], ls="none", marker=_marker(phase), ms=3 if crowded else 6, color=color, mec="white", mew=0.5)


def _name(
    axes: Axes, plane: Plane, trajectory: Trajectory, states: np.ndarray, row: int, shown: list[Phase], color: str,
    *, crowded: bool, short: bool,
) -> None:  # fmt: skip
    label, text = label_of(trajectory, row), sample_name(trajectory, row)
    if crowded and label is None:
        return
    end = plane.of(_end(states[shown[0].place]))
    start = plane.of(states[shown[0].place, 0])
    if label is not None:
        text = f"label {label}"
    # Ahead of where the path goes, so that the words do not lie on it.
    right, up = end[0] >= start[0], end[1] >= start[1]
    axes.annotate(
        text.split()[-1] if short else text, tuple(end), (9 if right else -9, 5 if up else -5),
        textcoords="offset points", ha="left" if right else "right", va="bottom" if up else "top",
        color=color, fontsize=SMALL if crowded else TEXT,
    )  # fmt: skip


def _marker(phase: Phase) -> str:
    return "o" if phase.free else "^" if phase.beta > 0 else "v"


def _key(axes: Axes, shown: list[Phase]) -> None:
    signs = {"o": "●", "^": "▲", "v": "▼"}
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.08 * (high - low))  # Room for the words.
    words(axes, [(f"{signs[_marker(phase)]} {phase.name}", MUTED) for phase in shown])


def _colors(trajectory: Trajectory, those: np.ndarray) -> list[str]:
    """By label where there is one for every sample, else by sample; ink for a crowd without labels."""
    labels = trajectory.equilibrium.get("label")
    if labels is not None and (labels[those] >= 0).all():
        return [CYCLE[label % len(CYCLE)] for label in labels[those]]
    if len(those) > CROWD:
        return [INK] * len(those)
    return [CYCLE[i % len(CYCLE)] for i in range(len(those))]


def _detail(trajectory: Trajectory, those: np.ndarray) -> str:
    by = ", coloured by label" if label_of(trajectory, int(those[0])) is not None else ""
    count = f"{len(those)} samples{by}" if len(those) > 1 else ""
    return ", ".join(part for part in (count, epoch_of(trajectory, int(those[0]))) if part)


def _names(plane: Plane) -> tuple[str, str]:
    one, two = (f"principal component {i + 1} ({100 * share:.0f} %)" for i, share in enumerate(plane.shares))
    return one, two
