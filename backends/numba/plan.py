"""A network as the integers that the kernels follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neuro_eq.activations import LayerNorm
from neuro_eq.backends.numba.families import FamilyTables, families
from neuro_eq.backends.numba.kernels import codes
from neuro_eq.backends.numba.stores import Constants, Factors
from neuro_eq.backends.numba.tile import stride
from neuro_eq.colouring import colours, feeds_back
from neuro_eq.costs import CrossEntropy, SquaredError
from neuro_eq.spec import Network, Population
from neuro_eq.synapses import Bias, Dense, DirectedDense

ACTIVATION_CODES = {
    "identity": codes.IDENTITY,
    "relu": codes.RELU,
    "hard_sigmoid": codes.HARD_SIGMOID,
    "sigmoid": codes.SIGMOID,
    "tanh": codes.TANH,
    "softmax": codes.SOFTMAX,
    "layer_norm": codes.LAYER_NORM,
}


@dataclass(frozen=True)
class Plan:
    """What the kernels need to know of a network.

    Attributes:
        populations: ``(7, n)``, its rows are named in :mod:`~neuro_eq.backends.numba.kernels.codes`.
        inlets: ``(s, 4)`` post, pre, place of the packed weights, and sign, of every way from a free population to
            another.
        corrections: the same for the asymmetric correction ``(Dᵀ − D)(a − a*)``.
        order: the populations, colour by colour.
        colours: ``(c + 1)`` where each colour begins in ``order``.
        cost: kind, population index, and stride of the answers.
        families: the tables of the synapses that are more than one product, or None where there are none.
        factors: the matrices behind the inlets and the families.
        constants: the numbers of layer norms and of the families.
        readout: the two matrices of a readout, packed apart.
        linear: whether a unit that is not active drives nobody.
        names: the free populations.
    """

    populations: np.ndarray
    inlets: np.ndarray
    corrections: np.ndarray
    order: np.ndarray
    colours: np.ndarray
    cost: np.ndarray
    families: FamilyTables | None
    factors: Factors
    constants: Constants
    readout: Factors
    linear: bool
    names: tuple[str, ...]
    dtype: str

    @cached_property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Where each free population begins in a row of all, and the numbers that it takes there."""
        return tuple((int(begin), int(wide)) for begin, wide in self.populations[[codes.BEGIN, codes.STRIDE]].T)

    @cached_property
    def place_of(self) -> dict[str, tuple[int, int]]:
        """The same by name."""
        return dict(zip(self.names, self.places, strict=True))

    @cached_property
    def nothing(self) -> np.ndarray:
        """No numbers, of the plan's precision: for the kernels' arguments that a relaxation has no use for."""
        return np.zeros(0, self.dtype)

    @cached_property
    def units(self) -> int:
        """Numbers in a row of all free units, filling included."""
        return sum(wide for _, wide in self.places)


def plan(spec: Network, dtype: str) -> Plan:
    """Lay a network out for the kernels."""
    index = {p.name: i for i, p in enumerate(spec.free)}
    sizes = [p.size for p in spec.free]
    strides = [stride(size, dtype) for size in sizes]
    factors, constants = Factors(dtype), Constants(dtype)
    inlets: list[tuple[int, int, int, int]] = []
    corrections: list[tuple[int, int, int, int]] = []

    def factor(synapse: str, pre: int, post: int, transposed: bool) -> int:
        return factors.add(f"{synapse}.weight", (sizes[pre], sizes[post]), transposed=transposed)

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
                [_constants(p, constants) for p in spec.free],
            ],
            dtype=np.int64,
        ),
        inlets=np.array(inlets, dtype=np.int64).reshape(-1, 4),
        corrections=np.array(corrections, dtype=np.int64).reshape(-1, 4),
        order=np.array([index[name] for group in groups for name in group], dtype=np.int64),
        colours=np.cumsum([0, *(len(group) for group in groups)]).astype(np.int64),
        cost=np.array(cost, dtype=np.int64),
        families=families(spec, index, sizes, factors, constants),
        factors=factors,
        constants=constants,
        readout=readout,
        linear=all(isinstance(synapse, (Dense, DirectedDense, Bias)) for synapse in spec.synapses),
        names=tuple(index),
        dtype=dtype,
    )


def _constants(population: Population, constants: Constants) -> int:
    """Where the numbers of the population's activation begin."""
    rho = population.activation
    if not isinstance(rho, LayerNorm):
        return 0
    # One that the precision rounds to 0 would divide 0 by 0 where all potentials of a row are equal.
    begin = constants.add([max(rho.epsilon, float(np.finfo(constants.dtype).tiny))])
    constants.add_parameter(f"{population.name}.gamma", 1)
    constants.add_parameter(f"{population.name}.delta", population.shape[-1])
    return begin


def _cost(
    spec: Network, index: Mapping[str, int], sizes: list[int], dtype: str
) -> tuple[tuple[int, int, int], Factors]:
    readout = Factors(dtype)
    if isinstance(spec.cost, SquaredError):
        place = index[spec.cost.population]
        return (codes.SQUARED_ERROR, place, stride(sizes[place], dtype)), readout
    if isinstance(spec.cost, CrossEntropy):
        place, classes = index[spec.cost.population], spec.cost.classes
        weight = f"{spec.cost.name}.weight"
        readout.add(weight, (sizes[place], classes), transposed=True)
        readout.add(weight, (classes, sizes[place]), transposed=False)
        return (codes.CROSS_ENTROPY, place, stride(classes, dtype)), readout
    return (codes.NO_COST, 0, 0), readout
