"""What a picture of settling is made of: residual, energy and cost at every recorded state.

Engines report a residual only where they look for one, and each in its own precision.  So it is computed anew from
the recorded potentials, by the equations of :mod:`neuro_eq.dynamics` in float64 on every engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neuro_eq.arrays import Activities
from neuro_eq.engine import Engine
from neuro_eq.relaxing import Task
from neuro_eq.spec import Network
from neuro_eq.synapses import SymmetricSynapse
from neuro_eq.trajectory import schema

AT_ONCE = 1 << 19
"""Bytes of activities that are looked at together: with what is computed of them they stay in a CPU's cache."""


def energy_terms(spec: Network) -> tuple[str, ...]:
    """The names of the terms of ``G``: free populations, then synapses.  Empty with a directed synapse: no energy."""
    if not spec.has_energy:
        return ()
    return (*(p.name for p in spec.free), *(synapse.name for synapse in spec.synapses))


@dataclass(frozen=True)
class StillEnergy:
    """The energy of a synapse whose drive does not change while the network settles.

    As ``−∂e/∂a = drive`` is constant, ``e(a) = e(0) − Σ_p ⟨a_p, drive_p⟩`` over the free populations: what a weight
    matrix between data and units costs is paid once, and not for every state.

    Attributes:
        at_zero: ``e(0)`` of each sample.
        drive: onto free populations.
    """

    at_zero: np.ndarray
    drive: Mapping[str, np.ndarray]

    def along(self, a: Activities, times: int) -> np.ndarray:
        """``e`` of ``times`` states of each sample, one state a row."""
        found = np.repeat(self.at_zero[:, None], times, axis=1)
        for name, drive in self.drive.items():
            found -= (a[name].reshape(len(found), times, -1) @ drive.reshape(len(found), -1, 1))[..., 0]
        return found.ravel()


class Measures:
    """The equations of one relaxation's recorded samples, with the parameters that it ran on.

    Args:
        net: the engine that relaxes.
        task: what it relaxes.
        count: samples that are recorded, the first of the batch.
    """

    def __init__(self, net: Engine, task: Task, count: int) -> None:
        def first(values: np.ndarray) -> np.ndarray:
            return np.asarray(net.to_numpy(values[:count]), dtype=np.float64)

        self.spec, self.dynamics = net.spec, net.dynamics
        self.theta = {name: np.asarray(net.to_numpy(v), dtype=np.float64) for name, v in net.parameters.items()}
        self.inputs = {name: first(values) for name, values in task.inputs.items()}
        self.betas = np.array([complex(beta).real for beta in task.betas])
        self.target = None if task.target is None else first(task.target)
        self.anchor = None if task.anchor is None else {name: first(values) for name, values in task.anchor.items()}
        self.terms = energy_terms(net.spec)
        self.still, self.still_energy = self._still_part(count)
        # What moves rarely looks at the data, which would be repeated for every state.
        looked_at = {name for synapse in self.dynamics.moving for name in synapse.populations}
        self.seen = {name: values for name, values in self.inputs.items() if name in looked_at}

    def _still_part(self, count: int) -> tuple[dict[str, np.ndarray], dict[str, StillEnergy]]:
        """The drive of the synapses that depend on data only, and the energy of each of them."""
        a = {**self.inputs, **{p.name: np.zeros((count, *p.shape)) for p in self.spec.free}}
        total = {p.name: a[p.name] for p in self.spec.free}
        energies: dict[str, StillEnergy] = {}
        for synapse in self.dynamics.still:
            own = self.dynamics.own(self.theta, synapse.name)
            drive = {name: d for name, d in synapse.drive(a, own, self.dynamics.free).items() if name in total}
            total.update({name: total[name] + value for name, value in drive.items()})
            if self.terms and isinstance(synapse, SymmetricSynapse):
                energies[synapse.name] = StillEnergy(np.asarray(synapse.energy(a, own)), drive)
        return total, energies

    def along(self, states: Mapping[str, np.ndarray]) -> dict[str, Float[np.ndarray, "sample phase step ..."]]:
        """Each measure of recorded potentials ``(sample, phase, step, unit…)``, under its name in ``/settling``.

        What is not defined is left out: an energy with directed synapses, a cost without a target.
        """
        samples, phases, steps = next(iter(states.values())).shape[:3]
        width = 8 * samples * phases * sum(p.size for p in self.spec.populations)
        stride = max(1, AT_ONCE // width)
        parts = [
            self._at({name: u[:, :, first : first + stride] for name, u in states.items()})
            for first in range(0, steps, stride)
        ]
        return {name: np.concatenate([part[name] for part in parts], axis=2) for name in parts[0]}

    def nudge_size(self, states: Mapping[str, np.ndarray]) -> Float[np.ndarray, "sample phase"]:
        """``r₀ = |β|·RMS(∂C/∂a)`` at the potentials ``(sample, phase, unit…)`` that a phase sets out from."""
        samples = next(iter(states.values())).shape[0]
        if self.target is None:
            return np.full((samples, len(self.betas)), np.nan)
        phases = len(self.betas)
        u = _rows({name: values[:, :, None] for name, values in states.items()})
        with np.errstate(all="ignore"):
            a = self.dynamics.activities(u, _repeated(self.inputs, phases), self.theta)
            slope = self.dynamics.cost_slope(a, np.repeat(self.target, phases, axis=0), self.theta)
            size = np.sqrt(self.dynamics.mean_square(slope)).reshape(samples, -1)
        return np.abs(self.betas) * size

    def _at(self, states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shape = next(iter(states.values())).shape[:3]
        times = shape[1] * shape[2]
        u = _rows(states)
        beta = np.broadcast_to(self.betas[None, :, None], shape).ravel()
        found: dict[str, np.ndarray] = {}
        with np.errstate(all="ignore"):  # A diverging state may overflow; its status says so.
            a = self.dynamics.activities(u, _repeated(self.seen, times), self.theta)
            moving, still = self.dynamics.moving_drive(a, self.theta), _repeated(self.still, times)
            drive = {name: moving[name] + still[name] for name in moving}
            if self.target is not None and self.spec.cost is not None:
                y, nudged = np.repeat(self.target, times, axis=0), self.spec.cost.population
                drive[nudged] = drive[nudged] + self.dynamics.nudge(a, y, beta, self.theta)
                found["cost"] = self.dynamics.cost(a, y, self.theta)
            if self.anchor is not None:
                anchor = {name: values for name, values in self.anchor.items() if name in a}
                correction = self.dynamics.asymmetry(_repeated(anchor, times), a, self.theta)
                drive = {name: drive[name] + correction[name] for name in drive}
            difference = {name: drive[name] - u[name] for name in drive}
            found["residual"] = np.sqrt(self.dynamics.mean_square(difference))
            if self.terms:
                known = {name: still.along(a, times) for name, still in self.still_energy.items()}
                energy = self.dynamics.energy(u, a, self.theta, known)
                found["energy"] = energy.total
                found[schema.ENERGY_TERM] = np.stack([energy.terms[name] for name in self.terms], axis=-1)
        return {name: values.reshape(*shape, *values.shape[1:]) for name, values in found.items()}


def _rows(states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Potentials ``(sample, phase, step, unit…)``, one state a row."""
    return {name: np.asarray(u, dtype=np.float64).reshape(-1, *u.shape[3:]) for name, u in states.items()}


def _repeated(values: Mapping[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """What belongs to a sample, in each of its rows."""
    return {name: np.repeat(value, times, axis=0) for name, value in values.items()}
