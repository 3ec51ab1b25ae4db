"""The energy at every step of one sample: what settling lowers, and the terms that it is the sum of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.figures.choice import (
    Choice,
    LackingError,
    Phase,
    last_step,
    phases,
    sample_in_full,
    sample_name,
    sample_row,
)
from neuro_eq.figures.style import (
    CYCLE,
    INK,
    MUTED,
    EndLabel,
    dress,
    label_ends,
    note,
    short_numbers,
    whole_numbers,
    words,
)
from neuro_eq.spec import Population
from neuro_eq.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RISE = "#b00020"


@dataclass(frozen=True)
class _Course:
    """``F_β = G + βC`` of one sample along one phase."""

    phase: Phase
    steps: np.ndarray
    values: np.ndarray
    terms: np.ndarray
    noise: np.ndarray
    """How well each value is known."""

    @property
    def rises(self) -> np.ndarray:
        """Places whose value is higher than the one before by more than both are known to."""
        return 1 + np.flatnonzero(np.diff(self.values) > self.noise[1:] + self.noise[:-1])


def energy_descent(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """``F_β = G + βC`` above the lowest value of its phase, on a logarithmic axis.

    A step that raises it is marked: with ``α ≤ 1/(1 + κ·sup‖ρ'‖)`` there is none.

    Raises:
        LackingError: the file holds no energies.
    """
    row, courses = _courses(trajectory, choice)
    dress(axes, "Energy above its lowest value", sample_in_full(trajectory, row), "step", "F − min F,  F = G + βC")
    behind, rises, taken = 0, 0, 0
    shown: list[np.ndarray] = []
    for course in courses:
        above = course.values - course.values.min()
        step = course.steps + behind * (not course.phase.free)
        seen = above > 2 * course.noise
        axes.plot(
            step[seen], above[seen], color=course.phase.color, ls=course.phase.dashes, lw=2.2, label=course.phase.name,
            marker="o" if np.sum(seen) == 1 else None, ms=4,
        )  # fmt: skip
        shown.append(above[seen])
        up = course.rises
        if up.size:
            axes.plot(step[up], above[up], ls="none", marker="o", ms=5, color=RISE, label="rise")
        rises, taken = rises + up.size, taken + len(step) - 1
        if course.phase.free:
            behind = int(step[-1])
    values = np.concatenate(shown)
    if values.size and values.max() > 10 * values.min():
        axes.set_yscale("log", nonpositive="mask")
    else:
        short_numbers(axes)
    axes.margins(y=0.14)
    whole_numbers(axes)
    words(axes, [(course.phase.name, course.phase.color) for course in courses])
    verdict = f"rises at {rises} of {taken} recorded steps" if rises else f"never rises in {taken} recorded steps"
    note(axes, verdict, RISE if rises else MUTED)


def energy_of_terms(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """``G`` of the free phase and the terms that it is the sum of.

    Raises:
        LackingError: the file holds no energies.
    """
    row, courses = _courses(trajectory, choice)
    course = courses[0]
    when = "free phase" if course.phase.free else course.phase.name
    dress(axes, f"Terms of G, {when}", sample_in_full(trajectory, row), "step", "energy")
    axes.axhline(0.0, color=MUTED, lw=0.6)
    ends = []
    for i, name in enumerate(trajectory.energy_terms):
        color = CYCLE[i % len(CYCLE)]
        axes.plot(course.steps, course.terms[:, i], color=color, lw=1.4, label=name)
        ends.append(EndLabel(float(course.terms[-1, i]), name, color))
    total = course.terms.sum(axis=1)
    axes.plot(course.steps, total, color=INK, lw=2.6, label="G")
    whole_numbers(axes)
    label_ends(axes, [*ends, EndLabel(float(total[-1]), "G, their sum", INK)])


def energy_page(figure: Figure, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """The descent, and the terms."""
    descent, terms = figure.subplots(1, 2)
    energy_descent(descent, trajectory, choice)
    energy_of_terms(terms, trajectory, choice)


def _courses(trajectory: Trajectory, choice: Choice) -> tuple[int, list[_Course]]:
    row = sample_row(trajectory, choice, "energy")
    if "energy" not in trajectory.settling:
        raise LackingError(trajectory, "energy", _why_there_is_none(trajectory))
    size = _size_of_states(trajectory, row)
    slope = max(1.0, *(_slope(p) for p in trajectory.spec.free))
    found = []
    for phase in phases(trajectory, np.array([row])):
        energy = trajectory.settling["energy"][row, phase.place]
        last = last_step(energy)
        if last < 0:
            continue
        upto = slice(last + 1)
        cost = np.zeros(last + 1) if phase.free else phase.beta * trajectory.settling["cost"][row, phase.place, upto]
        terms = trajectory.settling["energy_term"][row, phase.place, upto]
        # Sums in float64; and rounding of the states, which changes an energy in proportion to its slope.
        residual = trajectory.settling["residual"][row, phase.place, upto]
        eps = float(np.finfo(trajectory.attrs["dtype"]).eps)
        moved = eps * slope * size[phase.place, upto]
        noise = 1e-13 * np.abs(terms).sum(axis=1) + moved * (residual * np.sqrt(trajectory.spec.free_units) + moved)
        found.append(_Course(phase, trajectory.steps[upto], energy[upto] + cost, terms, noise))
    if not found:
        raise LackingError(trajectory, "energy", f"{sample_name(trajectory, row)} has no recorded step")
    return row, found


def _slope(p: Population) -> float:
    """About how much more an activity changes than the potential that it follows."""
    return p.activation.slope_sup(p.activation.initial(p.shape, np.random.default_rng(0)))


def _size_of_states(trajectory: Trajectory, row: int) -> np.ndarray:
    """``(phase, step)`` Euclidean norm of a sample's potentials."""
    squares = 0.0
    for p in trajectory.spec.free:
        u = trajectory.states(p.name, slice(row, row + 1))[0].astype(np.float64)
        squares = squares + np.sum(u * u, axis=tuple(range(2, u.ndim)))
    return np.sqrt(squares)


def _why_there_is_none(trajectory: Trajectory) -> str:
    for synapse in trajectory.spec.without_energy:
        return f'synapse "{synapse.name}" is directed, and only symmetric synapses have an energy'
    return "it was recorded before energies per step were kept; record the run again"
