"""A relaxation in chunks, between which the samples that have stopped leave the batch.

What is left settles with smaller products.  No sample's way depends on who is in the batch with it, but for the
rounding of products of other sizes.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from neuro_eq.backends.torch.chunks import Chunk, Moving
from neuro_eq.backends.torch.drives import TensorDrives
from neuro_eq.backends.torch.layout import Layout, States
from neuro_eq.backends.torch.memory import unrecorded
from neuro_eq.backends.torch.recordings import Recordings
from neuro_eq.equilibrium import Status
from neuro_eq.relaxing import Settling, Snapshot, Task
from neuro_eq.settling.driver import stepper_of
from neuro_eq.solvers import Picard
from neuro_eq.synapses import History, StepGate

WORTH = 0.125
"""The part of the batch that has to have stopped before it leaves: gathering the others costs about one step."""
GRAIN = 8
"""Rows below which a product does not become faster with fewer of them."""


class CompactSettling(Settling):
    """A relaxation on tensors.

    Rows are phase-major: row ``k·samples + i`` is sample ``i`` of those in the batch, in phase ``k``.

    Args:
        check_every: steps between two questions whether samples have stopped.
        recordings: of whole chunks, where there is a GPU.  The batch then has a few sizes only.
    """

    def __init__(
        self,
        layout: Layout,
        drives: TensorDrives,
        task: Task,
        tol: Tensor | None,
        check_every: int,
        recordings: Recordings | None = None,
    ) -> None:
        self.layout, self.task, self.check_every, self.recordings = layout, task, check_every, recordings
        self.phases, self.batch = len(task.betas), drives.batch
        self.norm = math.sqrt(drives.spec.free_units)
        self.tol = None if tol is None else tol * self.norm
        self.taken = 0
        self.ended = False
        self.place: Int[Tensor, " samples"] | None = None
        self.whole: Moving | None = None
        with self._quietly():
            joined = [layout.join(start) for start in task.starts]
            u = joined[0] if self.phases == 1 else torch.cat(joined)
            u = u.to(drives.beta.dtype)
            everyone = torch.ones(self.batch, dtype=torch.bool, device=u.device)
            self.moving = Moving(u, everyone, torch.zeros_like(everyone, dtype=torch.int64), _nowhere(u))
            paced = any(isinstance(s, (History, StepGate)) and s.target in layout.names for s in drives.spec.synapses)
            plain = task.solver.alpha if isinstance(task.solver, Picard) and not paced else None
            self.chunk = Chunk(layout, drives, stepper_of(task.solver, drives), plain, self.tol)
        self.limit: Tensor | None = None

    def advance(self, steps: int) -> bool:
        with self._quietly():
            return self._advance(steps)

    def _advance(self, steps: int) -> bool:
        end = min(self.taken + steps, self.task.max_steps)
        while self.taken < end and not self.ended:
            count = min(self.check_every, end - self.taken)
            self.moving = self._run(count)
            self.taken += count
            if self.limit is None:
                self.limit = self.chunk.limit
            self._look()
        if self.taken >= self.task.max_steps and not self.ended:
            judged = self.chunk.judge(self.moving)
            self.limit = self.chunk.limit if self.limit is None else self.limit
            nobody = torch.zeros_like(judged.active)
            self.moving = Moving(judged.u, nobody, judged.steps, judged.residual)
            self.ended = True
        return self.ended

    def snapshot(self) -> Snapshot:
        with self._quietly():
            found = self._everybody()
            norms = found.residual.view(self.phases, self.batch).cpu().numpy().astype(np.float64)
            states = tuple(self.layout.part(part) for part in found.u.view(self.phases, self.batch, -1))
        return Snapshot(
            states=states,
            residual=tuple(norms / self.norm),
            steps=found.steps.cpu().numpy(),
            status=self._status(norms, found.active.cpu().numpy()),
        )

    def _run(self, count: int) -> Moving:
        # A solver's or a history's memory has no fixed place in memory.
        if self.recordings is not None and self.chunk.plain is not None:
            return self.recordings.run(self.chunk, self.moving, count)
        return self.chunk(self.moving, count)

    def _look(self) -> None:
        """Whether anybody still moves, and whether it is worth to go on without those who do not."""
        active = self.moving.active
        left = int(active.sum())
        if left == 0:
            self.ended = True
            return
        present = active.shape[0]
        size = left if self.recordings is None else self._recorded_size(left)
        gone = present - size
        if gone * self.phases >= GRAIN and gone >= WORTH * present:
            self._compact(size)

    def _recorded_size(self, left: int) -> int:
        """The batch halved as often as there is room for those who are left."""
        size = self.batch
        while (size + 1) // 2 >= left and size > 1:
            size = (size + 1) // 2
        return size

    def _compact(self, size: int) -> None:
        """Go on with so many: those who move, and as many of the others as there is room for."""
        moving = self.moving
        if self.whole is None:
            # A copy: somebody may have been shown where the samples are now.
            self.whole = Moving(*(value.clone() for value in moving.tensors))
        else:
            self._bring_home(self.whole)
        samples = torch.argsort((~moving.active).to(torch.int8), stable=True)[:size]
        present = moving.active.shape[0]
        rows = torch.cat([samples + k * present for k in range(self.phases)])
        self.place = samples if self.place is None else self.place[samples]
        self.moving = Moving(moving.u[rows], moving.active[samples], moving.steps[samples], moving.residual[rows])
        self.chunk.keep(samples, rows)

    def _bring_home(self, whole: Moving) -> Moving:
        """Write the samples of the batch into their own places among all."""
        assert self.place is not None, "nobody has left yet"
        rows = torch.cat([self.place + k * self.batch for k in range(self.phases)])
        places = (rows, self.place, self.place, rows)
        for all_, these, where in zip(whole.tensors, self.moving.tensors, places, strict=True):
            all_[where] = these
        return whole

    def _everybody(self) -> Moving:
        """All samples in their own places, those that have left and those that are in the batch."""
        if self.whole is None:
            return self.moving
        if not self.ended:
            return self._bring_home(Moving(*(value.clone() for value in self.whole.tensors)))
        self.moving, self.whole, self.place = self._bring_home(self.whole), None, None
        return self.moving

    def _status(self, norms: np.ndarray, active: np.ndarray) -> np.ndarray:
        """How each sample ended, which its last residual says."""
        status = np.full(self.batch, int(Status.MAX_STEPS), dtype=np.int64)
        if self.limit is None:
            return status
        worst = norms.max(axis=0)
        if self.tol is not None:
            status[worst <= self.tol.cpu().numpy()] = int(Status.CONVERGED)
        status[worst > self.limit.cpu().numpy()] = int(Status.DIVERGED)
        status[~np.isfinite(worst)] = int(Status.NONFINITE)
        status[active] = int(Status.MAX_STEPS)
        return status

    def _quietly(self) -> AbstractContextManager[None]:
        return unrecorded(self.batch, self.phases)


def _nowhere(u: States) -> Tensor:
    """A residual for each row that nobody has seen."""
    real = u.real if u.is_complex() else u
    return torch.full_like(real[:, 0], float("nan"))
