"""How a recorded phase ended, as the table of outcomes has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium, Status
from neuro_eq.errors import BackendError
from neuro_eq.relaxing import Task
from neuro_eq.trajectory.places import Place


def outcome(net: Engine, task: Task, state: Equilibrium, place: Place, phase: int) -> dict[str, np.ndarray]:
    """Name in ``/equilibrium`` to one value a recorded sample.

    Args:
        net: the engine that relaxed.
        task: what it relaxed.
        state: where it ended.
        place: where that is written.
        phase: the number of the phase among those of the relaxation.
    """
    count = place.rows.count
    found: dict[str, np.ndarray] = {
        "steps": np.asarray(state.steps[:count], dtype=np.int64),
        "residual": np.asarray(state.residual[:count], dtype=np.float64),
        "status": np.asarray(state.status[:count], dtype=np.int8),
        "energy": _energy(net, state, count),
        "tolerance": np.full(count, np.nan) if task.tol is None else np.asarray(task.tol[:count], dtype=np.float64),
        "nudge_size": place.nudge_size[:, phase],
    }
    return _joined(place.rows.outcomes[place.phases[phase]], found, task, count) if place.goes_on else found


def _energy(net: Engine, state: Equilibrium, count: int) -> np.ndarray:
    """``G`` per recorded sample; NaN where the network has none, as directed synapses have no energy."""
    if not net.spec.has_energy:
        return np.full(count, np.nan)
    first = replace(
        state,
        states={name: values[:count] for name, values in state.states.items()},
        activities={name: values[:count] for name, values in state.activities.items()},
    )
    try:
        with np.errstate(all="ignore"):
            return np.asarray(net.to_numpy(net.energy(first).total), dtype=np.float64)
    except BackendError:
        return np.full(count, np.nan)


def _joined(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], task: Task, count: int
) -> dict[str, np.ndarray]:
    """The outcome of a phase that went on: all its steps, and the last word on how it ended.

    A sample with an infinite tolerance was not asked to go on, so it keeps how it ended before.
    """
    asked = np.ones(count, dtype=bool) if task.tol is None else ~np.isposinf(task.tol[:count])
    asked |= after["status"] >= int(Status.DIVERGED)
    status = np.where(asked, after["status"], before["status"])
    tolerance = np.where(np.isposinf(after["tolerance"]), before["tolerance"], after["tolerance"])
    joined = {**after, "steps": before["steps"] + after["steps"], "status": status}
    return {**joined, "tolerance": tolerance, "nudge_size": before["nudge_size"]}
