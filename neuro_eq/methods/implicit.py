r"""Implicit differentiation of the free fixed point (the reference: Almeida 1987, Pineda 1987, Bai et al. 2019).

``u = drive(ρ(u), θ)`` gives ``(I − Dρ') du = ∂drive/∂θ dθ``, hence

    dC/dθ = (∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ,    λ = ρ' μ,    (I − Dᵀ ρ') μ = ∂C/∂a .

The adjoint equation is solved by GMRES on the whole batch (its matrix is block-diagonal over samples).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Array
from neuro_eq.engine import Engine, Observer
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import TrainingError
from neuro_eq.methods.base import YARDSTICK, Evidence, Gradient, GradientMethod, in_spec_order, rounding, settle_free
from neuro_eq.solvers import Relaxation
from neuro_eq.vectors import Vectors


class ImplicitDifferentiation(GradientMethod):
    """The exact gradient of the cost at the free fixed point; not local.

    Args:
        rtol: relative residual of the adjoint equation; by default 10 machine epsilons of the engine's precision, but
            at least 1e-14, which float64 still reaches.
        max_iterations: of GMRES; ``adjoint_residual`` in the evidence says where it ended.
    """

    kind: Literal["implicit"] = "implicit"
    rtol: float | None = Field(default=None, gt=0.0)
    max_iterations: int = Field(default=2000, ge=1)

    needs: ClassVar[tuple[Ability, ...]] = (Ability.LINEAR_RESPONSE,)
    settles: ClassVar[Relaxation] = YARDSTICK

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, 1.0, record)
        slope = net.cost_slope(start, y)
        mu, residual = self._adjoint(net, start, slope)
        lam = net.slope(start, mu)
        gradient = net.drive_vjp(start, lam, mu)
        evidence = Evidence(
            start, (), net.to_numpy(net.cost(start, y)), size, rounding(net, start), adjoint_residual=residual
        )
        return in_spec_order(net, gradient, net.cost_gradient(start, y)), evidence

    def _adjoint(self, net: Engine, state: Equilibrium, slope: dict[str, Array]) -> tuple[dict[str, Array], np.ndarray]:
        """``μ`` and the relative residual per sample."""
        from scipy.sparse.linalg import LinearOperator, gmres

        batch = state.batch
        vectors = Vectors(net)

        def join(values: dict[str, Array]) -> np.ndarray:
            return vectors.join(values).ravel()

        def split(vector: np.ndarray) -> dict[str, Array]:
            return vectors.split(vector.reshape(batch, -1))

        def apply(vector: np.ndarray) -> np.ndarray:
            mu = split(vector)
            back = net.transposed(state, net.slope(state, mu))
            return vector - join(back)

        right = join(slope)
        size = np.linalg.norm(right.reshape(batch, -1), axis=1)
        if not np.all(np.isfinite(right)):
            raise TrainingError(
                "the free state is not finite, so it has no implicit gradient; lower alpha or the weights"
            )
        if not right.any():
            return split(right), np.zeros(batch)
        # Each sample counts alike, however small its error: scale the right-hand side to norm 1 per sample.
        scale = np.where(size > 0, size, 1.0)[:, None]
        scaled = (right.reshape(batch, -1) / scale).ravel()
        operator = LinearOperator((scaled.size, scaled.size), matvec=apply, dtype=np.float64)
        rtol = max(10.0 * net.epsilon, 1e-14) if self.rtol is None else self.rtol
        restart = min(100, scaled.size, self.max_iterations)
        cycles = -(-self.max_iterations // restart)
        solution, _ = gmres(operator, scaled, rtol=rtol, atol=0.0, restart=restart, maxiter=cycles)
        left = (scaled - apply(solution)).reshape(batch, -1)
        mu = (solution.reshape(batch, -1) * scale).ravel()
        return split(mu), np.linalg.norm(left, axis=1)
