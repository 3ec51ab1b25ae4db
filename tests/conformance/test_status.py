"""How a relaxation ends, and that every sample ends by itself."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne


def test_max_steps(backend, oracle, contracting, network, samples):
    parameters = contracting(network, 1)
    net, reference = backend.compile(network, parameters), oracle(network, parameters)
    data = samples(network, 4, 0)
    found = net.relax(data.x, tol=1e-6, max_steps=4)
    np.testing.assert_array_equal(found.status, ne.Status.MAX_STEPS)
    np.testing.assert_array_equal(found.steps, 4)
    # The last step is judged too, so the residual belongs to the states that are returned.
    wanted = reference.relax(data.x, tol=1e-6, max_steps=4)
    np.testing.assert_allclose(found.residual, wanted.residual, rtol=0, atol=4 * backend.agreement.fixed_point)
    assert found.count() == {"max_steps": 4}
    # The step that reaches the tolerance may be the last one.
    last = int(reference.relax(data.x, tol=1e-3).steps.max())
    at_last = net.relax(data.x, tol=1e-3, max_steps=last + (0 if backend.dtype == "float64" else 1))
    np.testing.assert_array_equal(at_last.status, ne.Status.CONVERGED)


@pytest.fixture(scope="session")
def exploding():
    """An identity network whose weights are far above one."""
    spec = ne.models.layered_hopfield([3, 4, 2], activation="identity", bias=False)
    rng = np.random.default_rng(0)
    parameters = {
        name: np.float64(np.float32(10 * rng.normal(size=shape))) for name, shape in spec.parameter_shapes.items()
    }
    return spec, parameters


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_divergence(backend, oracle, exploding, alpha):
    spec, parameters = exploding
    net, reference = backend.compile(spec, parameters), oracle(spec, parameters)
    # Of an input of zeros nothing grows: that sample converges beside the others.
    x = np.array([[1.0, -0.5, 0.25], [0.0, 0.0, 0.0], [0.5, 0.5, -1.0]])
    how = {"solver": ne.Picard(alpha=alpha), "tol": 1e-6, "max_steps": 100}
    found, wanted = net.relax(x, **how), reference.relax(x, **how)
    np.testing.assert_array_equal(found.status, [ne.Status.DIVERGED, ne.Status.CONVERGED, ne.Status.DIVERGED])
    # One step multiplies the residual by more than ten, so rounding cannot move the crossing.
    np.testing.assert_array_equal(found.steps, wanted.steps)
    assert np.all(found.residual[[0, 2]] > 1e6)
    assert all(np.all(np.isfinite(net.to_numpy(value))) for value in found.states.values())


def test_divergence_is_noticed_without_a_tolerance(backend, exploding):
    spec, parameters = exploding
    net = backend.compile(spec, parameters)
    found = net.relax(np.ones((2, 3)), tol=None, max_steps=1000)
    np.testing.assert_array_equal(found.status, ne.Status.DIVERGED)
    assert np.all(found.steps < 100)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_start_that_is_not_finite_leaves_the_others_alone(backend, contracting, network, samples, bad):
    net = backend.compile(network, contracting(network, 1))
    data = samples(network, 5, 1)
    alone = net.relax(data.x, start=data.start, tol=1e-3)
    start = {name: value.copy() for name, value in data.start.items()}
    first = next(iter(start))
    start[first][2].flat[0] = bad
    found = net.relax(data.x, start=start, tol=1e-3)
    assert found.status[2] == ne.Status.NONFINITE
    assert found.steps[2] == 0
    assert not np.isfinite(found.residual[2])
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found.status[others], alone.status[others])
    np.testing.assert_array_equal(found.steps[others], alone.steps[others])
    np.testing.assert_array_equal(found.residual[others], alone.residual[others])
    for name in alone.states:
        np.testing.assert_array_equal(
            net.to_numpy(found.states[name])[others], net.to_numpy(alone.states[name])[others]
        )


def test_one_bad_phase_ends_its_pair(backend, oracle, contracting, samples):
    """A nudge of −5 pushes an identity output away without end; its other phase stops at the same step."""
    spec = ne.models.layered_hopfield([3, 4, 2], output_activation="identity")
    parameters = contracting(spec, 1)
    net, reference = backend.compile(spec, parameters), oracle(spec, parameters)
    data = samples(spec, 3, 2)
    how = {"target": data.y, "tol": 1e-3, "max_steps": 50}
    assert np.all(net.relax(data.x, beta=0.1, **how).converged)
    found, wanted = net.relax(data.x, beta=(0.1, -5.0), **how), reference.relax(data.x, beta=(0.1, -5.0), **how)
    for phase in found:
        np.testing.assert_array_equal(phase.status, ne.Status.DIVERGED)
        np.testing.assert_array_equal(phase.steps, wanted[0].steps)
    assert np.all(found[0].residual < 1.0)
    assert np.all(found[1].residual > 1e6)
