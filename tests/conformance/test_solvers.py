"""Every solver of every engine: the oracle's steps, one by one, and the oracle's ends."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.engine import Engine
from neuro_eq.solvers import SOLVERS, Solver

BETA = 0.1


@pytest.fixture(scope="session", params=SOLVERS)
def solver(request: pytest.FixtureRequest, backend) -> Solver:
    """Every solver that the engine says it has, as it comes."""
    found = SOLVERS[request.param]()
    if not isinstance(found, backend.engine.solvers):
        pytest.skip(f"{backend.name} does not declare {type(found).__name__}")
    return found


@pytest.fixture(scope="session")
def both(backend, oracle, contracting):
    """The same network with the same parameters, on the engine and on the oracle."""

    def make(spec, seed=1) -> tuple[Engine, Engine]:
        parameters = contracting(spec, seed)
        return backend.compile(spec, parameters), oracle(spec, parameters)

    return make


def test_the_oracle_has_every_solver(oracle):
    assert set(oracle(ne.models.layered_hopfield([2, 2])).solvers) == set(SOLVERS.values())


def test_a_solver_that_an_engine_lacks_is_refused(backend):
    net = backend.compile(ne.models.layered_hopfield([3, 4, 2]))
    for kind in SOLVERS.values():
        if kind not in backend.engine.solvers:
            with pytest.raises(ne.BackendError, match=f'"{backend.name}" cannot run the solver {kind.__name__}'):
                net.relax(np.ones((1, 3)), solver=kind())


@pytest.mark.parametrize("betas", [(0.0,), (BETA, -BETA)], ids=["free", "pair"])
def test_every_step(backend, solver, both, network, samples, compare, betas):
    """A weight may be uncertain where residuals are nearly dependent, but then the images that it weighs differ by
    little: what rounding does to their sum stays of the order of a few ε times the history's length."""
    net, reference = both(network)
    data = samples(network, 3, 3)
    for steps in (0, 1, 2, 3, 5, 8):
        how = {"beta": betas, "target": data.y, "start": data.start, "solver": solver, "tol": None, "max_steps": steps}
        pair, expected = net.relax(data.x, **how), reference.relax(data.x, **how)
        for found, wanted in zip(pair, expected, strict=True):
            compare.states(found, net, wanted, reference, backend.agreement.fixed_point)
            np.testing.assert_array_equal(found.steps, steps)


def test_corrected_pairs(backend, solver, both, directed_network, samples, compare):
    net, reference = both(directed_network)
    data = samples(directed_network, 3, 2)
    pairs = []
    for engine in (net, reference):
        free = engine.relax(data.x, solver=ne.Picard(0.9), tol=None, max_steps=110)
        how = {"target": data.y, "beta": (BETA, -BETA), "start": free, "solver": solver, "asymmetry_at": free}
        pairs.append(engine.relax(data.x, tol=None, max_steps=6, **how))
    for found, wanted in zip(*pairs, strict=True):
        compare.states(found, net, wanted, reference, backend.agreement.fixed_point)


@pytest.mark.parametrize("beta", [0.0, BETA])
def test_steps_and_status_at_equal_tolerance(backend, solver, both, network, samples, beta):
    net, reference = both(network)
    data = samples(network, 9, 7)
    how = {"target": data.y, "beta": beta, "start": data.start, "solver": solver, "tol": 1e-3, "max_steps": 200}
    found, wanted = net.relax(data.x, **how), reference.relax(data.x, **how)
    np.testing.assert_array_equal(found.status, ne.Status.CONVERGED)
    np.testing.assert_array_equal(wanted.status, ne.Status.CONVERGED)
    assert np.all(found.residual <= 1e-3)
    # 1e-3 is far above rounding, so that a crossing moves by a step at most, and in float64 not at all.
    assert np.max(np.abs(found.steps - wanted.steps)) <= (0 if backend.dtype == "float64" else 1)


def test_every_sample_stops_by_itself(backend, solver, both, network, samples):
    net, _ = both(network)
    data = samples(network, 6, 8)
    tol = np.array([1e-1, 1e-3, 1e-2, 1e9, 1e-3, 1e-2])
    found = net.relax(data.x, start=data.start, solver=solver, tol=tol)
    np.testing.assert_array_equal(found.status, ne.Status.CONVERGED)
    assert found.steps[3] == 0
    assert np.all(found.residual <= tol)
    for value in (1e-1, 1e-2, 1e-3):
        alone = net.relax(data.x, start=data.start, solver=solver, tol=value)
        np.testing.assert_array_equal(found.steps[tol == value], alone.steps[tol == value])


def test_a_sample_does_not_depend_on_its_batch(backend, solver, both, network, samples):
    net, _ = both(network)
    batch = samples(network, 17, 10)
    together = net.relax(batch.x, solver=solver, tol=1e-3)
    within = 1e-12 if backend.dtype == "float64" else 1e-5
    for rows in ([0], [16], [3, 12, 5]):
        alone = net.relax(batch.take(rows).x, solver=solver, tol=1e-3)
        assert np.max(np.abs(alone.steps - together.steps[rows])) <= (0 if backend.dtype == "float64" else 1)
        same = alone.steps == together.steps[rows]
        for name in alone.states:
            np.testing.assert_allclose(
                net.to_numpy(alone.states[name])[same],
                net.to_numpy(together.states[name])[rows][same],
                rtol=0,
                atol=within,
            )


def test_a_sample_that_is_not_finite_leaves_the_others_alone(backend, solver, both, network, samples):
    net, _ = both(network)
    data = samples(network, 5, 1)
    how = {"solver": solver, "tol": 1e-3}
    alone = net.relax(data.x, start=data.start, **how)
    start = {name: value.copy() for name, value in data.start.items()}
    start[next(iter(start))][2].flat[0] = np.nan
    found = net.relax(data.x, start=start, **how)
    assert found.status[2] == ne.Status.NONFINITE
    assert found.steps[2] == 0
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found.status[others], alone.status[others])
    np.testing.assert_array_equal(found.steps[others], alone.steps[others])
    for name in alone.states:
        np.testing.assert_array_equal(
            net.to_numpy(found.states[name])[others], net.to_numpy(alone.states[name])[others]
        )


def test_divergence(backend, solver, oracle, samples):
    """An identity network far beyond contraction: what diverges says so, and a sample of zeros converges beside it."""
    spec = ne.models.layered_hopfield([3, 4, 2], activation="identity", bias=False)
    rng = np.random.default_rng(0)
    parameters = {
        name: np.float64(np.float32(10 * rng.normal(size=shape))) for name, shape in spec.parameter_shapes.items()
    }
    net, reference = backend.compile(spec, parameters), oracle(spec, parameters)
    x = np.array([[1.0, -0.5, 0.25], [0.0, 0.0, 0.0], [0.5, 0.5, -1.0]])
    how = {"solver": solver, "tol": 1e-2, "max_steps": 100}
    found, wanted = net.relax(x, **how), reference.relax(x, **how)
    assert found.status[1] == ne.Status.CONVERGED
    assert found.steps[1] == 0
    # A step multiplies the residual by more than ten, so rounding cannot move the crossing.
    np.testing.assert_array_equal(found.status[[0, 2]], ne.Status.DIVERGED)
    np.testing.assert_array_equal(found.steps, wanted.steps)
