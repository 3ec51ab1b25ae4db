"""NIR: what is written is read again, and the graph's own equations settle where the network does, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import neuro_eq as ne
from neuro_eq.backends.nir.command import app

nir = pytest.importorskip("nir")


def linear(*, symmetric=True, cost="cross_entropy"):
    """Two inputs, two axes, a synapse of a population on itself, biases; and a readout, or none."""
    make = ne.synapses
    extra = [] if symmetric else [ne.DirectedDense(source="o", target="h", name="feedback")]
    costs = {
        "cross_entropy": {"kind": "cross_entropy", "population": "o", "classes": 3},
        "squared_error": {"kind": "squared_error", "population": "o"},
        None: None,
    }
    return ne.Network(
        name="linear",
        populations=[
            ne.Population(name="x", shape=(2, 3), clamped=True),
            ne.Population(name="context", shape=2, clamped=True),
            ne.Population(name="h", shape=(2, 2)),
            ne.Population(name="o", shape=3),
        ],
        synapses=[
            ne.Dense(source="x", target="h"),
            ne.Dense(source="h", target="context"),
            ne.Dense(source="h", target="o"),
            ne.Dense(source="h", target="h", name="itself"),
            make.Bias(target="h"),
            make.Bias(target="h", name="second"),
            *extra,
        ],
        cost=costs[cost],
    )


def stepped(graph, x, step, steps):
    """Potentials after so many Euler steps of the graph's equations, known from its nodes and edges alone."""
    values = {name: np.zeros(node.output_type["output"]) for name, node in graph.nodes.items()}
    values.update(x)

    def value(name):
        node = graph.nodes[name]
        if isinstance(node, (nir.Linear, nir.Affine)):
            return node.weight @ arriving(name) + (node.bias if isinstance(node, nir.Affine) else 0.0)
        return arriving(name) if isinstance(node, nir.Output) else values[name]

    def arriving(name):
        return sum((value(source) for source, target in graph.edges if target == name), 0.0)

    for _ in range(steps):
        change = {
            name: step * ((node.v_leak - values[name]) + node.r * arriving(name)) / node.tau
            for name, node in graph.nodes.items()
            if isinstance(node, nir.LI)
        }
        values.update({name: values[name] + change[name] for name in change})
    return {name: value(name) for name in graph.nodes}


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def to_graph():
    from neuro_eq.backends.nir.graph import to_graph

    return to_graph


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("cost", ["cross_entropy", "squared_error", None])
def test_a_graph_read_again_is_the_network_step_by_step(to_graph, contracting, samples, tmp_path, symmetric, cost):
    from neuro_eq.backends.nir.graph import write_graph

    spec = linear(symmetric=symmetric, cost=cost)
    net, data = ne.compile(spec, backend="reference"), samples(spec, 1, 3)
    net.set_parameters({**contracting(spec, 2), "h_bias.bias": np.ones((2, 2)), "second.bias": np.full((2, 2), 0.5)})
    write_graph(to_graph(spec, net.parameters), tmp_path / "net.nir")
    graph = nir.read(tmp_path / "net.nir")
    x = {name: value[0].ravel() for name, value in data.x.items()}
    for steps in (1, 2, 7, 60):
        found = stepped(graph, x, 0.5, steps)
        wanted = net.relax(data.x, tol=None, max_steps=steps, solver=ne.Picard(0.5))
        for name, u in wanted.states.items():
            np.testing.assert_allclose(found[name], u[0].ravel(), rtol=0, atol=1e-14)
        if cost == "cross_entropy":
            odds = np.exp(found["output"] - found["output"].max())
            np.testing.assert_allclose(odds / odds.sum(), net.output(wanted)[0], rtol=0, atol=1e-14)
        elif cost == "squared_error":
            np.testing.assert_allclose(found["output"], net.output(wanted)[0], rtol=0, atol=1e-14)
        else:
            np.testing.assert_array_equal(found["output.h"], found["h"])


def test_a_symmetric_weight_is_two_nodes(to_graph):
    spec = linear(cost="squared_error")
    theta = spec.initial_parameters(0)
    graph = to_graph(spec, theta)
    np.testing.assert_array_equal(graph.nodes["h_o.weight"].weight, theta["h_o.weight"])
    np.testing.assert_array_equal(graph.nodes["h_o.weight.T"].weight, theta["h_o.weight"].T)
    assert {("h", "h_o.weight"), ("h_o.weight", "o"), ("o", "h_o.weight.T"), ("h_o.weight.T", "h")} <= set(graph.edges)
    # A population on itself has W = Wᵀ, and what is clamped feels nothing.
    assert "itself.weight.T" not in graph.nodes
    assert "x_h.weight.T" not in graph.nodes
    assert "h_context.weight" not in graph.nodes
    assert "h_context.weight.T" in graph.nodes


def test_what_is_read_says_where_it_is_from(to_graph, tmp_path):
    from neuro_eq.backends.nir.graph import write_graph
    from neuro_eq.specfile import digest

    spec = linear()
    write_graph(to_graph(spec, spec.initial_parameters(0)), tmp_path / "net.nir")
    said = nir.read(tmp_path / "net.nir").metadata
    assert said["spec"] == digest(spec)
    assert said["generator"] == f"neuro_eq {ne.__version__}"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            ne.models.layered_hopfield([4, 3, 2]),
            'populations.hidden1: NIR has no node for the activation "tanh"; a population is exact there with the '
            'activation "identity" alone',
        ),
        (
            ne.Network(
                populations=[ne.Population(name="x", shape=2, clamped=True), ne.Population(name="h", shape=2)],
                synapses=[ne.synapses.GatedDense(source="x", target="h")],
            ),
            'synapses.x_h: NIR has no node for "gated_dense"; exact are dense, directed_dense and bias',
        ),
    ],
)
def test_what_is_not_exact_is_refused(to_graph, spec, sentence):
    with pytest.raises(ne.SpecError) as error:
        to_graph(spec, spec.initial_parameters(0))
    assert str(error.value) == sentence


def test_the_command_writes_a_file(tmp_path):
    spec = linear()
    ne.save(spec, tmp_path / "net.toml")
    np.savez(tmp_path / "weights.npz", **spec.initial_parameters(0))
    said = call(tmp_path / "net.toml", "--weights", tmp_path / "weights.npz").output
    assert str(tmp_path / "network.nir") in "".join(said.split())
    assert set(nir.read(tmp_path / "network.nir").nodes) >= {"x", "h", "o", "output"}


def test_a_refusal_leaves_no_file(tmp_path):
    spec = ne.models.layered_hopfield([4, 3, 2])
    ne.save(spec, tmp_path / "net.toml")
    np.savez(tmp_path / "weights.npz", **spec.initial_parameters(0))
    with pytest.raises(ne.SpecError, match="NIR has no node for the activation"):
        call(tmp_path / "net.toml", "--weights", tmp_path / "weights.npz")
    assert not (tmp_path / "network.nir").exists()


def test_without_the_package_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "nir" else object())
    with pytest.raises(ne.BackendError, match=r'nir is not installed; run: pip install "neuro_eq\[nir\]"'):
        call(tmp_path / "net.toml")
