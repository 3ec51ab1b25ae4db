"""``ρ = ∇L``, ``ρ' = ρ'ᵀ`` and ``ρ'`` is the slope, for every activation in the table."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq import comparison
from neuro_eq.activations import ACTIVATIONS, GroupSort, LayerNorm, log_softmax, logsumexp

SHAPES = [(5,), (2, 3), (1,)]
STEP = 1e-5
"""Central differences: truncation ``h²`` times a third derivative below one, and rounding ``2⁻⁵³·10/h``: 1e-10."""
CENTRAL = 1e-9


@pytest.fixture(params=ACTIVATIONS)
def rho(request):
    """Every activation with the parameters it starts with, shaken where it has some."""
    return ACTIVATIONS[request.param]()


def parameters(rho, shape):
    rng = np.random.default_rng(5)
    start = rho.initial(shape, rng)
    assert {name: value.shape for name, value in start.items()} == rho.parameter_shapes(shape)
    return {name: value + 0.1 * rng.uniform(size=value.shape) for name, value in start.items()}


def potentials(shape, seed=0):
    """Potentials on both sides of every kink and at least 1e-2 away from them, where slopes have no derivative."""
    u = np.random.default_rng(seed).normal(scale=1.5, size=(4, *shape))
    for kink in (0.0, 1.0):
        near = np.abs(u - kink) < 1e-2
        u[near] += 0.05
    return u


@pytest.mark.parametrize("shape", SHAPES)
def test_activity_is_the_gradient_of_the_lagrangian(rho, shape):
    u, theta = potentials(shape), parameters(rho, shape)
    a = rho.activity(u, theta)
    assert a.shape == u.shape
    for unit in np.ndindex(*shape):
        e = np.zeros(shape)
        e[unit] = STEP
        difference = (rho.lagrangian(u + e, theta) - rho.lagrangian(u - e, theta)) / (2 * STEP)
        np.testing.assert_allclose(difference, a[(slice(None), *unit)], rtol=0, atol=CENTRAL)


@pytest.mark.parametrize("shape", SHAPES)
def test_slope_is_the_derivative_and_symmetric(rho, shape):
    u, theta = potentials(shape), parameters(rho, shape)
    rng = np.random.default_rng(1)
    v, w = rng.normal(size=u.shape), rng.normal(size=u.shape)
    difference = (rho.activity(u + STEP * v, theta) - rho.activity(u - STEP * v, theta)) / (2 * STEP)
    np.testing.assert_allclose(rho.slope(u, v, theta), difference, rtol=0, atol=CENTRAL * 10)
    left, right = np.sum(w * rho.slope(u, v, theta)), np.sum(v * rho.slope(u, w, theta))
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_slope_is_between_zero_and_its_bound(rho, shape):
    """The Lagrangian is convex where it says so, and ``slope_sup`` bounds ``‖ρ'‖₂``."""
    for seed in range(20):
        u, theta = potentials(shape, seed), parameters(rho, shape)
        v = np.random.default_rng(seed + 100).normal(size=u.shape)
        quadratic = np.sum((v * rho.slope(u, v, theta)).reshape(4, -1), axis=1)
        size = np.sum((v * v).reshape(4, -1), axis=1)
        bound = rho.slope_sup(theta)
        assert bound <= rho.slope_bound
        assert np.all(quadratic >= (-1e-13 if rho.convex else -bound * size * (1 + 1e-12)))
        assert np.all(quadratic <= bound * size * (1 + 1e-12))
        largest = np.linalg.norm(rho.slope(u, v, theta).reshape(4, -1), axis=1)
        assert np.all(largest <= bound * np.sqrt(size) * (1 + 1e-12))


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_elementwise_means_that_units_do_not_meet(rho, shape):
    u, theta = potentials(shape), parameters(rho, shape)
    moved = u.copy()
    moved[:, 0] += 0.5
    same = rho.activity(moved, theta)[:, 1:] == rho.activity(u, theta)[:, 1:]
    if rho.elementwise:
        assert np.all(same)
    elif isinstance(rho, GroupSort):
        assert np.all(same[..., 1:] if len(shape) == 1 else same), "units of different pairs do not meet"
    elif len(shape) == 1:
        assert not np.any(same)
    else:
        assert np.all(same), "units of different rows of the last axis do not meet"


@pytest.mark.parametrize("kind", [kind for kind, cls in ACTIVATIONS.items() if cls.analytic])
def test_analytic_means_that_complex_steps_are_exact(kind):
    """For a holomorphic ρ, ``Im ρ(u + ihv)/h = ρ'(u) v`` to rounding."""
    rho = ACTIVATIONS[kind]()
    shape = (2, 3)
    u, theta = potentials(shape), parameters(rho, shape)
    v = np.random.default_rng(2).normal(size=u.shape)
    # No difference is taken, so the step can be so small that its square vanishes.
    found = np.imag(rho.activity(u + 1e-30j * v, theta)) / 1e-30
    np.testing.assert_allclose(found, rho.slope(u, v, theta), rtol=0, atol=1e-14)


