r"""The derivative of the cost at the free fixed point by differences: it needs no gradient method to be right.

    ∂C̄/∂θ · d  ≈  [C̄(θ + h d) − C̄(θ − h d)] / 2h        C̄(θ) = mean over the samples of C(a*(θ), y)

at h, h/2 and h/4.  Each neighbouring pair extrapolates to an error O(h⁴), and the two extrapolations differ by about
what the better one is wrong by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuro_eq.checking.subject import BUDGET, ROUNDINGS, Subject
from neuro_eq.comparison import joined
from neuro_eq.equilibrium import Equilibrium

SMOOTH, KINKED = (1e-3, 1e-5), (1e-6, 1e-4)
"""Length of the largest step, relative to the length of the parameter (or to 1 if that is shorter).

Rounding leaves about 1e-15/h of the cost and truncation h⁴, so 1e-3 leaves 1e-12 of either, and a network that is
curved more has a second try.  A step must not carry a unit across a kink; one of 1e-6 hardly ever does, and rounding
then leaves 1e-9, which is too much only for a gradient that is small beside the cost.
"""

NEGLIGIBLE = 1e-3
"""The part of the whole gradient's typical entry below which a derivative counts as none."""

SURE = 1e-7
"""Relative doubt below which no other step is tried."""


@dataclass(frozen=True)
class Derivative:
    """One directional derivative: by differences, by the gradient, their scale, and the doubt in the former."""

    by_differences: float
    by_gradient: float
    scale: float
    doubt: float

    @property
    def error(self) -> float:
        """The difference of the two, relative to their scale."""
        return abs(self.by_differences - self.by_gradient) / self.scale


SHORT = 1e-3
"""How far a parameter goes, relative to its size, to see which directions are admissible."""


def derivative(subject: Subject, gradient: Mapping[str, np.ndarray], name: str, draw: int) -> Derivative:
    """One parameter moved along its gradient, where the derivative is largest, and along random signs at once."""
    own = gradient[name]
    direction = subject.rng(1000 + draw).choice([-1.0, 1.0], size=own.shape) / np.sqrt(own.size)
    if np.any(own):
        # Signs on the gradient's own side: the other side cancels it, and a parameter of one entry would not move.
        along = own / np.linalg.norm(own)
        direction = along + (direction if np.sum(direction * along) >= 0.0 else -direction)
    net, rest = subject.oracle, subject.rest
    base = np.asarray(net.parameters[name])
    # A symmetric self-synapse moves among symmetric matrices only; a gain above zero moves both ways.
    short = SHORT * max(1.0, float(np.linalg.norm(base)))
    moved = subject.spec.project({**net.parameters, name: base + short * direction})[name]
    direction = np.asarray(moved) - base
    direction = direction / np.linalg.norm(direction)
    predicted = float(np.sum(gradient[name] * direction))
    typical = float(np.linalg.norm(gradient[name])) / np.sqrt(base.size)
    # A parameter that has no effect on these samples is held to the gradient as a whole.
    everything = joined(gradient)
    least = NEGLIGIBLE * float(np.linalg.norm(everything)) / np.sqrt(everything.size)
    scale = max(abs(predicted), typical, least)
    # The cost is known to some roundings of its own size, and of 1, the size of what it is the difference of.
    cost = max(float(np.mean(net.cost(rest, subject.y))), 1.0)
    tried = []
    for length in SMOOTH if subject.smooth else KINKED:
        h = length * max(1.0, float(np.linalg.norm(base)))
        try:
            slopes = [_difference(subject, name, base, direction, h / 2**i, rest) for i in range(3)]
        finally:
            net.set_parameters({name: base})
        coarse, fine = ((4.0 * slopes[i + 1] - slopes[i]) / 3.0 for i in range(2))
        doubt = abs(fine - coarse) + ROUNDINGS * net.epsilon * cost / (h / 4.0)
        tried.append(Derivative(fine, predicted, scale, doubt / scale if np.isfinite(doubt) else float("inf")))
        if tried[-1].doubt <= SURE:
            break
    return min(tried, key=lambda one: one.doubt)


def _difference(
    subject: Subject, name: str, base: np.ndarray, direction: np.ndarray, h: float, rest: Equilibrium
) -> float:
    net, cost = subject.oracle, []
    tol = ROUNDINGS * net.epsilon * net.rms(rest.states)
    for sign in (1.0, -1.0):
        net.set_parameters({name: base + sign * h * direction})
        state = net.relax(subject.x, start=rest, solver=subject.settling.solver, tol=tol, max_steps=BUDGET)
        cost.append(float(np.mean(net.cost(state, subject.y))))
    return (cost[0] - cost[1]) / (2.0 * h)
