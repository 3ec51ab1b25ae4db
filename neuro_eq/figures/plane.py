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


@dataclass(frozen=True)
class Name:
    """A word at the end of a way, in data coordinates, and on which side of it."""

    end: tuple[float, float]
    text: str
    color: str
    size: float
    right: bool
    up: bool


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
    named: list[Name] = []
    for i, row in enumerate(those):
        for phase in shown:
            _path(axes, plane.of(_recorded(states[i, phase.place])), phase, colors[i], crowded=len(those) > CROWD)
        way = plane.of(states[i, shown[0].place])
        named += _name(trajectory, int(row), way, colors[i], len(those))
    axes.margins(0.25, 0.2)
    short_numbers(axes)
    _key(axes, shown)
    write_names(axes, named)


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
    named: list[Name] = []
    for i in range(len(those)):
        for phase in shown:
            if not phase.free:
                _path(near, plane.of(_recorded(moved[i, phase.place])), phase, colors[i], crowded=len(those) > CROWD)
        first = next(phase for phase in shown if not phase.free)
        if np.linalg.norm(plane.of(_end(moved[i, first.place]))) > NOTICED * reach:
            named += _name(trajectory, int(those[i]), plane.of(moved[i, first.place]), colors[i], len(those))
    near.margins(0.25, 0.2)
    short_numbers(near)
    _key(near, [phase for phase in shown if not phase.free])
    write_names(near, named)


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


def _name(trajectory: Trajectory, row: int, way: Float[np.ndarray, "steps 2"], color: str, count: int) -> list[Name]:
    """What the end of a sample's way is called: its label where there is one; nobody reads the numbers of a crowd."""
    label, text = label_of(trajectory, row), sample_name(trajectory, row)
    if count > CROWD and label is None:
        return []
    if label is not None:
        text = f"label {label}"
    start, end = way[0], _end(way)
    # Ahead of where the way goes, so that the words do not lie on it.
    right, up = bool(end[0] >= start[0]), bool(end[1] >= start[1])
    size = SMALL if count > CROWD else TEXT
    return [Name(tuple(end), text.split()[-1] if count > SOME else text, color, size, right, up)]


def write_names(axes: Axes, names: list[Name]) -> None:
    """Each name at its end, or on another side of it where one stands already.  Call it when the limits are final.

    A name that finds no place is left out if the like of it stands beside; its colour says it.
    """
    points = 72.0 / _dpi(axes)
    room = axes.bbox.get_points() * points
    taken: list[tuple[np.ndarray, str]] = []
    for name in names:
        end = axes.transData.transform(name.end) * points
        # Letters are about 0.6 of their size wide.
        extent = np.array([0.6 * name.size * len(name.text), 1.2 * name.size])
        sides = [(right, up) for right in (name.right, not name.right) for up in (name.up, not name.up)]
        for right, up in sides:
            away = np.array([9.0 if right else -9.0, 5.0 if up else -5.0])
            low = end + away - extent * [not right, not up]
            box = np.stack([low, low + extent])
            inside = (room[0] <= box[0]).all() and (box[1] <= room[1]).all()
            if inside and not any(_overlap(box, other) for other, _ in taken):
                break
        else:
            if any(text == name.text and _overlap(box, other) for other, text in taken):
                continue
        taken.append((box, name.text))
        axes.annotate(
            name.text, name.end, tuple(away), textcoords="offset points", ha="left" if right else "right",
            va="bottom" if up else "top", color=name.color, fontsize=name.size,
        )  # fmt: skip


def _overlap(one: Float[np.ndarray, "2 2"], other: Float[np.ndarray, "2 2"]) -> bool:
    return bool((one[0] < other[1]).all() and (other[0] < one[1]).all())


def _dpi(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes that belong to no figure cannot be drawn"
    return float(figure.dpi)


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
