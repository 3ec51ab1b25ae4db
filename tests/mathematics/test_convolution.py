"""Convolutions and pooling against sums written out and against torch's own, and the bound on their norm."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.synapses import Convolution, Dense, Pooling

BATCH = 3
CASES = {
    "plain": ((2, 5, 4), (3, 3, 2), {}),
    "padded": ((2, 5, 4), (3, 5, 4), {"padding": 1}),
    "strided": ((2, 5, 7), (3, 3, 4), {"padding": 1, "stride": 2}),
    "stride-that-does-not-divide": ((1, 6, 6), (2, 2, 2), {"stride": 3, "kernel": (2, 3)}),
    "average": ((2, 4, 6), (3, 2, 3), {"padding": 1, "pool": "average"}),
    "max": ((2, 4, 6), (3, 2, 3), {"padding": 1, "pool": "max"}),
    "max-of-three": ((2, 5, 8), (3, 1, 2), {"pool": "max", "size": 3}),
}


@pytest.fixture(params=CASES)
def case(request):
    """A convolution, activities and parameters."""
    source, target, fields = CASES[request.param]
    shapes = {"p": source, "q": target}
    synapse = Convolution(source="p", target="q", **fields)
    assert synapse.shape_problem(shapes) is None
    rng = np.random.default_rng(0)
    a = {name: rng.normal(size=(BATCH, *shape)) for name, shape in shapes.items()}
    return synapse, a, {name: rng.normal(size=shape) for name, shape in synapse.parameter_shapes(shapes).items()}


def by_hand(synapse, x, theta):
    """One sample's convolution, before pooling, place by place."""
    edge, step, (tall, wide) = synapse.padding, synapse.stride, synapse.kernel
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
    rows = range(0, padded.shape[1] - tall + 1, step)
    columns = range(0, padded.shape[2] - wide + 1, step)
    return np.array(
        [[[np.sum(w * padded[:, i : i + tall, j : j + wide]) for j in columns] for i in rows] for w in theta["weight"]]
    )


def pooled_by_hand(synapse, maps):
    if synapse.pool is None:
        return maps
    take, side = {"max": np.max, "average": np.mean}[synapse.pool], synapse.size
    tall, wide = maps.shape[1] // side, maps.shape[2] // side
    windows = [
        [[take(one[i * side : (i + 1) * side, j * side : (j + 1) * side]) for j in range(wide)] for i in range(tall)]
        for one in maps
    ]
    return np.array(windows)


