"""A network as the integers that the kernels follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuro_eq.backends.numba.kernels import codes
from neuro_eq.backends.numba.packing import pack_columns, pack_rows
from neuro_eq.backends.numba.tile import packed_size, stride
from neuro_eq.colouring import colours, feeds_back
from neuro_eq.costs import CrossEntropy, SquaredError
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Dense, DirectedDense

ACTIVATION_CODES = {
    "identity": codes.IDENTITY,
    "relu": codes.RELU,
    "hard_sigmoid": codes.HARD_SIGMOID,
    "sigmoid": codes.SIGMOID,
    "tanh": codes.TANH,
    "softmax": codes.SOFTMAX,
}


@dataclass(frozen=True)
class Factor:
    """One matrix that stays the same while the network settles, and where it lies once it is packed."""

    parameter: str
    transposed: bool
    begin: int
    size: int

    def pack(self, theta: Mapping[str, np.ndarray], out: np.ndarray) -> None:
        """The right-hand factor of the product ``(rows, n_pre) · (n_pre, n_post)``, into its place."""
        weight, place = theta[self.parameter], out[self.begin : self.begin + self.size]
        if self.transposed:
            pack_columns(weight, place)
        else:
            pack_rows(weight, place, 0, weight.shape[0])


@dataclass(frozen=True)
class Plan:
    """What the kernels need to know of a network.

    Attributes:
        populations: ``(6, n)``, its rows are named in :mod:`~neuro_eq.backends.numba.kernels.codes`.
        inlets: ``(s, 4)`` post, pre, place of the packed weights, and sign, of every way from a free population to
            another.
        corrections: the same for the asymmetric correction ``(Dᵀ − D)(a − a*)``.
        order: the populations, colour by colour.
        colours: ``(c + 1)`` where each colour begins in ``order``.
        cost: kind, population index, and stride of the answers.
        factors: the matrices behind the inlets.
        readout: the two matrices of a readout, packed apart.
        linear: whether a unit that is not active drives nobody.
    """

    populations: np.ndarray
    inlets: np.ndarray
    corrections: np.ndarray
    order: np.ndarray
    colours: np.ndarray
    cost: np.ndarray
    factors: tuple[Factor, ...]
    readout: tuple[Factor, ...]
    linear: bool
    dtype: str

    @property
    def units(self) -> int:
        """Numbers in a row of all free units, filling included."""
        return int(np.sum(self.populations[codes.STRIDE]))

    def packed(self, theta: Mapping[str, np.ndarray], factors: tuple[Factor, ...]) -> np.ndarray:
        """The matrices one after the other, in the order that the products take them in."""
        out = np.empty(sum(factor.size for factor in factors), self.dtype)
        for factor in factors:
            factor.pack(theta, out)
        return out


def plan(spec: Network, dtype: str) -> Plan:
    """Lay a network out for the kernels."""
    index = {p.name: i for i, p in enumerate(spec.free)}
    sizes = [p.size for p in spec.free]
    strides = [stride(size, dtype) for size in sizes]
    factors: list[Factor] = []
    inlets: list[tuple[int, int, int, int]] = []
    corrections: list[tuple[int, int, int, int]] = []

    def factor(synapse: str, pre: int, post: int, transposed: bool) -> int:
        begin = factors[-1].begin + factors[-1].size if factors else 0
        size = packed_size(sizes[pre], sizes[post], dtype)
        factors.append(Factor(f"{synapse}.weight", transposed, begin, size))
        return begin

    for synapse in spec.synapses:
        if not isinstance(synapse, (Dense, DirectedDense)):
            continue
        if synapse.source not in index or synapse.target not in index:
            continue
        pre, post = index[synapse.source], index[synapse.target]
        forward = factor(synapse.name, pre, post, transposed=True)
        inlets.append((post, pre, forward, 1))
        if isinstance(synapse, Dense):
            if not synapse.on_itself:
                inlets.append((pre, post, factor(synapse.name, post, pre, transposed=False), 1))
            continue
        corrections.append((pre, post, factor(synapse.name, post, pre, transposed=False), 1))
        corrections.append((post, pre, forward, -1))
    groups = colours(spec)
    cost, readout = _cost(spec, index, sizes, dtype)
    return Plan(
        populations=np.array(
            [
                np.concatenate([[0], np.cumsum(strides)[:-1]]),
                sizes,
                strides,
                [ACTIVATION_CODES[p.activation.kind] for p in spec.free],
                [p.shape[-1] for p in spec.free],
                [feeds_back(spec, p.name) for p in spec.free],
            ],
            dtype=np.int64,
        ),
        inlets=np.array(inlets, dtype=np.int64).reshape(-1, 4),
        corrections=np.array(corrections, dtype=np.int64).reshape(-1, 4),
        order=np.array([index[name] for group in groups for name in group], dtype=np.int64),
        colours=np.cumsum([0, *(len(group) for group in groups)]).astype(np.int64),
        cost=np.array(cost, dtype=np.int64),
        factors=tuple(factors),
        readout=readout,
        linear=all(isinstance(synapse, (Dense, DirectedDense, Bias)) for synapse in spec.synapses),
        dtype=dtype,
    )


def _cost(
    spec: Network, index: Mapping[str, int], sizes: list[int], dtype: str
) -> tuple[tuple[int, int, int], tuple[Factor, ...]]:
    if isinstance(spec.cost, SquaredError):
        place = index[spec.cost.population]
        return (codes.SQUARED_ERROR, place, stride(sizes[place], dtype)), ()
    if isinstance(spec.cost, CrossEntropy):
        place = index[spec.cost.population]
        weight = f"{spec.cost.name}.weight"
        there = packed_size(sizes[place], spec.cost.classes, dtype)
        back = packed_size(spec.cost.classes, sizes[place], dtype)
        factors = (Factor(weight, True, 0, there), Factor(weight, False, there, back))
        return (codes.CROSS_ENTROPY, place, stride(spec.cost.classes, dtype)), factors
    return (codes.NO_COST, 0, 0), ()
