"""Samples that have stopped leave the batch, and nobody's result shows it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.engine import Engine
from neuro_eq.solvers import SOLVERS

WITHIN = {"float64": 1e-12, "float32": 1e-5}
"""DESIGN's: a product of another size may round otherwise, and a contraction forgets it."""

SPECS = {
    "chain": lambda: ne.models.layered_hopfield([5, 12, 9, 4]),
    "history": lambda: ne.models.toroidal_mlp(5, 12, 4, coupling=0.08),
    "gated": lambda: ne.models.gated_mlp(5, 12, 4, gate="drive"),
    "two axes": lambda: ne.Network(
        populations=[
            ne.Population(name="x", shape=5, clamped=True),
            ne.Population(name="t", shape=(3, 4), activation="softmax"),
            ne.Population(name="o", shape=(2, 2), activation="tanh"),
        ],
        synapses=[ne.Dense(source="x", target="t"), ne.Dense(source="t", target="o"), ne.Dense(source="o", target="x")],
        cost={"kind": "squared_error", "population": "o"},
    ),
    "words": lambda: ne.models.energy_transformer((4,), 3, vocabulary=6, depth=2, width=4, heads=2, patterns=5),
    "dropout": lambda: ne.models.looped_transformer(
        (2, 4), 3, patch=2, depth=3, width=2, heads=1, hidden=3, dropout=0.3
    ),
    "maps": lambda: ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), pool="average", activation="tanh"),
}


@pytest.fixture(scope="module")
def settling(need):
    """The module under test."""
    need("torch")
    from neuro_eq.backends.torch import settling

    return settling


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture(params=SPECS)
def case(request, contracting, samples, dtype):
    """A network, data, and tolerances by which the samples leave one after the other."""
    spec = SPECS[request.param]()
    net = ne.compile(spec, backend="torch", dtype=dtype)
    net.set_parameters(contracting(spec, 3))
    tol = np.logspace(-1, -5, 60)[np.random.default_rng(5).permutation(60)]
    return net, samples(spec, 60, 4), tol


class Sizes:
    """How many samples were in the batch, chunk by chunk."""

    def __init__(self, settling, monkeypatch) -> None:
        from neuro_eq.backends.torch import engine

        self.found: list[int] = []
        # Some solvers are done within a chunk of the usual length.
        monkeypatch.setattr(engine, "ON_THE_CPU", 1)
        call = settling.Chunk.__call__

        def counted(chunk, moving, steps):
            self.found.append(moving.active.shape[0])
            return call(chunk, moving, steps)

        monkeypatch.setattr(settling.Chunk, "__call__", counted)


def relaxed(net: Engine, data, tol, solver, how="pair"):
    free = net.relax(data.x, start=data.start, solver=solver, tol=tol)
    if how == "free":
        return (free,)
    return net.relax(
        data.x, target=data.y, beta=(0.2, -0.2), start=data.start, solver=solver, tol=tol, asymmetry_at=free
    )


def equal(net, found, wanted, within, rows=slice(None)):
    for one, other in zip(found, wanted, strict=True):
        late = one.steps != other.steps[rows]
        # A crossing that rounding moves is one in float32, by a step.
        assert not late.any() if within < 1e-6 else (np.abs(one.steps - other.steps[rows]) <= 1).all()
        np.testing.assert_array_equal(one.status, other.status[rows])
        for name, value in one.states.items():
            left, right = net.to_numpy(value)[~late], net.to_numpy(other.states[name])[rows][~late]
            np.testing.assert_allclose(left, right, rtol=0, atol=within)
        np.testing.assert_allclose(one.residual[~late], other.residual[rows][~late], rtol=0, atol=4 * within)


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("how", ["free", "pair"])
def test_who_stops_leaves_and_takes_his_result_along(settling, monkeypatch, case, dtype, kind, how):
    net, data, tol = case
    solver = SOLVERS[kind]()
    sizes = Sizes(settling, monkeypatch)
    found = relaxed(net, data, tol, solver, how)
    begins = [i for i, size in enumerate(sizes.found) if size == 60 and (i == 0 or sizes.found[i - 1] < 60)]
    left = sizes.found[begins[-1] :]
    assert len(begins) == (1 if how == "free" else 2)
    assert left[0] == 60
    assert left[-1] <= 30
    assert all(later <= earlier for earlier, later in pairwise(left))
    assert all(phase.converged.all() for phase in found)
    assert all((phase.residual <= tol * (1 + 1e-6)).all() for phase in found)
    monkeypatch.setattr(settling, "WORTH", 2.0)  # nobody leaves
    stayed = relaxed(net, data, tol, solver, how)
    assert sizes.found[-1] == 60
    equal(net, found, stayed, WITHIN[dtype])


@pytest.mark.parametrize("kind", SOLVERS)
def test_the_length_of_a_chunk_changes_nothing(monkeypatch, case, dtype, kind):
    from neuro_eq.backends.torch import engine

    net, data, tol = case
    found = []
    for check_every in (1, 3, 8, 1000):
        monkeypatch.setattr(engine, "ON_THE_CPU", check_every)
        found.append(relaxed(net, data, tol, SOLVERS[kind]()))
    for other in found[1:]:
        equal(net, other, found[0], WITHIN[dtype])


def test_no_sample_depends_on_who_is_beside_it(case, dtype):
    net, data, tol = case
    together = relaxed(net, data, tol, ne.Picard())
    order = np.random.default_rng(0).permutation(60)
    for rows in (order, order[:33], order[:1], np.arange(59, -1, -1)):
        equal(net, relaxed(net, data.take(rows), tol[rows], ne.Picard()), together, WITHIN[dtype], rows)


