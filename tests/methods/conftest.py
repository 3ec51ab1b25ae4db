"""What the methods that differentiate through steps are tested on, and what they are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.engine import Engine
from neuro_eq.synapses import Synapse


@pytest.fixture(scope="session")
def mixture() -> Callable[..., ne.Network]:
    """``mixture(*more)``: ties (W = Wᵀ), a directed way back, a layer norm, a memory, a gate on a drive, a readout
    outside, and more synapses."""

    def network(*more: Synapse) -> ne.Network:
        make = ne.synapses
        return ne.Network(
            populations=[
                ne.Population(name="x", shape=3, clamped=True),
                ne.Population(name="h", shape=5, activation="tanh"),
                ne.Population(name="o", shape=(2, 3), activation="layer_norm"),
            ],
            synapses=[
                ne.Dense(source="x", target="h"),
                ne.Dense(source="h", target="o"),
                ne.Dense(source="h", target="h", name="loop"),
                ne.DirectedDense(source="o", target="h", name="back"),
                make.Bias(target="o"),
                make.HopfieldMemory(target="o", patterns=3),
                make.GatedDense(source="h", target="o", name="gated"),
                *more,
            ],
            cost={"kind": "cross_entropy", "population": "o", "classes": 3},
        )

    return network


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Engine]:
    """``drawn(spec, size)``: on the torch engine in float64, with random parameters of a size."""

    def compiled(spec: ne.Network, size: float) -> Engine:
        rng = np.random.default_rng(3)
        net = ne.compile(spec, backend="torch")
        net.set_parameters({name: size * rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()})
        net.set_parameters({"o.gamma": 0.8})
        return net

    return compiled


@pytest.fixture(scope="session")
def differences() -> Callable[..., None]:
    """``differences(net, found, cost)``: holds a gradient to central differences of ``cost(changed parameters)``."""

    def compare(net: Engine, found: Mapping[str, object], cost: Callable[[dict[str, np.ndarray]], float]) -> None:
        rng = np.random.default_rng(0)
        h = 1e-5
        for name, own in net.parameters.items():
            value = net.to_numpy(own)
            v = rng.normal(size=value.shape)
            v = 0.5 * (v + v.T) if name == "loop.weight" else v
            change = (cost({name: value + h * v}) - cost({name: value - h * v})) / (2 * h)
            # Truncation h² times third derivatives along |v|² ≤ 20 or so; rounding 2⁻⁵³/h.
            np.testing.assert_allclose(np.sum(net.to_numpy(found[name]) * v), change, rtol=1e-7, atol=1e-8)

    return compare
