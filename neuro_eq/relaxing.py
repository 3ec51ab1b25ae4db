"""The contract of one relaxation: what is asked of an engine, how it goes on, and where it stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from neuro_eq.arrays import Activities, Array
from neuro_eq.solvers import Solver


@dataclass(frozen=True)
class Task:
    """One relaxation of K phases that stop as a group, all in the engine's own arrays.

    Attributes:
        inputs: clamped population to activities ``(batch, *shape)``, the same in every phase.
        target: ``(batch, n_out)``, or None when no phase is nudged.
        betas: one nudge per phase.
        starts: one mapping of start potentials per phase.
        anchor: activities ``a*`` of all populations at which the asymmetric correction is taken, or None.
        solver: the iteration.
        tol: ``(batch,)`` residuals at which samples stop, or None for exactly ``max_steps`` steps.
        max_steps: the most steps.
    """

    inputs: Activities
    target: Array | None
    betas: tuple[complex, ...]
    starts: tuple[Activities, ...]
    anchor: Activities | None
    solver: Solver
    tol: np.ndarray | None
    max_steps: int


@dataclass(frozen=True)
class Snapshot:
    """Where a relaxation stands.  Potentials, residuals and activities are one entry per phase.

    ``activities`` of the free populations spare their computation where an engine has them at hand.
    """

    states: tuple[Activities, ...]
    residual: tuple[np.ndarray, ...]
    steps: np.ndarray
    status: np.ndarray
    activities: tuple[Activities, ...] | None = None


class Settling(ABC):
    """A relaxation under way.

    The rule, the same on every engine.  Before each step a sample's residual is the largest over its phases; a
    sample that is not finite, has diverged, or is at most at its tolerance stops where it is.  The others take the
    step.  After the last step one more evaluation decides how they ended.
    """

    @abstractmethod
    def advance(self, steps: int) -> bool:
        """Take ``steps`` more steps, fewer only where ``max_steps`` or the last sample's stop comes first.

        Returns:
            Whether every sample has stopped.
        """

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """The states now, in the engine's own arrays."""


__all__ = ["Settling", "Snapshot", "Task"]