def test_large_potentials_are_finite(rho):
    """Nothing overflows far beyond what a network reaches, and no warning is given."""
    shape = (2, 3)
    u = np.array([[[-800.0, 0.0, 800.0], [1e4, -1e4, 0.5]]])
    theta = parameters(rho, shape)
    a = rho.activity(u, theta)
    assert np.all(np.isfinite(a))
    assert np.all(np.isfinite(rho.lagrangian(u, theta)))
    assert np.all(np.isfinite(rho.slope(u, np.ones_like(u), theta)))


def test_parameters_of_rho(rho):
    """``∂L/∂θ`` and ``(∂ρ/∂θ)ᵀμ`` are derivatives of the batch mean, for activations that have parameters."""
    shape = (2, 3)
    u, theta = potentials(shape), parameters(rho, shape)
    rng = np.random.default_rng(3)
    mu = rng.normal(size=u.shape)
    lagrangian, activity = rho.lagrangian_gradient(u, theta), rho.activity_vjp(u, mu, theta)
    assert set(lagrangian) == set(activity) == set(theta)
    for name, value in theta.items():
        direction = rng.normal(size=value.shape)
        up, down = ({**theta, name: value + sign * STEP * direction} for sign in (1, -1))
        change = np.mean(rho.lagrangian(u, up) - rho.lagrangian(u, down)) / (2 * STEP)
        np.testing.assert_allclose(np.sum(lagrangian[name] * direction), change, rtol=0, atol=CENTRAL * 10)
        pulled = np.sum(mu * (rho.activity(u, up) - rho.activity(u, down))) / (2 * STEP) / len(u)
        np.testing.assert_allclose(np.sum(activity[name] * direction), pulled, rtol=0, atol=CENTRAL * 10)


def test_projection_keeps_the_lagrangian_convex(rho):
    """Whatever an optimiser proposes, what is kept is admissible: it is projected to itself, and ``ρ'`` is positive."""
    shape = (2, 3)
    rng = np.random.default_rng(4)
    proposed = {name: rng.normal(size=size) - 1.0 for name, size in rho.parameter_shapes(shape).items()}
    kept = rho.project(proposed)
    assert kept.keys() == proposed.keys()
    for name, value in rho.project(kept).items():
        np.testing.assert_array_equal(value, kept[name])
    u, v = potentials(shape), rng.normal(size=(4, *shape))
    assert not rho.convex or np.sum(v * rho.slope(u, v, kept)) >= 0.0


def test_layer_norm_of_two_rows_by_hand():
    """``σ² = var + ε`` of each row by itself, one γ and one δ for both."""
    rho = LayerNorm(epsilon=0.25)
    theta = {"gamma": np.array(2.0), "delta": np.array([0.5, -1.0, 3.0])}
    u = np.array([[[1.0, 2.0, 3.0], [-1.0, -1.0, 5.0]]])
    sigma = np.sqrt([2 / 3 + 0.25, 8.0 + 0.25])
    wanted = [2.0 * np.array([-1.0, 0.0, 1.0]) / sigma[0], 2.0 * np.array([-2.0, -2.0, 4.0]) / sigma[1]]
    np.testing.assert_allclose(rho.activity(u, theta), [np.array(wanted) + theta["delta"]], rtol=1e-15)
    offset = (0.5 - 2.0 + 9.0) + (-0.5 + 1.0 + 15.0)
    np.testing.assert_allclose(rho.lagrangian(u, theta), [3 * 2.0 * np.sum(sigma) + offset], rtol=1e-15)


def test_layer_norm_reaches_its_slope_where_the_variance_vanishes():
    """``γ/√ε`` is a supremum that is taken: at a row of equal potentials, in any direction of mean zero."""
    rho = LayerNorm(epsilon=0.01)
    theta = {"gamma": np.array(0.3), "delta": np.zeros(4)}
    v = np.array([[1.0, -1.0, 2.0, -2.0]])
    np.testing.assert_allclose(rho.slope(np.full((1, 4), 7.0), v, theta), 3.0 * v, rtol=1e-12)
    assert rho.slope_sup(theta) == pytest.approx(3.0, rel=1e-15)


def test_layer_norm_of_one_unit_is_its_offset():
    theta = {"gamma": np.array(2.0), "delta": np.array([0.25])}
    np.testing.assert_array_equal(LayerNorm().activity(np.array([[5.0], [-3.0]]), theta), [[0.25], [0.25]])