def test_a_convolution_by_hand(case):
    synapse, a, theta = case
    up = synapse.drive(a, theta, ["q"])["q"]
    for i in range(BATCH):
        wanted = pooled_by_hand(synapse, by_hand(synapse, a["p"][i], theta)) + theta["bias"][:, None, None]
        np.testing.assert_allclose(up[i], wanted, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(synapse.energy(a, theta), -np.sum(a["q"] * up, axis=(1, 2, 3)), rtol=1e-12)


def test_torch_has_the_same(need, case):
    """Its convolution, its pooling, and its autograd for what the source and the parameters feel."""
    need("torch")
    import torch

    synapse, a, theta = case
    x, w, b = (torch.tensor(v, requires_grad=True) for v in (a["p"], theta["weight"], theta["bias"]))
    maps = torch.nn.functional.conv2d(x, w, stride=synapse.stride, padding=synapse.padding)
    if synapse.pool is not None:
        pool = {"max": torch.nn.functional.max_pool2d, "average": torch.nn.functional.avg_pool2d}[synapse.pool]
        maps = pool(maps, synapse.size)
    maps = maps + b[:, None, None]
    np.testing.assert_allclose(synapse.drive(a, theta, ["q"])["q"], maps.detach(), rtol=1e-13, atol=1e-13)
    (-torch.sum(torch.tensor(a["q"]) * maps)).backward()
    np.testing.assert_allclose(synapse.drive(a, theta, ["p"])["p"], -x.grad, rtol=1e-12, atol=1e-13)
    found = synapse.gradient(a, theta)
    np.testing.assert_allclose(found["weight"], w.grad / BATCH, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found["bias"], b.grad / BATCH, rtol=1e-12, atol=1e-13)


def matrix(synapse, shapes, theta):
    """The convolution, without pooling, as a dense matrix."""
    plain = synapse.model_copy(update={"pool": None, "bias": False})
    columns = [plain.mapped(unit.reshape(1, *shapes["p"]), theta).ravel() for unit in np.eye(int(np.prod(shapes["p"])))]
    return np.array(columns).T


def test_no_response_exceeds_its_bound(case):
    synapse, a, theta = case
    shapes = {name: value.shape[1:] for name, value in a.items()}
    columns = []
    for unit in np.eye(int(np.prod(shapes["p"]))):
        delta = {"p": np.broadcast_to(unit.reshape(1, *shapes["p"]), a["p"].shape), "q": 0.0 * a["q"]}
        columns.append(synapse.response(a, delta, theta, ["q"])["q"].reshape(BATCH, -1))
    norm = np.max(np.linalg.norm(np.array(columns).transpose(1, 0, 2), 2, axis=(1, 2)))
    bound = synapse.response_bound(theta)
    assert bound["p", "q"] == bound["q", "p"]
    assert norm <= bound["q", "p"] * (1 + 1e-12)
    assert norm > 0.15 * bound["q", "p"], "a bound that is never approached bounds nothing of interest"
    scaled = synapse.response_bound(synapse.scaled(theta, 0.3))["q", "p"]
    np.testing.assert_allclose(scaled, 0.3 * bound["q", "p"], rtol=1e-14)


def test_a_convolution_is_a_dense_synapse_with_repeated_weights():
    shapes = {"p": (2, 4, 3), "q": (3, 4, 3)}
    synapse, dense = Convolution(source="p", target="q", padding=1, bias=False), Dense(source="p", target="q")
    rng = np.random.default_rng(1)
    a = {name: rng.normal(size=(BATCH, *shape)) for name, shape in shapes.items()}
    theta = {name: rng.normal(size=shape) for name, shape in synapse.parameter_shapes(shapes).items()}
    weights = {"weight": matrix(synapse, shapes, theta)}
    np.testing.assert_allclose(synapse.energy(a, theta), dense.energy(a, weights), rtol=1e-12)
    for name, value in dense.drive(a, weights, ["p", "q"]).items():
        np.testing.assert_allclose(synapse.drive(a, theta, ["p", "q"])[name], value, rtol=1e-12, atol=1e-13)


def test_a_maximum_is_felt_where_it_was_taken():
    pooling = Pooling(source="p", target="q", pool="max")
    a = {"p": np.array([[[[1.0, 5.0], [3.0, 2.0]]]]), "q": np.array([[[[7.0]]]])}
    np.testing.assert_array_equal(pooling.drive(a, {}, ["q"])["q"], [[[[5.0]]]])
    np.testing.assert_array_equal(pooling.drive(a, {}, ["p"])["p"], [[[[0.0, 7.0], [0.0, 0.0]]]])
    equal = {**a, "p": np.ones((1, 1, 2, 2))}
    assert np.sum(pooling.drive(equal, {}, ["p"])["p"]) == 7.0, "of equal units one is taken, not all"


@pytest.mark.parametrize(("sign", "fixed_points"), [(1.0, 2), (-1.0, 0)])
def test_no_budget_holds_what_jumps(sign, fixed_points):
    """The largest unit of a window is driven by w·t beside its own x: upwards it stays the largest one, whichever it
    was; downwards it never does, and there is nowhere to settle."""
    spec = ne.Network(
        populations=[
            ne.Population(name="x", shape=(1, 2, 2), clamped=True),
            ne.Population(name="on", shape=1, clamped=True),
            ne.Population(name="h", shape=(1, 2, 2)),
            ne.Population(name="t", shape=(1, 1, 1)),
        ],
        synapses=[
            Dense(source="x", target="h"),
            Dense(source="on", target="t"),
            Convolution(source="h", target="t", kernel=1, pool="max", bias=False),
        ],
    )
    net = ne.compile(spec, backend="reference")
    net.set_parameters({"x_h.weight": np.eye(4), "on_t.weight": np.eye(1), "h_t.weight": np.full((1, 1, 1, 1), 0.4)})
    assert ne.NormBudget().value(spec, net.parameters) == pytest.approx(0.4, rel=1e-12)
    x = {"x": np.array([[[[1.0, 1.01], [-5.0, -5.0]]]] * 2), "on": np.full((2, 1), 4.0 * sign)}
    start = {"h": np.array([[[[1.5, 1.0], [-5.0, -5.0]]], [[[1.0, 1.5], [-5.0, -5.0]]]]), "t": np.zeros((2, 1, 1, 1))}
    at = net.relax(x, start=start, tol=1e-9, max_steps=500)
    assert at.converged.sum() == fixed_points
    if fixed_points:
        largest = at.states["h"].reshape(2, 4).argmax(axis=1)
        np.testing.assert_array_equal(largest, [0, 1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "p"}, 'it has two ends, but both are "p"'),
        ({"target": "flat"}, '"flat" must have the shape (channels, height, width), found [6]'),
        ({}, '"q" must have the shape [3, 3, 3], found [3, 5, 5]'),
        ({"padding": 1, "pool": "max"}, "maps of 5×5 do not divide into windows of 2×2"),
        ({"kernel": 7}, 'nothing is left of "p" of [2, 5, 5]'),
    ],
)
def test_what_does_not_fit(fields, message):
    shapes = {"p": (2, 5, 5), "q": (3, 5, 5), "flat": (6,)}
    assert Convolution(**{"source": "p", "target": "q", **fields}).shape_problem(shapes) == message


