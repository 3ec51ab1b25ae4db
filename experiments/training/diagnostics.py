"""What is recorded over training, on one probe batch: it is what explains how training went.

Residual against the nudge's size, steps, how samples ended, Lipschitz constants, the angle of the gradient with the
exact one, the energy, and norms of weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuro_eq.comparison import cosine, numbers, relative
from neuro_eq.contraction import lipschitz
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium, Status
from neuro_eq.errors import NeuroEqError
from neuro_eq.experiments.training.lessons import Lessons
from neuro_eq.methods import Evidence, ImplicitDifferentiation

TRUE = 1e-3
"""The relative residual of a sample's adjoint up to which the exact gradient counts as one."""

PRECISE, PRODUCTS = 1e-3, 100
"""Of Lipschitz constants: relative accuracy, and the most products with the response."""


class Diagnostics:
    """Looks at a network before the first epoch and after each; hand it to ``learn`` as ``watch``.

    Args:
        x, y: the probe batch; drawn populations have their mean.
        how: the lessons, whose gradient is judged as it is used.
        constants: samples of the probe whose Lipschitz constants are taken.
        every: epochs from one look to the next; the last one is always looked at.
    """

    def __init__(self, x: Any, y: Any, how: Lessons, constants: int = 8, every: int = 1) -> None:
        self.x, self.y, self.how, self.constants, self.every = x, y, how, constants, every
        self.rows: list[dict[str, float]] = []

    def __call__(self, net: Engine, epoch: int, beta: float) -> None:
        """Look once at the gradient with this nudge, if it is time to."""
        if epoch % self.every and epoch != self.how.epochs:
            return
        row = {"epoch": float(epoch)}
        method = self.how.method(net.spec, beta)
        try:
            gradient, evidence = method.gradient(net, self.x, self.y, free=self.how.free, nudged=self.how.nudged)
        except NeuroEqError:
            # Implicit differentiation of a state that is not finite, say: there is nothing to look at.
            self.rows.append(row)
            return
        row |= {"nudge": float(getattr(method, "beta", math.nan)), **_settled(evidence)}
        row |= self.against_the_truth(net, gradient)
        row |= self._constants(net)
        if net.spec.has_energy:
            row["energy"] = float(np.mean(net.to_numpy(net.energy(evidence.free).total)))
        for name, value in net.parameters.items():
            row[f"norm of {name}"] = float(np.linalg.norm(net.to_numpy(value)))
        self.rows.append(row)

    def curves(self) -> dict[str, np.ndarray]:
        """Everything over the epochs, as arrays for a results file."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {f"diagnostics/{name}": np.array([row.get(name, math.nan) for row in self.rows]) for name in names}

    def last(self, name: str) -> float:
        """A figure of the network as it was at the last look; not a number where it has none."""
        return self.rows[-1].get(name, math.nan) if self.rows else math.nan

    def least(self, name: str) -> float:
        """The smallest over training."""
        return float(np.nanmin(self._all(name))) if np.isfinite(self._all(name)).any() else math.nan

    def _all(self, name: str) -> np.ndarray:
        return np.array([row.get(name, math.nan) for row in self.rows] or [math.nan])

    def against_the_truth(self, net: Engine, gradient: Any) -> dict[str, float]:
        """A gradient of the probe beside the exact one; nothing where that cannot be had.

        ``"exact converged"`` is the share of samples whose fixed point and whose adjoint were both found.
        """
        try:
            exact, evidence = ImplicitDifferentiation().gradient(net, self.x, self.y)
        except NeuroEqError:
            return {}
        found, true = numbers(net, gradient), numbers(net, exact)
        assert evidence.adjoint_residual is not None, "implicit differentiation solves for the adjoint"
        solved = evidence.free.converged & (evidence.adjoint_residual <= TRUE)
        return {
            "cosine": cosine(found, true),
            "relative error": relative(found, true),
            "exact converged": float(np.mean(solved)),
            "adjoint residual": float(np.max(evidence.adjoint_residual)),
        }

    def _constants(self, net: Engine) -> dict[str, float]:
        few = _few(self.x, self.constants)
        state = net.relax(few, solver=self.how.free.solver, tol=1e-6, max_steps=self.how.max_steps)
        found = lipschitz(net, few, state=state, solver=self.how.free.solver, rtol=PRECISE, max_iterations=PRODUCTS)
        return {
            "L": _largest(found.response),
            "L of a step": _largest(found.step),
            "radius": _largest(found.radius),
        }


def _few(x: Any, count: int) -> Any:
    return {name: value[:count] for name, value in x.items()} if isinstance(x, dict) else x[:count]


def _largest(values: np.ndarray) -> float:
    return float(np.max(values)) if np.isfinite(values).all() else math.nan


def _settled(evidence: Evidence) -> dict[str, float]:
    moves = evidence.nudge_size > 0
    ratios = evidence.residual[moves] / evidence.nudge_size[moves]
    row = {
        "residual over nudge, median": float(np.median(ratios)) if ratios.size else math.nan,
        "residual over nudge, largest": float(np.max(ratios)) if ratios.size else math.nan,
        "unsettled": evidence.unsettled / evidence.free.batch,
        "mute": evidence.mute / evidence.free.batch,
        "steps, free": float(evidence.free.steps.mean()),
        "cost": float(np.mean(evidence.cost)),
    }
    row |= _ends("free", evidence.free)
    if evidence.nudged:
        row["steps, nudged"] = float(evidence.nudged[0].steps.mean())
        row |= _ends("nudged", evidence.nudged[0])
    return row


def _ends(phase: str, state: Equilibrium) -> dict[str, float]:
    return {f"{phase}: {each.name.lower()}": float(np.mean(state.status == each)) for each in Status}
