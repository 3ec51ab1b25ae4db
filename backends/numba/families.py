"""Memories, gated synapses, histories and gates on steps, as the tables that the kernels follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neuro_eq.backends.numba.kernels import codes
from neuro_eq.backends.numba.stores import Constants, Factors
from neuro_eq.backends.numba.tile import stride
from neuro_eq.spec import Network
from neuro_eq.synapses import GatedDense, History, HopfieldMemory, StepGate


@dataclass
class Keepsakes:
    """Matrices that a block keeps for its samples, with the owner's name and what it is of the owner."""

    dtype: str
    owners: list[tuple[str, int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def add(self, owner: str, size: int, count: int = 1) -> int:
        """The index of the first of ``count`` matrices of so many units."""
        first = len(self.sizes)
        self.owners += [(owner, k) for k in range(count)]
        self.sizes += [size] * count
        return first

    def table(self, count: int) -> np.ndarray:
        """``(3, count)`` begin, size and stride of the first ``count`` of them."""
        sizes = self.sizes[:count]
        strides = [stride(size, self.dtype) for size in sizes]
        begins = np.concatenate([[0], np.cumsum(strides)])[:count]
        return np.array([begins, sizes, strides], dtype=np.int64).reshape(3, count)


@dataclass(frozen=True)
class FamilyTables:
    """The synapses that are more than one product; columns are named in the kernels' codes.

    Attributes:
        memories, gated, histories, gates: one row a synapse.
        keepsakes: ``(3, k)`` of every relaxation, and ``turned_keepsakes`` of one with the asymmetric correction.
        owners: of each keepsake, the synapse's name and a number: of an activity's age, of a slope.
        scratch: numbers that a row needs on the way.
    """

    memories: np.ndarray
    gated: np.ndarray
    histories: np.ndarray
    gates: np.ndarray
    keepsakes: np.ndarray
    turned_keepsakes: np.ndarray
    owners: tuple[tuple[str, int], ...]
    scratch: int


def families(
    spec: Network, index: Mapping[str, int], sizes: list[int], factors: Factors, constants: Constants
) -> FamilyTables | None:
    """Lay out the synapses that move with the states; those from data to a drive are part of the drive that stays."""
    dtype = factors.dtype
    memories: list[tuple[int, ...]] = []
    gated: list[tuple[int, ...]] = []
    histories: list[tuple[int, ...]] = []
    gates: list[tuple[int, ...]] = []
    keepsakes = Keepsakes(dtype)
    scratch = 0
    for synapse in spec.synapses:
        if isinstance(synapse, HopfieldMemory):
            post, patterns = index[synapse.target], f"{synapse.name}.patterns"
            shape = (sizes[post], synapse.patterns)
            there = factors.add(patterns, shape, transposed=True, scale=synapse.inverse_temperature)
            back = factors.add(patterns, shape[::-1], transposed=False, scale=synapse.gamma)
            wide = stride(synapse.patterns, dtype)
            memories.append((post, synapse.patterns, wide, there, back))
            scratch = max(scratch, wide)
        elif isinstance(synapse, History):
            post = index[synapse.target]
            coupling = constants.add([synapse.coupling, *(synapse.coupling * w for w in synapse.weights)])
            past = keepsakes.add(synapse.name, sizes[post], synapse.buffer_size)
            histories.append((post, synapse.buffer_size, coupling, past))
        elif isinstance(synapse, StepGate):
            post, pre = index[synapse.target], index.get(synapse.source, -1)
            if pre < 0:
                gates.append((post, pre, 0, 0, keepsakes.add(synapse.name, sizes[post])))
                continue
            weights = factors.add(f"{synapse.name}.weight", (sizes[pre], sizes[post]), transposed=True)
            gates.append((post, pre, weights, constants.add_parameter(f"{synapse.name}.bias", sizes[post]), 0))
            scratch = max(scratch, stride(sizes[post], dtype))
    always = len(keepsakes.sizes)
    for synapse in spec.synapses:
        if isinstance(synapse, GatedDense) and synapse.source in index:
            post, pre = index[synapse.target], index[synapse.source]
            weight, gate = f"{synapse.name}.weight", f"{synapse.name}.gate_weight"
            shape = (sizes[pre], sizes[post])
            gated.append(
                (
                    post,
                    pre,
                    factors.add(weight, shape, transposed=True),
                    factors.add(gate, shape, transposed=True),
                    constants.add_parameter(f"{synapse.name}.gate_bias", sizes[post]),
                    factors.add(weight, shape[::-1], transposed=False),
                    factors.add(gate, shape[::-1], transposed=False),
                    keepsakes.add(synapse.name, sizes[post], 2),
                )
            )
            scratch = max(scratch, 2 * stride(sizes[post], dtype))
    if not (memories or gated or histories or gates):
        return None

    def table(rows: list[tuple[int, ...]], columns: int) -> np.ndarray:
        return np.array(rows, dtype=np.int64).reshape(-1, columns)

    return FamilyTables(
        memories=table(memories, codes.BACK + 1),
        gated=table(gated, codes.SLOPES + 1),
        histories=table(histories, codes.PAST + 1),
        gates=table(gates, codes.RATE + 1),
        keepsakes=keepsakes.table(always),
        turned_keepsakes=keepsakes.table(len(keepsakes.sizes)),
        owners=tuple(keepsakes.owners),
        scratch=scratch,
    )
