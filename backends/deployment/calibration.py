"""How large potentials become: what a chip's 24 bits must have room for."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro_eq.arrays import flat
from neuro_eq.costs import CrossEntropy
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.relaxing import Settling, Task
from neuro_eq.solvers import Picard

SAMPLES = 256
"""Training samples that calibration looks at when nobody says; potentials beyond theirs have the margin."""

STEPS = 60


class Ranges:
    """An observer that keeps the largest size of every population's potentials, over all steps."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}

    def relaxation(self, net: Engine, task: Task, settling: Settling, resumed: Any) -> None:
        """Look after every step."""
        while True:
            finished = settling.advance(1)
            for states in settling.snapshot().states:
                for name, u in states.items():
                    self.see(name, net.to_numpy(u))
            if finished:
                return

    def settled(self, net: Engine, task: Task, found: tuple[Equilibrium, ...]) -> None:
        """Nothing more is in what they ended in."""

    def see(self, name: str, values: np.ndarray) -> None:
        """Take values of a population into account."""
        self.largest[name] = max(self.largest.get(name, 0.0), float(np.abs(values).max(initial=0.0)))


def calibrate(net: Engine, x: Any, alpha: float, steps: int = STEPS) -> dict[str, float]:
    """The largest potential of every free population on the way to rest, the largest datum, the largest logit.

    Args:
        net: the network with its trained parameters.
        x: samples.
        alpha: the step that the chip will take.
        steps: that are looked at.
    """
    ranges = Ranges()
    inputs = net.inputs(x)
    for name, values in inputs.items():
        ranges.see(name, net.to_numpy(values))
    state = net.relax(x, solver=Picard(alpha=alpha), tol=None, max_steps=steps, record=ranges)
    cost = net.spec.cost
    if isinstance(cost, CrossEntropy):
        a = net.to_numpy(flat(state.activities[cost.population])).astype(np.float64)
        weight, bias = (net.to_numpy(net.parameters[f"{cost.name}.{own}"]) for own in ("weight", "bias"))
        ranges.see(cost.name, a @ np.asarray(weight, np.float64).T + bias)
    return ranges.largest


__all__ = ["SAMPLES", "STEPS", "Ranges", "calibrate"]
