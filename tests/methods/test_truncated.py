"""JFB and the phantom gradient: the terms of the series, and the papers' definitions by automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

FREE = ne.Relaxation(solver=ne.Picard(0.9), tol=1e-14, max_steps=2000)
SPECS = {
    "directed": lambda: ne.models.looped_mlp(3, 7, 4, symmetric=False, cost="squared_error"),
    "readout": lambda: ne.models.layered_hopfield([3, 6, 4], cost="cross_entropy"),
    "layer norm": lambda: ne.models.modern_hopfield_mlp(3, 6, 4),
    "gated": lambda: ne.models.gated_mlp(3, 6, 4, gate="drive"),
}


@pytest.fixture(params=SPECS)
def case(request, contracting, samples):
    """A network on the oracle, data, and its free fixed point."""
    spec = SPECS[request.param]()
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 4))
    data = samples(spec, 5, 4)
    at = net.relax(data.x, solver=FREE.solver, tol=FREE.tol, max_steps=FREE.max_steps)
    return net, data, at


def series(net, at, c, k, tau):
    """``τ Σ_{t<k} (τ Dᵀρ' + 1 − τ)ᵗ c``, term by term."""
    total = {name: np.zeros_like(value) for name, value in c.items()}
    term = {name: tau * value for name, value in c.items()}
    for _ in range(k):
        total = {name: total[name] + term[name] for name in c}
        back = net.transposed(at, net.slope(at, term))
        term = {name: tau * back[name] + (1.0 - tau) * term[name] for name in c}
    return total


def equal(net, found, at, mu, data, within):
    gradient = {**net.drive_vjp(at, net.slope(at, mu), mu), **net.cost_gradient(at, data.y)}
    assert list(found) == list(net.spec.parameter_shapes)
    for name, value in found.items():
        np.testing.assert_allclose(value, gradient[name], rtol=0, atol=within)


def test_jfb_is_the_first_term_of_the_neumann_series(case):
    net, data, at = case
    found, evidence = ne.JFB().gradient(net, data.x, data.y, free=FREE)
    equal(net, found, at, net.cost_slope(at, data.y), data, 1e-15)
    assert evidence.nudged == ()
    assert evidence.adjoint_residual is None


@pytest.mark.parametrize(("k", "tau"), [(1, 1.0), (1, 0.3), (4, 1.0), (5, 0.6)])
def test_phantom_is_k_damped_terms(case, k, tau):
    net, data, at = case
    found, _ = ne.Phantom(k, tau).gradient(net, data.x, data.y, free=FREE)
    equal(net, found, at, series(net, at, net.cost_slope(at, data.y), k, tau), data, 1e-14)


def test_one_undamped_step_is_jfb(case):
    net, data, _ = case
    one, _ = ne.JFB().gradient(net, data.x, data.y, free=FREE)
    other, _ = ne.Phantom(1, 1.0).gradient(net, data.x, data.y, free=FREE)
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-15)


def test_many_steps_are_the_exact_gradient(case):
    net, data, _ = case
    exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=FREE)
    sizes = []
    for k in (1, 3, 200):
        found, _ = ne.Phantom(k, 0.9).gradient(net, data.x, data.y, free=FREE)
        sizes.append(np.sqrt(sum(np.sum((found[name] - value) ** 2) for name, value in exact.items())))
    assert sizes[0] > 1e-3
    assert sizes[1] < sizes[0]
    # A step leaves at most 0.64 of what is missing.
    assert sizes[2] <= 1e-13


@pytest.mark.parametrize(("k", "tau"), [(1, 1.0), (3, 0.5), (6, 0.8)])
def test_they_are_what_the_papers_define(need, case, k, tau):
    """Geng et al., 2021: differentiate k damped steps from ``a*``, a constant.  Fung et al., 2022: one step."""
    need("torch")
    import torch

    net, data, at = case
    dynamics = net.dynamics
    theta = {name: torch.tensor(value, requires_grad=True) for name, value in net.parameters.items()}
    inputs = {name: torch.tensor(value) for name, value in data.x.items()}
    a = {name: torch.tensor(at.activities[name]) for name in at.states}
    for _ in range(k):
        u = dynamics.drive({**inputs, **a}, theta)
        new = dynamics.activities(u, inputs, theta)
        a = {name: (1.0 - tau) * a[name] + tau * new[name] for name in a}
    dynamics.cost({**inputs, **a}, torch.tensor(data.y), theta).mean().backward()
    method = ne.JFB() if (k, tau) == (1, 1.0) else ne.Phantom(k, tau)
    found, _ = method.gradient(net, data.x, data.y, free=FREE)
    for name, value in found.items():
        wanted = np.zeros(value.shape) if theta[name].grad is None else theta[name].grad.numpy()
        # The state is a fixed point to 1e-14.
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)
