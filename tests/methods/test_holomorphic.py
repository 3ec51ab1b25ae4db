"""Complex nudges: no conjugation on the way, the upper half stands for the circle, and who is refused."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.costs import COSTS

SETTLED = ne.Relaxation(solver=ne.Picard(0.9), tol=None, max_steps=150)
SPECS = {
    "squared error": ne.models.layered_hopfield([4, 6, 5, 3]),
    "cross-entropy": ne.models.layered_hopfield([4, 6, 5, 3], "sigmoid", cost="cross_entropy"),
    "softmax": ne.models.layered_hopfield([4, 6, 5, 3], "softmax"),
    "looped": ne.models.looped_mlp(4, 6, 3),
}


@pytest.fixture(params=SPECS)
def case(request, contracting, samples):
    """A network within its budget, and data."""
    spec = SPECS[request.param]
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 6))
    return net, samples(spec, 5, 6)


def whole_circle(net, data, beta, points):
    """The formula as it stands: every point of the circle, settled by itself."""
    how = {"solver": SETTLED.solver, "tol": None, "max_steps": SETTLED.max_steps}
    free = net.relax(data.x, **how)
    total = {}
    for k in range(points):
        nudge = beta * cmath.exp(2j * math.pi * k / points)
        phase = net.relax(data.x, target=data.y, beta=nudge, start=free, **how)
        for name, value in net.energy_gradient(phase).items():
            total[name] = total.get(name, 0.0) + value / nudge / points
    return total


@pytest.mark.parametrize("points", [2, 3, 4, 5, 8])
def test_the_upper_half_stands_for_the_circle(case, points):
    net, data = case
    found, evidence = ne.HolomorphicEP(0.1, points).gradient(net, data.x, data.y, free=SETTLED)
    assert len(evidence.nudged) == points // 2 + 1
    for name, value in whole_circle(net, data, 0.1, points).items():
        # The whole circle's mean is real; a state is known to a few roundings, and the contrast divides by β.
        within = 64 * 2.0**-52 / 0.1
        np.testing.assert_allclose(np.imag(value), 0.0, rtol=0, atol=within)
        assert not np.iscomplexobj(found[name])
        np.testing.assert_allclose(found[name], np.real(value), rtol=0, atol=within)


def test_a_conjugate_nudge_has_the_conjugate_state(case):
    net, data = case
    how = {"solver": SETTLED.solver, "tol": None, "max_steps": SETTLED.max_steps}
    above = net.relax(data.x, target=data.y, beta=0.1 * cmath.exp(1j), **how)
    below = net.relax(data.x, target=data.y, beta=0.1 * cmath.exp(-1j), **how)
    for name, value in above.states.items():
        assert np.max(np.abs(np.imag(value))) > 1e-4
        np.testing.assert_allclose(below.states[name], np.conj(value), rtol=0, atol=64 * 2.0**-52)


def test_a_complex_state_solves_the_equations_as_they_stand(case):
    """``u = drive(ρ(u)) − β ∂C/∂a`` with complex numbers all through; the residual is its modulus."""
    net, data = case
    nudge = 0.2 * cmath.exp(0.7j)
    found = net.relax(data.x, target=data.y, beta=nudge, tol=1e-13, max_steps=2000)
    assert found.converged.all()
    drive = net.dynamics.drive(found.activities, net.parameters)
    seen = net.spec.cost.population
    drive[seen] = drive[seen] - nudge * net.cost_slope(found, data.y)[seen]
    left = np.concatenate([(drive[name] - u).reshape(5, -1) for name, u in found.states.items()], axis=1)
    np.testing.assert_allclose(np.sqrt(np.mean(np.abs(left) ** 2, axis=1)), found.residual, rtol=0, atol=1e-15)
    assert np.all(found.residual <= 1e-13)


def test_a_small_imaginary_nudge_is_a_derivative_without_a_difference(case):
    """``Im u(iβ)/β = du/dβ`` to rounding, which the centered difference of real nudges approaches."""
    net, data = case
    how = {"target": data.y, "solver": SETTLED.solver, "tol": None, "max_steps": SETTLED.max_steps}
    tiny = net.relax(data.x, beta=1e-12j, **how)
    above, below = net.relax(data.x, beta=(1e-4, -1e-4), **how)
    for name, value in tiny.states.items():
        slope = (above.states[name] - below.states[name]) / 2e-4
        # Truncation 1e-8 times a third derivative of order one, rounding 2⁻⁵²·64/1e-4.
        np.testing.assert_allclose(np.imag(value) / 1e-12, slope, rtol=0, atol=2e-7)


@pytest.mark.parametrize("kind", COSTS)
def test_costs_are_not_conjugated(kind):
    """``Im ∂C/∂a(a + ihv)/h`` is the Hessian times v, and a conjugation anywhere would turn its sign or lose it."""
    cost = COSTS[kind](population="p", **({} if kind == "squared_error" else {"classes": 3}))
    shapes = {"p": (2, 2)}
    rng = np.random.default_rng(8)
    theta = {name: rng.normal(size=shape) for name, shape in cost.parameter_shapes(shapes).items()}
    a, v = rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2, 2))
    y = rng.dirichlet(np.ones(cost.outputs(shapes)), size=3)
    found = np.imag(cost.activity_gradient({"p": a + 1e-30j * v}, y, theta)) / 1e-30
    up, down = (cost.activity_gradient({"p": a + sign * 1e-5 * v}, y, theta) for sign in (1, -1))
    np.testing.assert_allclose(found, (up - down) / 2e-5, rtol=0, atol=1e-8)
    # The value as well: its derivative is the gradient.
    change = np.imag(cost.value({"p": a + 1e-30j * v}, y, theta)) / 1e-30
    np.testing.assert_allclose(change, np.sum(cost.activity_gradient({"p": a}, y, theta) * v, axis=(1, 2)), rtol=1e-13)


def test_many_points_reach_rounding_at_a_large_nudge(contracting, samples):
    """Where a centered difference at β = 0.1 has 1e-4 or more."""
    spec = SPECS["cross-entropy"]
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 6))
    data = samples(spec, 5, 6)
    exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    size = math.sqrt(sum(float(np.sum(value**2)) for value in exact.values()))

    def error(method):
        found, _ = method.gradient(net, data.x, data.y, free=SETTLED)
        return math.sqrt(sum(float(np.sum((found[name] - exact[name]) ** 2)) for name in exact)) / size

    assert error(ne.EqProp(0.1)) >= 1e-5
    assert error(ne.HolomorphicEP(0.1, 4)) <= 1e-7
    assert error(ne.HolomorphicEP(0.1, 12)) <= 1e-12


def test_the_default_settling_is_good_enough(case):
    net, data = case
    found, evidence = ne.HolomorphicEP(0.1, 4).gradient(net, data.x, data.y)
    assert evidence.unsettled == 0
    assert all(phase.converged.all() for phase in evidence.nudged)
    fine, _ = ne.HolomorphicEP(0.1, 4).gradient(net, data.x, data.y, free=SETTLED)
    size = math.sqrt(sum(float(np.sum(value**2)) for value in fine.values()))
    away = math.sqrt(sum(float(np.sum((found[name] - fine[name]) ** 2)) for name in fine))
    # (1+L)/(1−L)·η with L = 0.6 + β, for the residuals of three phases.
    assert away <= 3 * (1.7 / 0.3) * 1e-3 * size


@pytest.mark.parametrize("kind", ["relu", "hard_sigmoid"])
def test_a_kink_is_refused_by_name(kind):
    net = ne.compile(ne.models.layered_hopfield([3, 4, 2], kind, output_activation="tanh"), backend="reference")
    with pytest.raises(
        ne.SpecError, match=rf'^populations\[1\]\.activation: "{kind}" of "hidden1" is not analytic, .*'
    ):
        ne.HolomorphicEP().gradient(net, np.ones((2, 3)), np.ones((2, 2)))


def test_a_directed_synapse_is_refused_by_name():
    net = ne.compile(ne.models.looped_mlp(3, 4, 2, symmetric=False), backend="reference")
    with pytest.raises(ne.SpecError, match=r'^synapses\[1\]: "hidden_hidden" is directed .*; use AsymEP, .*'):
        ne.HolomorphicEP().gradient(net, np.ones((2, 3)), np.array([0, 1]))


class Kinked(ne.Dense):
    """A symmetric synapse that says that it has a kink."""

    kind: str = "kinked"

    @property
    def analytic(self):
        return False


def test_a_synapse_with_a_kink_is_refused_by_name():
    spec = ne.models.layered_hopfield([3, 4, 2], bias=False)
    kinked = ne.Network(
        populations=spec.populations,
        synapses=[spec.synapses[0], Kinked(source="hidden1", target="output")],
        cost=spec.cost,
    )
    net = ne.compile(kinked, backend="reference")
    with pytest.raises(ne.SpecError, match=r'^synapses\[1\]: "hidden1_output" is not analytic, .*; use EqProp$'):
        ne.HolomorphicEP().gradient(net, np.ones((2, 3)), np.ones((2, 2)))


@pytest.mark.parametrize("points", [1, 0, -2])
def test_a_difference_needs_two_points(points):
    with pytest.raises(ne.SpecError, match=rf"^points: .*\(found {points}\)$"):
        ne.HolomorphicEP(0.1, points)


def test_a_recorder_is_shown_the_free_phase_only(tmp_path, contracting, samples):
    spec = SPECS["looped"]
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 6))
    data = samples(spec, 2, 6)
    with ne.Recorder(tmp_path / "run.h5") as recorder:
        ne.HolomorphicEP().gradient(net, data.x, data.y, record=recorder)
    with ne.open_trajectory(tmp_path / "run.h5") as trajectory:
        assert trajectory.phases == ("free",)
