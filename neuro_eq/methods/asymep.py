r"""Equilibrium propagation for any network, symmetric or not (AsymEP).

The free phase solves ``u = drive(ρ(u))``.  The nudged phase adds ``(Dᵀ − D)(a − a*)`` with ``D = ∂drive/∂a`` at the
free state, which turns the linear response around: to first order ``δu = Dᵀ ρ' δu − β ∂C/∂a``.  Its solution is
``−β`` times the adjoint, so with

    λ = (a_−β − a_β)/2β,   μ = (u_−β − u_β)/2β,      dC/dθ = (∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ + O(β²)

for any network with ``ρ' = ρ'ᵀ``.  For a dense synapse unit i needs only its reverse weights,
``Σ_j (W_ji − W_ij) δa_j``.  Where every synapse is symmetric the correction vanishes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Array
from neuro_eq.engine import Engine, Observer
from neuro_eq.methods.base import (
    Evidence,
    Gradient,
    GradientMethod,
    Nudge,
    finite_adjoint,
    in_spec_order,
    rounding,
    settle_free,
    settle_nudged,
)
from neuro_eq.solvers import Relaxation


class AsymEP(GradientMethod):
    """Centered, corrected for asymmetry.

    Args:
        beta: size of the nudge; the error is O(β²).
    """

    kind: Literal["asymep"] = "asymep"
    beta: Nudge = 0.1

    needs: ClassVar[tuple[Ability, ...]] = (Ability.NUDGE, Ability.PAIR, Ability.ASYMMETRY)

    def __init__(self, beta: float = 0.1, **data: Any) -> None:
        super().__init__(**{"beta": beta, **data})

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, self.beta, record)
        above, below = settle_nudged(
            net, x, y, (self.beta, -self.beta), start, size, nudged, record, asymmetry_at=start
        )
        lam, mu = finite_adjoint(net, above, below, 2.0 * self.beta)
        gradient = net.drive_vjp(start, lam, mu)
        evidence = Evidence(start, (above, below), net.to_numpy(net.cost(start, y)), size, rounding(net, start))
        return in_spec_order(net, gradient, net.cost_gradient(start, y)), evidence
