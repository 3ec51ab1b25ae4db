"""Which neurons stand on which core, and what of each core is then used.

A core holds some neurons of one population and all synapses that end on them.  Data come in from outside, so clamped
populations need no core.  An axon comes in for every unit that sends to the core; an axon goes out for every neuron
and every core that it sends to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neuro_eq.errors import SpecError
from neuro_eq.hardware.chip import ChipConnection, ChipNetwork
from neuro_eq.hardware.formats import WEIGHT_BITS
from neuro_eq.hardware.loihi import Chip

SPARSE = 0.5
"""Share of synapses that are there below which each is kept with the place where it ends."""


@dataclass(frozen=True)
class Core:
    """What of one core is used.

    Attributes:
        population: whose neurons it holds.
        first, last: of that population, the last not included.
        used: by the names of :attr:`Chip.per_core`.
    """

    population: str
    first: int
    last: int
    used: Mapping[str, int]


@dataclass(frozen=True)
class Placement:
    """A network on a chip."""

    chip: Chip
    cores: tuple[Core, ...]

    @property
    def tiles(self) -> int:
        """Groups of cores that share a router."""
        return math.ceil(len(self.cores) / self.chip.cores_per_tile)

    def of(self, population: str) -> int:
        """Number of cores that hold a population."""
        return sum(core.population == population for core in self.cores)

    def utilisation(self) -> list[dict[str, object]]:
        """Of each core, what is used and the limit, by name."""
        return [
            {
                "population": core.population,
                "first": core.first,
                "last": core.last,
                **{name: {"used": core.used[name], "limit": limit.value} for name, limit in self.chip.per_core.items()},
            }
            for core in self.cores
        ]


def place(network: ChipNetwork, chip: Chip) -> Placement:
    """The network on as few cores as a population by itself can stand on.

    Raises:
        SpecError: it does not fit; names the population and the limit.
    """
    parts = {p.name: 1 for p in network.free}
    while True:
        cores = _cores(network, parts)
        over = [(core, name) for core in cores for name, limit in chip.per_core.items()
                if limit.value is not None and core.used[name] > limit.value]  # fmt: skip
        if not over:
            break
        for population in dict.fromkeys(core.population for core, _ in over):
            core, name = next((core, name) for core, name in over if core.population == population)
            size = network.population(population).size
            # Neither fewer neurons nor other cores reduce the number of units that a neuron listens to.
            if name == "in-axons" or parts[population] >= size:
                raise SpecError(
                    f'"{population}" needs {core.used[name]} {name} on one core, and {chip.name} has '
                    f"{chip.per_core[name].value}",
                    "target",
                )
            limit = chip.per_core[name].value
            assert limit is not None
            parts[population] = min(
                size, max(parts[population] + 1, parts[population] * core.used[name] // max(limit, 1))
            )
    most = chip.cores.value
    if most is not None and len(cores) > most:
        raise SpecError(f"the network needs {len(cores)} cores, and {chip.name} has {most}", "target")
    return Placement(chip, cores)


def _cores(network: ChipNetwork, parts: Mapping[str, int]) -> tuple[Core, ...]:
    cores = []
    for p in network.free:
        edges = np.linspace(0, p.size, parts[p.name] + 1).astype(int).tolist()
        targets = {c.target for c in network.connections if c.source == p.name}
        for first, last in pairwise(edges):
            incoming = [c for c in network.connections if c.target == p.name]
            used = {
                "neurons": last - first,
                "in-axons": _units_heard(incoming, first, last),
                "out-axons": (last - first) * sum(parts[name] for name in targets),
                "synapse bits": sum(synapse_bits(c, first, last) for c in incoming),
            }
            cores.append(Core(p.name, first, last, used))
    return tuple(cores)


def _units_heard(incoming: list[ChipConnection], first: int, last: int) -> int:
    """Units that send to these neurons; one that does so over two connections comes in over two axons."""
    return sum(int(np.count_nonzero(c.weights[first:last].any(axis=0))) for c in incoming)


def synapse_bits(connection: ChipConnection, first: int = 0, last: int | None = None) -> int:
    """Memory of the synapses that end on some neurons: a mantissa each, and where it ends if many are not there."""
    there = connection.weights[first:last] != 0
    if not there.size:
        return 0
    if there.mean() >= SPARSE:
        return there.size * WEIGHT_BITS
    return int(np.count_nonzero(there)) * (WEIGHT_BITS + max(1, math.ceil(math.log2(there.shape[0]))))
