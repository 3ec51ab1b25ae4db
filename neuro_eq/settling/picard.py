"""Damped fixed-point steps."""

from __future__ import annotations

from neuro_eq.arrays import Activities, Array
from neuro_eq.settling.drives import Drives
from neuro_eq.settling.pacing import Pacing
from neuro_eq.settling.stepper import Stepper
from neuro_eq.solvers import Picard


class PicardStepper(Stepper):
    """``u ← u + α (drive(ρ(u)) − u)``, and what histories and gates make of it."""

    def __init__(self, drives: Drives, solver: Picard) -> None:
        super().__init__(drives)
        self.alpha = solver.alpha
        self.pacing: Pacing | None = None
        self.a: Activities = {}

    def drive(self, u: Activities) -> dict[str, Array]:
        self.a = self.drives.activities(u)
        return self.drives.with_nudge(self.a, self.drives.bare(self.a))

    def step(self, u: Activities, drive: Activities) -> dict[str, Array]:
        # The first drive is that of the start state.
        self.pacing = self.pacing or Pacing(self.drives.dynamics, self.drives.theta, self.a)
        change = self.pacing.change(u, self.a, drive)
        return {name: u[name] + self.alpha * change[name] for name in u}

    def keep(self, rows: Array) -> None:
        super().keep(rows)
        self.a = {}
        if self.pacing is not None:
            self.pacing.keep(rows)
