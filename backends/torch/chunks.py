"""Masked steps: what happens to a batch between two questions whether samples have stopped.

A chunk is a function of tensors alone.  On a GPU it asks for no number, so nothing waits, and a CUDA graph can hold it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuro_eq.backends.torch import devices
from neuro_eq.backends.torch.drives import TensorDrives
from neuro_eq.backends.torch.layout import Layout, States
from neuro_eq.equilibrium import DIVERGENCE
from neuro_eq.settling.stepper import Stepper

Samples = Float[Tensor, " samples"]


@dataclass(frozen=True)
class Moving:
    """Where the samples stand that are still in the batch.

    Attributes:
        u: potentials of all free populations.
        active: whether a sample still moves.
        steps: that a sample has taken.
        residual: ``‖drive − u‖`` of each row, as it was judged last: the RMS times √units.
    """

    u: States
    active: Bool[Tensor, " samples"]
    steps: Int[Tensor, " samples"]
    residual: Float[Tensor, " rows"]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All of it, in the order of the attributes."""
        return self.u, self.active, self.steps, self.residual


class Chunk:
    """Judges and steps.

    Attributes:
        tol: the residual at which a sample stops, as a norm, or None.
        limit: the residual beyond which it has diverged; from the first one that is judged.
    """

    def __init__(
        self, layout: Layout, drives: TensorDrives, stepper: Stepper, plain: float | None, tol: Samples | None
    ) -> None:
        self.layout, self.drives, self.stepper, self.plain = layout, drives, stepper, plain
        self.phases = len(drives.betas)
        self.may_ask = not devices.is_gpu(drives.beta.device)
        self.tol = tol
        self.limit: Samples | None = None

    def __call__(self, moving: Moving, steps: int) -> Moving:
        """So many steps of every sample that is active and does not stop on the way."""
        went = []
        for _ in range(steps):
            moving = self._step(moving)
            went.append(moving.active)
        return Moving(moving.u, moving.active, moving.steps + torch.stack(went).sum(0), moving.residual)

    def judge(self, moving: Moving) -> Moving:
        """Stop the samples whose residual says so, where they are."""
        active, residual = self._judged(moving, self.layout.join(self._drive(moving.u)) - moving.u)
        return Moving(moving.u, active, moving.steps, residual)

    def keep(self, samples: Int[Tensor, " kept"], rows: Int[Tensor, " rows"]) -> None:
        """Go on with these samples alone."""
        self.stepper.keep(rows)
        self.tol = None if self.tol is None else self.tol[samples]
        self.limit = None if self.limit is None else self.limit[samples]

    def _step(self, moving: Moving) -> Moving:
        u = moving.u
        drive = self._drive(u)
        change = self.layout.join(drive) - u
        active, residual = self._judged(moving, change)
        if self.plain is not None:
            stepped = torch.add(u, change, alpha=self.plain)
        else:
            stepped = self.layout.join(self.stepper.step(self.layout.part(u), drive))
        # Where nobody has to be waited for, it is worth to know that all go on.
        if not (self.may_ask and bool(active.all())):
            stepped = self._where(active, stepped, u)
        return Moving(stepped, active, moving.steps, residual)

    def _drive(self, u: States) -> dict[str, Tensor]:
        return self.stepper.drive(self.layout.part(u))

    def _judged(self, moving: Moving, change: States) -> tuple[Tensor, Tensor]:
        """Who goes on, and the residuals."""
        residual = torch.linalg.vector_norm(change, dim=1)
        # Not-a-number is the largest of any numbers, and no comparison with it holds.
        worst = residual if self.phases == 1 else residual.view(self.phases, -1).amax(0)
        if self.limit is None:
            self.limit = self._limit(worst)
        active = moving.active & (worst <= self.limit)
        if self.tol is not None:
            active &= worst > self.tol
        if self.plain is None:
            # The drive of a row that has stopped may be anything to a solver that remembers.
            residual = self._where(moving.active, residual[:, None], moving.residual[:, None])[:, 0]
        return active, residual

    def _limit(self, first: Samples) -> Samples:
        one = math.sqrt(self.drives.spec.free_units)
        # Infinity is beyond every limit.
        return (DIVERGENCE * first.nan_to_num().clamp(min=one)).clamp(max=torch.finfo(first.dtype).max)

    def _where(self, samples: Bool[Tensor, " samples"], these: States, others: States) -> States:
        """These rows of the samples that are named, in every phase, and the others' rows of the rest."""
        if self.phases == 1:
            return torch.where(samples[:, None], these, others)
        shape = (self.phases, samples.shape[0], -1)
        return torch.where(samples[:, None], these.view(shape), others.view(shape)).view(these.shape)
