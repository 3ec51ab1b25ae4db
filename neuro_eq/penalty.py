r"""A penalty on the response at the free state, which keeps a network settling while it learns (Bai et al., 2021).

    P(θ) = strength · ‖Dρ' ε‖² / 2n,        ε = ±1 at random for each of the n free units,   mean over the batch

Over ε its mean is ``strength/2n`` times the squared Frobenius norm of ``M = Dρ'`` (Hutchinson, 1989).  What ‖M‖ costs
is learned away where the data are, while a :class:`~neuro_eq.budget.NormBudget` holds over all activities.

As in the original the free state counts as a constant, so the gradient is that of the response alone: with
``v = ρ'ε``, ``w = Dv`` and ``κ = Dᵀw``,

    ∂P/∂θ = strength/n · d/dt [(∂drive/∂θ)ᵀ w + (∂ρ/∂θ)ᵀ κ] at (a + t v, u + t ε),   t = 0 .

Every drive here continues to complex activities, piece by piece where it has kinks, so the derivative along t is the
imaginary part at ``t = ih`` over h, without a difference and exact to rounding.  It needs the response there and back,
and so is not local.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Activities, Array
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.frozen import Frozen

TINY = 1e-15
"""h: its square vanishes beside one in either precision."""


class JacobianPenalty(Frozen):
    """``strength · ‖Dρ'ε‖²/2n``, added to the cost that training lowers.

    Args:
        strength: how much it counts beside the cost.
    """

    strength: float = Field(default=1.0, gt=0.0)

    def __init__(self, strength: float = 1.0, **data: Any) -> None:
        super().__init__(**{"strength": strength, **data})

    def check(self, net: Engine) -> None:
        """Raise, before any work, when an engine cannot give what the penalty needs."""
        net.refuse_what_it_cannot_do(Ability.LINEAR_RESPONSE, by=type(self).__name__)

    def value(self, net: Engine, state: Equilibrium, seed: Sequence[int]) -> np.ndarray:
        """P of each sample at a state, ``(batch,)`` float64, for the ε of this seed."""
        response = net.response(state, net.slope(state, probes(net, state, seed)))
        return 0.5 * self.strength * net.rms(response) ** 2

    def gradient(self, net: Engine, state: Equilibrium, seed: Sequence[int]) -> dict[str, Array]:
        """``∂P/∂θ`` at a state, mean over the batch; parameters of a readout outside the dynamics have none."""
        probe = probes(net, state, seed)
        v = net.slope(state, probe)
        w = net.response(state, v)
        kappa = net.transposed(state, w)
        moved = net.dynamics.drive_vjp(
            {name: value + 1j * TINY * probe[name] for name, value in state.states.items()},
            {name: value + (1j * TINY * v[name] if name in v else 0j) for name, value in state.activities.items()},
            _complex(w),
            _complex(kappa),
            _complex(net.parameters),
        )
        factor = self.strength / (net.spec.free_units * TINY)
        return {name: factor * array_namespace(value).imag(value) for name, value in moved.items()}


def probes(net: Engine, state: Equilibrium, seed: Sequence[int]) -> dict[str, Array]:
    """``ε``: a sign for every free unit of every sample, which depends on the seed and the population's name alone."""
    found: dict[str, Array] = {}
    for population in net.spec.free:
        rng = np.random.default_rng([*seed, *population.name.encode()])
        signs = rng.integers(2, size=(state.batch, *population.shape), dtype=np.int8)
        found[population.name] = net.asarray(2.0 * signs - 1.0)
    return found


def _complex(values: Activities) -> dict[str, Array]:
    return {name: value + 0j for name, value in values.items()}
