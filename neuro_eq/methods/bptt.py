r"""Backpropagation through time: the steps of a free phase, unrolled and differentiated (a reference).

    u_{t+1} = u_t + α (drive(ρ(u_t)) − u_t),      dC(ρ(u_T))/dθ  by the chain rule through all T steps, from u_0 = 0 .

It is the exact gradient of the cost *after T steps*, settled or not; where they settle it is the gradient at the fixed
point.  Everything in between is kept until the way back: the memory grows with T.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Activities, Array
from neuro_eq.engine import Engine, Observer
from neuro_eq.errors import SpecError
from neuro_eq.methods.base import Evidence, Gradient, GradientMethod, in_spec_order, nudge_size, rounding
from neuro_eq.solvers import Picard, Relaxation


class BPTT(GradientMethod):
    """The gradient through Picard steps, whose α comes from ``free.solver``; its tolerance plays no part.

    Args:
        steps: T.
    """

    kind: Literal["bptt"] = "bptt"
    steps: int = Field(default=30, ge=1)

    needs: ClassVar[tuple[Ability, ...]] = (Ability.AUTOGRAD,)

    def __init__(self, steps: int = 30, **data: Any) -> None:
        super().__init__(**{"steps": steps, **data})

    @property
    def kept_every(self) -> int:
        """Steps from one state that is kept for the way back to the next; 1 keeps all that is computed."""
        return 1

    def refuse_settling(self, free: Relaxation) -> None:
        if not isinstance(free.solver, Picard):
            raise SpecError(
                f"{type(self).__name__} unrolls Picard steps, found {type(free.solver).__name__}; "
                "give free=Relaxation(solver=Picard(…))",
                "free.solver",
            )

    def _unrolled(self, net: Engine, x: Any, y: Array, solver: Picard) -> tuple[Gradient, Activities]:
        """The gradient, and the potentials after the steps."""
        return net.unrolled_gradient(x, y, solver, self.steps, self.kept_every)

    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]:
        assert isinstance(free.solver, Picard), "others are refused earlier"
        gradient, states = self._unrolled(net, x, y, free.solver)
        end = net.relax(x, start=states, solver=free.solver, tol=None, max_steps=0)
        end = replace(end, steps=np.full(end.batch, self.steps, dtype=np.int64))
        if record is not None:
            net.relax(x, solver=free.solver, tol=None, max_steps=self.steps, record=record)
        evidence = Evidence(end, (), net.to_numpy(net.cost(end, y)), nudge_size(net, end, y, 1.0), rounding(net, end))
        return in_spec_order(net, gradient), evidence
