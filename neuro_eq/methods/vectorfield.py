r"""Equilibrium propagation for vector fields (Scellier et al., 2018): nudge any network and look at how it answers.

Both nudged phases settle under the network's own dynamics, whether it has an energy or not.  With

    λ = (a_−β − a_β)/2β,   μ = (u_−β − u_β)/2β,      dC/dθ ≈ (∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ   at the free state.

To first order the states answer by ``δu = D ρ' δu − β ∂C/∂a``, where the adjoint has ``Dᵀ``: the estimate is exact as
β→0 only where ``D = Dᵀ``, and points elsewhere, however small β is, where the network is not symmetric.
:class:`~neuro_eq.methods.asymep.AsymEP` adds what is missing.
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


class VectorField(GradientMethod):
    """The answer of a network to a nudge, taken for its adjoint; biased where ``D ≠ Dᵀ``.

    Args:
        beta: size of the nudge; on a symmetric network the error is O(β²) centered and O(β) one-sided.
        phases: ``"centered"`` compares +β with −β, both settled from the free state and as a pair; ``"one-sided"``
            compares +β with the free state.
    """

    kind: Literal["vector_field"] = "vector_field"
    beta: Nudge = 0.1
    phases: Literal["centered", "one-sided"] = "centered"

    needs: ClassVar[tuple[Ability, ...]] = (Ability.NUDGE, Ability.PAIR)

    def __init__(self, beta: float = 0.1, phases: str = "centered", **data: Any) -> None:
        super().__init__(**{"beta": beta, "phases": phases, **data})

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, self.beta, record)
        centered = self.phases == "centered"
        betas = (self.beta, -self.beta) if centered else (self.beta,)
        phases = settle_nudged(net, x, y, betas, start, size, nudged, record)
        lam, mu = finite_adjoint(
            net, phases[0], phases[1] if centered else start, 2.0 * self.beta if centered else self.beta
        )
        gradient = net.drive_vjp(start, lam, mu)
        evidence = Evidence(start, phases, net.to_numpy(net.cost(start, y)), size, rounding(net, start))
        return in_spec_order(net, gradient, net.cost_gradient(start, y)), evidence
