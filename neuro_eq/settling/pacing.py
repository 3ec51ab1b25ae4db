r"""What a Picard step does beyond the fixed-point equation: histories reach back in time, gates hold units back.

    u ← u + α g ⊙ (drive(a_t) + κ (Σ_k w_k a_{t−k} − a_t) − u)

``drive`` holds the static ``κ a_t`` of each history, and it alone makes the residual.  At a fixed point the second
term vanishes and g plays no part, so this changes the way and not where it ends.
"""

from __future__ import annotations

from collections import deque
from copy import copy

from neuro_eq.arrays import Activities, Array, Parameters
from neuro_eq.dynamics import Dynamics
from neuro_eq.settling.drives import take
from neuro_eq.synapses import History, StepGate


class Pacing:
    """The buffers of one relaxation, filled with the activity that it starts from.

    Rows are what the relaxation has: all samples in all phases.  A row that has stopped may go on being shown here.
    """

    def __init__(self, dynamics: Dynamics, theta: Parameters, start: Activities) -> None:
        self.dynamics, self.theta = dynamics, theta
        self.histories = [s for s in dynamics.spec.synapses if isinstance(s, History) and s.target in dynamics.free]
        self.gates = [s for s in dynamics.spec.synapses if isinstance(s, StepGate) and s.target in dynamics.free]
        self.past = {s.name: deque([start[s.target]] * s.buffer_size, maxlen=s.buffer_size) for s in self.histories}

    def change(self, u: Activities, a: Activities, drive: Activities) -> dict[str, Array]:
        """``g ⊙ (drive with the recalled activities − u)``: the step for α = 1.  To be asked once a step."""
        change = {name: drive[name] - u[name] for name in u}
        for history in self.histories:
            name, past = history.target, self.past[history.name]
            past.appendleft(a[name])
            change[name] = change[name] + (history.recall(past) - history.coupling * a[name])
        for gate in self.gates:
            change[gate.target] = gate.rate(a, self.dynamics.own(self.theta, gate.name)) * change[gate.target]
        return change

    def copy(self) -> Pacing:
        """The same buffers, to go on from twice."""
        other = copy(self)
        other.past = {name: past.copy() for name, past in self.past.items()}
        return other

    def keep(self, rows: Array) -> None:
        """Go on with these rows alone, given by their places."""
        self.past = {name: deque([take(a, rows) for a in past], maxlen=past.maxlen) for name, past in self.past.items()}
