"""The network that a chip would run, in real numbers: the same populations, connections, delays and messages.

    s ← s + Σ_c W_c m_source(c)        what was sent ``delay`` steps before
    u ← u + α (s + b + β(y − a) − u)
    a = ρ(u);  m = a − r where |a − r| ≥ θ, else 0;  r ← r + m

It has no rounding, so that a difference between it and the relaxation of an engine is the connection's delay alone:
after its first step, in which nothing has arrived yet, it takes the steps of ``Picard(alpha)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from neuro_eq.costs import CrossEntropy, SquaredError
from neuro_eq.hardware.chip import Messages, Phase
from neuro_eq.hardware.ways import refuse_what_no_chip_runs, ways
from neuro_eq.spec import Network


@dataclass(frozen=True, eq=False)
class RealPopulation:
    """Neurons; see :class:`neuro_eq.hardware.chip.ChipPopulation`."""

    name: str
    size: int
    clamped: bool
    activation: str
    alpha: float
    threshold: float
    bias: Float[np.ndarray, " size"]


@dataclass(frozen=True, eq=False)
class RealConnection:
    """Synapses one way; see :class:`neuro_eq.hardware.chip.ChipConnection`."""

    name: str
    source: str
    target: str
    weights: Float[np.ndarray, "post pre"]
    delay: int
    phase: Phase


@dataclass(frozen=True, eq=False)
class RealNetwork:
    """Populations and connections in float64."""

    populations: tuple[RealPopulation, ...]
    connections: tuple[RealConnection, ...]
    messages: Messages
    output: str

    @cached_property
    def clamped(self) -> tuple[RealPopulation, ...]:
        """The populations that hold data."""
        return tuple(p for p in self.populations if p.clamped)

    @cached_property
    def places(self) -> Mapping[str, slice]:
        """Population to its units among all, those that are clamped first."""
        places: dict[str, slice] = {}
        first = 0
        for p in (*self.clamped, *(p for p in self.populations if not p.clamped)):
            places[p.name] = slice(first, first + p.size)
            first += p.size
        return places

    @property
    def units(self) -> int:
        """Units of all populations."""
        return sum(p.size for p in self.populations)

    def population(self, name: str) -> RealPopulation:
        """The population of that name."""
        return next(p for p in self.populations if p.name == name)


def real(
    spec: Network,
    parameters: Mapping[str, Any],
    *,
    alpha: float = 0.5,
    messages: Messages = "graded",
    threshold: float = 0.0,
) -> RealNetwork:
    """The network without quantisation.

    Raises:
        SpecError: the network has something that no chip runs.
    """
    refuse_what_no_chip_runs(spec)
    theta = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    directions, constants = ways(spec, theta, messages)
    readout = isinstance(spec.cost, CrossEntropy)
    populations = [
        RealPopulation(
            p.name, p.size, p.clamped, p.activation.kind, alpha, threshold, constants.get(p.name, np.zeros(p.size))
        )
        for p in spec.populations
    ]
    if isinstance(spec.cost, CrossEntropy):
        name = spec.cost.name
        populations.append(RealPopulation(name, spec.cost.classes, False, "identity", 1.0, threshold, constants[name]))
    connections = []
    for there in directions.values():
        for way in there:
            weights = way.matrix.T if way.transposed else way.matrix
            connections.append(RealConnection(way.name, way.source, way.target, weights, way.delay, way.phase))
    assert isinstance(spec.cost, (SquaredError, CrossEntropy)), "refused earlier"
    output = spec.cost.name if readout else spec.cost.population
    return RealNetwork(tuple(populations), tuple(connections), messages, output)
