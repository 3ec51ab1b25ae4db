"""The equations of :mod:`neuro_eq.dynamics` for one relaxation on tensors, with dense products as torch has them.

A network's parameters are looked up once and not in every step, and a product with a weight matrix adds to the drive
as it goes.  All else is the synapses' own code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy

import torch
from jaxtyping import Inexact
from torch import Tensor

from neuro_eq.arrays import Activities, Parameters
from neuro_eq.backends.torch import devices
from neuro_eq.costs import SquaredError
from neuro_eq.dynamics import Dynamics
from neuro_eq.relaxing import Task
from neuro_eq.settling.drives import Drives
from neuro_eq.synapses import Dense, DirectedDense, StepGate, Synapse

Matrix = Inexact[Tensor, "pre post"]
Source = Inexact[Tensor, "rows *source"]
Target = Inexact[Tensor, "rows *target"]


AT_ONCE = 2**17
"""Potentials of a population that a synapse is asked for at a time on a CPU.

Attention and memories hold many times as many numbers on the way, so this bounds what a step takes of memory, however
large the batch.  Half as many cost a tenth of the time, as products become small.
"""


class TensorDrives(Drives):
    """The drive of one task's populations at any activities.

    Args:
        still: what inputs and biases drive, of one phase.
    """

    def __init__(self, dynamics: Dynamics, theta: Parameters, task: Task, beta: Tensor, still: Activities) -> None:
        super().__init__(dynamics, theta, task, beta, {}, still)
        reading = [*dynamics.moving, *(s for s in dynamics.still if isinstance(s, StepGate))]
        read = {name for synapse in reading for name in synapse.populations}
        read.update(() if self.spec.cost is None else self.spec.cost.data)
        self.inputs = {name: value for name, value in self.inputs.items() if name in read}
        self.squared = isinstance(self.spec.cost, SquaredError)
        self._look_up()

    def _look_up(self) -> None:
        """Each synapse's and each activation's own parameters."""
        dynamics, theta = self.dynamics, self.theta
        self.populations = [(p.name, p.activation, dynamics.own(theta, p.name)) for p in self.spec.free]
        self.products: list[tuple[str, str, Matrix]] = []
        self.others: list[tuple[Synapse, Parameters]] = []
        for synapse in dynamics.moving:
            own = dynamics.own(theta, synapse.name)
            # A subclass may drive otherwise.
            if type(synapse) is Dense or type(synapse) is DirectedDense:
                self.products.append((synapse.target, synapse.source, own["weight"].T))
                if type(synapse) is Dense and not synapse.on_itself:
                    self.products.append((synapse.source, synapse.target, own["weight"]))
            else:
                self.others.append((synapse, own))

    @property
    def tensors(self) -> list[Tensor]:
        """Everything that the drive depends on beside the potentials, in one order."""
        target = [] if self.target is None else [self.target]
        named = (self.theta, self.inputs, self.still, self.anchor or {})
        return [self.beta, *target, *(value for values in named for value in values.values())]

    def copied(self) -> TensorDrives:
        """The same drives, of tensors of their own."""

        def clones(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.clone() for name, value in values.items()}

        other = copy(self)
        other.beta = self.beta.clone()
        other.target = None if self.target is None else self.target.clone()
        other.theta, other.inputs, other.still = clones(self.theta), clones(self.inputs), clones(self.still)
        other.anchor = None if self.anchor is None else clones(self.anchor)
        other._look_up()
        return other

    def activities(self, u: Activities) -> dict[str, Tensor]:
        """``a = ρ(u)`` of the populations in ``u``, and of the data what is read while they move."""
        free = {name: rho.activity(u[name], own) for name, rho, own in self.populations if name in u}
        return {**self.inputs, **free}

    def bare(self, a: Activities, onto: Collection[str] | None = None) -> dict[str, Tensor]:
        """The drive without the nudge; ``onto`` some of the free populations."""
        felt = self.still.keys() if onto is None else onto
        drive = {name: value for name, value in self.still.items() if name in felt}
        for target, source, matrix in self.products:
            if target in drive:
                drive[target] = _add_product(drive[target], a[source], matrix)
        if not self.others and self.anchor is None:
            return drive
        every, count = int(self.beta.shape[0]), self._rows_at_once()
        if count >= every:
            return self._with_others(drive, a, self.anchor)
        parts = []
        for first in range(0, every, count):
            rows = slice(first, first + count)
            own_drive, own_a = ({name: value[rows] for name, value in values.items()} for values in (drive, a))
            anchor = None if self.anchor is None else {name: value[rows] for name, value in self.anchor.items()}
            parts.append(self._with_others(own_drive, own_a, anchor))
        return {name: torch.cat([part[name] for part in parts]) for name in drive}

    def _with_others(self, drive: Activities, a: Activities, anchor: Activities | None) -> dict[str, Tensor]:
        """The drive, and what synapses other than dense ones and the correction for asymmetry add to it."""
        total = dict(drive)
        for synapse, own in self.others:
            if not total.keys().isdisjoint(synapse.driven):
                for name, value in synapse.drive(a, own, total.keys()).items():
                    total[name] = total[name] + value
        if anchor is not None:
            for name, value in self.dynamics.asymmetry(anchor, a, self.theta, total.keys()).items():
                total[name] = total[name] + value
        return total

    def _rows_at_once(self) -> int:
        """How many rows synapses are asked for at a time."""
        every = int(self.beta.shape[0])
        if devices.is_gpu(self.beta.device) or torch.is_grad_enabled():
            return every
        return max(1, AT_ONCE // max(population.size for population in self.spec.free))

    def with_nudge(self, a: Activities, bare: Activities) -> dict[str, Tensor]:
        """The drive: ``bare`` and, on the nudged population, ``−β ∂C/∂a``."""
        name = self.nudged
        if not self.squared or name is None or self.target is None or name not in bare:
            return super().with_nudge(a, bare)
        towards, o = bare[name], a[name]
        missing = self.target.view_as(o) - o
        beta = self.beta.view((-1,) + (1,) * (o.ndim - 1))
        return {**bare, name: torch.addcmul(towards, beta, missing)}


def _add_product(drive: Target, a: Source, matrix: Matrix) -> Target:
    """``drive + a W``, populations of more than one axis as one long row."""
    if drive.ndim == a.ndim == 2:
        return torch.addmm(drive, a, matrix)
    return torch.addmm(drive.flatten(1), a.flatten(1), matrix).view(drive.shape)
