"""The oracle's own oracles: a linear network solved by elimination, finite differences, and torch's autograd."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

SETTLED = ne.Relaxation(solver=ne.Picard(alpha=1.0), tol=None, max_steps=120)
"""A step leaves the joint norm, 0.6, of an error, and a nudge of 0.1 adds 0.1: 0.7¹²⁰ = 3e-19."""


@pytest.fixture
def chain(contracting, samples):
    """A linear chain ``x → h1 ↔ h2 ↔ o`` and all of it as matrices."""
    spec = ne.models.layered_hopfield([3, 4, 5, 2], activation="identity")
    parameters = contracting(spec, 0)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(parameters)
    data = samples(spec, 6, 0)
    W1, W2, W3 = (parameters[f"{name}.weight"] for name in ("input_hidden1", "hidden1_hidden2", "hidden2_output"))
    J = np.zeros((11, 11))
    J[4:9, :4], J[9:, 4:9] = W2, W3
    J = J + J.T
    bias = np.concatenate([parameters[f"{name}_bias.bias"] for name in ("hidden1", "hidden2", "output")])
    S = np.zeros((2, 11))
    S[:, 9:] = np.eye(2)
    return net, data, J, W1, bias, S


def solved(chain, beta):
    """``u = J u + W₁x + b − β Sᵀ(S u − y)`` by elimination: ``(batch, 11)``."""
    _, data, J, W1, bias, S = chain
    drive = np.zeros((6, 11)) + bias - 0.0
    drive[:, :4] += data.x["input"] @ W1.T
    drive += beta * data.y @ S
    return np.linalg.solve(np.eye(11) - J + beta * S.T @ S, drive.T).T


def joined(states):
    return np.concatenate([states[name] for name in ("hidden1", "hidden2", "output")], axis=1)


@pytest.mark.parametrize("beta", [0.0, 0.1, -0.1])
def test_states_of_a_linear_chain(chain, beta):
    net, data = chain[:2]
    found = net.relax(data.x, target=data.y, beta=beta, solver=SETTLED.solver, tol=None, max_steps=SETTLED.max_steps)
    np.testing.assert_allclose(joined(found.states), solved(chain, beta), rtol=0, atol=1e-13)


def exact_gradient(chain):
    """``μ = (I − J)⁻¹ Sᵀ(S u − y)``, then ``λ_post ⊗ a_pre + a_post ⊗ λ_pre``."""
    _, data, J, _, _, S = chain
    u = solved(chain, 0.0)
    mu = np.linalg.solve(np.eye(11) - J, S.T @ (u @ S.T - data.y).T).T
    parts = {"hidden1": slice(0, 4), "hidden2": slice(4, 9), "output": slice(9, 11)}
    a = {"input": data.x["input"], **{name: u[:, part] for name, part in parts.items()}}
    lam = {"input": 0.0 * data.x["input"], **{name: mu[:, part] for name, part in parts.items()}}
    gradient = {}
    for pre, post in (("input", "hidden1"), ("hidden1", "hidden2"), ("hidden2", "output")):
        gradient[f"{pre}_{post}.weight"] = (lam[post].T @ a[pre] + a[post].T @ lam[pre]) / 6
        gradient[f"{post}_bias.bias"] = lam[post].mean(axis=0)
    return gradient


def test_implicit_gradient_of_a_linear_chain(chain):
    net, data = chain[:2]
    found, evidence = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    wanted = exact_gradient(chain)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-13)
    np.testing.assert_allclose(evidence.cost, 0.5 * np.sum((joined(evidence.free.states)[:, 9:] - data.y) ** 2, axis=1))


@pytest.mark.parametrize("method", [ne.EqProp(0.1), ne.AsymEP(0.1)], ids=["eqprop", "asymep"])
def test_contrast_of_a_linear_chain(chain, method):
    """Not only in the limit: the nudged states are known, so the estimate at β = 0.1 is, to the last digits."""
    net, data = chain[:2]
    found, _ = method.gradient(net, data.x, data.y, free=SETTLED)
    above, below, free = solved(chain, 0.1), solved(chain, -0.1), solved(chain, 0.0)
    h1, h2 = slice(0, 4), slice(4, 9)
    if isinstance(method, ne.EqProp):
        wanted = (below[:, h2].T @ below[:, h1] - above[:, h2].T @ above[:, h1]) / 0.2 / 6
    else:
        lam = (below - above) / 0.2
        wanted = (lam[:, h2].T @ free[:, h1] + free[:, h2].T @ lam[:, h1]) / 6
    np.testing.assert_allclose(found["hidden1_hidden2.weight"], wanted, rtol=0, atol=1e-13)


def test_energy_of_a_linear_chain(chain):
    net, data, J, W1, bias, _ = chain
    start = net.relax(data.x, start=data.start, tol=None, max_steps=0)
    u = joined(data.start)
    drive = u @ np.zeros((11, 11)) + bias
    drive[:, :4] += data.x["input"] @ W1.T
    wanted = 0.5 * np.sum(u * u, axis=1) - 0.5 * np.sum(u * (u @ J), axis=1) - np.sum(u * drive, axis=1)
    np.testing.assert_allclose(net.energy(start).total, wanted, rtol=0, atol=1e-13)


# -- implicit differentiation against finite differences -------------------------------------------------------------

SMOOTH = {
    "hopfield": lambda: ne.models.layered_hopfield([3, 4, 3, 2]),
    "hopfield-readout": lambda: ne.models.layered_hopfield([3, 4, 3, 2], "sigmoid", cost="cross_entropy"),
    "looped": lambda: ne.models.looped_mlp(3, 4, 2),
    "looped-directed": lambda: ne.models.looped_mlp(3, 4, 2, symmetric=False),
    "modern-hopfield": lambda: ne.models.modern_hopfield_mlp(3, 4, 2),
    "toroidal-directed": lambda: ne.models.toroidal_mlp(3, 4, 2, symmetric=False, coupling=0.1),
    "gated-step": lambda: ne.models.gated_mlp(3, 4, 2),
    "gated-drive": lambda: ne.models.gated_mlp(3, 4, 2, gate="drive", cost="squared_error"),
    "normed-tokens": lambda: ne.Network(
        populations=[
            ne.Population(name="x", shape=(2, 2), clamped=True),
            ne.Population(name="map", shape=(2, 3), activation="layer_norm"),
            ne.Population(name="top", shape=3, activation="tanh"),
        ],
        synapses=[
            ne.Dense(source="x", target="map"),
            ne.Dense(source="map", target="top"),
            ne.synapses.HopfieldMemory(target="map", patterns=4),
            ne.synapses.GatedDense(source="top", target="map", name="back"),
        ],
        cost={"kind": "squared_error", "population": "top"},
    ),
    "tokens": lambda: ne.Network(
        populations=[
            ne.Population(name="x", shape=(2, 2), clamped=True),
            ne.Population(name="map", shape=(2, 3), activation="softmax"),
            ne.Population(name="top", shape=3, activation="tanh"),
        ],
        synapses=[
            ne.Dense(source="x", target="map"),
            ne.Dense(source="map", target="map"),
            ne.Dense(source="map", target="top"),
            ne.DirectedDense(source="top", target="map", name="back"),
            ne.DirectedDense(source="top", target="top", name="loop"),
            ne.synapses.Bias(target="map"),
        ],
        cost={"kind": "squared_error", "population": "top"},
    ),
}


@pytest.fixture(params=SMOOTH)
def smooth(request, contracting, samples):
    """A settled smooth network with data."""
    spec = SMOOTH[request.param]()
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 1))
    return net, samples(spec, 4, 1)


def test_implicit_differentiation_is_the_derivative_of_the_cost(smooth):
    """Entry by entry, by central differences of the settled cost."""
    net, data = smooth
    found, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    start = {name: value.copy() for name, value in net.parameters.items()}

    def cost(name, value):
        net.set_parameters({**start, name: value})
        free = net.relax(data.x, solver=SETTLED.solver, tol=None, max_steps=SETTLED.max_steps)
        return float(np.mean(net.cost(free, data.y)))

    rng = np.random.default_rng(0)
    step = 1e-5
    for name, value in start.items():
        for _ in range(3):
            v = rng.normal(size=value.shape)
            if name in symmetric_on_itself(net.spec):
                v = 0.5 * (v + v.T)
            change = (cost(name, value + step * v) - cost(name, value - step * v)) / (2 * step)
            # Truncation h² times third derivatives along |v|² ≤ 20 or so; rounding 2⁻⁵³/h.
            np.testing.assert_allclose(np.sum(found[name] * v), change, rtol=1e-7, atol=1e-8)


def symmetric_on_itself(spec):
    return {f"{s.name}.weight" for s in spec.synapses if isinstance(s, ne.Dense) and s.on_itself}


def test_implicit_differentiation_is_backpropagation_through_the_relaxation(need, smooth):
    """Autograd through the unrolled steps of whole Picard iterations."""
    need("torch")
    import torch

    net, data = smooth
    found, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    theta = {name: torch.tensor(value, requires_grad=True) for name, value in net.parameters.items()}
    inputs = {name: torch.tensor(value) for name, value in data.x.items()}
    u = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in data.start.items()}
    # The equations serve every array library; what differs from the engine is that torch differentiates them.
    for _ in range(SETTLED.max_steps):
        u = net.dynamics.drive(net.dynamics.activities(u, inputs, theta), theta)
    a = net.dynamics.activities(u, inputs, theta)
    net.dynamics.cost(a, torch.tensor(data.y), theta).mean().backward()
    for name, value in found.items():
        # Autograd never meets the parameters of a gate on steps, as the drive does not depend on them.
        wanted = np.zeros(value.shape) if theta[name].grad is None else theta[name].grad.numpy()
        if name in symmetric_on_itself(net.spec):
            # Autograd does not know that W = Wᵀ; along admissible directions it has the symmetric part.
            wanted = 0.5 * (wanted + wanted.T)
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


def test_transposed_and_slope_are_the_derivative_of_a_step(smooth):
    """``⟨λ, D ρ' v⟩ = ⟨ρ' Dᵀ λ, v⟩``, and ``D ρ' v`` is the derivative of ``drive(ρ(u))``."""
    net, data = smooth
    at = net.relax(data.x, start=data.start, tol=None, max_steps=2)
    rng = np.random.default_rng(1)
    v = {name: rng.normal(size=value.shape) for name, value in data.start.items()}
    lam = {name: rng.normal(size=value.shape) for name, value in data.start.items()}

    def drive(sign):
        u = {name: at.states[name] + sign * 1e-5 * v[name] for name in v}
        return net.dynamics.drive(net.dynamics.activities(u, data.x, net.parameters), net.parameters)

    forward = net.response(at, net.slope(at, v))
    up, down = drive(1), drive(-1)
    for name, value in forward.items():
        np.testing.assert_allclose(value, (up[name] - down[name]) / 2e-5, rtol=0, atol=1e-8)
    backward = net.slope(at, net.transposed(at, lam))
    left = sum(np.sum(forward[name] * lam[name]) for name in v)
    right = sum(np.sum(backward[name] * v[name]) for name in v)
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-12)
