"""A network as the integers that the kernels follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuro_eq.backends.numba import kernels
from neuro_eq.costs import CrossEntropy, SquaredError
from neuro_eq.spec import Network
from neuro_eq.synapses import Dense, DirectedDense

ACTIVATION_CODES = {
    "identity": kernels.IDENTITY,
    "relu": kernels.RELU,
    "hard_sigmoid": kernels.HARD_SIGMOID,
    "sigmoid": kernels.SIGMOID,
    "tanh": kernels.TANH,
    "softmax": kernels.SOFTMAX,
}


@dataclass(frozen=True)
class Plan:
    """What the kernels need to know of a network.

    Attributes:
        populations: ``(4, n)`` first unit, number of units, activation code and length of the last axis of each
            free population.
        synapses: ``(s, 4)`` kind, pre, post, first entry in ``weights`` of each synapse between free populations.
        moving: the names of those synapses, in the same order.
        cost: kind and population index.
    """

    populations: np.ndarray
    synapses: np.ndarray
    moving: tuple[str, ...]
    cost: np.ndarray

    def weights(self, theta: Mapping[str, np.ndarray], dtype: str) -> np.ndarray:
        """``Wᵀ`` and ``W`` of each synapse between free populations, in a row: BLAS takes both as they are."""
        if not self.moving:
            return np.zeros(0, dtype)
        matrices = [theta[f"{name}.weight"] for name in self.moving]
        return np.concatenate([part.ravel() for weight in matrices for part in (weight.T, weight)])


def plan(spec: Network) -> Plan:
    """Lay a network out for the kernels."""
    index = {p.name: i for i, p in enumerate(spec.free)}
    sizes = np.array([p.size for p in spec.free], dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    codes = np.array([ACTIVATION_CODES[p.activation.kind] for p in spec.free], dtype=np.int64)
    widths = np.array([p.shape[-1] for p in spec.free], dtype=np.int64)
    rows: list[tuple[int, int, int, int]] = []
    names: list[str] = []
    first = 0
    for synapse in spec.synapses:
        if not isinstance(synapse, (Dense, DirectedDense)):
            continue
        if synapse.source not in index or synapse.target not in index:
            continue
        kind = kernels.DIRECTED
        if isinstance(synapse, Dense):
            kind = kernels.SELF_SYMMETRIC if synapse.on_itself else kernels.SYMMETRIC
        pre, post = index[synapse.source], index[synapse.target]
        rows.append((kind, pre, post, first))
        names.append(synapse.name)
        first += 2 * int(sizes[pre] * sizes[post])
    cost = (kernels.NO_COST, 0)
    if isinstance(spec.cost, SquaredError):
        cost = (kernels.SQUARED_ERROR, index[spec.cost.population])
    if isinstance(spec.cost, CrossEntropy):
        cost = (kernels.CROSS_ENTROPY, index[spec.cost.population])
    return Plan(
        populations=np.stack([begins, sizes, codes, widths]),
        synapses=np.array(rows, dtype=np.int64).reshape(-1, 4),
        moving=tuple(names),
        cost=np.array(cost, dtype=np.int64),
    )
