"""Damped fixed-point steps."""

from __future__ import annotations

from neuro_eq.arrays import Activities, Array
from neuro_eq.settling.drives import Drives
from neuro_eq.settling.stepper import Stepper
from neuro_eq.solvers import Picard


class PicardStepper(Stepper):
    """``u ← u + α (drive(ρ(u)) − u)``."""

    def __init__(self, drives: Drives, solver: Picard) -> None:
        super().__init__(drives)
        self.alpha = solver.alpha

    def step(self, u: Activities, drive: Activities) -> dict[str, Array]:
        return {name: u[name] + self.alpha * (drive[name] - u[name]) for name in u}
