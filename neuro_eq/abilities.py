"""What an engine can do and how closely it agrees with the oracle: its entries in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Ability(Enum):
    """What a gradient method may need of an engine; the value completes "it cannot …"."""

    NUDGE = "settle under a nudge"
    PAIR = "settle several nudges as a group"
    ASYMMETRY = "add the asymmetric correction (Dᵀ − D)(a − a*)"
    LINEAR_RESPONSE = "apply the linear response Dᵀ and ρ' at a fixed point"
    COMPLEX_NUDGE = "settle under a complex nudge"
    AUTOGRAD = "differentiate through the steps of a relaxation"


@dataclass(frozen=True)
class Agreement:
    """How closely an engine equals the oracle, with the arithmetic that it follows from.

    ``fixed_point`` is absolute (activities are of order one); ``gradient`` is relative, per parameter, and is never
    below ``noise / β``, as a difference of two nudged phases divides rounding errors by β.
    """

    fixed_point: float
    gradient: float
    noise: float
    because: str

    def gradient_at(self, beta: float) -> float:
        """The relative gradient tolerance at a nudge of this size."""
        return max(self.gradient, self.noise / abs(beta))


__all__ = ["Ability", "Agreement"]
