"""Weights that move while the network is nudged: telescoping, the steps of plain descent, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

BETA = 0.1
FREE = ne.Relaxation(solver=ne.Picard(0.9), tol=None, max_steps=150)
NUDGED = ne.Relaxation(solver=ne.Picard(0.9), tol=None, max_steps=40)


@pytest.fixture(params=["squared_error", "cross_entropy"])
def case(request, contracting, samples):
    spec = ne.models.layered_hopfield([4, 6, 5, 3], cost=request.param)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 6))
    return net, samples(spec, 5, 6)


def vector(gradient):
    return np.concatenate([np.ravel(value) for value in gradient.values()])


def gradient(case, method, nudged=NUDGED):
    net, data = case
    return method.gradient(net, data.x, data.y, free=FREE, nudged=nudged)


@pytest.mark.parametrize("steps", [0, 1, 3, 40])
def test_weights_that_stand_still_give_the_one_sided_difference(case, steps):
    nudged = ne.Relaxation(solver=ne.Picard(0.9), tol=None, max_steps=steps)
    found, evidence = gradient(case, ne.ContinualEP(BETA, rate=0.0), nudged)
    wanted, expected = gradient(case, ne.EqProp(BETA, "one-sided"), nudged)
    # The terms telescope; each is known to a few roundings, which β divides.
    np.testing.assert_allclose(vector(found), vector(wanted), rtol=0, atol=64 * 2.0**-52 / BETA)
    for name, value in expected.nudged[0].states.items():
        np.testing.assert_allclose(evidence.nudged[0].states[name], value, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(evidence.nudged[0].steps, steps)


def test_plain_descent_ends_where_the_network_had_moved_to(case):
    """The rule, written out."""
    net, data = case
    rate = 0.05
    before = {name: value.copy() for name, value in net.parameters.items()}
    found, evidence = gradient(case, ne.ContinualEP(BETA, rate))
    for name, value in before.items():
        np.testing.assert_array_equal(net.parameters[name], value)
    state = net.relax(data.x, solver=FREE.solver, tol=None, max_steps=FREE.max_steps)
    readout = net.cost_gradient(state, data.y)
    theta = dict(before)
    for _ in range(NUDGED.max_steps):
        net.set_parameters(theta)
        new = net.relax(data.x, target=data.y, beta=BETA, start=state, solver=NUDGED.solver, tol=None, max_steps=1)
        above, below = net.energy_gradient(new), net.energy_gradient(state)
        theta = {**theta, **{name: theta[name] - rate * (above[name] - below[name]) / BETA for name in above}}
        state = new
    net.set_parameters(before)
    optimizer = ne.SGD(rate)
    moved, _ = optimizer.step(net.parameters, found, optimizer.start(net.parameters))
    for name, value in moved.items():
        wanted = before[name] - rate * readout[name] if name in readout else theta[name]
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-13)
    for name, value in state.states.items():
        np.testing.assert_allclose(evidence.nudged[0].states[name], value, rtol=0, atol=1e-13)


def test_moving_weights_cost_an_error_of_the_order_of_the_rate(case):
    still = vector(gradient(case, ne.ContinualEP(BETA, rate=0.0))[0])
    # What moving weights do to the states moves weights again: of second order, so the rates are far below β.
    rates = np.array([4e-4, 2e-4, 1e-4])
    errors = [np.linalg.norm(vector(gradient(case, ne.ContinualEP(BETA, float(rate)))[0]) - still) for rate in rates]
    assert abs(np.polyfit(np.log(rates), np.log(errors), 1)[0] - 1.0) <= 0.05, errors
    assert errors[0] > 1e-6


def test_it_becomes_exact(case):
    """``rate ∝ β²`` leaves O(β)."""
    net, data = case
    exact = vector(ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=FREE)[0])
    nudged = ne.Relaxation(solver=ne.Picard(0.9), tol=None, max_steps=150)
    betas = np.array([4e-3, 2e-3, 1e-3])
    errors = [
        np.linalg.norm(vector(gradient(case, ne.ContinualEP(float(b), float(b) ** 2), nudged)[0]) - exact)
        for b in betas
    ]
    assert abs(np.polyfit(np.log(betas), np.log(errors), 1)[0] - 1.0) <= 0.1
    assert errors[-1] <= 0.01 * np.linalg.norm(exact)


def test_the_phase_ends_when_everybody_has_settled(case):
    found, evidence = gradient(case, ne.ContinualEP(BETA), ne.Relaxation(tol=1e-6, max_steps=500))
    end = evidence.nudged[0]
    assert end.converged.all()
    assert (end.residual <= 1e-6).all()
    assert ((end.steps > 0) & (end.steps < 500)).all()
    assert end.beta == BETA
    assert evidence.unsettled == 0
    assert np.all(np.isfinite(vector(found)))


def test_parameters_come_back_when_something_breaks(case, monkeypatch):
    net, data = case
    before = dict(net.parameters)
    count = []

    def broken(*_):
        count.append(1)
        if len(count) > 4:
            raise KeyboardInterrupt
        return {name: np.ones_like(value) for name, value in before.items() if "readout" not in name}

    monkeypatch.setattr(net, "contrast", broken)
    with pytest.raises(KeyboardInterrupt):
        ne.ContinualEP(BETA, 0.1).gradient(net, data.x, data.y, free=FREE)
    for name, value in before.items():
        np.testing.assert_array_equal(net.parameters[name], value)


def test_a_directed_synapse_is_refused():
    net = ne.compile(ne.models.looped_mlp(3, 4, 2, symmetric=False), backend="reference")
    with pytest.raises(ne.SpecError, match=r'^synapses\[1\]: "hidden_hidden" is directed'):
        ne.ContinualEP().gradient(net, np.ones((1, 3)), np.array([0]))
