r"""Equilibrium propagation (Scellier and Bengio, 2017; centered: Laborieux et al., 2021).

With ``F_β = G + βC`` and ``a_β`` its stationary point,

    dC/dθ = d/dβ ∂θF_β(a_β) at β = 0  ≈  [∂θF_β(a_β) − ∂θF_−β(a_−β)] / 2β .

``∂θ`` is taken at fixed activities and potentials, so for a dense symmetric synapse this is the contrastive
Hebbian rule: each synapse sees only its own two ends.
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
    in_spec_order,
    refuse_without_energy,
    rounding,
    settle_free,
    settle_nudged,
)
from neuro_eq.solvers import Relaxation
from neuro_eq.spec import Network


class EqProp(GradientMethod):
    """The contrast of two phases of an energy network.

    Args:
        beta: size of the nudge; the error is O(β²) centered and O(β) one-sided.
        phases: ``"centered"`` contrasts +β with −β, both settled from the free state and as a pair;
            ``"one-sided"`` contrasts +β with the free state.
    """

    kind: Literal["eqprop"] = "eqprop"
    beta: Nudge = 0.1
    phases: Literal["centered", "one-sided"] = "centered"

    needs: ClassVar[tuple[Ability, ...]] = (Ability.NUDGE, Ability.PAIR)

    def __init__(self, beta: float = 0.1, phases: str = "centered", **data: Any) -> None:
        super().__init__(**{"beta": beta, "phases": phases, **data})

    def refuse(self, spec: Network) -> None:
        super().refuse(spec)
        refuse_without_energy(spec)

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, self.beta, record)
        betas = (self.beta, -self.beta) if self.phases == "centered" else (self.beta,)
        phases = settle_nudged(net, x, y, betas, start, size, nudged, record)
        below = phases[1] if self.phases == "centered" else start
        width = 2.0 * self.beta if self.phases == "centered" else self.beta
        contrast = net.contrast(phases[0], below, width)
        evidence = Evidence(start, phases, net.to_numpy(net.cost(start, y)), size, rounding(net, start))
        return in_spec_order(net, contrast, net.cost_gradient(start, y)), evidence
