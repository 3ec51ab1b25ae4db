r"""Dyadic equilibrium propagation (Høier, Staudt and Zach, 2023, in the limit β→0): two states a unit.

Beside its potential ``u`` a unit holds an error state ``μ``, which relaxes at the free state ``u*`` as ``u`` did:

    μ ← μ + α (Dᵀ ρ'(u*) μ + ∂C/∂a − μ),        λ = ρ' μ,        dC/dθ = (∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ .

It is linear, so there is no β and no error of finite β.  ``Dᵀ ρ'`` is the transpose of ``ρ' D``, which has the
eigenvalues of ``D ρ'``: near their ends both relaxations shrink an error alike, so the adjoint settles at the same
α as the free phase and about as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from array_api_compat import array_namespace

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Array
from neuro_eq.engine import Engine, Observer
from neuro_eq.equilibrium import DIVERGENCE, Equilibrium, Status
from neuro_eq.errors import SpecError
from neuro_eq.methods.base import (
    YARDSTICK,
    Evidence,
    Gradient,
    GradientMethod,
    in_spec_order,
    rounding,
    settle_free,
    tolerance_of,
)
from neuro_eq.solvers import Picard, Relaxation


@dataclass(frozen=True)
class Adjoint:
    """Where the error states ended, per sample."""

    mu: dict[str, Array]
    steps: np.ndarray
    residual: np.ndarray
    """RMS of ``Dᵀρ'μ + ∂C/∂a − μ`` over the sample's free units."""
    status: np.ndarray


class DyadicEP(GradientMethod):
    """The adjoint, relaxed by the units themselves; exact for any network with ``ρ' = ρ'ᵀ``.

    ``nudged`` says how the error states settle: its solver must be Picard; ``tol="nudge"`` stops a sample at
    ``max(eta·RMS(∂C/∂a), 10·eps·RMS(μ))``, a number at that residual.  How each sample ended stands in the evidence
    as ``adjoint_residual``, ``adjoint_steps`` and ``adjoint_status``.
    """

    kind: Literal["dyadic"] = "dyadic"

    needs: ClassVar[tuple[Ability, ...]] = (Ability.LINEAR_RESPONSE,)
    settles: ClassVar[Relaxation] = YARDSTICK

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        if not isinstance(nudged.solver, Picard):
            raise SpecError(
                f"DyadicEP relaxes its error states by Picard steps, found {type(nudged.solver).__name__}; "
                "give nudged=Relaxation(solver=Picard(…))",
                "nudged.solver",
            )
        start, size = settle_free(net, x, y, free, 1.0, record)
        slope = net.cost_slope(start, y)
        # NumPy warns where numbers overflow; here that is an outcome (a status), not a surprise.
        with np.errstate(all="ignore"):
            found = relax_adjoint(net, start, slope, nudged, nudged.solver.alpha)
            gradient = net.drive_vjp(start, net.slope(start, found.mu), found.mu)
        evidence = Evidence(
            start,
            (),
            net.to_numpy(net.cost(start, y)),
            size,
            rounding(net, start),
            adjoint_residual=found.residual / np.where(size > 0, size, 1.0),
            adjoint_steps=found.steps,
            adjoint_status=found.status,
        )
        return in_spec_order(net, gradient, net.cost_gradient(start, y)), evidence


def relax_adjoint(net: Engine, at: Equilibrium, slope: Mapping[str, Array], how: Relaxation, alpha: float) -> Adjoint:
    """Relax ``μ = Dᵀ ρ' μ + slope`` from zero; every sample stops by itself, by the rule of every relaxation."""
    size = net.rms(slope)
    mu = {name: array_namespace(value).zeros_like(value) for name, value in slope.items()}
    active = np.ones(at.batch, dtype=bool)
    steps = np.zeros(at.batch, dtype=np.int64)
    status = np.full(at.batch, int(Status.MAX_STEPS), dtype=np.int64)
    residual = size.copy()
    for taken in range(how.max_steps + 1):
        back = net.transposed(at, net.slope(at, mu))
        change = {name: back[name] + slope[name] - value for name, value in mu.items()}
        residual = np.where(active, net.rms(change), residual)
        stops = [(~np.isfinite(residual), Status.NONFINITE), (residual > DIVERGENCE * size, Status.DIVERGED)]
        if how.tol is not None:
            tol = tolerance_of(net, mu, size, how) if how.tol == "nudge" else how.tol
            stops.append((residual <= tol, Status.CONVERGED))
        for those, ended in stops:
            status[active & those] = int(ended)
            active &= ~those
        if taken == how.max_steps or not active.any():
            break
        moves = net.asarray(active.astype(np.float64)) > 0
        for name, value in mu.items():
            xp = array_namespace(value)
            rows = xp.reshape(moves, (-1,) + (1,) * (value.ndim - 1))
            mu[name] = xp.where(rows, value + alpha * change[name], value)
        steps += active
    return Adjoint(mu, steps, residual, status)
