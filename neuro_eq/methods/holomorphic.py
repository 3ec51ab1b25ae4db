r"""Holomorphic equilibrium propagation (Laborieux and Zenke, 2022).

The fixed point continues to complex nudges.  With N points ``β_k = β e^{2πik/N}`` on a circle, Cauchy's formula for the
first derivative of ``∂θF`` along β becomes the mean

    dC/dθ = Re (1/N) Σ_k ∂θF(a_{β_k}; β_k)/β_k + O(β^N),

so the error falls with a power that is chosen, at a nudge that stays large; N = 2 is the centered difference.  A
network of real parameters answers a conjugate nudge by the conjugate state, so the upper half of the circle is enough.
Nothing is ever conjugated on the way: an energy with a conjugation in it would not be holomorphic.
"""

from __future__ import annotations

import cmath
import math
from typing import Any, ClassVar, Literal

from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.abilities import Ability
from neuro_eq.activations import ACTIVATIONS
from neuro_eq.arrays import Array, is_complex
from neuro_eq.engine import Engine, Observer
from neuro_eq.errors import SpecError
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


class HolomorphicEP(GradientMethod):
    """The contrast of phases around a circle of complex nudges, for energy networks with analytic activations.

    Args:
        beta: radius of the circle, inside which the fixed point must stay analytic (a tanh has poles at ±iπ/2).
        points: N ≥ 2 nudges on it, of which N//2 + 1 are settled; the error is O(β^N).

    ``record`` is shown the free phase only: a trajectory file holds real numbers.
    """

    kind: Literal["holomorphic"] = "holomorphic"
    beta: Nudge = 0.1
    points: int = Field(default=4, ge=2)

    needs: ClassVar[tuple[Ability, ...]] = (Ability.NUDGE, Ability.PAIR, Ability.COMPLEX_NUDGE)

    def __init__(self, beta: float = 0.1, points: int = 4, **data: Any) -> None:
        super().__init__(**{"beta": beta, "points": points, **data})

    def refuse(self, spec: Network) -> None:
        super().refuse(spec)
        refuse_without_energy(spec)
        for i, population in enumerate(spec.populations):
            if not population.activation.analytic:
                known = ", ".join(kind for kind, rho in ACTIVATIONS.items() if rho.analytic)
                raise SpecError(
                    f'"{population.activation.kind}" of "{population.name}" is not analytic, so it has no answer to a '
                    f"complex nudge; use EqProp, or one of {known}",
                    f"populations[{i}].activation",
                )
        for i, synapse in enumerate(spec.synapses):
            if not synapse.analytic:
                raise SpecError(
                    f'"{synapse.name}" is not analytic, so it has no answer to a complex nudge; use EqProp',
                    f"synapses[{i}]",
                )

    def nudges(self) -> tuple[complex, ...]:
        """``β_k`` of the upper half of the circle; the first is β, the last of an even N is −β."""
        half = self.points // 2
        inner = [self.beta * cmath.exp(2j * math.pi * k / self.points) for k in range(1, (self.points + 1) // 2)]
        return (complex(self.beta), *inner, *([complex(-self.beta)] if 2 * half == self.points else []))

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, self.beta, record)
        betas = self.nudges()
        phases = settle_nudged(net, x, y, betas, start, size, nudged, None)
        total: dict[str, Array] = {}
        for beta, phase in zip(betas, phases, strict=True):
            # A point off the real axis stands for its conjugate as well, whose term is the conjugate.
            weight = (1.0 if beta.imag == 0 else 2.0) / self.points
            for name, value in net.energy_gradient(phase).items():
                term = real(value / beta) * weight
                total[name] = total[name] + term if name in total else term
        evidence = Evidence(start, phases, net.to_numpy(net.cost(start, y)), size, rounding(net, start))
        return in_spec_order(net, total, net.cost_gradient(start, y)), evidence


def real(value: Array) -> Array:
    """The real part; a phase that took no step is still real."""
    return array_namespace(value).real(value) if is_complex(value) else value
