r"""Backpropagation through steps that can be taken back (RevDEQ; McCallum, Arora and Foster, 2025; a reference).

Two tracks of potentials, v and u, both from zero, settle into the same fixed point, each by the other's drive:

    v_{t+1} = (1 − α) v_t + α drive(ρ(u_t)),      u_{t+1} = (1 − α) u_t + α drive(ρ(v_{t+1})) .

Each line can be solved for what stood there before, so the way back needs no state but the last one.  What it costs is
digits: a step that forgets where it began cannot be taken back, and rounding grows by up to ``(1 + α‖Dρ'‖)/(1 − α)`` in
each of its two lines.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from neuro_eq.arrays import Activities, Array
from neuro_eq.engine import Engine
from neuro_eq.errors import SpecError
from neuro_eq.methods.base import Gradient
from neuro_eq.methods.bptt import BPTT
from neuro_eq.solvers import Picard, Relaxation
from neuro_eq.spec import Network
from neuro_eq.synapses import History, StepGate


class Reversible(BPTT):
    """The gradient of the cost at ``u_T``, exact like BPTT's, with a memory that does not grow with T.

    α comes from ``free.solver``; a recorder is shown plain steps.  Both tracks are kept in float64, and where the way
    back misses the start by more than a thousandth of what the tracks were, the method says so instead of returning a
    wrong gradient: at α = 0.5 after thirty to forty steps, with drives in float32 after some twenty-five; with a
    smaller α after more.

    Args:
        steps: T, each of which asks for two drives.
    """

    kind: Literal["reversible"] = "reversible"  # type: ignore[assignment]

    steps: int = Field(default=20, ge=1)

    def __init__(self, steps: int = 20, **data: Any) -> None:
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

    def refuse_settling(self, free: Relaxation) -> None:
        super().refuse_settling(free)
        if isinstance(free.solver, Picard) and free.solver.alpha == 1.0:
            raise SpecError("a step with α = 1 forgets where it began; take a smaller one", "free.solver.alpha")

    def _unrolled(self, net: Engine, x: Any, y: Array, solver: Picard) -> tuple[Gradient, Activities]:
        return net.reversible_gradient(x, y, solver, self.steps)


__all__ = ["Reversible"]