def test_group_sort_by_hand():
    rho = GroupSort()
    u = np.array([[1.0, 3.0, 5.0, 2.0, -7.0], [2.0, 2.0, -1.0, -0.5, 0.0]])
    np.testing.assert_array_equal(rho.activity(u, {}), [[3.0, 1.0, 5.0, 2.0, -7.0], [2.0, 2.0, -0.5, -1.0, 0.0]])
    # Of a pair that stands the wrong way round ``½(u₁² + u₂²) − ½(u₂ − u₁)² = u₁u₂``.
    np.testing.assert_array_equal(rho.lagrangian(u, {}), [3.0 + 14.5 + 24.5, 4.0 + 0.5 + 0.0])
    v = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]] * 2)
    np.testing.assert_array_equal(rho.slope(u, v, {}), [[2.0, 1.0, 3.0, 4.0, 5.0], [1.0, 2.0, 4.0, 3.0, 5.0]])
    maps = np.arange(24.0).reshape(1, 3, 2, 4)
    sorted_maps = GroupSort(axis="first").activity(maps, {})
    np.testing.assert_array_equal(sorted_maps, maps[:, [1, 0, 2]])


@pytest.mark.parametrize("axis", ["first", "last"])
def test_group_sort_loses_nothing(axis):
    """ρ' is orthogonal: its own inverse, and it keeps every norm."""
    rho, rng = GroupSort(axis=axis), np.random.default_rng(6)
    u, v = rng.normal(size=(2, 4, 5, 3, 6))
    turned = rho.slope(u, v, {})
    np.testing.assert_array_equal(rho.slope(u, turned, {}), v)
    norms = [np.sum((x * x).reshape(4, -1), axis=1) for x in (turned, v)]
    np.testing.assert_allclose(*norms, rtol=1e-14)


@pytest.mark.parametrize("directed", [False, True])
def test_group_sort_has_no_convex_lagrangian_and_the_right_gradient(directed, samples, contracting):
    """All that gradients need is ``ρ' = ρ'ᵀ``: against implicit differentiation, and the cost's own differences."""
    spec = ne.models.layered_hopfield([4, 6, 5, 3], GroupSort(), output_activation="identity")
    if directed:
        spec = ne.models.looped_mlp(4, 6, 3, symmetric=False, activation=GroupSort())
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 3))
    data = samples(spec, 4, 4)
    how = ne.Relaxation(solver=ne.Picard(0.9), tol=1e-14, max_steps=2000)
    exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=how)
    method = ne.AsymEP(1e-4) if directed else ne.EqProp(1e-4)
    found, evidence = method.gradient(net, data.x, data.y, free=how)
    assert all(phase.converged.all() for phase in evidence.nudged)
    # No pair changes its order between two nudges this small, and within it all is linear but for the readout.
    assert comparison.relative(found, exact) <= 1e-6
    name = "hidden_hidden.weight" if directed else "hidden1_hidden2.weight"
    start, costs = net.parameters[name], []
    direction = np.random.default_rng(7).normal(size=start.shape)
    for sign in (1.0, -1.0):
        net.set_parameters({name: start + sign * 1e-6 * direction})
        at = net.relax(data.x, solver=how.solver, tol=1e-14, max_steps=2000)
        costs.append(float(np.mean(net.cost(at, data.y))))
    wanted = (costs[0] - costs[1]) / 2e-6
    np.testing.assert_allclose(np.sum(exact[name] * direction), wanted, rtol=1e-6, atol=1e-8)


def test_values_by_hand():
    """Against the formulas of the design, at one potential."""
    u = np.array([[0.25]])
    formulas = {
        "identity": (0.5 * 0.25**2, 0.25),
        "relu": (0.5 * 0.25**2, 0.25),
        "hard_sigmoid": (0.5 * 0.25**2, 0.25),
        "sigmoid": (np.log1p(np.exp(0.25)), 1 / (1 + np.exp(-0.25))),
        "tanh": (np.log(np.cosh(0.25)), np.tanh(0.25)),
        "softmax": (0.25, 1.0),
    }
    for kind, (lagrangian, activity) in formulas.items():
        rho = ACTIVATIONS[kind]()
        np.testing.assert_allclose(rho.lagrangian(u, {}), [lagrangian], rtol=1e-15, atol=1e-16)
        np.testing.assert_allclose(rho.activity(u, {}), [[activity]], rtol=1e-15)
    far = np.array([[2.5]])
    np.testing.assert_allclose(ACTIVATIONS["hard_sigmoid"]().lagrangian(far, {}), [0.5 * 2.5**2 - 0.5 * 1.5**2])


def test_log_softmax_does_not_overflow():
    u = np.array([[1e4, 0.0, -1e4]])
    np.testing.assert_array_equal(log_softmax(u), [[0.0, -1e4, -2e4]])


def test_logsumexp_continues_and_does_not_overflow():
    u = np.array([[1e4, 1e4, -1e4], [0.1, 0.2, -0.3]])
    np.testing.assert_allclose(logsumexp(u)[:, 0], [1e4 + np.log(2.0), np.log(np.sum(np.exp(u[1])))], rtol=1e-15)
    turned = np.array([[0.1 + 0.2j, -0.3j, 0.4]])
    np.testing.assert_allclose(np.exp(logsumexp(turned)), np.sum(np.exp(turned), axis=1, keepdims=True), rtol=1e-14)
