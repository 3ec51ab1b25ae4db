"""What a relaxation returns: where it ended, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Int

from neuro_eq.arrays import Activities, Array


class Status(IntEnum):
    """How a sample's relaxation ended."""

    CONVERGED = 0
    """Its residual is at most the tolerance."""
    MAX_STEPS = 1
    """It took all the steps that it was given."""
    DIVERGED = 2
    """Its residual grew past ``1e6·max(1, residual at the start)``."""
    NONFINITE = 3
    """Its residual is not a number."""


DIVERGENCE = 1e6
"""A sample has diverged when its residual exceeds this times ``max(1, its first residual)``."""


@dataclass(frozen=True)
class Equilibrium:
    """The state in which a phase ended, per sample.

    Attributes:
        states: population name to membrane potentials ``u``, ``(batch, *shape)``; free populations.
        activities: population name to activities ``a``; free and clamped populations.
        steps: ``(batch,)`` steps to the first crossing of the tolerance.
        residual: ``(batch,)`` RMS of ``drive − u`` over the sample's free units at these states, float64.
        status: ``(batch,)`` codes of :class:`Status`.
        beta: the nudge; 0 in the free phase.
    """

    states: Mapping[str, Array]
    activities: Mapping[str, Array]
    steps: Int[np.ndarray, " batch"]
    residual: np.ndarray
    status: Int[np.ndarray, " batch"]
    beta: float | complex = 0.0

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(self.steps.shape[0])

    @property
    def converged(self) -> np.ndarray:
        """``(batch,)`` whether each sample met its tolerance."""
        return self.status == Status.CONVERGED

    def count(self) -> dict[str, int]:
        """How many samples ended how: ``{"converged": 31, "max_steps": 1}``."""
        return {s.name.lower(): int(np.sum(self.status == s)) for s in Status if np.any(self.status == s)}

    def inputs(self) -> Activities:
        """The clamped activities among ``activities``."""
        return {name: a for name, a in self.activities.items() if name not in self.states}