def test_step_by_step_it_shows_the_same(case, dtype):
    """An observer that stops at every step sees each sample where it is, also those that have left."""
    net, data, tol = case
    seen = []

    class Look:
        def relaxation(self, net, task, settling, resumed):
            finished = False
            while not finished:
                finished = settling.advance(1)
                seen.append((settling.snapshot(), {n: net.to_numpy(u).copy() for n, u in seen_now(settling).items()}))

        def settled(self, net, task, found):
            pass

    def seen_now(settling):
        return settling.snapshot().states[0]

    found = net.relax(data.x, start=data.start, tol=tol, record=Look())
    assert len(seen) == found.steps.max() + 1
    for step, (snapshot, then) in enumerate(seen, start=1):
        for name, value in then.items():
            # What was shown is not written into afterwards.
            np.testing.assert_array_equal(net.to_numpy(snapshot.states[0][name]), value)
            done = found.steps < step
            np.testing.assert_array_equal(value[done], net.to_numpy(found.states[name])[done])
        np.testing.assert_array_equal(snapshot.steps, np.minimum(found.steps, step))
        assert (snapshot.status[found.steps >= step] == ne.Status.MAX_STEPS).all()


def test_those_that_are_not_finite_or_diverge_leave_too(settling, monkeypatch, dtype):
    """An identity network beyond contraction, except for samples of zeros."""
    spec = ne.models.layered_hopfield([3, 4, 2], activation="identity", bias=False)
    net = ne.compile(spec, backend="torch", dtype=dtype)
    rng = np.random.default_rng(0)
    net.set_parameters({name: 10 * rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()})
    x = rng.normal(size=(40, 3))
    x[::4] = 0.0
    start = {"hidden1": np.zeros((40, 4)), "output": np.zeros((40, 2))}
    start["output"][2] = np.nan
    start["output"][3] = np.inf
    sizes = Sizes(settling, monkeypatch)
    found = net.relax(x, start=start, tol=1e-9, max_steps=200)
    assert max(found.steps) < 24
    wanted = np.where(np.arange(40) % 4 == 0, ne.Status.CONVERGED, ne.Status.DIVERGED)
    wanted[2:4] = ne.Status.NONFINITE
    np.testing.assert_array_equal(found.status, wanted)
    assert (found.steps[[0, 2, 3, 4]] == 0).all()
    assert sizes.found[-1] < 40


def test_data_that_the_cost_alone_reads_leave_too(need, contracting, samples, dtype):
    """No synapse that moves knows which tokens are padding: the nudge does."""
    need("torch")
    spec = ne.Network(
        populations=[
            ne.Population(name="x", shape=(4,), clamped=True),
            ne.Population(name="h", shape=(4, 3), activation="layer_norm"),
        ],
        synapses=[
            ne.synapses.TokenEmbedding(source="x", target="h", vocabulary=5),
            ne.synapses.TokenMemory(target="h", patterns=4, form="softplus"),
        ],
        cost={"kind": "token_cross_entropy", "population": "h", "classes": 2, "padding": "x"},
    )
    data, ends = samples(spec, 30, 2), []
    for backend, kind in (("torch", dtype), ("reference", "float64")):
        net = ne.compile(spec, backend=backend, dtype=kind)
        net.set_parameters(contracting(spec, 1))
        tol = np.logspace(-1, -5, 30)
        ends.append(net.relax(data.x, target=data.y, beta=(0.2, -0.2), start=data.start, tol=tol))
    for found, wanted in zip(*ends, strict=True):
        same = found.steps == wanted.steps
        assert same.all() if dtype == "float64" else np.abs(found.steps - wanted.steps).max() <= 1
        np.testing.assert_allclose(
            net.to_numpy(found.states["h"])[same], wanted.states["h"][same], rtol=0, atol=WITHIN[dtype]
        )


def test_the_still_drive_is_computed_once_a_batch(need, monkeypatch, contracting, samples):
    need("torch")
    spec = ne.models.layered_hopfield([5, 6, 4])
    net = ne.compile(spec, backend="torch")
    net.set_parameters(contracting(spec, 1))
    asked = []
    compute = net.dynamics.still_drive
    monkeypatch.setattr(net.dynamics, "still_drive", lambda a, theta: asked.append(1) or compute(a, theta))
    method = ne.EqProp(0.1)
    first, second = samples(spec, 5, 1), samples(spec, 5, 2)
    one, evidence = method.gradient(net, first.x, first.y)
    assert len(evidence.nudged) == 2
    assert len(asked) == 1
    method.gradient(net, second.x, second.y)
    assert len(asked) == 2
    # Other weights drive otherwise, with the same data.
    data = net.inputs(first.x)
    before, _ = method.gradient(net, data, first.y)
    net.set_parameters({"input_hidden1.weight": 0.5 * net.parameters["input_hidden1.weight"]})
    after, _ = method.gradient(net, data, first.y)
    assert len(asked) == 4
    np.testing.assert_allclose(before["hidden1_bias.bias"], one["hidden1_bias.bias"], rtol=0, atol=1e-12)
    assert np.max(np.abs(net.to_numpy(after["hidden1_bias.bias"] - before["hidden1_bias.bias"]))) > 1e-4


def test_it_gives_the_same_bits_again(case):
    net, data, tol = case
    first, second = (relaxed(net, data, tol, ne.Picard()) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.steps, other.steps)
        for name, value in one.states.items():
            np.testing.assert_array_equal(net.to_numpy(value), net.to_numpy(other.states[name]))
