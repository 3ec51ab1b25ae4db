"""Histories and gates change the way to a fixed point: the steps are those of the equation, the end is that without."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

BETA = 0.1


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def paced(*, coupling=0.4, buffer_size=4, decay=0.6, gates=True, history=True):
    """Two populations; a strong history on one, gates on both that are nearly shut for some units."""
    synapses = [
        ne.Dense(source="x", target="h"),
        ne.Dense(source="h", target="o"),
        ne.synapses.Bias(target="h"),
    ]
    if history:
        synapses.append(ne.synapses.History(target="h", coupling=coupling, buffer_size=buffer_size, decay=decay))
    if gates:
        synapses += [
            ne.synapses.StepGate(name="gate_h", source="x", target="h"),
            ne.synapses.StepGate(name="gate_o", source="h", target="o"),
            ne.synapses.StepGate(name="another", source="o", target="o"),
        ]
    return ne.Network(
        populations=[
            ne.Population(name="x", shape=2, clamped=True),
            ne.Population(name="h", shape=3, activation="tanh"),
            ne.Population(name="o", shape=2),
        ],
        synapses=synapses,
        cost={"kind": "squared_error", "population": "o"},
    )


def parameters_of(spec, seed=0):
    """Weights of a size at which the histories below still settle; gates between 0.1 and 0.9."""
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()}
    drawn["h_o.weight"] *= 0.4 / np.linalg.norm(drawn["h_o.weight"], 2)
    return {name: np.float64(np.float32(value)) for name, value in drawn.items()}


def by_hand(theta, data, alpha, steps, beta, *, coupling=0.4, buffer_size=4, decay=0.6):
    """The states after so many steps, straight from the equations."""
    u, o = data.start["h"], data.start["o"]
    weights = decay ** np.arange(buffer_size)
    weights /= weights.sum()
    past = [np.tanh(u)] * buffer_size
    for _ in range(steps):
        a = np.tanh(u)
        past = [a, *past[:-1]]
        recalled = coupling * sum(w * value for w, value in zip(weights, past, strict=True))
        drive_h = data.x["x"] @ theta["x_h.weight"].T + o @ theta["h_o.weight"] + theta["h_bias.bias"] + recalled
        drive_o = a @ theta["h_o.weight"].T - beta * (o - data.y)
        gate_h = sigmoid(data.x["x"] @ theta["gate_h.weight"].T + theta["gate_h.bias"])
        gate_o = sigmoid(a @ theta["gate_o.weight"].T + theta["gate_o.bias"])
        gate_o = gate_o * sigmoid(o @ theta["another.weight"].T + theta["another.bias"])
        u, o = u + alpha * gate_h * (drive_h - u), o + alpha * gate_o * (drive_o - o)
    return {"h": u, "o": o}


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("buffer_size", [1, 4])
def test_every_step_is_that_of_the_equation(backend, samples, alpha, buffer_size):
    """Also as a pair, each phase of which has a past of its own."""
    spec = paced(buffer_size=buffer_size)
    theta, data = parameters_of(spec), samples(spec, 3, 0)
    net = backend.compile(spec, theta)
    for steps in range(8):
        how = {"start": data.start, "solver": ne.Picard(alpha=alpha), "tol": None, "max_steps": steps}
        # The oracle's own agreement is 0, but here it computes other sums: fewer than 64 roundings of order one.
        within = max(backend.agreement.fixed_point, 64 * backend.epsilon)
        for beta, found in zip((BETA, -BETA), net.relax(data.x, target=data.y, beta=(BETA, -BETA), **how), strict=True):
            wanted = by_hand(theta, data, alpha, steps, beta, buffer_size=buffer_size)
            for name, value in wanted.items():
                np.testing.assert_allclose(net.to_numpy(found.states[name]), value, rtol=0, atol=within)


def test_the_residual_is_that_of_the_static_network(backend, samples):
    """RMS of ``drive(a_t) − u_t`` with ``κ a_t``, whatever was before and however the gates stand."""
    spec = paced()
    theta, data = parameters_of(spec), samples(spec, 4, 1)
    net = backend.compile(spec, theta)
    for steps in (0, 1, 5):
        found = net.relax(data.x, start=data.start, tol=None, max_steps=steps)
        u, o = (np.asarray(net.to_numpy(found.states[name]), dtype=np.float64) for name in ("h", "o"))
        a = np.tanh(u)
        off_h = data.x["x"] @ theta["x_h.weight"].T + o @ theta["h_o.weight"] + theta["h_bias.bias"] + 0.4 * a - u
        off_o = a @ theta["h_o.weight"].T - o
        wanted = np.sqrt((np.sum(off_h**2, axis=1) + np.sum(off_o**2, axis=1)) / 5)
        within = max(backend.agreement.fixed_point, 64 * backend.epsilon)
        np.testing.assert_allclose(found.residual, wanted, rtol=0, atol=within)


@pytest.mark.parametrize("betas", [(0.0,), (BETA, -BETA)])
def test_the_fixed_point_is_that_without_gates_and_delay(backend, samples, compare, betas):
    whole, plain = paced(), paced(gates=False, buffer_size=1)
    theta, data = parameters_of(whole), samples(whole, 4, 2)
    static = {name: value for name, value in theta.items() if name in plain.parameter_shapes}
    # The slowest gate is open to 3 %; a step then leaves 98 % of an error.
    tol = 1e-5 if backend.dtype == "float32" else 1e-13
    how = {"target": data.y, "beta": betas, "start": data.start, "tol": tol, "max_steps": 5000}
    found = backend.compile(whole, theta).relax(data.x, **how)
    net = backend.compile(plain, static)
    wanted = net.relax(data.x, **how)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.status, ne.Status.CONVERGED)
        np.testing.assert_array_equal(other.status, ne.Status.CONVERGED)
        assert np.all(one.steps > other.steps), "gates hold back"
        # The joint norm is 0.4·(1 + √5)/2 < 0.65 and the nudge adds 0.1: a residual of tol on five units leaves at most
        # tol·√5/(1 − 0.75) in either state.
        compare.states(one, net, other, net, 18 * tol)


def test_a_buffer_of_one_is_the_static_self_synapse(backend, samples):
    """Nothing is recalled but the present."""
    spec, static = paced(gates=False, buffer_size=1), paced(gates=False, history=False)
    static = ne.Network(
        populations=static.populations,
        synapses=[*static.synapses, ne.Dense(name="loop", source="h", target="h")],
        cost=static.cost,
    )
    theta, data = parameters_of(spec), samples(spec, 4, 3)
    how = {"start": data.start, "tol": None, "max_steps": 6}
    found = backend.compile(spec, theta).relax(data.x, **how)
    net = backend.compile(static, {**theta, "loop.weight": 0.4 * np.eye(3)})
    wanted = net.relax(data.x, **how)
    for name in ("h", "o"):
        np.testing.assert_allclose(
            net.to_numpy(found.states[name]), net.to_numpy(wanted.states[name]), rtol=0, atol=16 * backend.epsilon
        )


def test_every_phase_starts_with_a_full_buffer(backend, samples):
    """A relaxation that goes on from a state has forgotten how it came there."""
    spec = paced()
    theta, data = parameters_of(spec), samples(spec, 3, 4)
    net = backend.compile(spec, theta)
    there = net.relax(data.x, start=data.start, tol=None, max_steps=3)
    again = net.relax(data.x, start=there, tol=None, max_steps=2)
    through = net.relax(data.x, start=data.start, tol=None, max_steps=5)
    data.start = {name: np.asarray(net.to_numpy(value), dtype=np.float64) for name, value in there.states.items()}
    wanted = by_hand(theta, data, 0.5, 2, 0.0)
    within = max(backend.agreement.fixed_point, 64 * backend.epsilon)
    for name, value in wanted.items():
        np.testing.assert_allclose(net.to_numpy(again.states[name]), value, rtol=0, atol=within)
    assert np.max(np.abs(net.to_numpy(again.states["h"]) - net.to_numpy(through.states["h"]))) > 100 * within


def test_a_step_gate_learns_nothing(backend, samples):
    """Its gradient is nought to the last bit, by every method."""
    spec = paced()
    data = samples(spec, 4, 5)
    net = backend.compile(spec, parameters_of(spec))
    for method in (ne.EqProp(BETA), ne.EqProp(BETA, "one-sided"), ne.AsymEP(BETA), ne.ImplicitDifferentiation()):
        if not backend.can(*method.needs):
            continue
        gradient, _ = method.gradient(net, data.x, data.y)
        for name, value in gradient.items():
            assert np.any(net.to_numpy(value)) == (not name.startswith(("gate_", "another"))), name


def test_the_drives_of_two_histories_add_up(backend, samples):
    spec = paced(gates=False)
    twice = ne.Network(
        populations=spec.populations,
        synapses=[*spec.synapses, ne.synapses.History(name="second", target="h", coupling=-0.4, buffer_size=1)],
        cost=spec.cost,
    )
    theta, data = parameters_of(spec), samples(spec, 3, 6)
    net = backend.compile(twice, theta)
    # One step from a full buffer: both drives are static, and cancel.
    found = net.relax(data.x, start=data.start, solver=ne.Picard(alpha=1.0), tol=None, max_steps=1)
    wanted = data.x["x"] @ theta["x_h.weight"].T + data.start["o"] @ theta["h_o.weight"] + theta["h_bias.bias"]
    within = max(backend.agreement.fixed_point, 64 * backend.epsilon)
    np.testing.assert_allclose(net.to_numpy(found.states["h"]), wanted, rtol=0, atol=within)
