r"""Continual equilibrium propagation (Ernoult et al., 2020): a synapse learns while the network is nudged.

No synapse has to remember the free state.  In each step of the nudged phase it moves by what its two ends have just
changed,

    θ_{t+1} = θ_t − η [∂θG(a_{t+1}; θ_t) − ∂θG(a_t; θ_t)] / β ,

from the free state on.  With weights that stand still the terms telescope to the one-sided difference of
:class:`~neuro_eq.methods.eqprop.EqProp`; weights that move take the fixed point along, which adds an error O(η/β).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Array
from neuro_eq.engine import Engine, Observer
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.methods.base import (
    Evidence,
    Gradient,
    GradientMethod,
    Nudge,
    in_spec_order,
    refuse_without_energy,
    rounding,
    settle_free,
    tolerance,
)
from neuro_eq.solvers import Relaxation
from neuro_eq.spec import Network


class ContinualEP(GradientMethod):
    """The one-sided difference, applied step by step while nudged.

    The gradient is the sum of the steps over −η, and the parameters come back to where they were.  So ``SGD(lr=rate)``
    ends each batch where the network's own steps had ended; any other optimiser takes the sum for a gradient.

    Args:
        beta: size of the nudge; the error is O(β) + O(η/β).
        rate: η, at which weights move while nudged; 0 lets them stand still.

    A nudged sample stops while its residual is at most its tolerance and goes on when moving weights raise it again;
    the phase ends when all have stopped.  Each step is a relaxation of its own, so histories and Anderson's memory
    begin anew in it, and ``record`` is shown the free phase only.
    """

    kind: Literal["continual"] = "continual"
    beta: Nudge = 0.1
    rate: float = Field(default=1e-3, ge=0.0)

    needs: ClassVar[tuple[Ability, ...]] = (Ability.NUDGE,)

    def __init__(self, beta: float = 0.1, rate: float = 1e-3, **data: Any) -> None:
        super().__init__(**{"beta": beta, "rate": rate, **data})

    def refuse(self, spec: Network) -> None:
        super().refuse(spec)
        refuse_without_energy(spec)

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        start, size = settle_free(net, x, y, free, self.beta, record)
        tol = tolerance(net, start, size, nudged) if nudged.tol == "nudge" else nudged.tol
        readout = net.cost_gradient(start, y)
        cost = net.to_numpy(net.cost(start, y))
        before = net.parameters
        try:
            total, end = self._walk(net, x, y, start, nudged, tol)
        finally:
            net.set_parameters(before, adopt=True)
        evidence = Evidence(start, (end,), cost, size, rounding(net, start))
        return in_spec_order(net, total, readout), evidence

    def _walk(
        self, net: Engine, x: Any, y: Array, start: Equilibrium, how: Relaxation, tol: float | np.ndarray | None
    ) -> tuple[dict[str, Array], Equilibrium]:
        """The sum of the differences, and where the nudged phase ended; the parameters have moved."""
        nudge = {"target": y, "beta": self.beta, "solver": how.solver, "tol": tol}
        state = net.relax(x, start=start, max_steps=0, **nudge)
        total = net.contrast(state, start, self.beta)
        steps = np.zeros(start.batch, dtype=np.int64)
        for _ in range(how.max_steps):
            found = net.relax(x, start=state, max_steps=1, **nudge)
            if not found.steps.any():
                return total, replace(found, steps=steps)
            change = net.contrast(found, state, self.beta)
            total = {name: total[name] + value for name, value in change.items()}
            steps += found.steps
            state = found
            if self.rate:
                theta = net.parameters
                moved = {name: theta[name] - self.rate * value for name, value in change.items()}
                net.set_parameters(moved, adopt=True)
        # Moving weights leave another residual than the last step had found.
        return total, replace(net.relax(x, start=state, max_steps=0, **nudge), steps=steps)
