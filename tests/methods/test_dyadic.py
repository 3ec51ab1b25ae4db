"""The relaxed adjoint: against elimination, and how it says that it ended."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.methods.dyadic import relax_adjoint
from neuro_eq.solvers import Solver

SPEC = ne.models.looped_mlp(3, 7, 4, symmetric=False, cost="squared_error")
FREE = ne.Relaxation(solver=ne.Picard(0.9), tol=1e-14, max_steps=2000)


@pytest.fixture
def settled(contracting, samples):
    """A settled network, its data, the slope of its cost, and ``Dᵀρ'`` of each sample as a matrix."""
    net = ne.compile(SPEC, backend="reference")
    net.set_parameters(contracting(SPEC, 4))
    data = samples(SPEC, 5, 4)
    at = net.relax(data.x, solver=FREE.solver, tol=FREE.tol, max_steps=FREE.max_steps)
    sizes = {p.name: p.size for p in SPEC.free}
    columns = []
    for unit in np.eye(SPEC.free_units):
        parts = np.split(np.tile(unit, (at.batch, 1)), np.cumsum(list(sizes.values()))[:-1], axis=1)
        back = net.transposed(at, net.slope(at, dict(zip(sizes, parts, strict=True))))
        columns.append(joined(back))
    return net, data, at, net.cost_slope(at, data.y), np.stack(columns, axis=2)


def joined(values):
    return np.concatenate([values[p.name] for p in SPEC.free], axis=1)


def test_it_is_the_solution_by_elimination(settled):
    net, _, at, slope, M = settled
    found = relax_adjoint(net, at, slope, ne.Relaxation(eta=1e-14, max_steps=1000), 0.9)
    wanted = np.linalg.solve(np.eye(M.shape[1]) - M, joined(slope)[:, :, None])[:, :, 0]
    # The residual is at most 10·eps·RMS(μ), and 1/(1 − L) = 2.5 of it remains.
    np.testing.assert_allclose(joined(found.mu), wanted, rtol=0, atol=64 * 2.0**-52 * np.max(np.abs(wanted)))
    assert np.all(found.status == ne.Status.CONVERGED)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
def test_each_step_is_the_rule(settled, alpha):
    """``μₙ = (1 − (αM + (1 − α))ⁿ)(1 − M)⁻¹ ∂C/∂a`` from zero, and the residual is what the definition says."""
    net, _, at, slope, M = settled
    c, eye = joined(slope), np.eye(M.shape[1])
    mu = np.zeros_like(c)
    for steps in range(4):
        found = relax_adjoint(net, at, slope, ne.Relaxation(tol=None, max_steps=steps), alpha)
        np.testing.assert_allclose(joined(found.mu), mu, rtol=0, atol=64 * 2.0**-52)
        left = np.einsum("bij,bj->bi", M - eye, mu) + c
        np.testing.assert_allclose(found.residual, np.sqrt(np.mean(left**2, axis=1)), rtol=1e-13)
        np.testing.assert_array_equal(found.steps, steps)
        mu = mu + alpha * left


def test_every_sample_stops_by_itself_and_does_not_move_on(settled):
    net, data, _, _, _ = settled
    scales = np.array([1.0, 1e-2, 1.0, 1e-6, 0.0])
    at = net.relax(data.x, solver=FREE.solver, tol=FREE.tol, max_steps=FREE.max_steps)
    slope = {name: value * scales[:, None] for name, value in net.cost_slope(at, data.y).items()}
    how = ne.Relaxation(tol=1e-8, max_steps=500)
    found = relax_adjoint(net, at, slope, how, 0.9)
    assert np.all(found.residual <= 1e-8)
    assert found.steps[4] == 0
    assert found.steps[3] < found.steps[1] < found.steps[0]
    for i, steps in enumerate(found.steps):
        alone = relax_adjoint(net, at, slope, ne.Relaxation(tol=None, max_steps=int(steps)), 0.9)
        np.testing.assert_array_equal(joined(alone.mu)[i], joined(found.mu)[i])


def test_the_evidence_says_how_it_ended(settled):
    net, data = settled[:2]
    method = ne.DyadicEP()
    _, fine = method.gradient(net, data.x, data.y)
    assert np.all(fine.adjoint_status == ne.Status.CONVERGED)
    assert np.all(fine.adjoint_residual <= 1e-12 * (1 + 1e-9))
    assert np.all(fine.adjoint_steps > 0)
    assert fine.nudged == ()
    _, short = method.gradient(net, data.x, data.y, nudged=ne.Relaxation(tol=1e-14, max_steps=3))
    np.testing.assert_array_equal(short.adjoint_steps, 3)
    np.testing.assert_array_equal(short.adjoint_status, ne.Status.MAX_STEPS)
    assert short.unsettled == 5


def test_an_adjoint_that_grows_has_diverged(contracting, samples):
    """Beyond the end of the contraction the free phase still has bounded states; the error states are linear."""
    net = ne.compile(SPEC, backend="reference")
    parameters = contracting(SPEC, 4)
    parameters["hidden_hidden.weight"] = 8.0 * np.eye(7)
    net.set_parameters(parameters)
    data = samples(SPEC, 3, 4)
    start = {"hidden": np.zeros((3, 7)), "output": np.zeros((3, 4))}
    at = net.relax(data.x, start=start, tol=None, max_steps=0)
    slope = {"hidden": np.ones((3, 7)), "output": np.ones((3, 4))}
    found = relax_adjoint(net, at, slope, ne.Relaxation(max_steps=500), 0.5)
    assert np.all(found.status == ne.Status.DIVERGED)
    # At rest ρ' = 1, so an error grows by 1 + 0.5·(8 − 1) = 4.5 a step: 10⁶ after ten.
    assert np.all(found.steps <= 12)


def test_a_free_state_that_is_not_finite_is_said(settled):
    net, _, at, slope, _ = settled
    broken = {name: value.copy() for name, value in slope.items()}
    broken["hidden"][2, 0] = np.nan
    found = relax_adjoint(net, at, broken, ne.Relaxation(eta=1e-10, max_steps=500), 0.9)
    np.testing.assert_array_equal(found.status == ne.Status.NONFINITE, [False, False, True, False, False])
    assert np.all(np.isfinite(np.delete(joined(found.mu), 2, axis=0)))


class Other(Solver):
    """A solver that is not Picard."""

    kind: str = "other"


def test_error_states_take_picard_steps_only(settled):
    net, data = settled[:2]
    with pytest.raises(
        ne.SpecError, match=r"^nudged\.solver: DyadicEP relaxes .* by Picard steps, found Other; give .*"
    ):
        ne.DyadicEP().gradient(net, data.x, data.y, nudged=ne.Relaxation(solver=Other()))
