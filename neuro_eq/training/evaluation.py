"""A network asked for its answers: cost and accuracy over samples, and whether it fits them at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.errors import DataError
from neuro_eq.solvers import Relaxation
from neuro_eq.training.results import Score

EVALUATION = Relaxation(tol=1e-4)
"""How a network settles when it is only asked for its answer."""

EVALUATION_BATCH = 512


def as_trained(free: Relaxation | None) -> Relaxation:
    """How a network settles for its answers that was trained with this free phase.

    With exactly as many steps where it had a number of them: another number would be another network.  Otherwise with
    the same solver, to the free phase's tolerance, or to the usual one where that came from the nudge.
    """
    if free is None:
        return EVALUATION
    if free.tol != "nudge":
        return free
    steps = max(free.max_steps, EVALUATION.max_steps)
    return free.model_copy(update={"tol": EVALUATION.tol, "max_steps": steps})


def evaluate(net: Engine, x: Any, y: Any, how: Relaxation = EVALUATION) -> Score:
    """Cost and accuracy of samples where they settle without a nudge, in batches."""
    sums = np.zeros(4)
    assert how.tol != "nudge", "there is no nudge"
    for first in range(0, len(x), EVALUATION_BATCH):
        part = slice(first, first + EVALUATION_BATCH)
        state = net.relax(x[part], solver=how.solver, tol=how.tol, max_steps=how.max_steps)
        right = correct(net.to_numpy(net.output(state)), y[part])
        cost = np.sum(net.to_numpy(net.cost(state, y[part])))
        sums += [float(cost), float(np.sum(right)), float(np.sum(state.steps)), float(np.sum(state.converged))]
    return Score(*(float(value) for value in sums / len(x)))


def correct(output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether each answer's largest value is at its label; not a number for regression."""
    if np.asarray(y).ndim != 1:
        return np.full(len(output), math.nan)
    return np.argmax(output, axis=1) == y


def check_fit(net: Engine, data: Data) -> None:
    """Raise one sentence when a data set cannot train this network."""
    given = net.spec.given
    if sum(p.size for p in given) != data.features:
        units = " and ".join(f'"{p.name}" has {p.size} units' for p in given)
        raise DataError(f'data: a sample of "{data.name}" has {data.features} values, but population {units}')
    if net.spec.cost is None:
        raise DataError("data: the network has no cost, so there is nothing to learn")
    outputs = net.spec.cost.outputs(net.spec.shapes)
    if outputs != data.outputs:
        raise DataError(f'data: "{data.name}" asks for {data.outputs} outputs, but the network has {outputs}')
    for values in (data.y_train, data.y_test) if data.classes is None else ():
        problem = net.spec.cost.target_problem(values)
        if problem is not None:
            raise DataError(f'data: "{data.name}" has values to fit, and {problem}')
