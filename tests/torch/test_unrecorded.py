"""No graph is built in any relaxation or local update: autograd is never asked to keep a tensor."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.solvers import SOLVERS

METHODS = {
    "eqprop": ne.EqProp(0.1),
    "one-sided": ne.EqProp(0.1, "one-sided"),
    "asymep": ne.AsymEP(0.1),
    "vector field": ne.VectorField(0.1),
    "dyadic": ne.DyadicEP(),
    "holomorphic": ne.HolomorphicEP(0.1),
    "continual": ne.ContinualEP(0.1),
    "implicit": ne.ImplicitDifferentiation(),
    "jfb": ne.JFB(),
    "phantom": ne.Phantom(3, 0.7),
}
DIRECTED = ("asymep", "vector field", "dyadic", "implicit", "jfb", "phantom")
"""Those that need no energy."""


@pytest.fixture
def torch(need):
    need("torch")
    import torch

    return torch


@pytest.fixture
def saved(torch):
    """Shapes of the tensors that autograd has kept since."""
    found = []

    def keep(tensor):
        found.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


def asking(torch, values):
    """The same numbers, and a wish for gradients."""
    return torch.tensor(values, requires_grad=True)


def network(*, symmetric):
    """Products, a memory, a gate, a history, layer norm and a readout outside."""
    make = ne.synapses
    extra = [] if symmetric else [make.GatedDense(source="h", target="o", name="gated")]
    return ne.Network(
        populations=[
            ne.Population(name="x", shape=4, clamped=True),
            ne.Population(name="h", shape=6, activation="tanh"),
            ne.Population(name="o", shape=5, activation="layer_norm"),
        ],
        synapses=[
            ne.Dense(source="x", target="h"),
            ne.Dense(source="h", target="o"),
            ne.Dense(source="h", target="h", name="loop"),
            make.Bias(target="o"),
            make.HopfieldMemory(target="h", patterns=3),
            make.History(target="h", coupling=0.05),
            make.StepGate(source="x", target="o"),
            *extra,
        ],
        cost={"kind": "cross_entropy", "population": "o", "classes": 3},
    )


def test_the_hooks_see_what_autograd_keeps(torch, saved):
    """Else the other tests here could not fail."""
    asking(torch, np.ones(3)).tanh().sum()
    assert (3,) in saved


def test_relaxing_data_that_asks_for_gradients(torch, saved):
    spec = network(symmetric=True)
    rng = np.random.default_rng(0)
    net = ne.compile(spec, backend="torch")
    net.set_parameters({name: asking(torch, 0.1 * net.to_numpy(value)) for name, value in net.parameters.items()})
    assert not any(value.requires_grad for value in net.parameters.values())
    x, y = asking(torch, rng.normal(size=(9, 4))), asking(torch, np.eye(3)[rng.integers(3, size=9)])
    start = {p.name: asking(torch, rng.normal(size=(9, *p.shape))) for p in spec.free}
    for solver in SOLVERS.values():
        free = net.relax(x, start=start, solver=solver())
        pair = net.relax(x, target=y, beta=(0.1, -0.1), start=free, solver=solver(), asymmetry_at=free)
        for found in (free, *pair):
            assert not any(u.requires_grad for u in (*found.states.values(), *found.activities.values()))
    assert not net.energy(free).total.requires_grad
    assert not net.cost(free, y).requires_grad
    assert not net.predict(x).requires_grad
    assert saved == []


@pytest.mark.parametrize(
    ("name", "symmetric"), [(name, True) for name in METHODS] + [(name, False) for name in DIRECTED]
)
def test_gradients_and_training_steps(torch, saved, contracting, name, symmetric):
    spec, method = network(symmetric=symmetric), METHODS[name]
    rng = np.random.default_rng(1)
    net = ne.compile(spec, backend="torch")
    net.set_parameters({n: asking(torch, value) for n, value in contracting(spec, 2).items()})
    x, y = asking(torch, rng.normal(size=(7, 4))), rng.integers(3, size=7)
    optimizer = ne.Adam(1e-3)
    state = optimizer.start(net.parameters)
    for _ in range(2):
        gradient, _ = method.gradient(net, x, y)
        assert not any(value.requires_grad for value in gradient.values())
        parameters, state = optimizer.step(net.parameters, gradient, state)
        net.set_parameters(parameters, adopt=True)
    assert saved == []


MODELS = {
    "softmax": lambda: ne.models.energy_transformer((2, 4), 3, patch=2, depth=2, width=4, heads=2, memory="softplus"),
    "words": lambda: ne.models.energy_transformer((4,), 3, vocabulary=6, width=4, heads=2, attention="linear"),
    "symmetric": lambda: ne.models.looped_transformer((2, 4), 3, patch=2, width=4, heads=2, hidden=5, symmetric=True),
    "block": lambda: ne.models.looped_transformer((4,), 3, vocabulary=6, width=4, heads=2, hidden=5, dropout=0.3),
    "softmax block": lambda: ne.models.looped_transformer(
        (2, 4), 3, patch=2, width=4, heads=2, hidden=5, attention="softmax", feed_forward="gelu"
    ),
    "maps": lambda: ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), skips=True),
    "averaged maps": lambda: ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), pool="average", activation="tanh"),
}


@pytest.mark.parametrize("model", MODELS)
def test_transformers_and_maps_by_every_method_that_takes_them(torch, saved, contracting, samples, model):
    spec = MODELS[model]()
    net = ne.compile(spec, backend="torch")
    net.set_parameters({n: asking(torch, value) for n, value in contracting(spec, 2).items()})
    data = samples(spec, 5, 3)
    x = {name: asking(torch, value) for name, value in data.x.items()}
    taken = []
    for name, method in METHODS.items():
        try:
            method.refuse(spec)
        except ne.SpecError:
            continue
        gradient, evidence = method.gradient(net, x, data.y)
        states = [u for phase in (evidence.free, *evidence.nudged) for u in phase.states.values()]
        assert not any(value.requires_grad for value in (*gradient.values(), *states))
        taken.append(name)
    assert set(DIRECTED) <= set(taken)
    assert ("eqprop" in taken) == (not spec.asymmetric)
    assert saved == []


def test_training_as_a_whole(torch, saved):
    data = ne.datasets.load_data("digits").subset(64, 16)
    net = ne.compile(ne.models.layered_hopfield([64, 8, 10]), backend="torch", dtype="float32")
    ne.train(net, data, epochs=1)
    assert saved == []
