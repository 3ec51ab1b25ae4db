r"""The Jacobian-free gradient (JFB; Fung et al., 2022): the adjoint's series ends with its first term.

    (I − Dᵀρ')⁻¹ ∂C/∂a = ∂C/∂a + Dᵀρ' ∂C/∂a + …  ≈  ∂C/∂a

It is the gradient of one step ``ρ(drive(a*; θ); θ)`` from the free activities, which count as constants.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Array
from neuro_eq.engine import Engine, Observer
from neuro_eq.methods.base import (
    YARDSTICK,
    Evidence,
    Gradient,
    GradientMethod,
    in_spec_order,
    rounding,
    settle_free,
)
from neuro_eq.solvers import Relaxation


class JFB(GradientMethod):
    """``(∂drive/∂θ)ᵀ ρ' ∂C/∂a + (∂ρ/∂θ)ᵀ ∂C/∂a`` at the free state.

    No drive is asked for once the network has settled.  A synapse learns only where its target meets the cost: in a
    chain with a squared error that is the last one, and nothing reaches those before it.
    """

    kind: Literal["jfb"] = "jfb"

    needs: ClassVar[tuple[Ability, ...]] = (Ability.LINEAR_RESPONSE,)
    settles: ClassVar[Relaxation] = YARDSTICK

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, 1.0, record)
        mu = net.cost_slope(start, y)
        gradient = net.drive_vjp(start, net.slope(start, mu), mu)
        evidence = Evidence(start, (), net.to_numpy(net.cost(start, y)), size, rounding(net, start))
        return in_spec_order(net, gradient, net.cost_gradient(start, y)), evidence
