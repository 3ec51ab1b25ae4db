r"""Backpropagation through steps that can be taken back (RevDEQ; McCallum, Arora and Foster, 2025; a reference).

Two tracks of potentials, v and u, both from zero, settle into the same fixed point, each by the other's drive:

    v_{t+1} = (1 − α) v_t + α drive(ρ(u_t)),      u_{t+1} = (1 − α) u_t + α drive(ρ(v_{t+1})) .

Each line can be solved for what stood there before, so the way back needs no state but the last one.  What it costs is
digits: a step that forgets where it began cannot be taken back, and rounding grows by up to ``(1 + α‖Dρ'‖)/(1 − α)`` in
each.
"""

from __future__ import annotations

from typing import Any, Literal

from neuro_eq.arrays import Activities, Array
from neuro_eq.engine import Engine
from neuro_eq.errors import SpecError
from neuro_eq.methods.base import Gradient
from neuro_eq.methods.bptt import BPTT
from neuro_eq.solvers import Picard
from neuro_eq.spec import Network
from neuro_eq.synapses import History, StepGate


class ReversibleBPTT(BPTT):
    """The gradient of the cost at ``u_T``, exact like BPTT's, with a memory that does not grow with T.

    α comes from ``free.solver``.  Both tracks are kept in float64, whatever the engine computes drives in, and where
    the way back misses the start by more than a thousandth of what the tracks were, the method says so instead of
    returning a wrong gradient: at α = 0.5 after thirty to forty steps, at 0.1 after some two hundred.

    Args:
        steps: T, each of which asks for two drives.
    """

    kind: Literal["reversible_bptt"] = "reversible_bptt"  # type: ignore[assignment]

    def __init__(self, steps: int = 30, **data: Any) -> None:
        super().__init__(**{"steps": steps, **data})

    def refuse(self, spec: Network) -> None:
        super().refuse(spec)
        for i, synapse in enumerate(spec.synapses):
            if isinstance(synapse, (History, StepGate)):
                raise SpecError(
                    f'"{synapse.name}" makes a step depend on more than the potentials, and it cannot be taken back; '
                    "use BPTT or CheckpointedBPTT",
                    f"synapses[{i}]",
                )

    def _unrolled(self, net: Engine, x: Any, y: Array, solver: Picard) -> tuple[Gradient, Activities]:
        if solver.alpha == 1.0:
            raise SpecError("a step with α = 1 forgets where it began; take a smaller one", "free.solver.alpha")
        return net.reversible_gradient(x, y, solver, self.steps)


__all__ = ["ReversibleBPTT"]
