"""The driver: which samples still move, when they stop and how, whatever the solver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from neuro_eq.arrays import Activities, Array, Parameters
from neuro_eq.dynamics import Dynamics
from neuro_eq.equilibrium import DIVERGENCE, Status
from neuro_eq.relaxing import Settling, Snapshot, Task
from neuro_eq.settling.anderson import AndersonStepper
from neuro_eq.settling.drives import Drives, aligned
from neuro_eq.settling.gauss_seidel import GaussSeidelStepper
from neuro_eq.settling.picard import PicardStepper
from neuro_eq.settling.stepper import Stepper
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver


class ArraySettling(Settling):
    """Masked steps on all phases of all samples at once: the loop of the reference engine.

    Rows are phase-major: row ``k·batch + i`` is sample ``i`` in phase ``k``.  Every step masks the samples that have
    stopped.

    Args:
        asarray: NumPy to the engine's own arrays.
        to_numpy: the way back.
        quiet: a context for the steps, such as one in which overflow is an outcome and no warning.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        theta: Parameters,
        task: Task,
        asarray: Callable[[np.ndarray], Array],
        to_numpy: Callable[[Array], np.ndarray],
        quiet: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.dynamics, self.task = dynamics, task
        self.to_numpy, self.quiet = to_numpy, quiet
        self.phases = len(task.betas)
        first = next(iter(task.inputs.values())) if task.inputs else next(iter(task.starts[0].values()))
        self.batch = first.shape[0]
        xp = self.xp = array_namespace(first)
        self.u = {name: xp.concat([start[name] for start in task.starts], axis=0) for name in task.starts[0]}
        self.beta = asarray(np.repeat(np.asarray(task.betas), self.batch))
        self.drives = Drives(dynamics, theta, task, self.beta, self.u)
        self.stepper = stepper_of(task.solver, self.drives)
        # Float64 zeros have to be asked for: on torch the default float is 32 bits wide.
        self.tol = None if task.tol is None else asarray(task.tol)
        self.active = xp.ones_like(self.beta[: self.batch], dtype=xp.bool)
        self.steps = xp.zeros_like(self.active, dtype=xp.int64)
        self.status = xp.full_like(self.steps, int(Status.MAX_STEPS))
        self.residual = xp.full_like(xp.real(self.beta) if np.iscomplexobj(task.betas) else self.beta, float("nan"))
        self.limit: Array | None = None
        self.taken = 0

    def advance(self, steps: int) -> bool:
        with self.quiet():
            return self._advance(steps)

    def _advance(self, steps: int) -> bool:
        if self._finished():
            return True
        for _ in range(steps):
            if self.taken >= self.task.max_steps:
                break
            drive = self._evaluate()
            self._step(drive)
            self.taken += 1
            if self._finished():
                return True
        if self.taken >= self.task.max_steps:
            self._evaluate()
            self.active = self.xp.zeros_like(self.active)
        return self._finished()

    def snapshot(self) -> Snapshot:
        parts = [slice(k * self.batch, (k + 1) * self.batch) for k in range(self.phases)]
        residual = np.asarray(self.to_numpy(self.residual), dtype=np.float64)
        return Snapshot(
            states=tuple({name: value[part, ...] for name, value in self.u.items()} for part in parts),
            residual=tuple(residual[part] for part in parts),
            steps=self.to_numpy(self.steps),
            status=self.to_numpy(self.status),
        )

    def _finished(self) -> bool:
        return not bool(self.xp.any(self.active))

    def _evaluate(self) -> Activities:
        """The drive at the present state; samples whose residual says so stop."""
        xp = self.xp
        drive = self.stepper.drive(self.u)
        difference = {name: drive[name] - self.u[name] for name in drive}
        residual = xp.sqrt(self.dynamics.mean_square(difference))
        self.residual = xp.where(self._rows(self.active), residual, self.residual)
        worst = self._worst(residual)
        if self.limit is None:
            self.limit = DIVERGENCE * xp.where(worst > 1.0, worst, xp.ones_like(worst))
        self._stop(~xp.isfinite(worst), Status.NONFINITE)
        self._stop(worst > self.limit, Status.DIVERGED)
        if self.tol is not None:
            self._stop(worst <= self.tol, Status.CONVERGED)
        return drive

    def _worst(self, residual: Array) -> Array:
        """The largest residual of a sample over its phases; not-a-number if any of them is."""
        worst = residual[: self.batch]
        for k in range(1, self.phases):
            other = residual[k * self.batch : (k + 1) * self.batch]
            worst = self.xp.where(worst >= other, worst, other) + 0.0 * (worst + other)
        return worst

    def _stop(self, those: Array, status: Status) -> None:
        xp = self.xp
        self.status = xp.where(self.active & those, xp.full_like(self.status, int(status)), self.status)
        self.active = self.active & ~those

    def _rows(self, samples: Array) -> Array:
        return self.drives.every_phase(samples)

    def _step(self, drive: Activities) -> None:
        xp = self.xp
        rows = self._rows(self.active)
        stepped = self.stepper.step(self.u, drive)
        self.u = {name: xp.where(aligned(rows, u), stepped[name], u) for name, u in self.u.items()}
        self.steps = self.steps + xp.astype(self.active, xp.int64)


def stepper_of(solver: Solver, drives: Drives) -> Stepper:
    """How this solver moves states under these drives."""
    if isinstance(solver, BlockGaussSeidel):
        return GaussSeidelStepper(drives, solver)
    if isinstance(solver, Anderson):
        return AndersonStepper(drives, solver)
    assert isinstance(solver, Picard), "engines refuse other solvers earlier"
    return PicardStepper(drives, solver)
