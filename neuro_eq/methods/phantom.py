r"""The phantom gradient (Geng et al., 2021): the gradient of a few damped steps from the fixed point.

From the free activities ``a*``, which count as constants, go k steps ``a ← (1 − τ) a + τ ρ(drive(a; θ); θ)`` and
differentiate what comes out.  At a fixed point every step stays there, so what the chain rule multiplies is the same
in each, and the sum is what k damped steps of the adjoint from zero arrive at:

    μ_k = τ Σ_{t<k} (τ Dᵀρ' + (1 − τ))ᵗ ∂C/∂a,      λ = ρ' μ_k,      gradient = (∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ_k .

So nothing has to be recorded, and the memory does not depend on k.  ``k → ∞`` is the exact gradient.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

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
from neuro_eq.methods.dyadic import relax_adjoint
from neuro_eq.solvers import Relaxation


class Phantom(GradientMethod):
    """k damped terms of the adjoint's series; biased, the less so the larger k.

    Args:
        k: steps.
        tau: their damping τ; a sum of ``τ Σ (1 − τ)ᵗ`` terms alone is already ``1 − (1 − τ)ᵏ`` of ``∂C/∂a``.
    """

    kind: Literal["phantom"] = "phantom"
    k: int = Field(default=5, ge=1)
    tau: float = Field(default=0.5, gt=0.0, le=1.0)

    needs: ClassVar[tuple[Ability, ...]] = (Ability.LINEAR_RESPONSE,)
    settles: ClassVar[Relaxation] = YARDSTICK

    def __init__(self, k: int = 5, tau: float = 0.5, **data: Any) -> None:
        super().__init__(**{"k": k, "tau": tau, **data})

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, 1.0, record)
        # NumPy warns where numbers overflow; here that is an outcome (a status), not a surprise.
        with np.errstate(all="ignore"):
            slope = net.cost_slope(start, y)
            mu = relax_adjoint(net, start, slope, Relaxation(tol=None, max_steps=self.k), self.tau).mu
            gradient = net.drive_vjp(start, net.slope(start, mu), mu)
        evidence = Evidence(start, (), net.to_numpy(net.cost(start, y)), size, rounding(net, start))
        return in_spec_order(net, gradient, net.cost_gradient(start, y)), evidence
