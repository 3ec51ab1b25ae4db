"""The gradient through steps that are taken back: autograd records one drive at a time and keeps none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from neuro_eq.arrays import Activities
from neuro_eq.backends.torch.drives import TensorDrives
from neuro_eq.backends.torch.memory import batch_of, enough_memory
from neuro_eq.backends.torch.unrolled import recorded
from neuro_eq.errors import BackendError
from neuro_eq.relaxing import Task
from neuro_eq.solvers import Picard

if TYPE_CHECKING:
    from neuro_eq.backends.torch.engine import TorchEngine

MISSED = 1e-3
"""How far from the start the way back may end, as a part of how far from it the tracks had come."""

Tensors: TypeAlias = dict[str, Tensor]


class Field:
    """``F(u) = drive(ρ(u); θ)``, the adjoint of what it reads, and the sums of that over all steps.

    Potentials and their adjoints are in float64; the drive has the engine's precision.

    Attributes:
        read: the parameters, then what inputs and biases drive of each free population, as leaves.
        felt: the gradient by each of these, so far.

    Args:
        theta, still: what the drives read, connected to the leaves or not.
        rows: ``(batch,)`` numbers of the engine's precision and device.
    """

    def __init__(self, engine: TorchEngine, task: Task, theta: Tensors, still: Tensors, rows: Tensor) -> None:
        self.theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
        self.still = {name: value.detach().requires_grad_() for name, value in still.items()}
        self.drives = TensorDrives(engine.dynamics, self.theta, task, torch.zeros_like(rows), self.still)
        self.read = [*self.theta.values(), *self.still.values()]
        self.felt = [torch.zeros_like(value) for value in self.read]
        self.dtype = rows.dtype

    def at(self, u: Tensors) -> Tensors:
        """The drive; nothing is recorded."""
        with torch.no_grad():
            return self.drives.bare(self.drives.activities(self._narrow(u)))

    def back(self, u: Tensors, lam: Tensors) -> tuple[Tensors, Tensors]:
        """The drive at u, and ``(∂F/∂u)ᵀ λ``; ``(∂F/∂θ)ᵀ λ`` is added up."""
        with torch.enable_grad():
            here = {name: value.requires_grad_() for name, value in self._narrow(u).items()}
            drive = self.drives.bare(self.drives.activities(here))
            felt = self._adjoint(list(drive.values()), here, [lam[name].to(self.dtype) for name in drive])
        return {name: value.detach() for name, value in drive.items()}, felt

    def cost(self, engine: TorchEngine, u: Tensors, inputs: Activities, target: Tensor) -> Tensors:
        """``∂C/∂u`` of the batch mean; ``∂C/∂θ`` is added up."""
        with torch.enable_grad():
            here = {name: value.requires_grad_() for name, value in self._narrow(u).items()}
            a = engine.dynamics.activities(here, inputs, self.theta)
            return self._adjoint([engine.dynamics.cost(a, target, self.theta).mean()], here, [None])

    def _narrow(self, u: Tensors) -> Tensors:
        return {name: value.detach().to(self.dtype) for name, value in u.items()}

    def _adjoint(self, outputs: list[Tensor], here: Tensors, lam: list[Tensor | None]) -> Tensors:
        wanted = [*here.values(), *self.read]
        found = torch.autograd.grad(outputs, wanted, lam, allow_unused=True, materialize_grads=True)
        self.felt = [total + part for total, part in zip(self.felt, found[len(here) :], strict=True)]
        return {name: part.double() for name, part in zip(here, found, strict=False)}


def reversible_gradient(engine: TorchEngine, task: Task, target: Tensor, steps: int) -> tuple[Tensors, Activities]:
    """The batch mean of ``dC/dθ`` after so many steps of both tracks, and the potentials u there.

    Potentials, drives and their adjoints are a tensor ``(batch, *shape)`` for each free population.

    Raises:
        BackendError: the way back did not find the start.
    """
    assert isinstance(task.solver, Picard), "methods refuse other solvers earlier"
    alpha = task.solver.alpha
    with enough_memory(batch_of(target.shape[0])):
        with torch.enable_grad():
            leaves, theta, still = recorded(engine, task, engine.parameters)
        field = Field(engine, task, theta, still, target[:, 0])
        v, u = ({name: value.double() for name, value in task.starts[0].items()} for _ in range(2))
        for _ in range(steps):
            v = _towards(v, field.at(u), alpha)
            u = _towards(u, field.at(v), alpha)
        end = {name: value.to(field.dtype) for name, value in u.items()}
        lam_u, lam_v = field.cost(engine, u, task.inputs, target), {name: torch.zeros_like(x) for name, x in v.items()}
        far = _size(u)
        for _ in range(steps):
            u, lam_u, lam_v = _back(field, u, lam_u, v, lam_v, alpha)
            v, lam_v, lam_u = _back(field, v, lam_v, u, lam_u, alpha)
        _refuse_what_missed(task, (v, u), far, steps, alpha)
        ends = zip([*theta.values(), *still.values()], field.felt, strict=True)
        outputs, felt = zip(*((value, by) for value, by in ends if value.requires_grad), strict=True)
        found = torch.autograd.grad(outputs, list(leaves.values()), felt, allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True)), end


def _towards(x: Tensors, drive: Tensors, alpha: float) -> Tensors:
    """A step of one track; sums and differences in float64."""
    return {name: (1.0 - alpha) * value + alpha * drive[name].double() for name, value in x.items()}


def _back(
    field: Field, x: Tensors, lam: Tensors, other: Tensors, lam_other: Tensors, alpha: float
) -> tuple[Tensors, Tensors, Tensors]:
    """One track before its step by the other's drive, its adjoint there, and the other's adjoint."""
    drive, felt = field.back(other, {name: alpha * value for name, value in lam.items()})
    before = {name: (value - alpha * drive[name].double()) / (1.0 - alpha) for name, value in x.items()}
    return (
        before,
        {name: (1.0 - alpha) * value for name, value in lam.items()},
        {name: value + felt[name] for name, value in lam_other.items()},
    )


def _size(x: Tensors) -> float:
    return float(torch.stack([value.square().sum() for value in x.values()]).sum().sqrt())


def _refuse_what_missed(task: Task, tracks: tuple[Tensors, ...], far: float, steps: int, alpha: float) -> None:
    if not math.isfinite(far):
        raise BackendError(f"the potentials diverged within {steps} steps with α = {alpha:g}; take a smaller α")
    start = task.starts[0]
    missed = max(_size({name: value - start[name] for name, value in x.items()}) for x in tracks)
    if not missed <= MISSED * far:
        raise BackendError(
            f"{steps} steps with α = {alpha:g} could not be taken back: the way back ended {missed:.1e} from the "
            f"start, of {far:.1e} that were gone; take fewer steps or a smaller α"
        )


__all__ = ["reversible_gradient"]