def test_a_network_of_maps():
    spec = ne.models.conv_hopfield((3, 8, 8), 10, channels=(4, 6, 5), skips=True)
    assert spec.shapes == {"input": (3, 8, 8), "map1": (4, 4, 4), "map2": (6, 2, 2), "map3": (5, 1, 1)}
    assert not spec.asymmetric
    skips = [s for s in spec.synapses if s.name.endswith("_skip")]
    assert [(s.source, s.target, s.size) for s in skips] == [("input", "map2", 4), ("map1", "map3", 4)]
    odd = ne.models.conv_hopfield((7, 7), 2, channels=(2, 2), cost="cross_entropy")
    assert odd.shapes == {"input": (1, 7, 7), "map1": (2, 7, 7), "map2": (2, 7, 7)}
    with pytest.raises(ne.SpecError, match=r"^synapses\[0\]: \"input_map1\" is not analytic"):
        ne.HolomorphicEP().refuse(ne.models.conv_hopfield((8, 8), 2, activation="tanh"))
    for fields, message in (
        ({"kernel": 2}, "kernel: the side of a kernel must be odd, found 2"),
        ({"channels": ()}, "channels: need at least one population of maps"),
    ):
        with pytest.raises(ne.SpecError) as error:
            ne.models.conv_hopfield((8, 8), 2, **fields)
        assert str(error.value) == message


@pytest.mark.parametrize("pool", ["average", "max", None])
def test_gradients_of_a_network_of_maps(samples, pool):
    """Centered EqProp at a small nudge and dyadic EP; no unit of these samples takes over under the nudge."""
    spec = ne.models.conv_hopfield((4, 4), 3, channels=(3, 4), pool=pool, activation="tanh", cost="cross_entropy")
    net = ne.compile(spec, backend="reference", seed=1)
    data = samples(spec, 4, 1)
    how = ne.Relaxation(solver=ne.Picard(1.0), tol=1e-14, max_steps=1000)
    exact, evidence = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=how)
    assert evidence.free.converged.all()
    found, _ = ne.EqProp(1e-3).gradient(net, data.x, data.y, free=how)
    dyadic, _ = ne.DyadicEP().gradient(net, data.x, data.y, free=how)
    for name, value in exact.items():
        size = np.linalg.norm(value)
        assert np.linalg.norm(found[name] - value) <= 1e-5 * size + 1e-10
        assert np.linalg.norm(dyadic[name] - value) <= 1e-9 * size + 1e-13


def test_exact_sweeps_leave_no_unit_behind(samples):
    """Block Gauss–Seidel solves maps exactly unless they are pooled by their maximum, which moves with them."""
    how = {"tol": 1e-12, "max_steps": 2000}
    for pool, activation in itertools.product(["average", "max"], ["tanh", "hard_sigmoid"]):
        spec = ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), pool=pool, activation=activation, gain=0.3)
        net = ne.compile(spec, backend="reference", seed=2)
        x = samples(spec, 3, 2).x
        swept, stepped = net.relax(x, solver=ne.BlockGaussSeidel(), **how), net.relax(x, **how)
        assert swept.converged.all()
        for name, value in stepped.states.items():
            np.testing.assert_allclose(swept.states[name], value, rtol=0, atol=1e-10)
