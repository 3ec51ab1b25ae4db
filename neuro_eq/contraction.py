r"""How strongly a network contracts where it has settled.

Near a fixed point a small change of the potentials comes back as ``M δu``, ``M = Dρ'`` with ``D = ∂drive/∂a``:

- ``‖M‖₂ < 1``: every step at α = 1 brings any two nearby states closer;
- ``‖(1 − α)I + αM‖₂ < 1``: so does the solver's own step;
- the spectral radius of M, the rate in the long run: below 1, the fixed point attracts at every α in (0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int

from neuro_eq.abilities import Ability
from neuro_eq.arguments import expect
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import SpecError
from neuro_eq.krylov import Each, Outermost, Rows, largest_modulus
from neuro_eq.solvers import Picard, Solver
from neuro_eq.vectors import Vectors


@dataclass(frozen=True)
class Lipschitz:
    """Local Lipschitz constants of each sample, at one state.

    The first two are approached from below, and all are known to about ``rtol`` where ``converged``; the radius of a
    matrix far from normal is known less well, as its eigenvalues move more than what moves them.

    Attributes:
        response: ``(batch,)`` ``‖Dρ'‖₂``, the constant of a step at α = 1.
        step: ``(batch,)`` ``‖(1 − α)I + αDρ'‖₂``, the constant of a step of the solver.
        radius: ``(batch,)`` the spectral radius of ``Dρ'``.
        iterations: ``(batch,)`` the most products with ``Dρ'`` that one of the three took.
        converged: ``(batch,)`` whether all three met ``rtol``.
        alpha: the solver's α.
    """

    response: Float64[np.ndarray, " batch"]
    step: Float64[np.ndarray, " batch"]
    radius: Float64[np.ndarray, " batch"]
    iterations: Int[np.ndarray, " batch"]
    converged: Bool[np.ndarray, " batch"]
    alpha: float


def lipschitz(
    net: Engine,
    x: Any,
    *,
    state: Equilibrium | None = None,
    solver: Solver = Picard(),
    tol: float = 1e-6,
    max_steps: int = 500,
    rtol: float = 1e-8,
    max_iterations: int = 200,
) -> Lipschitz:
    """The Lipschitz constants of the dynamics, per sample, at the free fixed point or at a given state.

    Args:
        net: a compiled network.
        x: data of the clamped populations, ``(batch, …)``.
        state: the state to look at; the free equilibrium of ``x`` when not given.
        solver: Picard; its α is the step's, and it settles the network where no state is given.
        tol, max_steps: how the network settles, as in ``relax``.
        rtol: relative accuracy, of engines in float32 at least 100 machine epsilons.
        max_iterations: the most products with ``Dρ'`` for each constant; ``batch · units`` numbers are kept for each.

    Raises:
        BackendError: the engine cannot apply the linear response.
        SpecError: a solver without an α.
    """
    expect(net, Engine, "net", "ne.compile(spec)")
    net.refuse_what_it_cannot_do(Ability.LINEAR_RESPONSE, by="lipschitz")
    if not isinstance(solver, Picard):
        raise SpecError(f"expected Picard, whose α the step has, found {type(solver).__name__}", "solver")
    if state is None:
        state = net.relax(x, solver=solver, tol=tol, max_steps=max_steps)
    at, alpha = state, solver.alpha
    vectors = Vectors(net)

    def forward(rows: Rows) -> Rows:
        return vectors.join(net.response(at, net.slope(at, vectors.split(rows))))

    def backward(rows: Rows) -> Rows:
        return vectors.join(net.slope(at, net.transposed(at, vectors.split(rows))))

    def step(rows: Rows) -> Rows:
        moved = (1.0 - alpha) * rows + alpha * forward(rows)
        return (1.0 - alpha) * moved + alpha * backward(moved)

    def look(symmetric: bool, apply: Any, scale: Each | None = None) -> Outermost:
        return largest_modulus(
            apply,
            at.batch,
            net.spec.free_units,
            symmetric=symmetric,
            rtol=max(rtol, 100.0 * net.epsilon),
            max_iterations=max_iterations,
            scale=scale,
        )

    # A state that is not finite gives answers that are not a number, which is what is said of it.
    with np.errstate(all="ignore"):
        squared = look(True, lambda rows: backward(forward(rows)))
        response = np.sqrt(squared.modulus)
        moved = look(True, step)
        radius = look(False, forward, scale=response)
    return Lipschitz(
        response=response,
        step=np.sqrt(moved.modulus),
        radius=radius.modulus,
        iterations=np.max([squared.iterations, moved.iterations, radius.iterations], axis=0),
        converged=squared.converged & moved.converged & radius.converged,
        alpha=alpha,
    )
